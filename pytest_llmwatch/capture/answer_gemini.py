"""Google's Gemini: ``generateContent`` and ``streamGenerateContent``, of the Gemini API and of Vertex AI.

A stream is a row of responses, as server-sent events (``alt=sse``) or as one JSON array.
https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pytest_llmwatch.capture.answer_base import Answer, StreamReader, mapped
from pytest_llmwatch.capture.values import as_count, as_dict, as_json, as_text, dicts, total
from pytest_llmwatch.model import ToolCall, Usage

_FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR",
        ),
        "content_filter",
    ),
}  # fmt: skip
_BAD_CALL = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE")
"""Finish reasons that say: the model wrote something, and the API kept it back because it was no valid call."""
_OPEN = (None, "", "FINISH_REASON_UNSPECIFIED")
_KEYS = ("candidates", "usageMetadata", "promptFeedback")


def knows(data: dict[str, Any]) -> bool:
    """Whether an object is a response of Gemini."""
    return any(key in data for key in _KEYS)


def ends(data: dict[str, Any]) -> bool:
    """Whether a response ends its stream: a candidate is finished, or the prompt was refused."""
    blocked = as_dict(data.get("promptFeedback")).get("blockReason")
    finished = (c.get("finishReason") for c in dicts(data.get("candidates")))
    return bool(blocked) or any(isinstance(f, str) and f not in _OPEN for f in finished)


def whole(data: dict[str, Any]) -> Answer:
    """Read one response."""
    reader = Stream()
    reader.read(data, 0)
    if not reader.ended and not data.get("candidates"):
        message = "no candidates in the response"
        return replace(reader.whole(), status="incomplete", error_type="empty_response", error=message)
    return reader.whole()


def read_usage(usage: dict[str, Any]) -> Usage:
    """Return the tokens of a ``usageMetadata`` object.

    Its prompt holds the cached part, as ours does; thoughts are not among its candidates' tokens, but among ours;
    what its tools handed to the model is counted as input.
    """
    read = total(as_count(usage.get("promptTokenCount")), as_count(usage.get("toolUsePromptTokenCount")))
    thoughts = as_count(usage.get("thoughtsTokenCount"))
    written = total(as_count(usage.get("candidatesTokenCount")), thoughts)
    sums = as_count(usage.get("totalTokenCount"))
    return Usage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=total(read, written) if sums is None else sums,
        cached_tokens=as_count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )


class Stream(StreamReader):
    """A row of responses; the first candidate's parts make the answer."""

    END = "a finishReason"

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[ToolCall] = []
        self._usage: dict[str, Any] = {}
        self._wrong: tuple[str, str] | None = None

    def read(self, data: dict[str, Any], end: int) -> None:
        """Take one response."""
        if data.get("error"):
            self.fail(data["error"])
            return
        self.model = as_text(data.get("modelVersion")) or self.model
        self.id = as_text(data.get("responseId")) or self.id
        self._usage.update(as_dict(data.get("usageMetadata")))
        self.usage = read_usage(self._usage)
        blocked = as_text(as_dict(data.get("promptFeedback")).get("blockReason"))
        if blocked:
            self.ended, self.finish = True, "content_filter"
            told = as_text(as_dict(data["promptFeedback"]).get("blockReasonMessage"))
            self._wrong = ("prompt_blocked", told or f"the prompt was blocked: {blocked}")
        for candidate in dicts(data.get("candidates")):
            self._candidate(candidate, end)

    def _candidate(self, candidate: dict[str, Any], end: int) -> None:
        parts = dicts(as_dict(candidate.get("content")).get("parts"))
        if parts:
            self.content(end)
        if candidate.get("index", 0) != 0:
            return
        for part in parts:
            call = part.get("functionCall")
            if isinstance(call, dict):
                name, arguments = as_text(call.get("name")) or "", as_json(call.get("args") or {})
                self._calls.append(ToolCall(name, arguments, as_text(call.get("id"))))
            elif not part.get("thought"):
                self.text.append(as_text(part.get("text")) or "")
        reason = as_text(candidate.get("finishReason"))
        if reason in _OPEN or reason is None:
            return
        self.ended, self.finish = True, mapped(reason, _FINISH)
        if reason in _BAD_CALL:
            told = as_text(candidate.get("finishMessage"))
            self._wrong = ("malformed_tool_call", told or f"the API kept the answer back: {reason}")

    def whole(self) -> Answer:
        """Return the answer as far as it came."""
        answer = replace(super().whole(), tool_calls=tuple(self._calls))
        if self._calls and answer.finish_reason == "stop":
            answer = replace(answer, finish_reason="tool_calls")  # the API says STOP for both
        if self._wrong is not None:
            answer = replace(answer, status="error", error_type=self._wrong[0], error=self._wrong[1])
        return answer


_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


def retry_delay(error: dict[str, Any]) -> float | None:
    """Return the seconds that an error's ``google.rpc.RetryInfo`` asks to wait; no header says it."""
    for detail in dicts(error.get("details")):
        match = _DELAY.fullmatch(as_text(detail.get("retryDelay")) or "")
        if match:
            return float(match[1])
    return None
