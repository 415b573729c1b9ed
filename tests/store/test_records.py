"""RECORDS: aliases, units, strict values, and a round trip that loses nothing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import (
    Attempt,
    Call,
    Case,
    CaseResult,
    Cost,
    Evidence,
    Retrieval,
    Run,
    Score,
    ToolCall,
    Usage,
    UserOutcome,
)
from pytest_llmwatch.records import Reader, Records, dump_line, read_records, to_record, to_records, to_run

CALL = Call(
    id="c1",
    nodeid="golden_sets/s/set.yaml::a[0]",
    set="s",
    case="a",
    repeat=2,
    attempt=1,
    index=3,
    trace_id="t" * 32,
    span_id="s" * 16,
    time="2026-11-01T10:00:00.000Z",
    provider="openai",
    operation="responses",
    server_address="127.0.0.1",
    server_port=8080,
    model="m",
    response_model="m-1",
    prompt_name="p",
    prompt_version="3",
    parameters={"temperature": 0.5, "seed": 3},
    input="system: be brief\nuser: hi\u2028there",
    context=("doc one", "doc two"),
    reference="hello",
    output='Hällo "you" \ud83d',
    input_chars=10,
    output_chars=8,
    usage=Usage(5, 7, 12, 1, 2, estimated=True),
    tool_calls=(ToolCall("f", '{"x": 1}', "t1", True, "ok", None, 0.2),),
    finish_reason="stop",
    request_id="req",
    status="rate_limited",
    error_type="RateLimitError",
    error="429",
    latency=1.25,
    ttft=0.25,
    attempts=(Attempt(429, 0.1, None, 1.0, "r1"), Attempt(200, 0.5)),
    stream=True,
    cost=Cost(0.001, 0.0004, 0.0006, "budget.toml", "2026-01-01"),
    cache_hit=False,
    rate_limits={"x-ratelimit-limit-requests": "60"},
    retrieval=Retrieval("q", ("d1",), ("text",), (0.9,), "index", 3),
    valid_schema=True,
    capture_mode="replayed",
    feature="chat",
    team="assistant",
    user="u-1234",
    tags=("easy", "smoke"),
    markers=("llm",),
    outcome=UserOutcome(success=True, feedback="up"),
    metrics={"stars": 4.0},
)
RESULT = CaseResult(
    nodeid=CALL.nodeid or "",
    set="s",
    case="a",
    repeat=2,
    attempt=1,
    outcome="failed",
    reason="too long",
    scores=(
        Score(
            "length", 0.5, explanation="90 words", evidence=(Evidence("long", "x", start=1, end=2),), threshold=1
        ),
        Score("groundedness", None, "not_assessable", "no context"),
    ),
    call_ids=("c0", "c1"),
    input="hi",
    output=CALL.output,
    context=(),
    reference="hello",
    tags=("easy",),
    weight=0.5,
    cluster="greetings",
    duration=2.0,
)


def parse(*lines: dict[str, Any] | str, **options: Any) -> Records:
    reader = Reader("log.jsonl", **options)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    found = tuple(reader.parse(text, number) for number, text in enumerate(texts, start=1))
    return Records("log.jsonl", found, tuple(reader.notes))


def test_our_own_line_restores_call_and_result_exactly() -> None:
    record = parse(dump_line(to_record(CALL, RESULT))).records[0]
    assert record.call == CALL
    assert record.result == RESULT


def test_our_own_line_is_valid_records() -> None:
    case = Case("a", "hi", schema={"type": "string"}, expected_tool_calls=({"name": "f"},))
    line = json.loads(dump_line(to_record(CALL, RESULT, case)))
    assert line["id"] == "c1"
    assert line["sample"] == 2
    assert line["latency"] == 1.25
    assert line["input_tokens"] == 5
    assert line["cost_usd"] == 0.001
    assert line["scores"] == {"length": 0.5}, "a score without a value is no number"
    assert line["passed"] is False
    assert line["retries"] == 1
    assert line["tags"] == {"easy": True, "smoke": True}
    assert line["schema"] == {"type": "string"}
    assert line["expected_tool_calls"] == [{"name": "f"}]
    # a reader that knows only the contract understands it as well
    line.pop("schema_version")
    foreign = parse(line).records[0]
    assert foreign.call.latency == 1.25
    assert foreign.call.usage.input_tokens == 5
    assert foreign.call.status == "rate_limited"


def test_only_the_last_call_of_a_test_carries_its_scores() -> None:
    first = Call(id="c0", nodeid=CALL.nodeid, index=2)
    lines = list(to_records(Run("r", "", (first, CALL), (RESULT,))))
    assert "scores" not in lines[0]
    assert "result" not in lines[0]
    assert lines[1]["scores"] == {"length": 0.5}
    run = to_run(parse(*map(dump_line, lines)))
    assert run.results == (RESULT,)
    assert run.calls == (first, CALL)


def test_dump_line_is_one_line_of_strict_json() -> None:
    line = dump_line({"id": "x", "v": float("nan"), "w": [float("inf"), 1.0], "t": "a\u2028b\x85c\nd"})
    assert line.count("\n") == 1
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"id": "x", "v": None, "w": [None, 1.0], "t": "a\u2028b\x85c\nd"}


@settings(max_examples=60, deadline=None)
@given(
    output=st.text() | st.none(),
    latency=st.none() | st.floats(0, 1e6),
    tags=st.lists(st.text(min_size=1), unique=True).map(tuple),
    error=st.none() | st.text(min_size=1),
)
def test_any_text_and_number_survives(
    output: str | None, latency: float | None, tags: tuple[str, ...], error: str | None
) -> None:
    call = Call(id="x", output=output, latency=latency, tags=tags, error=error)
    assert parse(dump_line(to_record(call))).records[0].call == call


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("latency_ms", 1500, "latency", 1.5),
        ("latencyMs", 250, "latency", 0.25),
        ("duration_ms", 100, "latency", 0.1),
        ("latency", 2, "latency", 2.0),
        ("ttftMs", 80, "ttft", 0.08),
        ("time_to_first_token_ms", 80, "ttft", 0.08),
        ("gen_ai.response.time_to_first_chunk", 0.3, "ttft", 0.3),
        ("model_name", "gpt", "model", "gpt"),
        ("modelName", "gpt", "model", "gpt"),
        ("gen_ai.request.model", "gpt", "model", "gpt"),
        ("gen_ai.system", "openai", "provider", "openai"),
        ("gen_ai.response.finish_reasons", ["stop"], "finish_reason", "stop"),
        ("finishReason", "length", "finish_reason", "length"),
        ("user_id", 7, "user", "7"),
        ("conversation_id", "s1", "session", "s1"),
        ("status", "timed out", "status", "timeout"),
        ("error", {"code": 1}, "status", "error"),
    ],
)
def test_aliases(key: str, value: object, field: str, expected: object) -> None:
    call = parse({"id": "a", key: value}).records[0].call
    assert getattr(call, field) == pytest.approx(expected) if isinstance(expected, float) else expected
    assert getattr(call, field) is not None


@pytest.mark.parametrize(
    "given_usage",
    [
        {"prompt_tokens": 10, "completion_tokens": 4, "cached_tokens": 3},
        {"usage": {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}},
        {"usage": {"input_tokens": 10, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 3}}},
        {"usage.prompt_tokens": 10, "usage.completion_tokens": 4, "cached_tokens": 3},
        {"attributes": {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 4}, "cached_tokens": 3},
        {"gen_ai": {"usage": {"input_tokens": 10, "output_tokens": 4}}, "cached_tokens": 3},
    ],
)
def test_token_counts_by_any_name(given_usage: dict[str, Any]) -> None:
    usage = parse({"id": "a", **given_usage}).records[0].call.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (10, 4, 3)


def test_request_id_is_an_id_and_our_own_name_wins_over_an_alias() -> None:
    found = parse({"requestId": "r1", "latency_ms": 9000, "latency": 1.0}).records[0]
    assert found.id == "r1"
    assert found.call.latency == 1.0


def test_rename_reaches_into_objects_and_takes_aliases() -> None:
    raw = {"meta": {"took": 1200, "who": "x"}, "key": "k1"}
    found = parse(raw, rename={"meta.took": "latency_ms", "key": "id"}).records[0]
    assert found.id == "k1"
    assert found.call.latency == pytest.approx(1.2)
    assert found.extra == {"meta.who": "x"}


def test_unknown_keys_are_kept_and_a_lookalike_is_named_once() -> None:
    found = parse(
        {"id": "a", "elapsed": 3.1, "colour": "red", "latency_note": "fine"}, {"id": "b", "elapsed": 2.0}
    )
    assert found.records[0].extra == {"elapsed": 3.1, "colour": "red", "latency_note": "fine"}
    assert len(found.notes) == 1
    assert "'elapsed'" in found.notes[0]
    assert "--map elapsed=" in found.notes[0]


@pytest.mark.parametrize(
    ("line", "slug", "text"),
    [
        ("{", "records-json", "not valid JSON"),
        ("[1]", "records-json", "JSON object"),
        ({"latency": 1}, "records-id", "--map"),
        ({"id": "a", "latency": "fast"}, "records-type", 'latency must be a number (got "fast")'),
        ({"id": "a", "latency_ms": -3}, "records-type", "latency_ms must not be negative (got -3)"),
        ('{"id": "a", "latency": NaN}', "records-type", "must be a number"),
        ({"id": "a", "latency": True}, "records-type", "must be a number"),
        ({"id": "a", "input_tokens": 1.5}, "records-type", "whole number"),
        ({"id": "a", "status": "odd"}, "records-type", "must be one of success"),
        ({"id": "a", "passed": "yes"}, "records-type", "true or false"),
        ({"id": "a", "scores": {"x": "good"}}, "records-type", "scores.x"),
        ({"id": "a", "scores": [1]}, "records-type", "must be an object"),
        ({"id": "a", "tool_calls": [{"x": 1}]}, "records-type", "tool_calls"),
        ({"id": "a", "context": 3}, "records-type", "context"),
        ({"id": "a", "outcome": {"success": "perhaps"}}, "records-type", "outcome.success"),
        ({"schema_version": 1, "id": "a", "attempts": 3}, "records-type", "not a call as we write it"),
    ],
)
def test_a_bad_line_is_one_line_with_its_number(line: dict[str, Any] | str, slug: str, text: str) -> None:
    with pytest.raises(RecordsError) as caught:
        parse({"id": "fine", "latency": 1.0}, line)
    assert caught.value.slug == slug
    assert caught.value.line == 2
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_repeated_cases_become_samples_and_ids_stay_apart() -> None:
    found = parse({"case": "a"}, {"case": "a"}, {"case": "b"}, {"case": "a", "sample": 7})
    assert [(r.call.case, r.call.repeat) for r in found] == [("a", 0), ("a", 1), ("b", 0), ("a", 7)]
    assert len({r.id for r in found}) == 4
    assert not found.notes
    assert parse({"id": "x"}, {"id": "x"}).notes


def test_without_need_of_an_id_the_line_number_is_the_id() -> None:
    found = parse({"output": "x"}, {"output": "y"}, need_id=False)
    assert [r.id for r in found] == ["1", "2"]


def test_what_scorers_take() -> None:
    raw = {
        "id": "a",
        "input": [{"role": "system", "content": "s"}, {"role": "user", "content": "why?"}],
        "output": {"a": 1},
        "context": [{"text": "one"}, "two"],
        "schema": {"type": "object"},
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "expected_tool_calls": [{"name": "f"}],
        "retrieved": ["d1"],
        "must_mention": ["x"],
    }
    record = parse(raw).records[0]
    case, output = record.case(), record.output()
    assert case.input_text() == "why?"
    assert record.call.input == "system: s\nuser: why?"
    assert case.context == ("one", "two")
    assert case.schema == {"type": "object"}
    assert case.must_mention == ("x",)
    assert output.text == '{"a": 1}'
    assert output.tool_calls[0].name == "f"
    assert output.retrieved == ("d1",)


def test_users_of_foreign_records_are_hashed_and_ours_are_left() -> None:
    found = parse({"id": "a", "user": "ann@example.org"}, dump_line(to_record(CALL)))
    run = to_run(found, hash_user=lambda user: f"h-{len(user)}")
    assert [call.user for call in run.calls] == ["h-15", "u-1234"]


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        (1_700_000_000, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000_000, "2023-11-14T22:13:20.000Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000Z"),
        ("yesterday", None),
    ],
)
def test_times(given_time: object, expected: str | None) -> None:
    found = parse({"id": "a", "timestamp": given_time})
    assert found.records[0].call.time == expected
    assert bool(found.notes) == (expected is None)


def test_files(tmp_path: Path) -> None:
    plain = tmp_path / "a.jsonl"
    plain.write_text('\ufeff{"id": "a"}\n\n{"id": "b"}\n', encoding="utf-8")
    assert [(r.id, r.line) for r in read_records(plain)] == [("a", 1), ("b", 3)]
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert len(read_records(packed)) == 2
    broken = tmp_path / "broken.gz"
    broken.write_bytes(packed.read_bytes()[:-6])
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"id": "a"}\n{"id": "\xe9"}\n')
    for file, slug, line in (
        (broken, "records-gzip", None),
        (empty, "records-empty", None),
        (latin, "records-encoding", 2),
        (tmp_path / "none.jsonl", "records-missing", None),
        (tmp_path, "records-missing", None),
    ):
        with pytest.raises(RecordsError) as caught:
            read_records(file)
        assert (caught.value.slug, caught.value.line) == (slug, line)
