"""Exports of Langfuse as RECORDS: observations, alone or inside their traces, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_llmwatch.model import JSON
from pytest_llmwatch.records_shapes import parts_text
from pytest_llmwatch.records_spans import seconds

_TYPES = ("GENERATION", "EMBEDDING")
_OF_TRACE = ("userId", "sessionId", "tags", "environment", "metadata", "scores")


def is_langfuse(value: Mapping[str, Any]) -> bool:
    """Whether ``value`` is an observation of Langfuse, or a trace that holds its observations."""
    if isinstance(value.get("observations"), list) and not all(isinstance(o, str) for o in value["observations"]):
        return True
    return (
        ("traceId" in value or "trace_id" in value)
        and isinstance(value.get("type"), str)
        and ("startTime" in value or "start_time" in value)
    )


def from_langfuse(value: Mapping[str, Any]) -> Iterator[tuple[dict[str, JSON] | None, str]]:
    """Yield a record per generation, and None with its type for every other observation."""
    inside = value.get("observations")
    if isinstance(inside, list):
        shared = {key: value[key] for key in _OF_TRACE if value.get(key) is not None}
        given = [o for o in inside if isinstance(o, Mapping)]
        made = sum(str(o.get("type", "")).upper() in _TYPES for o in given)
        if made != 1:
            # a score of the whole trace is one of no single call in it
            shared.pop("scores", None)
        for observation in given:
            yield from from_langfuse({**shared, "traceId": value.get("id"), **observation})
        return
    kind = str(value.get("type", "")).upper()
    yield (_record(value), kind) if kind in _TYPES else (None, kind or "observation")


def _record(value: Mapping[str, Any]) -> dict[str, JSON]:
    def get(*names: str) -> Any:
        return next((value[n] for n in names if value.get(n) not in (None, "")), None)

    start, end = seconds(get("startTime", "start_time")), seconds(get("endTime", "end_time"))
    first = seconds(get("completionStartTime", "completion_start_time"))
    version = get("promptVersion", "prompt_version", "version")
    failed = str(get("level") or "").upper() == "ERROR"
    message = get("statusMessage", "status_message")
    metadata = get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    feature = metadata.get("feature")
    out: dict[str, JSON] = {
        "id": get("id"),
        "trace_id": get("traceId", "trace_id"),
        "span_id": get("id"),
        "parent_id": get("parentObservationId", "parent_observation_id"),
        "time": get("startTime", "start_time"),
        "latency": None if start is None or end is None else round(max(0.0, end - start), 9),
        "ttft": None if start is None or first is None else round(max(0.0, first - start), 9),
        "model": get("model", "providedModelName"),
        "input": get("input"),
        "prompt_name": get("promptName", "prompt_name"),
        "prompt_version": None if version is None else str(version),
        "status": _status(str(message or "")) if failed else "success",
        "error": (message or "error") if failed else None,
        "user": get("userId", "user_id"),
        "session": get("sessionId", "session_id"),
        "environment": get("environment"),
        "feature": feature if isinstance(feature, str) else None,
        "scores": _scores(get("scores")) or None,
        **_usage(value),
        **_said(get("output")),
    }
    tags = get("tags")
    if isinstance(tags, list) and tags:
        out["tags"] = [str(t) for t in tags]
    return {key: item for key, item in out.items() if item is not None}


def _status(message: str) -> str:
    text = message.lower()
    if "429" in text or "rate limit" in text or "ratelimit" in text:
        return "rate_limited"
    return "timeout" if "timeout" in text or "timed out" in text else "error"


def _said(output: Any) -> dict[str, JSON]:
    """Return text and tool calls of an answer, which may be a text, a message, messages, or any JSON."""
    if isinstance(output, list) and output and all(isinstance(m, Mapping) for m in output):
        output = output[-1]
    if not isinstance(output, Mapping):
        return {"output": output}
    if isinstance(output.get("choices"), list):
        return {"response": output}  # a whole response, which RECORDS understand
    if "content" not in output and "tool_calls" not in output:
        return {"output": output}
    return {"output": parts_text(output.get("content")), "tool_calls": output.get("tool_calls") or None}


def _usage(value: Mapping[str, Any]) -> dict[str, JSON]:
    usage = value.get("usageDetails") or value.get("usage_details") or value.get("usage") or {}
    usage = usage if isinstance(usage, Mapping) else {}
    costs = value.get("costDetails") or value.get("cost_details") or {}
    costs = costs if isinstance(costs, Mapping) else {}

    def first(*found: Any) -> Any:
        return next((f for f in found if isinstance(f, int | float) and not isinstance(f, bool)), None)

    return {
        "input_tokens": first(usage.get("input"), value.get("inputUsage"), value.get("promptTokens")),
        "output_tokens": first(usage.get("output"), value.get("outputUsage"), value.get("completionTokens")),
        "total_tokens": first(usage.get("total"), value.get("totalUsage"), value.get("totalTokens")),
        "cached_tokens": first(usage.get("input_cached_tokens"), usage.get("cache_read_input_tokens")),
        "reasoning_tokens": first(usage.get("output_reasoning_tokens"), usage.get("reasoning_tokens")),
        "cost_usd": first(
            costs.get("total"), value.get("calculatedTotalCost"), value.get("totalCost"), value.get("total_cost")
        ),
    }


def _scores(given: Any) -> dict[str, JSON]:
    out: dict[str, JSON] = {}
    for score in given if isinstance(given, list) else ():
        if isinstance(score, Mapping) and isinstance(score.get("name"), str):
            value = score.get("value")
            if isinstance(value, int | float):
                out[score["name"]] = float(value)
    return out
