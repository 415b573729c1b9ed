"""What the messages of a request tell of earlier tool calls, in any vendor's words.

Bodies are hostile: no shape is taken for granted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pytest_llmwatch.model import ToolResult

MAX_CONTENT = 2_000
"""Characters of a result that are kept beside the call; the whole text stands in the call's input."""


class _Said(NamedTuple):
    """One side of a tool call in a conversation: asked for (``content`` None), or answered."""

    id: str | None
    content: str | None
    failed: bool | None = None


def tool_results(body: Any) -> tuple[ToolResult, ...]:
    """Return what a request's messages tell of earlier tool calls: results in their order, then lost ones.

    A second result for a call that has one already counts as not asked for.

    Understands Chat Completions (``tool_calls``, role ``tool``), Responses (``function_call``,
    ``function_call_output``), Anthropic (``tool_use``, ``tool_result``) and Gemini (``functionCall``,
    ``functionResponse``; matched by name where there is no id).

    Args:
        body: The decoded JSON body, or its list of messages.
    """
    asked: dict[str, int] = {}
    answers: list[_Said] = []
    for said in _all_said(body):
        if said.content is not None:
            answers.append(said)
        elif said.id is not None:
            asked[said.id] = asked.get(said.id, 0) + 1
    out = []
    for said in answers:
        open_ = said.id is not None and asked.get(said.id, 0) > 0
        if open_ and said.id is not None:
            asked[said.id] -= 1
        out.append(ToolResult(said.id, (said.content or "")[:MAX_CONTENT], open_, said.failed))
    return (*out, *(ToolResult(i) for i, left in asked.items() for _ in range(left)))


def _all_said(body: Any) -> Iterator[_Said]:
    if isinstance(body, Mapping):
        for key in ("messages", "input", "contents"):
            if isinstance(body.get(key), list):
                body = body[key]
                break
    if not isinstance(body, list):
        return
    for item in body:
        if isinstance(item, Mapping) and not _is_plain(item):
            yield from _said(item)


def _is_plain(item: Mapping[str, Any]) -> bool:
    """Whether a message is a text and nothing else, as nearly all are."""
    return item.keys() == {"role", "content"} and item["role"] != "tool" and isinstance(item["content"], str)


def _said(item: Mapping[str, Any]) -> Iterator[_Said]:
    kind = item.get("type")
    if kind in ("function_call", "custom_tool_call"):
        yield _Said(_id(item.get("call_id")), None)
    elif kind in ("function_call_output", "custom_tool_call_output"):
        yield _Said(_id(item.get("call_id")), _text(item.get("output")))
    elif item.get("role") == "tool" and not isinstance(item.get("parts"), list):
        yield _Said(_id(item.get("tool_call_id")), _text(item.get("content")))
    else:
        calls = item.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping):
                yield _Said(_id(call.get("id")), None)
        for part in (*_list(item.get("content")), *_list(item.get("parts"))):
            if isinstance(part, Mapping):
                yield from _part(part)


def _part(part: Mapping[str, Any]) -> Iterator[_Said]:
    if part.get("type") == "tool_use":
        yield _Said(_id(part.get("id")), None)
    elif part.get("type") == "tool_result":
        failed = part.get("is_error")
        yield _Said(
            _id(part.get("tool_use_id")),
            _text(part.get("content")),
            failed if isinstance(failed, bool) else None,
        )
    for key in ("functionCall", "function_call"):
        call = part.get(key)
        if isinstance(call, Mapping):
            yield _Said(_id(call.get("id")) or _id(call.get("name")), None)
    for key in ("functionResponse", "function_response"):
        answer = part.get(key)
        if isinstance(answer, Mapping):
            yield _Said(_id(answer.get("id")) or _id(answer.get("name")), _text(answer.get("response")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [p.get("text") if isinstance(p, Mapping) else p for p in value]
        texts = [p for p in parts if isinstance(p, str)]
        if len(texts) == len(parts):
            return "\n".join(texts)
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


_FAILED = re.compile(
    r"(?i:error|exception)(?i: (?:executing|calling|running|invoking|in|while|from)\b[^\n]*?)?\s*(?::|$)"
    r"|[A-Z]\w*(?:Error|Exception)\s*[:(]"
    r"|Traceback \(most recent call last\)"
)


def tells_failure(content: str) -> bool:
    """Whether the text of a tool's result says that the tool failed.

    True for a JSON object whose ``error`` is not empty, whose ``status`` is error or failed, whose ``ok`` or
    ``success`` is false or whose ``isError`` is true; and for a text that starts like an exception
    (``Error: ...``, ``Error executing tool x: ...``, ``ValueError: ...``) or a traceback. Anything else is
    taken for a success: a tool that reports its failure in other words is not seen.
    """
    text = content.strip()
    if text.startswith("{"):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return isinstance(data, dict) and _object_failed(data)
    return _FAILED.match(text[:300]) is not None


def _object_failed(data: Mapping[str, Any]) -> bool:
    if data.get("error"):
        return True
    if isinstance(data.get("status"), str) and data["status"].lower() in ("error", "failed", "failure"):
        return True
    return data.get("ok") is False or data.get("success") is False or data.get("isError") is True
