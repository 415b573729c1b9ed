"""Cohere's Chat, version 2. https://docs.cohere.com/v2/reference/chat and .../docs/streaming"""

from __future__ import annotations

from typing import Any

from pytest_llmwatch.capture.answer_base import Answer, StreamReader, mapped
from pytest_llmwatch.capture.values import as_count, as_dict, as_json, as_text, dicts, total
from pytest_llmwatch.model import Usage

_FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}
_FAILED = ("ERROR", "TIMEOUT")
_EVENTS = ("message-", "content-", "tool-", "citation-")


def knows(data: dict[str, Any]) -> bool:
    """Whether an object is a response of Cohere, or an event of its stream."""
    kind = data.get("type")
    if isinstance(kind, str) and kind.startswith(_EVENTS):
        return True
    return isinstance(data.get("message"), dict) and "finish_reason" in data and "choices" not in data


def ends(data: dict[str, Any]) -> bool:
    """Whether an event ends its stream."""
    return data.get("type") == "message-end"


def whole(data: dict[str, Any]) -> Answer:
    """Read a response."""
    reader = Stream()
    message = as_dict(data.get("message"))
    reader.id = as_text(data.get("id"))
    reader.text = [as_text(b.get("text")) or "" for b in dicts(message.get("content"))]
    for index, call in enumerate(dicts(message.get("tool_calls"))):
        reader.take(index, call)
    reader.over(data)
    return reader.answer()


def read_usage(usage: dict[str, Any]) -> Usage:
    """Return the tokens of a ``usage`` object: what the model saw, not what was billed."""
    tokens = as_dict(usage.get("tokens") or usage.get("billed_units"))
    read, written = as_count(tokens.get("input_tokens")), as_count(tokens.get("output_tokens"))
    return Usage(read, written, total(read, written), as_count(usage.get("cached_tokens")))


class Stream(StreamReader):
    """A stream from ``message-start`` to ``message-end``."""

    END = "message-end"

    def read(self, data: dict[str, Any], end: int) -> None:
        """Take one event."""
        kind, message = data.get("type"), as_dict(as_dict(data.get("delta")).get("message"))
        index = as_count(data.get("index")) or 0
        if kind == "message-start":
            self.id = as_text(data.get("id"))
        elif kind == "content-delta":
            content = as_dict(message.get("content"))
            if content.get("text") or content.get("thinking"):
                self.content(end)
            self.text.append(as_text(content.get("text")) or "")
        elif kind == "tool-plan-delta":
            self.content(end)
        elif kind in ("tool-call-start", "tool-call-delta"):
            self.content(end)
            self.take(index, as_dict(message.get("tool_calls")))
        elif kind == "message-end":
            self.over(as_dict(data.get("delta")))
        elif data.get("error") or kind == "error":
            self.fail(data.get("error") or data)

    def take(self, index: int, call: dict[str, Any]) -> None:
        """Add a tool call, or a piece of one."""
        piece, function = self.tool(index), as_dict(call.get("function"))
        piece.id = as_text(call.get("id")) or piece.id
        piece.name += as_text(function.get("name")) or ""
        piece.arguments += as_json(function.get("arguments") or "")

    def over(self, told: dict[str, Any]) -> None:
        """Take the end: finish reason and usage."""
        self.ended = True
        self.finish = mapped(told.get("finish_reason"), _FINISH)
        self.usage = read_usage(as_dict(told.get("usage")))
        if self.finish in _FAILED:
            self.fail(told.get("error") or f"the model stopped with the finish reason {self.finish}")
