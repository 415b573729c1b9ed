"""Names and shapes of RECORDS: what other people's logs call our fields, and values made uniform."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pytest_llmwatch.call import ToolCall
from pytest_llmwatch.semconv import field_of

TEXT_FIELDS = frozenset(
    {
        *("id", "case", "time", "reference", "finish_reason", "model", "response_model", "prompt_version"),
        *("feature", "team", "user", "session", "environment", "trace_id", "span_id", "parent_id", "cluster"),
        *("status", "provider", "request_id", "tenant", "stage", "prompt_name", "error_type", "operation"),
        "server_address",
    }
)
NUMBER_FIELDS = frozenset({"latency", "ttft", "cost_usd", "queue_wait"})
INTEGER_FIELDS = frozenset(
    {
        *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "total_tokens"),
        "cache_write_tokens",
        *("retries", "sample", "server_port"),
    }
)
MAPPING_FIELDS = frozenset({"scores", "outcome", "metrics"})
OTHER_FIELDS = frozenset(
    {
        *("input", "output", "context", "schema", "expected_tool_calls", "tool_calls", "retrieved", "error"),
        *("passed", "tags", "set"),
    }
)
FIELDS = TEXT_FIELDS | NUMBER_FIELDS | INTEGER_FIELDS | MAPPING_FIELDS | OTHER_FIELDS

_ALIASES = {
    "id": "call_id record_id",
    "case": "case_id test_case test_case_id",
    "sample": "repeat sample_index",
    "time": "timestamp ts created_at started_at start_time",
    "input": "prompt question query messages user_input",
    "output": "response completion answer output_text response_text",
    "context": "contexts documents retrieved_contexts",
    "reference": "expected expected_output ground_truth ideal gold",
    "input_tokens": "prompt_tokens input_token_count prompt_token_count tokens_in",
    "output_tokens": "completion_tokens output_token_count completion_token_count candidates_token_count "
    "tokens_out",
    "cached_tokens": "cached_input_tokens cache_read_input_tokens cached_content_token_count",
    "cache_write_tokens": "cache_creation_input_tokens",
    "reasoning_tokens": "thoughts_token_count",
    "total_tokens": "total_token_count",
    "cost_usd": "cost total_cost usd price_usd total_cost_usd",
    "model": "model_name model_id request_model",
    "latency": "latency_s latency_seconds latency_sec duration_s duration_seconds response_time_s",
    "ttft": "time_to_first_token ttft_s ttft_seconds time_to_first_token_s first_token_latency",
    "finish_reason": "stop_reason finish_reasons",
    "user": "user_id",
    "session": "session_id conversation_id thread_id",
    "environment": "env",
    "retries": "retry_count num_retries",
    "status": "state",
    "team": "team_name",
    "feature": "route",
    "parent_id": "parent_span_id",
}
_BY_ALIAS = {alias: field for field, names in _ALIASES.items() for alias in names.split()}
_MILLISECONDS = {
    **{f"{name}_ms": "latency" for name in ("latency", "duration", "response_time", "elapsed", "total_time")},
    **{f"{name}_ms": "ttft" for name in ("ttft", "time_to_first_token", "first_token", "first_token_latency")},
    "queue_wait_ms": "queue_wait",
}
_NESTED = {
    "prompt_tokens_details.cached_tokens": "cached_tokens",
    "input_tokens_details.cached_tokens": "cached_tokens",
    "completion_tokens_details.reasoning_tokens": "reasoning_tokens",
    "output_tokens_details.reasoning_tokens": "reasoning_tokens",
}
_METRIC_LIKE = re.compile(
    r"latency|ttft|token|cost|price|usd|duration|elapsed|response_time|time_to_|_ms$|_seconds$|_secs?$"
    r"|score|rating|throughput|tps$|retr(y|ies)"
)


class Target(NamedTuple):
    """Where a foreign key belongs: our field, the factor of its unit, and whether the name is exactly ours."""

    field: str
    factor: float = 1.0
    exact: bool = False


@functools.lru_cache(maxsize=4096)
def target_of(key: str) -> Target | None:
    """Return the field that ``key`` means (alias, camel case, OpenTelemetry name), None where unknown."""
    if key in FIELDS:
        return Target(key, exact=True)
    ours = field_of(key)
    if ours is not None:
        return Target(ours) if ours in FIELDS else None
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
    if snake.startswith("usage."):
        rest = snake.removeprefix("usage.")
        field = _NESTED.get(rest) or (target_of(rest) or Target("")).field
        return Target(field) if field in INTEGER_FIELDS | NUMBER_FIELDS else None
    if snake in FIELDS:
        return Target(snake)
    if snake in _MILLISECONDS:
        return Target(_MILLISECONDS[snake], 0.001)
    field = _BY_ALIAS.get(snake, "")
    return Target(field) if field else None


def looks_like_metric(key: str, value: object) -> bool:
    """Whether ``key`` seems to hold a figure that a reader would miss if it were passed over in silence."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return is_metric_name(key)


@functools.lru_cache(maxsize=4096)
def is_metric_name(key: str) -> bool:
    """Whether ``key`` reads like the name of a figure."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
    return _METRIC_LIKE.search(snake) is not None


class BadValue(ValueError):
    """A value that a field cannot have; the text says what it must be."""


def number(value: Any, factor: float = 1.0) -> float:
    """Return ``value`` as a finite number >= 0, times ``factor``.

    Raises:
        BadValue: It is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadValue("must be a number")
    if value < 0:
        raise BadValue("must not be negative")
    return value * factor


def integer(value: Any) -> int:
    """Return ``value`` as a whole number >= 0.

    Raises:
        BadValue: It is not one.
    """
    found = number(value)
    if found != int(found):
        raise BadValue("must be a whole number")
    return int(found)


def text(value: Any) -> str:
    """Return a text or a plain number as text; of a list (finish_reasons) the first.

    Raises:
        BadValue: It is something else.
    """
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise BadValue("must be text")


def time(value: Any) -> str | None:
    """Return a time stamp as ISO 8601 UTC with milliseconds, None where it cannot be understood.

    Numbers are seconds since 1970, or milliseconds, micro- or nanoseconds where they are that large.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            while abs(value) > 1e11:
                value = value / 1000
            moment = datetime.fromtimestamp(value, UTC)
        else:
            moment = datetime.fromisoformat(str(value))
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_text(value: Any) -> str | None:
    """Return an input or output as text: messages with their roles, other values as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(m, Mapping) and "role" in m for m in value):
        if len(value) == 1:
            return _content(value[0].get("content", value[0].get("parts")))
        return "\n".join(f"{m['role']}: {_content(m.get('content', m.get('parts')))}" for m in value)
    return json.dumps(value, ensure_ascii=False)


def _content(value: Any) -> str:
    if isinstance(value, list):
        return "".join(_part(p) if isinstance(p, Mapping) else str(p) for p in value)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _part(part: Mapping[str, Any]) -> str:
    # spans write {"type": "text", "content": ...}, chats {"type": "text", "text": ...}
    said = part.get("text", part.get("content", "") if part.get("type") == "text" else "")
    return said if isinstance(said, str) else ""


def documents(value: Any) -> tuple[str, ...]:
    """Return context or retrieved documents as texts: a text, a list of texts, or of objects that hold one.

    Raises:
        BadValue: It is something else.
    """
    if value is None:
        return ()
    items = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(items, Sequence):
        raise BadValue("must be text or a list")
    out = []
    for item in items:
        found = _document(item) if isinstance(item, Mapping) else item
        if not isinstance(found, str):
            raise BadValue("must be text or a list of texts")
        out.append(found)
    return tuple(out)


def ids(value: Any) -> tuple[str, ...]:
    """Return the ids of retrieved documents, empty unless each is an object with an ``id``."""
    if not isinstance(value, list):
        return ()
    found = [item.get("id") for item in value if isinstance(item, Mapping)]
    named = [str(i) for i in found if isinstance(i, str | int) and not isinstance(i, bool)]
    return tuple(named) if len(named) == len(value) else ()


def _document(item: Mapping[str, Any]) -> str:
    keys = ("text", "content", "page_content", "document", "id")
    found = next((item[key] for key in keys if key in item), item)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def tool_calls(value: Any) -> tuple[ToolCall, ...]:
    """Return tool calls from names, from our own form, or from the OpenAI form (``function: {...}``).

    Raises:
        BadValue: It is something else.
    """
    if not isinstance(value, list):
        raise BadValue("must be a list")
    return tuple(_tool_call(item) for item in value)


def _tool_call(item: Any) -> ToolCall:
    if isinstance(item, str):
        return ToolCall(item)
    if not isinstance(item, Mapping):
        raise BadValue("must be a list of objects with `name` and `arguments`")
    function = item.get("function")
    inner = function if isinstance(function, Mapping) else item
    name, arguments = inner.get("name"), inner.get("arguments", inner.get("args", inner.get("input", "")))
    if not isinstance(name, str):
        raise BadValue("must be a list of objects with `name` and `arguments`")
    latency, valid = item.get("latency"), item.get("valid")
    return ToolCall(
        name=name,
        arguments=arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False),
        id=as_text(item.get("id")),
        valid=valid if isinstance(valid, bool) else None,
        result=as_text(item.get("result")),
        error=as_text(item.get("error")),
        latency=None if latency is None else number(latency),
    )


def tags(value: Any) -> tuple[str, ...]:
    """Return tags from a list, or from a mapping: ``{x: true}`` is ``x``, ``{x: "y"}`` is ``x=y``.

    Raises:
        BadValue: It is something else.
    """
    if isinstance(value, Mapping):
        found = [str(k) if v is True else f"{k}={as_text(v)}" for k, v in value.items() if v not in (False, None)]
        return tuple(found)
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise BadValue("must be an object or a list of texts")


_STATUS = {
    "success": "success", "ok": "success", "succeeded": "success", "completed": "success", "200": "success",
    "error": "error", "failed": "error", "failure": "error", "exception": "error", "500": "error",
    "timeout": "timeout", "timed_out": "timeout", "timedout": "timeout",
    "rate_limited": "rate_limited", "rate_limit": "rate_limited", "throttled": "rate_limited",
    "429": "rate_limited",
    "incomplete": "incomplete", "truncated": "incomplete",
}  # fmt: skip


def status(value: str) -> str:
    """Return one of our five statuses.

    Raises:
        BadValue: The word is not known.
    """
    found = _STATUS.get(value.strip().lower().replace(" ", "_").replace("-", "_"))
    if found is None:
        raise BadValue("must be one of success, error, timeout, rate_limited, incomplete")
    return found


def untag(values: Sequence[str]) -> dict[str, Any]:
    """Return tags as RECORDS holds them, an object; the reverse of `tags` for plain tags."""
    return dict.fromkeys(values, True)
