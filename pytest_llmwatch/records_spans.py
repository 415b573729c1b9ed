"""Spans of OTLP JSON and Phoenix as RECORDS: the attributes of the GenAI conventions and of OpenInference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pytest_llmwatch import semconv
from pytest_llmwatch.model import JSON
from pytest_llmwatch.records_shapes import messages_of, parts_text

_CALLS = ("chat", "text_completion", "generate_content", "embeddings", "responses", "completion")


@dataclass(slots=True)
class SpanRow:
    """One span of an export, in either form: flat attributes, times in seconds since 1970."""

    name: str
    attributes: dict[str, JSON]
    trace_id: str | None = None
    span_id: str | None = None
    parent_id: str | None = None
    start: float | None = None
    end: float | None = None
    error: str | None = None
    failed: bool = False
    events: list[tuple[str, dict[str, JSON]]] = field(default_factory=list)
    span_kind: str | None = None

    @property
    def kind(self) -> str:
        """What it is a span of: ``LLM``, ``TOOL``, ``RETRIEVER`` and the like, or the operation."""
        own = self.attributes.get("openinference.span.kind") or self.span_kind
        if isinstance(own, str) and own.upper() != "UNKNOWN":
            return own.upper()
        operation = self.attributes.get(semconv.CALL_ATTRIBUTES["operation"].name)
        return str(operation or "other span")

    @property
    def is_call(self) -> bool:
        """Whether it is one call of a model."""
        kind = self.kind
        if kind in ("LLM", "EMBEDDING") or kind in _CALLS:
            return True
        # older instrumentations name no operation
        return kind == "other span" and any(n in self.attributes for n in semconv.MODEL_NAMES)

    @property
    def documents(self) -> list[JSON]:
        """What a retrieval returned, empty for all else."""
        whole = self.attributes.get(semconv.SPAN_ATTRIBUTES["documents"])
        if isinstance(whole, str):
            whole = _parsed(whole)
        if isinstance(whole, list):
            return whole
        numbered = _numbered(self.attributes, "retrieval.documents")
        return [
            {key.removeprefix("document."): value for key, value in found.items()} for found in numbered if found
        ]


def is_otlp(value: Mapping[str, Any]) -> bool:
    """Whether ``value`` is an OTLP JSON request of spans."""
    return isinstance(value.get("resourceSpans", value.get("resource_spans")), list)


def is_phoenix(value: Mapping[str, Any]) -> bool:
    """Whether ``value`` is a span as Phoenix gives it: from its API, or as a row of its data frame."""
    return (
        isinstance(value.get("context"), Mapping) and "span_id" in value["context"]
    ) or "context.span_id" in value


def from_otlp(value: Mapping[str, Any]) -> Iterator[SpanRow]:
    """Yield the spans of an OTLP JSON request; those of the resource are among a span's attributes."""
    for group in _maps(value.get("resourceSpans", value.get("resource_spans"))):
        shared = _attributes(_map(group.get("resource")).get("attributes"))
        scopes = group.get("scopeSpans", group.get("scope_spans", group.get("instrumentationLibrarySpans")))
        for scope in _maps(scopes):
            for span in _maps(scope.get("spans")):
                yield _otlp_row(span, shared)


def _otlp_row(span: Mapping[str, Any], shared: dict[str, JSON]) -> SpanRow:
    status = _map(span.get("status"))
    failed = status.get("code") in (2, "2", "STATUS_CODE_ERROR")
    return SpanRow(
        name=str(span.get("name") or ""),
        attributes={**shared, **_attributes(span.get("attributes"))},
        trace_id=_id(span.get("traceId", span.get("trace_id"))),
        span_id=_id(span.get("spanId", span.get("span_id"))),
        parent_id=_id(span.get("parentSpanId", span.get("parent_span_id"))),
        start=_unix(span.get("startTimeUnixNano", span.get("start_time_unix_nano"))),
        end=_unix(span.get("endTimeUnixNano", span.get("end_time_unix_nano"))),
        failed=failed,
        error=str(status["message"]) if failed and status.get("message") else None,
        events=[(str(e.get("name")), _attributes(e.get("attributes"))) for e in _maps(span.get("events"))],
    )


def from_phoenix(value: Mapping[str, Any]) -> Iterator[SpanRow]:
    """Yield the span of one object of Phoenix's API, or of one row of its data frame."""
    context = _map(value.get("context"))
    given = value.get("attributes")
    attributes = _flat(given) if isinstance(given, Mapping) else {}
    for key, item in value.items():
        if key.startswith("attributes.") and item is not None:
            attributes.update(_flat({key.removeprefix("attributes."): item}))
    failed = str(value.get("status_code") or "").upper() == "ERROR"
    yield SpanRow(
        name=str(value.get("name") or ""),
        attributes=attributes,
        trace_id=_id(context.get("trace_id") or value.get("context.trace_id")),
        span_id=_id(context.get("span_id") or value.get("context.span_id")),
        parent_id=_id(value.get("parent_id")),
        start=seconds(value.get("start_time")),
        end=seconds(value.get("end_time")),
        failed=failed,
        error=str(value["status_message"]) if failed and value.get("status_message") else None,
        events=[(str(e.get("name")), _flat(_map(e.get("attributes")))) for e in _maps(value.get("events"))],
        span_kind=str(value["span_kind"]) if value.get("span_kind") else None,
    )


def record_of(row: SpanRow) -> dict[str, JSON]:
    """Return the record of a span that is a call."""
    own: dict[str, JSON] = {}
    # the names in force first: where both vocabularies are there, the second is often a translation of the first
    for name, value in row.attributes.items():
        ours = semconv.field_of(name)
        if ours is not None and ours not in ("input", "output", "nodeid", "latency", "call_id"):
            own.setdefault(ours, value)
    for name, ours in semconv.OPENINFERENCE.items():
        if row.attributes.get(name) is not None:
            own.setdefault(ours, row.attributes[name])
    reasons = own.get("finish_reason")
    if isinstance(reasons, list):
        own["finish_reason"] = str(reasons[0]) if reasons else None
    out: dict[str, JSON] = {
        "id": row.span_id, "trace_id": row.trace_id, "span_id": row.span_id, "parent_id": row.parent_id,
        "time": None if row.start is None else _iso(row.start),
        "latency": row.end - row.start if row.start is not None and row.end is not None else None,
        **{key: value for key, value in own.items() if key in _KEPT}, **_messages(row.attributes),
        "scores": _scores(row) or None,
    }  # fmt: skip
    if out["latency"] is not None:
        out["latency"] = round(max(0.0, out["latency"]), 9)
    _state(row, out, own)
    return {key: value for key, value in out.items() if value is not None}


_KEPT = frozenset(
    {
        *("provider", "model", "response_model", "request_id", "finish_reason", "input_tokens", "output_tokens"),
        *("total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "ttft", "session", "user"),
        *("prompt_name", "prompt_version", "cost_usd", "feature", "team", "tenant", "environment", "case"),
        *("sample", "set", "retries", "stage", "operation"),
    }
)


def _state(row: SpanRow, out: dict[str, JSON], own: Mapping[str, JSON]) -> None:
    raised = next((a for name, a in row.events if name == "exception"), {})
    status = own.get("status")
    failed = row.failed or bool(own.get("error_type") or raised)
    out["error"] = row.error or raised.get("exception.message")
    kind = str(own.get("error_type") or raised.get("exception.type") or "")
    if kind:
        out["error_type"] = kind
    if status in ("success", "error", "timeout", "rate_limited", "incomplete"):
        out["status"] = status
    elif failed:
        text = f"{kind} {out.get('error') or ''}".lower()
        limited = any(word in text for word in ("ratelimit", "rate_limit", "429", "too many requests"))
        out["status"] = (
            "rate_limited" if limited else "timeout" if "timeout" in text or "timed out" in text else "error"
        )
    else:
        out["status"] = "success"
    if failed and out["error"] is None:
        out["error"] = kind or "error"


def _messages(attributes: Mapping[str, JSON]) -> dict[str, JSON]:
    asked = _first_of(attributes, semconv.INPUT_MESSAGES)
    said = _first_of(attributes, semconv.OUTPUT_MESSAGES)
    indexed: dict[str, dict[int, dict[str, JSON]]] = {"input": {}, "output": {}}
    for name, value in attributes.items():
        place = semconv.indexed(name)
        if place is not None:
            indexed[place.field].setdefault(place.number, {})[place.part] = value
    if asked is None:
        asked = [m for _, m in sorted(indexed["input"].items())] or _openinference(
            attributes, "llm.input_messages"
        )
    if said is None:
        said = [m for _, m in sorted(indexed["output"].items())] or _openinference(
            attributes, "llm.output_messages"
        )
    text, tools = _answer(said)
    out: dict[str, JSON] = {"input": asked or attributes.get("input.value"), "tool_calls": tools or None}
    out["output"] = text if text is not None or tools else attributes.get("output.value")
    return out


def _first_of(attributes: Mapping[str, JSON], names: tuple[str, ...]) -> JSON:
    for name in names:
        value = attributes.get(name)
        if value not in (None, ""):
            return messages_of(value)
    return None


def _answer(said: JSON) -> tuple[str | None, list[JSON]]:
    """Return text and tool calls of the messages that a model answered with."""
    if isinstance(said, str):
        return said, []
    texts: list[str] = []
    tools: list[JSON] = []
    for message in _maps(said):
        text = parts_text(message.get("content"))
        if text:
            texts.append(text)
        for part in (*_maps(message.get("parts")), *_maps(message.get("tool_calls"))):
            if part.get("type") in ("tool_call", "function", None) and ("name" in part or "function" in part):
                tools.append(part)
    return ("".join(texts) if texts else None), tools


def _openinference(attributes: Mapping[str, JSON], prefix: str) -> list[JSON]:
    out: list[JSON] = []
    for found in _numbered(attributes, prefix):
        message: dict[str, JSON] = {"role": found.get("message.role", "user")}
        contents = _numbered(found, "message.contents")
        texts = [str(c["message_content.text"]) for c in contents if "message_content.text" in c]
        message["content"] = found.get("message.content", "".join(texts) if texts else None)
        tools = [
            {
                "id": t.get("tool_call.id"),
                "name": t.get("tool_call.function.name"),
                "arguments": t.get("tool_call.function.arguments"),
            }
            for t in _numbered(found, "message.tool_calls")
        ]
        if tools:
            message["tool_calls"] = tools
        out.append(message)
    return out


def _scores(row: SpanRow) -> dict[str, JSON]:
    out: dict[str, JSON] = {}
    names = semconv.EVALUATION_ATTRIBUTES
    for name, attributes in row.events:
        value = attributes.get(names["value"].name)
        scorer = attributes.get(names["name"].name)
        if name == semconv.EVALUATION_EVENT and isinstance(scorer, str) and isinstance(value, int | float):
            out[scorer] = float(value)
    return out


def _numbered(attributes: Mapping[str, JSON], prefix: str) -> list[dict[str, JSON]]:
    """Return the items of a list that is written as ``prefix.NUMBER.rest``."""
    found: dict[int, dict[str, JSON]] = {}
    head = f"{prefix}."
    for name, value in attributes.items():
        if name.startswith(head):
            number, _, rest = name.removeprefix(head).partition(".")
            if number.isdecimal() and len(number) < 6 and rest:
                found.setdefault(int(number), {})[rest] = value
    return [found[n] for n in sorted(found)]


def _attributes(given: Any) -> dict[str, JSON]:
    """Return OTLP's list of keys and typed values as an object."""
    return {str(a["key"]): _value(_map(a.get("value"))) for a in _maps(given) if "key" in a}


def _value(value: Mapping[str, Any]) -> JSON:
    for key, item in value.items():
        kind = key.replace("_", "").lower()
        if kind in ("stringvalue", "boolvalue", "doublevalue"):
            return item
        if kind == "intvalue":
            try:
                return int(item)
            except (TypeError, ValueError):
                return None
        if kind == "arrayvalue":
            return [_value(v) for v in _maps(_map(item).get("values"))]
        if kind == "kvlistvalue":
            return _attributes(_map(item).get("values"))
    return None


def _flat(given: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, JSON]:
    """Return nested objects, and lists of objects, as dotted keys; other values as they are."""
    out: dict[str, JSON] = {}
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < 12:
            out.update(_flat(value, f"{name}.", depth + 1))
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value) and depth < 12:
            for number, item in enumerate(value):
                out.update(_flat(item, f"{name}.{number}.", depth + 1))
        elif value is not None:
            out[name] = value
    return out


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def _id(value: Any) -> str | None:
    """Return an id, None where it is empty or all zeros."""
    text = str(value or "").lower()
    return text if text.strip("0") else None


def _unix(value: Any) -> float | None:
    try:
        nanoseconds = int(value)
    except (TypeError, ValueError):
        return None
    return nanoseconds / 1e9 if 0 < nanoseconds < 2**63 else None


def seconds(value: Any) -> float | None:
    """Return a time (ISO 8601 text, or milliseconds as data frames write them) as seconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if 0 < value < 1e15 else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
