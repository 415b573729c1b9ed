"""The log formats in use, read by the gate and by the scorers alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import Call
from pytest_llmwatch.records import Reader
from pytest_llmwatch.records_scored import Answer, AnswerReader

ASKED, SAID = "Who made the lamp?", "Ada made it."
CHAT = [{"role": "user", "content": ASKED}]
FUNCTION = {"name": "find", "arguments": '{"x": 1}'}


def call_of(row: dict[str, Any], **rename: str) -> Call:
    reader = Reader("log", need_id=False, rename=rename)
    call = reader.parse(json.dumps(row), 1).call
    assert reader.notes == []
    return call


def answer_of(row: dict[str, Any], **rename: str) -> Answer:
    reader = AnswerReader("log", rename=rename)
    answer = reader.parse(json.dumps(row).encode(), 1)
    assert reader.notes == {}
    return answer


FORMATS: dict[str, dict[str, Any]] = {
    "flat snake case": {
        "request_id": "r", "prompt": ASKED, "response": SAID, "latency_ms": 500, "prompt_tokens": 9,
        "completion_tokens": 4, "model_name": "m", "finish_reason": "stop",
    },
    "camel case": {
        "requestId": "r", "userInput": ASKED, "responseText": SAID, "latencyMs": 500, "promptTokens": 9,
        "completionTokens": 4, "modelName": "m", "finishReason": "stop",
    },
    "nested usage": {
        "id": "r", "question": ASKED, "answer": SAID, "latency": 0.5, "model": "m", "stop_reason": "stop",
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 0}},
    },
    "prompt and completion": {
        "id": "r", "prompt": ASKED, "completion": SAID, "duration_seconds": 0.5, "tokens_in": 9, "tokens_out": 4,
        "model": "m", "finish_reason": "stop",
    },
    "messages with the answer": {
        "id": "r", "messages": [*CHAT, {"role": "assistant", "content": SAID}], "latency": 0.5, "model": "m",
        "usage": {"input_tokens": 9, "output_tokens": 4}, "finish_reason": "stop",
    },
    "messages beside the answer": {
        "id": "r", "messages": CHAT, "output": SAID, "latency": 0.5, "model": "m",
        "llm_usage": {"input_tokens": 9, "output_tokens": 4}, "finish_reason": "stop",
    },
    "chat completion under response": {
        "latency": 0.5, "request": {"model": "m", "messages": CHAT},
        "response": {
            "id": "r", "model": "m-1", "created": 1772366400,
            "choices": [{"message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        },
    },
    "chat completion as the line": {
        "id": "r", "object": "chat.completion", "model": "m", "latency": 0.5, "prompt": ASKED,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
    },
    "Responses API": {
        "input": ASKED, "latency": 0.5,
        "output": {
            "id": "r", "object": "response", "status": "completed", "model": "m",
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SAID}]},
            ],
            "usage": {"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 0}},
        },
    },
    "batch output": {
        "id": "r", "custom_id": "c", "prompt": ASKED, "latency": 0.5,
        "response": {
            "status_code": 200,
            "body": {
                "id": "r2", "model": "m",
                "choices": [{"message": {"content": [{"type": "text", "text": SAID}]}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4},
            },
        },
    },
    "Anthropic message": {
        "request": {"messages": CHAT, "model": "m"}, "latency": 0.5,
        "response": {
            "id": "r", "type": "message", "model": "m", "content": [{"type": "text", "text": SAID}],
            "stop_reason": "end_turn", "usage": {"input_tokens": 9, "output_tokens": 4},
        },
    },
    "Gemini": {
        "id": "r", "prompt": ASKED, "latency": 0.5,
        "response": {
            "candidates": [{"content": {"parts": [{"text": SAID}], "role": "model"}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 0},
            "modelVersion": "m",
        },
    },
    "span attributes": {
        "attributes": {
            "gen_ai.response.id": "r", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 9,
            "gen_ai.usage.output_tokens": 4, "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.input.messages": json.dumps(
                [{"role": "user", "parts": [{"type": "text", "content": ASKED}]}]),
            "gen_ai.output.messages": [
                {"role": "assistant", "parts": [{"type": "text", "content": SAID}], "finish_reason": "stop"}],
        },
        "duration_ms": 500,
    },
    "span attributes in the line": {
        "gen_ai.response.id": "r", "gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 9,
        "gen_ai.usage.completion_tokens": 4, "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": ASKED,
        "gen_ai.completion.0.content": SAID, "gen_ai.completion.0.finish_reason": "stop", "duration_ms": 500,
    },
    "nested gen_ai": {
        "gen_ai": {
            "response": {"id": "r"}, "request": {"model": "m"}, "usage": {"input_tokens": 9, "output_tokens": 4},
        },
        "input": ASKED, "output": SAID, "latency": 0.5, "finish_reason": "stop",
    },
}  # fmt: skip


@pytest.mark.parametrize("row", FORMATS.values(), ids=list(FORMATS))
def test_a_log_format_is_understood(row: dict[str, Any]) -> None:
    call = call_of(row)
    assert (call.id, call.model, call.input, call.output) == ("r", "m", ASKED, SAID)
    assert (call.usage.input_tokens, call.usage.output_tokens, call.latency) == (9, 4, 0.5)
    assert (call.finish_reason or "").lower() in ("stop", "end_turn", "completed")
    answer = answer_of(row)
    assert (answer.id, answer.case.input_text(), answer.output.text, answer.answered) == ("r", ASKED, SAID, True)
    assert answer.output.finish_reason == call.finish_reason


TOOLS: dict[str, dict[str, Any]] = {
    "chat": {"choices": [{"message": {"content": None, "tool_calls": [{"id": "1", "function": FUNCTION}]}}]},
    "responses": {"object": "response", "output": [{"type": "function_call", **FUNCTION}]},
    "anthropic": {"stop_reason": "tool_use", "content": [{"type": "tool_use", "name": "find", "input": {"x": 1}}]},
    "gemini": {"candidates": [{"content": {"parts": [{"functionCall": {"name": "find", "args": {"x": 1}}}]}}]},
}


@pytest.mark.parametrize("response", TOOLS.values(), ids=list(TOOLS))
def test_tool_calls_of_a_response_are_an_answer(response: dict[str, Any]) -> None:
    for row in ({"id": "a", "response": response}, {"id": "a", **response}):
        answer = answer_of(row)
        assert [(t.name, json.loads(t.arguments)) for t in answer.output.tool_calls] == [("find", {"x": 1})]
        assert answer.answered
        assert call_of(row).tool_calls == answer.output.tool_calls


FILTERED: dict[str, dict[str, Any]] = {
    "chat": {"response": {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}},
    "refusal of the model": {"response": {"choices": [{"message": {"content": None, "refusal": "No."}}]}},
    "Azure": {"error": {"code": "content_filter", "message": "...", "innererror": {"code": "x"}}},
    "Azure inner": {"error": {"error": {"code": "content_filter"}}},
    "Azure policy": {"error": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
    "plain code": {"error": "content_filter", "status": "error"},
    "anthropic": {"response": {"content": [], "stop_reason": "refusal", "type": "message"}},
    "gemini answer": {"response": {"candidates": [{"finishReason": "SAFETY"}]}},
    "gemini prompt": {"response": {"promptFeedback": {"blockReason": "SAFETY"}}},
    "responses": {
        "response": {"object": "response", "output": [], "incomplete_details": {"reason": "content_filter"}}
    },
}


@pytest.mark.parametrize("row", FILTERED.values(), ids=list(FILTERED))
def test_a_guardrail_of_the_provider_is_a_finish_reason(row: dict[str, Any]) -> None:
    answer = answer_of({"id": "a", **row})
    from pytest_llmwatch.scorers import get

    assert get("guardrail").score(answer.output, answer.case).value == 0.0
    assert call_of({"id": "a", **row}).finish_reason == answer.output.finish_reason


def test_an_error_of_another_kind_is_no_guardrail() -> None:
    for error in ("rate limit", {"code": "429"}, {"error": {"code": 5}}, None):
        assert answer_of({"id": "a", "error": error}).output.finish_reason is None


def test_what_the_line_says_itself_wins() -> None:
    row = {
        "id": "a", "model": "mine", "finish_reason": "length",
        "response": {"id": "r", "model": "theirs", "choices": [{"text": "t", "finish_reason": "stop"}]},
    }  # fmt: skip
    call = call_of(row)
    assert (call.id, call.model, call.response_model, call.finish_reason) == ("a", "mine", "theirs", "length")
    assert call.output == "t"


def test_map_renames_for_scorers_too() -> None:
    row = {"uid": "u", "q": ASKED, "a": SAID, "facts": ["Ada"], "nested": {"docs": ["one"]}}
    answer = answer_of(row, uid="id", q="input", a="output", facts="must_mention", **{"nested.docs": "context"})
    assert (answer.id, answer.case.input, answer.output.text) == ("u", ASKED, SAID)
    assert (answer.case.must_mention, answer.case.context) == (("Ada",), ("one",))


def test_what_scorers_do_not_read_is_not_judged() -> None:
    answer = answer_of({"id": "a", "output": "x", "latency": "slow", "status": "teapot", "scores": 5})
    assert answer.output.text == "x"


def test_an_object_that_only_looks_like_a_response_is_kept() -> None:
    for output in ({"choices": "none"}, {"content": "text"}, {"candidates": 3}, {"a": [1]}, ["x"]):
        answer = answer_of({"id": "a", "output": output})
        assert json.loads(answer.output.text) == output
    assert call_of({"id": "a", "content": ["x"], "output": "y"}).output == "y"
    assert answer_of({"id": "a", "messages": CHAT}).answered is False
    assert answer_of({"id": "a", "messages": []}).case.input == []


def test_retrieved_documents_are_ids_where_the_case_names_ids() -> None:
    found = [{"id": "d1", "text": "one"}, {"id": "d2", "text": "two"}]
    assert answer_of({"id": "a", "retrieved": found, "expected_documents": ["d2"]}).output.retrieved == (
        "d1",
        "d2",
    )
    assert answer_of({"id": "a", "retrieved": found}).output.retrieved == ("one", "two")


def test_the_texts_beside_an_image_are_the_question() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": ASKED}]
    answer = answer_of({"id": "a", "messages": [{"role": "user", "content": parts}], "output": SAID})
    assert answer.case.input_text() == ASKED
    only = answer_of({"id": "a", "messages": [{"role": "user", "content": parts[:1]}], "output": SAID})
    assert only.case.input_text() is None


KEYS = st.sampled_from(
    [
        *("id", "case", "input", "output", "context", "response", "choices", "candidates", "content", "messages"),
        *("request", "body", "usage", "error", "attributes", "gen_ai", "message", "parts", "text", "type", "role"),
        *("tool_calls", "function", "name", "finish_reason", "promptFeedback", "stop_reason", "object", "schema"),
        *("gen_ai.prompt.0.content", "gen_ai.prompt.x", "gen_ai.completion.1.role", "metadata", "reference"),
        *("must_mention", "expected_tool_calls", "retrieved", "tags", "status", "x_latency", "conversation"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(
    ["message", "response", "assistant", "user", "text", "content_filter", "[{", '[{"role": "user"}]']
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(KEYS | st.text(max_size=5), VALUES, max_size=6))
def test_any_object_is_read_or_refused_with_its_line(row: dict[str, Any]) -> None:
    raw = json.dumps(row)
    for parse in (
        lambda: Reader("log", need_id=False).parse(raw, 3),
        lambda: AnswerReader("log").parse(raw.encode(), 3),
    ):
        said = refusal(parse)
        assert said is None or said.startswith("log:3: ")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_with_their_line(raw: bytes) -> None:
    said = refusal(lambda: AnswerReader("log").parse(raw, 3))
    assert said is None or said.startswith("log:3: ")


def refusal(parse: Callable[[], Any]) -> str | None:
    """Return why a line was refused, None where it was read."""
    try:
        parse()
    except RecordsError as error:
        return str(error)
    return None
