"""What a test sees of a call: parameters in either API's words, JSON, scores, failure text, messages."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmwatch.capture.llm_call import adapt
from pytest_llmwatch.capture.reply import Reply
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Call, Case, Cost, Evidence, Score, Usage

CASE = Case(id="refund-1", set="support", input="May I return shoes?", reference="Yes, within 30 days.")


def reply(text: str, scores: tuple[Score, ...] = (), case: Case | None = CASE) -> Reply:
    call = Call(id="1", model="m", latency=1.234, usage=Usage(10, 20), cost=Cost(0.0012))
    return Reply(call, text=text, score=lambda *_: scores, case=case)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '  {"a": 1}\n',
        'Sure:\n```json\n{"a": 1}\n```\nDone.',
        '```\n{"a": 1}\n```',
        '```python\nx = 1\n```\nand\n```json\n{"a": 1}```',
    ],
)
def test_json_is_parsed_also_from_a_fence(text: str) -> None:
    assert reply(text).json == {"a": 1}


@pytest.mark.parametrize("text", ["", "no json", "```json\nnope\n```", '{"a": 1', 'Here: {"a": 1}'])
def test_what_is_no_json_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="the reply of case 'refund-1' is not JSON"):
        reply(text).json  # noqa: B018


def test_str_and_repr() -> None:
    answer = reply("Yes,\nwithin 30 days.")
    assert str(answer) == "Yes,\nwithin 30 days."
    assert repr(answer) == "<Reply 'Yes, within 30 days.' model=m latency=1.23s tokens=10+20 cost=$0.0012>"
    assert (answer.latency, answer.cost_usd, answer.usage.output_tokens) == (1.234, 0.0012, 20)


def test_quality_that_is_too_low_fails_with_all_that_a_reader_needs() -> None:
    scores = (
        Score("relevance", 0.25, explanation="1 of 4 terms", evidence=(Evidence("missing", "30 days", "item"),)),
        Score("groundedness", None, label="not_assessable", explanation="no context"),
        Score("composite", 0.65, explanation="weighted mean"),
    )
    with pytest.raises(AssertionError) as caught:
        reply("No idea. " * 200, scores).assert_quality(min=0.7)
    text = str(caught.value)
    assert text.startswith("quality 0.65 is below 0.7")
    for part in (
        "case: support/refund-1",
        "input: May I return shoes?",
        "output: No idea.",
        "relevance: 0.25  1 of 4 terms",
        "missing: '30 days'",
        "groundedness: – (not_assessable)  no context",
        "composite: 0.65",
    ):
        assert part in text
    assert len(text) < 1500
    reply("x", scores).assert_quality(min=0.65)


def test_quality_that_cannot_be_assessed_fails() -> None:
    with pytest.raises(AssertionError, match="could not be assessed"):
        reply("x", (Score("composite", None, label="not_assessable"),)).assert_quality()
    with pytest.raises(AssertionError, match="could not be assessed"):
        reply("x").assert_quality()


def test_a_score_by_name_asks_for_one_that_did_not_apply() -> None:
    asked: list[Any] = []

    def score(output: Any, case: Any, names: Any) -> tuple[Score, ...]:
        asked.append(names)
        return (Score("length", 0.5),) if names else (Score("composite", 1.0),)

    answer = Reply(Call(id="1"), text="x", score=score)
    assert answer.score("length").value == 0.5
    assert answer.score("composite").value == 1.0
    assert answer.score("nothing").label == "unscored"
    assert asked == [None, ["length"], ["nothing"]]


@pytest.mark.parametrize(
    ("api", "given", "wanted"),
    [
        ("responses", {"max_tokens": 5}, {"max_output_tokens": 5}),
        ("responses", {"max_completion_tokens": 5}, {"max_output_tokens": 5}),
        ("chat", {"max_output_tokens": 5}, {"max_tokens": 5}),
        ("chat", {"max_tokens": 5, "seed": 1}, {"max_tokens": 5, "seed": 1}),
        ("chat", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ("responses", {"seed": 7}, {"extra_body": {"seed": 7}}),
        ("responses", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        (
            "responses",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}},
        ),
        ("responses", {"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
        (
            "chat",
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
        ),
        (
            "chat",
            {"tools": [{"type": "function", "name": "f", "parameters": {}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        ),
        (
            "responses",
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            {"tools": [{"type": "function", "name": "f"}]},
        ),
        ("responses", {"temperature": 0, "metadata": {"a": "b"}}, {"temperature": 0, "metadata": {"a": "b"}}),
    ],
)
def test_parameters_are_understood_in_either_apis_words(api: Any, given: Any, wanted: Any) -> None:
    assert adapt(given, api) == wanted


def test_streams_yield_text_and_then_have_a_reply(bench: Any) -> None:
    def act(llm_call: Any) -> Any:
        stream = llm_call.stream("Tell me a story")
        first = next(iter(stream))
        assert stream.text == first
        return stream.reply  # reads the rest

    result = bench.run(act)
    assert result.value.text.startswith(result.call.output[:5])
    assert result.value.text == result.call.output
    assert result.value.ttft == result.call.ttft


def test_chat_streams_ask_for_usage_unless_told_otherwise(bench: Any) -> None:
    assert bench.run(bench.stream(api="chat")).call.usage.output_tokens
    options = {"stream_options": {"include_usage": False}}
    assert bench.run(bench.stream(api="chat", **options), name="without").call.usage.output_tokens is None


def test_messages_and_images_pass_through(bench: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
    ]
    live, replayed = bench.both(bench.ask(messages, api="chat"))
    assert live.call.input == "system: Be brief.\n\nuser: What is this?\n[image_url]"
    assert replayed.error is None


def test_the_calls_own_prompt_version_and_case_win(bench: Any) -> None:
    act = lambda call: call("Hi", prompt_version="v9", case=CASE)  # noqa: E731
    result = bench.run(act, labels={"prompt_version": "v1"}, settings={"prompt_version": "v0"})
    assert (result.call.prompt_version, result.call.case, result.call.set) == ("v9", "refund-1", "support")
    assert result.call.reference == CASE.reference
    assert result.value.case is CASE
    plain = bench.run(bench.ask(), name="b", labels={"prompt_version": "v1"}, settings={"prompt_version": "v0"})
    assert plain.call.prompt_version == "v1"
    assert bench.run(bench.ask(), name="c", settings={"prompt_version": "v0"}).call.prompt_version == "v0"


@pytest.mark.parametrize(
    ("params", "settings", "slug"),
    [({"api": "completions"}, {}, "llm-call-api"), ({}, {"model": None}, "no-model")],
)
def test_a_wrong_call_is_one_clear_line(bench: Any, params: Any, settings: Any, slug: str) -> None:
    result = bench.run(bench.ask(**params), settings=settings)
    assert isinstance(result.error, UsageError)
    assert result.error.slug == slug
    assert "\n" not in str(result.error)


def test_an_excluded_endpoint_is_said_to_be_uncaptured(bench: Any) -> None:
    result = bench.run(bench.ask(), options={"exclude": ("127.0.0.1*",)})
    assert isinstance(result.error, UsageError)
    assert result.error.slug == "not-captured"
