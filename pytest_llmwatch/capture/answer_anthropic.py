"""Anthropic's Messages: a JSON object, or a stream from ``message_start`` to ``message_stop``.

https://platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any

from pytest_llmwatch.capture.answer_base import Answer, StreamReader, mapped
from pytest_llmwatch.capture.values import as_count, as_dict, as_json, as_text, dicts, total
from pytest_llmwatch.model import ToolCall, Usage

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_EVENTS = frozenset(
    {
        "message_start", "message_delta", "message_stop",
        "content_block_start", "content_block_delta", "content_block_stop",
    }
)  # fmt: skip


def knows(data: dict[str, Any]) -> bool:
    """Whether an object is a message, or an event of a stream of one."""
    kind = data.get("type")
    if kind == "message":
        return isinstance(data.get("content"), list) or "stop_reason" in data
    return isinstance(kind, str) and kind in _EVENTS


def ends(data: dict[str, Any]) -> bool:
    """Whether an event ends its stream."""
    return data.get("type") == "message_stop"


def whole(data: dict[str, Any]) -> Answer:
    """Read a message."""
    blocks = dicts(data.get("content"))
    return Answer(
        output="".join(as_text(b.get("text")) or "" for b in blocks if b.get("type") == "text"),
        usage=read_usage(as_dict(data.get("usage"))),
        # a server_tool_use is run by the vendor: the application has nothing to do with it
        tool_calls=tuple(_tool(b) for b in blocks if b.get("type") == "tool_use"),
        finish_reason=mapped(data.get("stop_reason"), _FINISH),
        model=as_text(data.get("model")),
        id=as_text(data.get("id")),
    )


def _tool(block: dict[str, Any]) -> ToolCall:
    return ToolCall(as_text(block.get("name")) or "", as_json(block.get("input", {})), as_text(block.get("id")))


def read_usage(usage: dict[str, Any]) -> Usage:
    """Return the tokens of a ``usage`` object.

    Its ``input_tokens`` are those that neither were read from the cache nor written to it; ours are all.
    """
    cached = as_count(usage.get("cache_read_input_tokens"))
    kept = as_count(usage.get("cache_creation_input_tokens"))
    fresh = as_count(usage.get("input_tokens"))
    read = None if fresh is None else total(fresh, cached, kept)
    written = as_count(usage.get("output_tokens"))
    details = as_dict(usage.get("output_tokens_details"))
    return Usage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=total(read, written),
        cached_tokens=cached,
        reasoning_tokens=as_count(details.get("thinking_tokens", details.get("reasoning_tokens"))),
        cache_write_tokens=kept,
    )


class Stream(StreamReader):
    """A stream of a message: blocks by index, each with its deltas."""

    END = "message_stop"

    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, Any] = {}
        self._texts: dict[int, list[str]] = {}

    def read(self, data: dict[str, Any], end: int) -> None:
        """Take one event."""
        kind = data.get("type")
        if kind == "message_start":
            message = as_dict(data.get("message"))
            self.model, self.id = as_text(message.get("model")), as_text(message.get("id"))
            self._count(message.get("usage"))
        elif kind == "content_block_start":
            self._start(as_count(data.get("index")) or 0, as_dict(data.get("content_block")), end)
        elif kind == "content_block_delta":
            self._delta(as_count(data.get("index")) or 0, as_dict(data.get("delta")), end)
        elif kind == "message_delta":
            self.finish = mapped(as_dict(data.get("delta")).get("stop_reason"), _FINISH) or self.finish
            self._count(data.get("usage"))
        elif kind == "message_stop":
            self.ended = True
        elif kind == "error":
            self.fail(data.get("error") or data)

    def _count(self, usage: Any) -> None:
        # the figures are running totals: a later one replaces an earlier one, a missing one changes nothing
        self._usage.update({k: v for k, v in as_dict(usage).items() if v is not None})
        self.usage = read_usage(self._usage)

    def _start(self, index: int, block: dict[str, Any], end: int) -> None:
        if block.get("type") == "tool_use":
            self.content(end)
            piece = self.tool(index)
            piece.name, piece.id = as_text(block.get("name")) or "", as_text(block.get("id"))
            if block.get("input"):
                piece.arguments = as_json(block["input"])
        elif block.get("type") == "text":
            self._say(index, block.get("text"), end)

    def _delta(self, index: int, delta: dict[str, Any], end: int) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            self._say(index, delta.get("text"), end)
        elif kind == "input_json_delta" and index in self.tools:
            self.content(end)
            self.tool(index).arguments += as_text(delta.get("partial_json")) or ""
        elif kind == "thinking_delta" and delta.get("thinking"):
            self.content(end)

    def _say(self, index: int, text: Any, end: int) -> None:
        if as_text(text):
            self.content(end)
            self._texts.setdefault(index, []).append(as_text(text) or "")

    def whole(self) -> Answer:
        """Return the message as far as it came, its blocks in order."""
        self.text = [piece for _, pieces in sorted(self._texts.items()) for piece in pieces]
        return super().whole()
