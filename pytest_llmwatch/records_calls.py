"""Records to and from calls: our own flat lines, which restore everything, and other people's, which tell less."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from pytest_llmwatch import records_fields as fields
from pytest_llmwatch.codec import decode, encode
from pytest_llmwatch.model import (
    JSON,
    SCHEMA_VERSION,
    Attempt,
    Call,
    Case,
    CaseResult,
    Cost,
    Retrieval,
    Run,
    Score,
    Usage,
)
from pytest_llmwatch.records_outcome import read_outcome

_SHARED = ("input", "output", "context", "reference", "tags")
_FLAT = frozenset({"id", "repeat", "usage", "cost", "tags", "tool_calls", "time"})
_AS_THEY_ARE = (
    *("time", "provider", "server_address", "server_port", "model", "response_model", "prompt_name"),
    *("prompt_version", "finish_reason", "request_id", "error_type", "latency", "ttft", "queue_wait", "feature"),
    *("team", "user", "tenant", "environment", "session", "stage", "trace_id", "span_id", "parent_id"),
    *("reference", "case"),
)


def to_record(call: Call, result: CaseResult | None = None, case: Case | None = None) -> dict[str, JSON]:
    """Return ``call`` as one flat RECORDS line that also carries all that `read_records` needs to restore it.

    Args:
        call: The call.
        result: The test's result, given with the *last* call of the test only, so that no score counts twice.
        case: The golden case; adds its schema and expected tool calls.
    """
    out: dict[str, JSON] = {"schema_version": SCHEMA_VERSION, "id": call.id}
    if call.case is not None:
        out["case"] = call.case
    out["sample"] = call.repeat
    whole = encode(call)
    usage = whole.pop("usage", {})
    cost = whole.pop("cost", {})
    out.update({key: value for key, value in whole.items() if key not in _FLAT})
    flat = {
        "time": call.time,
        "tool_calls": whole.get("tool_calls"),
        "tags": fields.untag(call.tags) or None,
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cached_tokens": usage.get("cached_tokens"),
        "reasoning_tokens": usage.get("reasoning_tokens"),
        "cache_write_tokens": usage.get("cache_write_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "tokens_estimated": usage.get("estimated"),
        "cost_usd": cost.get("usd"),
        "cost": cost or None,
        "retries": call.retries or None,
        "retrieved": list(call.retrieval.documents) if call.retrieval and call.retrieval.documents else None,
    }
    out.update({key: value for key, value in flat.items() if value is not None})
    out["status"] = call.status
    if case is not None:
        out.update({"schema": case.schema} if case.schema is not None else {})
        if case.expected_tool_calls is not None:
            out["expected_tool_calls"] = encode(case.expected_tool_calls)
    if result is not None:
        out.update(_result_keys(call, result))
    return out


def _result_keys(call: Call, result: CaseResult) -> dict[str, JSON]:
    own = encode(result)
    for name in _SHARED:
        ours, calls = getattr(result, name), getattr(call, name)
        own.pop(name, None)
        if ours != calls:
            own[name] = encode(ours)
    out: dict[str, JSON] = {"passed": result.passed, "result": own}
    values = {s.name: s.value for s in result.scores if s.value is not None}
    if values:
        out["scores"] = values
    if result.cluster is not None:
        out["cluster"] = result.cluster
    return out


def to_records(
    run: Run, cases: Mapping[tuple[str | None, str | None], Case] | None = None
) -> Iterator[dict[str, JSON]]:
    """Yield the lines of calls.jsonl.gz for ``run``, in its order.

    Args:
        run: The run.
        cases: Golden cases by (set, id), where known.
    """
    last = {result.call_ids[-1]: result for result in run.results if result.call_ids}
    for call in run.calls:
        yield to_record(call, last.get(call.id), (cases or {}).get((call.set, call.case)))


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def dump_line(record: Mapping[str, JSON]) -> str:
    """Return a record as one line of strict JSON, with its line end.

    NaN and infinities become null. Lone surrogates, and characters that some readers take for line ends, are
    escaped, so that they come back as they were.
    """
    try:
        text = _to_json(record)
    except ValueError:
        text = _to_json(_finite(record))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), ensure_ascii=True)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085") + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def own_call(value: Mapping[str, Any]) -> Call:
    """Return the call of a line that `to_record` wrote."""
    data = {k: v for k, v in value.items() if k not in ("sample", "tags", "cost", "result")}
    usage = {
        "input_tokens": value.get("input_tokens"),
        "output_tokens": value.get("output_tokens"),
        "total_tokens": value.get("total_tokens"),
        "cached_tokens": value.get("cached_tokens"),
        "reasoning_tokens": value.get("reasoning_tokens"),
        "cache_write_tokens": value.get("cache_write_tokens"),
        "estimated": value.get("tokens_estimated", False),
    }
    data["usage"] = usage
    data["cost"] = value.get("cost") or {"usd": value.get("cost_usd")}
    data["repeat"] = value.get("sample", 0)
    data["tags"] = fields.tags(value["tags"]) if "tags" in value else ()
    return decode(Call, data)


def own_result(value: Mapping[str, Any], call: Call) -> CaseResult | None:
    """Return the result that a line of ours carries, None where it carries none."""
    given = value.get("result")
    if not isinstance(given, Mapping):
        return None
    shared = {name: getattr(call, name) for name in _SHARED}
    # of a shared text that the result has not, the line says so with null
    return decode(CaseResult, {**shared, **{k: () if v == [] else v for k, v in given.items()}})


def foreign_call(data: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Call:
    """Return a call (without id) from understood fields, and other keys of the line, which may tell an outcome.

    Raises:
        BadValue: A field has a shape that it cannot have.
    """
    error = fields.as_text(data.get("error")) or None
    status = data.get("status") or ("error" if error else "success")
    source = "records" if "cost_usd" in data else None
    output, given = fields.as_text(data.get("output")), fields.as_text(data.get("input"))
    retrieved = _named("retrieved", fields.documents, data)
    operation = data.get("operation")
    return Call(
        id="",
        set=data.get("set") if isinstance(data.get("set"), str) else None,
        operation=operation if operation in ("chat", "responses", "embeddings", "tool", "retrieval", "agent")
        else "chat",
        input=given,
        output=output,
        input_chars=None if given is None else len(given),
        output_chars=None if output is None else len(output),
        context=_named("context", fields.documents, data) or (),
        usage=Usage(
            input_tokens=data.get("input_tokens"),
            output_tokens=data.get("output_tokens"),
            total_tokens=data.get("total_tokens"),
            cached_tokens=data.get("cached_tokens"),
            reasoning_tokens=data.get("reasoning_tokens"),
            cache_write_tokens=data.get("cache_write_tokens"),
        ),
        cost=Cost(usd=data.get("cost_usd"), source=source),
        tool_calls=_named("tool_calls", fields.tool_calls, data) or (),
        retrieval=None if retrieved is None else _retrieval(data, retrieved),
        status=cast(Any, status),
        error=error,
        attempts=_attempts(data, status),
        tags=_named("tags", fields.tags, data) or (),
        outcome=read_outcome(data.get("outcome", {}), (extra or {}).items()),
        capture_mode="recorded",
        **{name: data[name] for name in _AS_THEY_ARE if name in data},
    )  # fmt: skip


def _retrieval(data: Mapping[str, Any], documents: tuple[str, ...]) -> Retrieval:
    query = fields.as_text(data.get("input")) if data.get("operation") == "retrieval" else None
    # a plain list may hold ids or texts
    return Retrieval(query, fields.ids(data["retrieved"]) or documents, documents)


def _named(name: str, convert: Callable[[Any], Any], data: Mapping[str, Any]) -> Any:
    if name not in data:
        return None
    try:
        return convert(data[name])
    except fields.BadValue as error:
        raise fields.BadValue(f"{name} {error}") from error


def _attempts(data: Mapping[str, Any], status: str) -> tuple[Attempt, ...]:
    # a count is all that a log gives; what a retry met is not known
    last = Attempt(status_code=429 if status == "rate_limited" else None)
    return (*(Attempt() for _ in range(int(data.get("retries", 0)))), last)


def scores(data: Mapping[str, Any]) -> tuple[Score, ...]:
    """Return scores from ``{name: number | null | {value, label, explanation}}``.

    Raises:
        BadValue: A score is something else.
    """
    out = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            found = value.get("value")
            label = value.get("label")
            explanation = str(value.get("explanation") or "")
        else:
            found, label, explanation = value, None, ""
        if isinstance(found, bool):
            found = float(found)
        if found is not None and not isinstance(found, int | float):
            raise fields.BadValue(f"scores.{name} must be a number or null")
        out.append(Score(str(name), None if found is None else float(found), label, explanation))
    return tuple(out)


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, empty where ``value`` is no list."""
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
