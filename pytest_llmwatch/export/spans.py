"""A run as spans with the GenAI attributes: tests, the steps inside them, calls, and scores as events on calls.

Knows no OpenTelemetry library: `otlp_json` writes these spans to a file, `otel` hands them to the SDK.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pytest_llmwatch import __version__, semconv
from pytest_llmwatch.export import ids
from pytest_llmwatch.model import Call, CaseResult, Report, Run, Score, Span

Value = str | bool | int | float | list[str]
_CALL = {name: attribute.name for name, attribute in semconv.CALL_ATTRIBUTES.items()}
_SPAN = semconv.SPAN_ATTRIBUTES
_EVALUATION = {name: attribute.name for name, attribute in semconv.EVALUATION_ATTRIBUTES.items()}
_MAX_TEXT = 500
_MAX_BODY = 16_000


@dataclass(frozen=True, slots=True)
class OutEvent:
    """Something that happened in a span; ``time`` in nanoseconds since 1970."""

    name: str
    time: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class OutSpan:
    """One span as OpenTelemetry has it. Ids are lower-case hexadecimal; times are nanoseconds since 1970.

    ``links`` are (trace, span) of what it has to do with in another trace. ``error`` None = it went well.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start: int
    end: int
    kind: Literal["internal", "client"] = "internal"
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: tuple[OutEvent, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    error: str | None = None


def resource(source: Report | Run, service: str = "llmwatch") -> dict[str, Value]:
    """Return what all spans of a run share: service, versions, commit, branch, pipeline."""
    run = source.run if isinstance(source, Report) else source
    environment = run.environment
    versions = environment.get("versions")
    known = {
        "service": service,
        "version": versions.get("pytest-llmwatch") if isinstance(versions, Mapping) else __version__,
        "run_id": run.run_id,
        "verdict": source.verdict if isinstance(source, Report) else None,
        "commit": environment.get("commit"),
        "branch": environment.get("branch"),
        "pipeline": environment.get("pipeline"),
        "pipeline_run": environment.get("pipeline_run"),
    }
    return _attributes({semconv.RESOURCE_ATTRIBUTES[key]: value for key, value in known.items()})


def spans(source: Report | Run, *, bodies: bool = False, legacy: bool = True) -> Iterator[OutSpan]:
    """Yield the spans of a run: each after those above it, in the run's order.

    A test is a span of its own; what it did hangs below it, or is linked to it where it is in a trace of others.

    Args:
        source: A report or a run.
        bodies: Whether what was asked, answered and retrieved is there too (as redacted as everything kept).
        legacy: Whether the older names of some attributes are written beside those in force.
    """
    run = source.run if isinstance(source, Report) else source
    yield from _Spans(run, bodies=bodies, legacy=legacy).all()


class _Spans:
    def __init__(self, run: Run, *, bodies: bool, legacy: bool) -> None:
        self.run = run
        self.bodies = bodies
        self.legacy = legacy
        self.origin = _nanoseconds(run.time) or 0
        self.tests = {(r.nodeid, r.repeat, r.attempt): r for r in run.results}
        self.scores: dict[str, tuple[Score, ...]] = {r.call_ids[-1]: r.scores for r in run.results if r.call_ids}
        self.known = {ids.span_id(run, s, s.id) for s in run.spans}
        self.known |= {ids.span_id(run, c, _own(c)) for c in run.calls}
        self.traces: dict[tuple[str, int, int], str] = {}
        records: tuple[Call | Span, ...] = (*run.calls, *run.spans)
        for record in records:
            trace = ids.trace_id(run, record)
            if record.nodeid is not None and trace is not None:
                self.traces.setdefault((record.nodeid, record.repeat, record.attempt), trace)

    def all(self) -> Iterator[OutSpan]:
        below = [*map(self.of_span, self.run.spans), *map(self.of_call, self.run.calls)]
        inside: dict[str, list[OutSpan]] = {}
        for span in below:
            inside.setdefault(span.parent_id or "", []).append(span)
        for result in self.run.results:
            yield self.of_test(result, inside.get(ids.test_span(self.run, result), []))
        yield from _parents_first(below)

    def of_test(self, result: CaseResult, inside: list[OutSpan]) -> OutSpan:
        start = min((s.start for s in inside), default=self.origin)
        end = max((s.end for s in inside), default=start)
        if result.duration is not None and math.isfinite(result.duration):
            end = max(end, start + int(result.duration * 1e9))
        status = {"passed": "pass", "failed": "fail", "error": "fail"}.get(result.outcome)
        on_call = bool(result.call_ids)
        return OutSpan(
            name=f"test {_cut(result.nodeid, 200)}",
            trace_id=self.trace_of(result),
            span_id=ids.test_span(self.run, result),
            parent_id=None,
            start=start,
            end=end,
            attributes=_attributes(
                {
                    _CALL["nodeid"]: result.nodeid, _CALL["set"]: result.set, _CALL["case"]: result.case,
                    _SPAN["test_status"]: status, _SPAN["outcome"]: result.outcome,
                    _SPAN["repeat"]: result.repeat, _SPAN["attempt"]: result.attempt,
                }
            ),
            events=() if on_call else tuple(_evaluation(s, end, None) for s in result.scores),
            error=None if result.outcome in ("passed", "skipped") else _cut(result.reason or result.outcome),
        )  # fmt: skip

    def trace_of(self, result: CaseResult) -> str:
        key = (result.nodeid, result.repeat, result.attempt)
        return self.traces.get(key) or ids.test_trace(self.run, result)

    def place(self, record: Call | Span, own: str) -> tuple[str, str | None, tuple[tuple[str, str], ...]]:
        """Return trace, parent and links of a record."""
        result = self.tests.get((record.nodeid or "", record.repeat, record.attempt))
        trace = ids.trace_id(self.run, record)
        parent = None if record.parent_id is None else ids.span_id(self.run, record, record.parent_id)
        outer = ids.outer(record)
        if outer is not None and parent is None:
            # the application's own trace goes on; the test is a link away
            test = () if result is None else ((self.trace_of(result), ids.test_span(self.run, result)),)
            return outer[0], outer[1], test
        links = () if outer is None else (outer,)
        if result is None:
            return trace or ids.digest("lone", self.run.run_id, own, length=32), parent, links
        # a parent that was never written (a run cut short) would hide what is below it
        above = parent if parent in self.known else ids.test_span(self.run, result)
        return self.trace_of(result), above, links

    def of_span(self, span: Span) -> OutSpan:
        own = ids.span_id(self.run, span, span.id)
        trace, parent, links = self.place(span, own)
        start = _nanoseconds(span.time) or self.origin
        kind, name, attributes = self._step(span)
        labels = {_CALL[key]: value for key, value in span.labels.items() if key in _CALL}
        return OutSpan(
            name=name,
            trace_id=trace,
            span_id=own,
            parent_id=parent,
            start=start,
            end=_end(start, span.latency),
            kind="client" if kind == "retrieval" else "internal",
            attributes=_attributes(
                {
                    _SPAN["kind"]: span.kind, _CALL["nodeid"]: span.nodeid,
                    _CALL["capture_mode"]: span.capture_mode, **labels, **attributes,
                }
            ),
            links=links,
            error=None if span.error is None else _cut(span.error),
        )  # fmt: skip

    def _step(self, span: Span) -> tuple[str, str, dict[str, Any]]:
        operation = semconv.OPERATIONS.get(span.kind, span.kind)
        if span.kind == "tool":
            tool = span.tool
            name = tool.name if tool else span.name
            out: dict[str, Any] = {_SPAN["tool_name"]: name, _SPAN["tool_type"]: "function"}
            if tool is not None:
                out[_SPAN["tool_call_id"]] = tool.id
                if self.bodies:
                    out[_SPAN["tool_arguments"]] = tool.arguments or None
                    out[_SPAN["tool_result"]] = tool.result
        elif span.kind == "retrieval":
            name = span.name
            out = {}
            if span.retrieval is not None:
                found = span.retrieval
                out = {_SPAN["source"]: found.source, _SPAN["retrieved"]: len(found.ids or found.documents)}
                if self.bodies:
                    out[_SPAN["query"]] = found.query
                    out[_SPAN["documents"]] = _json(_documents(found.ids, found.documents, found.scores))
        elif span.kind == "agent":
            name, out = span.name, {_SPAN["agent_name"]: span.name}
        else:
            return span.kind, span.name, {}
        return span.kind, f"{operation} {name}", {_CALL["operation"]: operation, **out}

    def of_call(self, call: Call) -> OutSpan:
        own = ids.span_id(self.run, call, _own(call))
        trace, parent, links = self.place(call, own)
        start = _nanoseconds(call.time) or self.origin
        end = _end(start, call.latency)
        operation = semconv.OPERATIONS.get(call.operation, call.operation)
        return OutSpan(
            name=f"{operation} {call.model}" if call.model else operation,
            trace_id=trace,
            span_id=own,
            parent_id=parent,
            start=start,
            end=end,
            kind="client",
            attributes=_attributes({**self._call(call, operation), **(self._texts(call) if self.bodies else {})}),
            events=tuple(_evaluation(s, end, call) for s in self.scores.get(call.id, ())),
            links=links,
            error=_cut(call.error or call.status) if call.failed else None,
        )

    def _call(self, call: Call, operation: str) -> dict[str, Any]:
        usage = call.usage
        values: dict[str, Any] = {
            "operation": operation, "provider": call.provider, "model": call.model,
            "response_model": call.response_model, "request_id": call.request_id,
            "finish_reason": [call.finish_reason] if call.finish_reason else None,
            "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens,
            "reasoning_tokens": usage.reasoning_tokens, "ttft": call.ttft, "session": call.session,
            "server_address": call.server_address, "server_port": call.server_port,
            "error_type": (call.error_type or call.status) if call.failed else None,
            "prompt_name": call.prompt_name, "nodeid": call.nodeid, "prompt_version": call.prompt_version,
            "cost_usd": call.cost.usd, "capture_mode": call.capture_mode, "feature": call.feature,
            "team": call.team, "latency": call.latency, "status": call.status, "call_id": call.id,
            "set": call.set, "case": call.case, "sample": call.repeat, "retries": call.retries,
            "stream": call.stream or None, "environment": call.environment, "tenant": call.tenant,
            "user": call.user, "stage": call.stage, "role": call.role,
        }  # fmt: skip
        out = {_CALL[key]: value for key, value in values.items()}
        if self.legacy:
            for key, value in values.items():
                older = semconv.CALL_ATTRIBUTES[key].legacy
                if older is not None:
                    out[older] = value
        for key, name in semconv.PARAMETERS.items():
            value = call.parameters.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                out[name] = value
        return out

    def _texts(self, call: Call) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if call.input is not None:
            out[_SPAN["input_messages"]] = _json([_message("user", call.input)])
        if call.output is not None:
            out[_SPAN["output_messages"]] = _json([_message("assistant", call.output)])
        return out


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": _cut(text, _MAX_BODY)}]}


def _documents(
    names: tuple[str, ...], texts: tuple[str, ...], scores: tuple[float, ...]
) -> list[dict[str, str | float]]:
    out: list[dict[str, str | float]] = []
    for index in range(max(len(names), len(texts))):
        document: dict[str, str | float] = {}
        if index < len(names):
            document["id"] = names[index]
        if index < len(texts):
            document["content"] = _cut(texts[index], 2000)
        if index < len(scores):
            document["score"] = scores[index]
        out.append(document)
    return out


def _evaluation(score: Score, time: int, call: Call | None) -> OutEvent:
    """Return a score as the conventions' event. Explanations may quote an answer, so they are not told."""
    verdict = None if score.passed is None else "pass" if score.passed else "fail"
    return OutEvent(
        semconv.EVALUATION_EVENT,
        time,
        _attributes(
            {
                _EVALUATION["name"]: score.name,
                _EVALUATION["value"]: score.value,
                _EVALUATION["label"]: score.label or verdict,
                _EVALUATION["threshold"]: score.threshold,
                _EVALUATION["version"]: score.version,
                _EVALUATION["response_id"]: call.request_id if call else None,
            }
        ),
    )


def _parents_first(spans: list[OutSpan]) -> Iterator[OutSpan]:
    """Yield spans so that each comes after its parent, else in the order given; a cycle is broken anywhere."""
    by_id = {(s.trace_id, s.span_id): s for s in spans}
    done: set[tuple[str, str]] = set()
    for span in spans:
        chain: list[OutSpan] = []
        here: OutSpan | None = span
        while here is not None and (here.trace_id, here.span_id) not in done:
            done.add((here.trace_id, here.span_id))
            chain.append(here)
            here = by_id.get((here.trace_id, here.parent_id or ""))
        yield from reversed(chain)


def _own(call: Call) -> str:
    return call.span_id or call.id


def _nanoseconds(time: str | None) -> int | None:
    if time is None:
        return None
    try:
        return int(datetime.fromisoformat(time).timestamp() * 1e6) * 1000
    except (ValueError, OverflowError):
        return None


def _end(start: int, seconds: float | None) -> int:
    return start + (int(seconds * 1e9) if seconds is not None and math.isfinite(seconds) and seconds > 0 else 0)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _cut(text: str, most: int = _MAX_TEXT) -> str:
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    return whole if len(whole) <= most else whole[:most] + "…"


def _attributes(values: Mapping[str, Any]) -> dict[str, Value]:
    """Return what is known: no None, no number that is not finite, texts that can be encoded."""
    out: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, str):
            out[name] = _cut(value, _MAX_BODY + 2000)
        elif isinstance(value, list | tuple):
            out[name] = [_cut(str(v)) for v in value]
        elif isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            out[name] = value
    return out
