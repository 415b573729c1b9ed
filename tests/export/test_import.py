"""Traces of production as RECORDS: OTLP JSON, Phoenix, Langfuse; ready to be scored and compared."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch import cli
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.export import otlp_json
from pytest_llmwatch.records import read_records, to_run
from pytest_llmwatch.records_traces import read_traces

Made = Callable[[Any], Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def write(value: Any) -> Path:
        path = tmp_path / "traces.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return write


def attribute(key: str, value: Any) -> dict[str, Any]:
    kind = "intValue" if isinstance(value, int) else "doubleValue" if isinstance(value, float) else "stringValue"
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def otlp(*spans: dict[str, Any]) -> dict[str, Any]:
    shared = {"attributes": [attribute("deployment.environment.name", "prod")]}
    return {"resourceSpans": [{"resource": shared, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}


def span(name: str, start: float, end: float, *, status: int = 1, own: str = "b" * 16, **attributes: Any) -> Any:
    return {
        "traceId": "a" * 32, "spanId": own, "name": name, "startTimeUnixNano": str(int(start * 1e9)),
        "endTimeUnixNano": str(int(end * 1e9)), "status": {"code": status, "message": "429 Too Many Requests"},
        "attributes": [attribute(k.replace("__", "."), v) for k, v in attributes.items()],
    }  # fmt: skip


def test_what_we_export_comes_back(factory: ModuleType, made: Made) -> None:
    run = factory.make_run(40, hostile=False)
    found = read_traces(made(otlp_json.render(run, bodies=True)))
    assert len(found.records) == len(run.calls)
    assert sum(found.left.values()) == len(run.results)  # the tests' own spans
    by_id = {c.id: c for c in run.calls}
    results = {r.call_ids[-1]: r for r in run.results}
    for record, call in zip(found.records, run.calls, strict=True):
        assert by_id[call.id] is call
        assert record["model"] == call.model
        assert record["status"] == call.status
        assert record["output"] == call.output if call.output else "output" not in record
        assert record.get("input_tokens") == call.usage.input_tokens
        assert record.get("cost_usd") == call.cost.usd
        assert record["latency"] == pytest.approx(call.latency)
        assert record["case"] == call.case
        known = {s.name: s.value for s in results[call.id].scores if s.value is not None}
        assert record.get("scores", {}) == pytest.approx(known)


def test_otlp_of_other_instrumentations(made: Made) -> None:
    messages = [{"role": "user", "parts": [{"type": "text", "content": "Why?"}]}]
    answer = [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "So."},
                {"type": "tool_call", "name": "look", "arguments": "{}"},
            ],
        }
    ]
    documents = [{"id": "d1", "content": "It is so."}]
    lines = [
        otlp(span("retrieval x", 1, 2, own="c" * 16, gen_ai__operation__name="retrieval",
                  gen_ai__retrieval__documents=json.dumps(documents))),
        otlp(
            span("chat m", 2, 3.5, gen_ai__operation__name="chat", gen_ai__request__model="m",
                 gen_ai__usage__input_tokens=7, gen_ai__input__messages=json.dumps(messages),
                 gen_ai__output__messages=json.dumps(answer)),
            span("POST", 2, 3, own="d" * 16, http__request__method="POST"),
            span("chat m", 4, 5, own="e" * 16, status=2, gen_ai__request__model="m", error__type="RateLimitError"),
            span("ChatOpenAI", 6, 7, own="f" * 16, openinference__span__kind="LLM", llm__model_name="m",
                 llm__token_count__prompt=9, **{
                     "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "And?",
                     "llm.output_messages.0.message.content": "Yes.", "user.id": "ann@example.org"}),
        ),
    ]  # fmt: skip
    found = read_traces(made("\n".join(map(json.dumps, lines))))
    assert [r["span_id"][0] for r in found.records] == ["b", "e", "f"]
    first, failed, other = found.records
    assert first["latency"] == 1.5
    assert first["output"] == "So."
    assert first["tool_calls"][0]["name"] == "look"
    assert first["context"] == ["It is so."]
    assert first["environment"] == "prod"
    assert first["time"] == "1970-01-01T00:00:02.000Z"
    assert (failed["status"], failed["error_type"]) == ("rate_limited", "RateLimitError")
    assert (other["output"], other["input_tokens"]) == ("Yes.", 9)
    assert other["input"] == [{"role": "user", "content": "And?"}]
    assert found.left == {"retrieval": 1, "other span": 1}


def phoenix_row() -> dict[str, Any]:
    return {
        "name": "ChatCompletion", "span_kind": "LLM", "parent_id": None, "start_time": 1767225600000,
        "end_time": 1767225601250, "status_code": "ERROR", "status_message": "Request timed out",
        "context.trace_id": "1" * 32, "context.span_id": "2" * 16,
        "attributes.llm.model_name": "gpt-4o-mini", "attributes.llm.token_count.prompt": 12,
        "attributes.llm.input_messages": [{"message.role": "user", "message.content": "Hi"}],
        "attributes.output.value": "Hello", "attributes.metadata": None, "events": [],
    }  # fmt: skip


def test_phoenix_data_frames_and_pages(made: Made) -> None:
    row = phoenix_row()
    page = {
        "data": [
            {
                "name": "chat", "context": {"trace_id": "3" * 32, "span_id": "4" * 16}, "span_kind": "LLM",
                "start_time": "2026-01-01T00:00:00+00:00", "end_time": "2026-01-01T00:00:02+00:00",
                "status_code": "OK", "events": [],
                "attributes": {"llm": {"model_name": "m", "token_count": {"prompt": 3}}, "output": {"value": "x"}},
            }
        ],
        "next_cursor": None,
    }  # fmt: skip
    found = read_traces(made(json.dumps(row) + "\n" + json.dumps(page)))
    first, second = found.records
    assert (first["latency"], first["status"], first["output"]) == (1.25, "timeout", "Hello")
    assert first["input"] == [{"role": "user", "content": "Hi"}]
    assert first["input_tokens"] == 12
    assert (second["latency"], second["model"], second["input_tokens"], second["output"]) == (2.0, "m", 3, "x")


def langfuse() -> dict[str, Any]:
    generation = {
        "id": "g1", "traceId": "t1", "type": "GENERATION", "name": "answer", "model": "gpt-4o",
        "startTime": "2026-01-01T00:00:00.000Z", "completionStartTime": "2026-01-01T00:00:00.250Z",
        "endTime": "2026-01-01T00:00:01.500Z", "input": [{"role": "user", "content": "Why?"}],
        "output": {"role": "assistant", "content": "Because."}, "promptName": "p", "promptVersion": 3,
        "usageDetails": {"input": 10, "output": 4, "total": 14}, "costDetails": {"total": 0.002},
        "parentObservationId": "s1", "level": "DEFAULT",
    }  # fmt: skip
    return {
        "id": "t1", "userId": "ann@example.org", "sessionId": "s", "tags": ["beta"],
        "scores": [{"name": "helpful", "value": 1}, {"name": "comment", "value": "nice"}],
        "observations": [generation, {"id": "s1", "type": "SPAN", "startTime": "2026-01-01T00:00:00Z"}],
    }  # fmt: skip


def test_langfuse_traces_and_observations(made: Made) -> None:
    failed = {
        "id": "g2", "traceId": "t2", "type": "GENERATION", "startTime": "2026-01-01T00:00:00Z", "level": "ERROR",
        "statusMessage": "Error 429: rate limit", "usage": {"input": 5}, "calculatedTotalCost": 0.1,
    }  # fmt: skip
    found = read_traces(made({"data": [langfuse(), failed]}))
    first, second = found.records
    assert (first["latency"], first["ttft"]) == (1.5, 0.25)
    assert (first["output"], first["prompt_version"], first["cost_usd"]) == ("Because.", "3", 0.002)
    assert (first["input_tokens"], first["total_tokens"]) == (10, 14)
    assert (first["user"], first["session"], first["tags"]) == ("ann@example.org", "s", ["beta"])
    assert first["scores"] == {"helpful": 1.0}
    assert (second["status"], second["input_tokens"], second["cost_usd"]) == ("rate_limited", 5, 0.1)
    assert found.left == {"SPAN": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no call"),
        ("{}", "unknown object"),
        ('{"a": 1}\n{"b"', "neither a JSON document nor JSON lines"),
        ("[" * 100_000, "neither a JSON document nor JSON lines"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "GET"}]}]}]}', "1 x other span"),
    ],
)
def test_what_cannot_be_imported_is_named(text: str, says: str, made: Made) -> None:
    with pytest.raises(RecordsError, match=says) as caught:
        read_traces(made(text))
    assert caught.value.slug == "import-traces"


def test_the_command_redacts_hashes_and_feeds_score_and_compare(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trace = langfuse()
    trace["observations"][0]["input"] = "What is the address and the key of Bob?"
    trace["observations"][0]["output"]["content"] = "Write to bob@example.org, key sk-proj-" + "a1B2" * 10
    path = made(trace)
    assert cli.main(["import", str(path), "-o", "records.jsonl.gz"]) == 0
    assert "1 record, 1 with an answer" in capsys.readouterr().out
    text = gzip.decompress((tmp_path / "records.jsonl.gz").read_bytes()).decode()
    assert "bob@example.org" not in text
    assert "ann@example.org" not in text
    assert "sk-proj-a1B2" not in text
    run = to_run(read_records(tmp_path / "records.jsonl.gz"), run_id="r")
    assert run.calls[0].latency == 1.5
    assert run.calls[0].user
    assert run.results[0].scores[0].value == 1.0
    assert cli.main(["score", "records.jsonl.gz", "-o", "scores.jsonl", "--scorers", "relevance"]) == 0
    scored = json.loads((tmp_path / "scores.jsonl").read_text())
    assert scored["scores"]["relevance"]["value"] is not None
    assert cli.main(["compare", "records.jsonl.gz", "records.jsonl.gz"]) == 0
    assert cli.main(["import", "missing.json"]) == 4
    assert "missing.json: cannot be read" in capsys.readouterr().err
