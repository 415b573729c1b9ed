"""trace.otlp.json: a run's spans as OTLP in JSON (the protocol's file form), without any library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_llmwatch import __version__, semconv
from pytest_llmwatch.export.spans import OutEvent, OutSpan, Value, resource, spans
from pytest_llmwatch.model import Report, Run

_KINDS = {"internal": 1, "client": 3}
_OK, _ERROR = 1, 2


def render(source: Report | Run, *, service: str = "llmwatch", bodies: bool = False) -> str:
    """Return the spans of a run as one JSON object: an ``ExportTraceServiceRequest``.

    Args:
        source: A report or a run.
        service: ``service.name`` of the spans.
        bodies: Whether texts are written too.
    """
    return "".join(pieces(source, service=service, bodies=bodies))


def pieces(source: Report | Run, *, service: str = "llmwatch", bodies: bool = False) -> Iterator[str]:
    """Yield what `render` returns, a span at a time: a large run's file is larger than its run."""
    shared = _dump({"attributes": _attributes(resource(source, service))})
    scope = _dump({"name": "pytest-llmwatch", "version": __version__})
    yield f'{{"resourceSpans": [{{"resource": {shared}, "scopeSpans": [{{"scope": {scope}, "spans": ['
    between = ""
    for span in spans(source, bodies=bodies):
        yield between + _dump(_span(span))
        between = ",\n"
    schema = _dump(semconv.SCHEMA_URL)
    yield f'], "schemaUrl": {schema}}}], "schemaUrl": {schema}}}]}}\n'


_dump = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode


def _span(span: OutSpan) -> dict[str, Any]:
    out: dict[str, Any] = {"traceId": span.trace_id, "spanId": span.span_id}
    if span.parent_id is not None:
        out["parentSpanId"] = span.parent_id
    out |= {
        "name": span.name,
        "kind": _KINDS[span.kind],
        # 64-bit numbers are strings in this form
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
    }
    if span.events:
        out["events"] = [_event(e) for e in span.events]
    if span.links:
        out["links"] = [{"traceId": trace, "spanId": own} for trace, own in span.links]
    out["status"] = {"code": _OK} if span.error is None else {"code": _ERROR, "message": span.error}
    return out


def _event(event: OutEvent) -> dict[str, Any]:
    return {"timeUnixNano": str(event.time), "name": event.name, "attributes": _attributes(event.attributes)}


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [{"stringValue": v} for v in value]}}
    return {"stringValue": value}
