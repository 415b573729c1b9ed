"""Spans: the tree, the names, the file, a receiver of OTLP, and a tracer provider that is there already."""

from __future__ import annotations

import ast
import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch import semconv
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.export import ids, logs, otel, otlp_json, spans
from pytest_llmwatch.model import Call, CaseResult, Retrieval, Run, Score, Span, ToolCall, Usage

PINNED = Path(sys.prefix) / "share" / "semconv-0.63b1"


def tree(**more: Any) -> Run:
    """A run of one test: an agent that retrieves, calls a model, runs a tool, calls again; and a lone test."""
    where: dict[str, Any] = {"nodeid": "t.py::test_a", "trace_id": "ab" * 16}
    steps = (
        Span("s" * 16, "assistant", "agent", time="2026-01-01T00:00:00Z", latency=3.0, index=0, **where),
        Span(
            "2" * 16, "search", "retrieval", parent_id="s" * 16, time="2026-01-01T00:00:00.100Z", latency=0.2,
            retrieval=Retrieval("q", ("d1",), ("text",), (0.5,), "index"), **where,
        ),
        Span(
            "3" * 16, "lookup", "tool", parent_id="s" * 16, time="2026-01-01T00:00:01Z", latency=0.5,
            tool=ToolCall("lookup", '{"x": 1}', "t1", True, "found"), error="ValueError: no", **where,
        ),
    )  # fmt: skip
    call = Call(
        id="c" * 16, parent_id="s" * 16, time="2026-01-01T00:00:00.300Z", provider="openai", operation="responses",
        model="m", response_model="m-1", request_id="resp_1", finish_reason="stop", usage=Usage(10, 5, 15, 2),
        parameters={"temperature": 0.5, "max_output_tokens": 100, "seed": 1, "odd": "x"}, latency=0.7, ttft=0.1,
        input="in-input", output="in-output", feature="chat", user="keyedhash", **where,
    )  # fmt: skip
    result = CaseResult(
        "t.py::test_a", "set", "case", call_ids=(call.id,), duration=3.5,
        scores=(Score("json", 0.0, None, "in-explanation", threshold=0.5), Score("relevance", None, "error")),
    )  # fmt: skip
    lone = CaseResult("t.py::test_b", outcome="failed", reason="assert", scores=(Score("json", 1.0),))
    run = Run("run", "2026-01-01T00:00:00Z", calls=(call,), results=(result, lone), spans=steps)
    return replace(run, **more)


def test_the_tree_is_whole_parents_first_and_scores_are_events_of_the_call() -> None:
    made = list(spans.spans(tree()))
    by_id = {s.span_id: s for s in made}
    assert len(by_id) == len(made) == 6
    seen: set[str] = set()
    for span in made:
        assert span.parent_id is None or span.parent_id in seen
        assert len(span.trace_id) == 32
        assert int(span.span_id, 16)
        seen.add(span.span_id)
    call = next(s for s in made if s.kind == "client" and s.name == "chat m")
    agent = by_id[call.parent_id or ""]
    assert agent.name == "invoke_agent assistant"
    assert by_id[agent.parent_id or ""].name == "test t.py::test_a"
    assert [e.attributes["gen_ai.evaluation.name"] for e in call.events] == ["json", "relevance"]
    assert call.events[0].attributes["gen_ai.evaluation.score.value"] == 0.0
    assert call.events[0].attributes["gen_ai.evaluation.score.label"] == "fail"
    assert "gen_ai.evaluation.score.value" not in call.events[1].attributes
    assert call.attributes["gen_ai.usage.input_tokens"] == 10
    assert call.attributes["gen_ai.request.max_tokens"] == 100
    assert call.attributes["gen_ai.system"] == "openai"
    assert (call.start, call.end) == (1767225600300000000, 1767225601000000000)
    lone = next(s for s in made if s.name == "test t.py::test_b")
    assert lone.error == "assert"
    assert len(lone.events) == 1
    assert lone.trace_id != call.trace_id


def test_texts_are_there_only_where_they_are_asked_for() -> None:
    plain = otlp_json.render(tree())
    assert "in-input" not in plain
    assert "in-output" not in plain
    assert "in-explanation" not in plain
    assert '"found"' not in plain
    whole = otlp_json.render(tree(), bodies=True)
    assert "in-input" in whole
    assert "in-output" in whole
    assert "in-explanation" not in whole


def test_a_trace_is_of_one_run_and_the_log_names_the_same() -> None:
    run = tree()
    first = next(s for s in spans.spans(run) if s.name == "chat m")
    again = next(s for s in spans.spans(replace(run, run_id="other")) if s.name == "chat m")
    assert first.trace_id != again.trace_id
    assert first.span_id != again.span_id
    assert first.attributes["llmwatch.call.id"] == again.attributes["llmwatch.call.id"]
    logged = [json.loads(line) for line in logs.render(run)]
    done = next(e for e in logged if e["event"] == "llm_request_completed")
    assert (done["trace_id"], done["span_id"]) == (first.trace_id, first.span_id)


def test_calls_of_somebody_elses_trace_stay_there_and_are_linked_to_their_test() -> None:
    run = tree()
    around = f"{'cd' * 16}-{'9' * 16}"
    foreign = replace(run.calls[0], id="d" * 16, parent_id=None, outer=around)
    inner = replace(run.calls[0], id="e" * 16, outer=around)
    made = list(spans.spans(replace(run, calls=(*run.calls, foreign, inner))))
    linked = next(s for s in made if s.attributes.get("llmwatch.call.id") == "d" * 16)
    test = next(s for s in made if s.name == "test t.py::test_a")
    assert (linked.trace_id, linked.parent_id) == ("cd" * 16, "9" * 16)
    below = next(s for s in made if s.attributes.get("llmwatch.call.id") == "e" * 16)
    assert below.trace_id == test.trace_id
    assert below.links == (("cd" * 16, "9" * 16),)
    assert linked.links == ((test.trace_id, test.span_id),)
    record = replace(run.calls[0], nodeid=None, trace_id="ef" * 16)
    alone = list(spans.spans(Run("r", "2026-01-01T00:00:00Z", calls=(record,))))
    assert [s.trace_id for s in alone] == ["ef" * 16]


def test_odd_ids_and_times_and_cycles_make_valid_spans() -> None:
    where: dict[str, Any] = {"nodeid": "n", "trace_id": "short"}
    odd = (
        Span("a", "one", parent_id="b", time="never", latency=float("nan"), **where),
        Span("b", "two", parent_id="a", time=None, latency=-1.0, attributes={"x": 1}, **where),
        Span("c", "\ud800", parent_id="lost", time="2026-01-01T00:00:00Z", **where),
    )
    text = otlp_json.render(Run("r", "not a time", spans=odd, results=(CaseResult("n"),)))
    found = json.loads(text)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len(found) == 4
    assert all(len(s["spanId"]) == 16 and len(s["traceId"]) == 32 for s in found)
    assert all(int(s["startTimeUnixNano"]) <= int(s["endTimeUnixNano"]) for s in found)
    assert text.isascii()


def names_written() -> set[str]:
    call = {name for a in semconv.CALL_ATTRIBUTES.values() for name in (a.name, a.legacy) if name}
    more = [semconv.SPAN_ATTRIBUTES, semconv.RESOURCE_ATTRIBUTES, semconv.PARAMETERS]
    return call | {a.name for a in semconv.EVALUATION_ATTRIBUTES.values()} | {n for d in more for n in d.values()}


def names_known(package: Path) -> set[str]:
    found = set()
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
                found.add(node.value.value)
    return found


def test_every_name_is_one_of_the_pinned_conventions(require: Any) -> None:
    require(PINNED.is_dir(), "semconv", "make dev installs the pinned conventions beside the environment")
    known = names_known(PINNED)
    assert len(known) > 500
    written = names_written()
    ours = {n for n in written if n.startswith("llmwatch.")}
    assert written - ours - known == set()
    assert ours & known == set()
    seen = {key for s in spans.spans(tree(), bodies=True) for key in s.attributes}
    seen |= {key for s in spans.spans(tree()) for e in s.events for key in e.attributes}
    assert seen <= written
    operations = set(semconv.OPERATIONS.values()) | {"embeddings", "retrieval"}
    values = {
        node.value.value
        for file in PINNED.rglob("gen_ai_attributes.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    assert operations <= values


@pytest.fixture
def extra(require: Any) -> None:
    try:
        otel.check()
    except UsageError as error:
        require(False, "otel", str(error))


@pytest.mark.usefixtures("extra")
def test_an_endpoint_receives_what_the_file_holds(factory: ModuleType, receiver: Callable[..., Any]) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    report = factory.make_report(200)
    server = receiver()
    assert otel.send(report, server.url, service="shop") > 256
    assert {path for path, _, _ in server.posted} == {"/v1/traces"}
    got: dict[str, Any] = {}
    for _, headers, body in server.posted:
        given = {k.lower(): v for k, v in headers.items()}
        assert given["content-type"] == "application/x-protobuf"
        request = ExportTraceServiceRequest()
        if given.get("content-encoding") == "gzip":
            request.ParseFromString(gzip.decompress(body))
        else:
            request.ParseFromString(body)
        for group in request.resource_spans:
            assert {a.key: a.value.string_value for a in group.resource.attributes}["service.name"] == "shop"
            got.update({s.span_id.hex(): s for scope in group.scope_spans for s in scope.spans})
    file = json.loads(otlp_json.render(report, service="shop"))
    written = {s["spanId"]: s for s in file["resourceSpans"][0]["scopeSpans"][0]["spans"]}
    assert set(got) == set(written)
    for own, span in written.items():
        assert got[own].name == span["name"]
        assert got[own].trace_id.hex() == span["traceId"]
        assert got[own].start_time_unix_nano == int(span["startTimeUnixNano"])
        assert len(got[own].events) == len(span.get("events", ()))
        assert {a.key for a in got[own].attributes} == {a["key"] for a in span["attributes"]}


@pytest.mark.usefixtures("extra")
def test_a_providers_own_spans_and_ours_are_one_tree() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    into = TracerProvider()
    into.add_span_processor(SimpleSpanProcessor(kept))
    with into.get_tracer("app").start_as_current_span("request") as root:
        above = root.get_span_context()
    run = tree()
    around = f"{above.trace_id:032x}-{above.span_id:016x}"
    foreign = replace(run.calls[0], id="d" * 16, parent_id=None, outer=around)
    run = replace(run, calls=(*run.calls, foreign))
    assert otel.join(run, into) == 7
    done = {(s.name, s.parent.span_id if s.parent else None): s for s in kept.get_finished_spans()}
    ours = done["chat m", above.span_id]
    assert ours.context is not None
    assert ours.context.trace_id == above.trace_id
    test = next(s for s in done.values() if s.name == "test t.py::test_a")
    assert test.context is not None
    assert [link.context.span_id for link in ours.links] == [test.context.span_id]
    agent = next(s for s in done.values() if s.name == "invoke_agent assistant")
    assert agent.parent is not None
    assert agent.parent.span_id == test.context.span_id
    assert agent.attributes is not None
    assert agent.attributes["llmwatch.run.id"] == "run"


def test_no_provider_is_found_where_nobody_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    assert otel.provider() is None


@pytest.mark.parametrize(
    ("given", "posted"),
    [
        ("http://h:4318", "http://h:4318/v1/traces"),
        ("http://h:4318/", "http://h:4318/v1/traces"),
        ("https://h/api/otel", "https://h/api/otel/v1/traces"),
        ("http://h/v1/traces", "http://h/v1/traces"),
    ],
)
def test_the_path_of_an_endpoint_is_completed(given: str, posted: str) -> None:
    assert otel.endpoint(given) == posted


def test_ids_are_hexadecimal_whatever_they_come_from() -> None:
    run = tree()
    ours, theirs = run.calls[0], replace(run.calls[0], nodeid=None)
    assert ids.span_id(run, theirs, "c" * 16) == "c" * 16
    assert ids.span_id(run, ours, "c" * 16) != ids.span_id(replace(run, run_id="other"), ours, "c" * 16)
    for given in ("", "C" * 16, "c" * 15, "0" * 16, "\ud800"):
        made = ids.span_id(run, theirs, given)
        assert len(made) == 16
        assert made != given
