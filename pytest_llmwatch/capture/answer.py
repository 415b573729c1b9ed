"""What came back: the text, tool calls, usage and finish reason of a response, and what is wrong with it.

Names of errors are few and fixed, whatever library raised them; ``docs/reference`` lists them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_llmwatch import schema
from pytest_llmwatch.capture.asked import as_dict, as_list, content_text
from pytest_llmwatch.capture.sse import Event, events
from pytest_llmwatch.model import CallStatus, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's body, read. ``first_content`` is the byte offset behind the first event with content."""

    status: CallStatus = "success"
    error_type: str | None = None
    error: str | None = None
    output: str | None = None
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    model: str | None = None
    id: str | None = None
    system_fingerprint: str | None = None
    first_content: int | None = None
    complete: bool = True


def read_response(status_code: int, content_type: str, body: bytes, tools: Mapping[str, Any]) -> Answer:
    """Read a response.

    Args:
        status_code: HTTP status.
        content_type: Value of that header.
        body: Decoded body, as far as it came.
        tools: Schemas of the arguments of the tools that were offered, by name.
    """
    if status_code >= 400:
        return _http_error(status_code, body)
    if _is_media(content_type) and body:
        return Answer()  # audio, an image, a file: whole, and no text
    if content_type.startswith(_PLAIN) and body:
        return Answer(output=body.decode("utf-8", errors="replace"))
    answer = _stream(body) if is_stream(content_type, body) else _whole(body)
    if not answer.tool_calls:
        return answer
    return replace(answer, tool_calls=tuple(_checked(call, tools) for call in answer.tool_calls))


_PLAIN = ("text/plain", "text/vtt", "application/x-subrip")
"""What a transcription may be, beside JSON. A page of HTML is not among them: a proxy's, never a model's."""


def _is_media(content_type: str) -> bool:
    return content_type.startswith(("audio/", "image/", "video/", "application/octet-stream", "application/pdf"))


def is_stream(content_type: str, body: bytes) -> bool:
    """Whether a body is a stream of events, by its type, or its first bytes where the server gave no type."""
    if content_type:
        return content_type.startswith("text/event-stream")
    return body[:6] in (b"data: ", b"event:")


def is_terminated(body: bytes) -> bool:
    """Whether a stream's bytes hold the event that ends it, so that nothing more was to come."""
    return any(_ends(event) for event in events(body[-8192:] if len(body) > 65536 else body))


def _ends(event: Event) -> bool:
    if event.is_done:
        return True
    try:
        data = event.json()
    except ValueError:
        return False
    if not isinstance(data, dict):
        return False
    kind = data.get("type")
    if kind in ("response.completed", "response.incomplete", "response.failed", "message_stop", "error"):
        return True
    choices = data.get("choices")
    return isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices)


def _http_error(status_code: int, body: bytes) -> Answer:
    status: CallStatus = "error"
    if status_code == 429:
        status = "rate_limited"
    elif status_code in (408, 504):
        status = "timeout"
    message: str | None = None
    try:
        data = json.loads(body)
        error = data.get("error", data) if isinstance(data, dict) else data
        message = error.get("message") if isinstance(error, dict) else str(error)
    except ValueError:
        message = body[:500].decode("utf-8", errors="replace") or None
    return Answer(status, f"http_{status_code}", message if isinstance(message, str) else None)


def _whole(body: bytes) -> Answer:
    if not body:
        return Answer("incomplete", "empty_response", "the body is empty", complete=False)
    try:
        data = json.loads(body)
    except ValueError as error:
        return Answer("error", "corrupt_body", f"the body is not JSON: {error}", complete=False)
    if not isinstance(data, dict):
        return Answer("error", "corrupt_body", "the body is not a JSON object")
    if isinstance(data.get("error"), dict) and not data.get("output"):
        return Answer("error", "response_failed", str(data["error"].get("message") or data["error"]))
    return _responses_object(data) if "output" in data else _chat_object(data)


def _chat_object(data: Mapping[str, Any]) -> Answer:
    base = Answer(
        usage=read_usage(data.get("usage")),
        model=_text(data.get("model")),
        id=_text(data.get("id")),
        system_fingerprint=_text(data.get("system_fingerprint")),
    )
    choices = data.get("choices")
    if not isinstance(choices, list):
        return base  # embeddings, other vendors
    if not choices or not isinstance(choices[0], dict):
        return replace(base, status="incomplete", error_type="empty_response", error="no choices in the response")
    message = as_dict(choices[0].get("message"))
    text = content_text(message.get("content")) or _text(message.get("refusal")) or ""
    return replace(
        base,
        output=text or (_text(choices[0].get("text")) or ""),
        tool_calls=tuple(_chat_tool(c) for c in as_list(message.get("tool_calls")) if isinstance(c, dict)),
        finish_reason=_text(choices[0].get("finish_reason")),
    )


def _responses_object(data: Mapping[str, Any]) -> Answer:
    items = [i for i in as_list(data.get("output")) if isinstance(i, dict)]
    text = "\n".join(content_text(i.get("content")) for i in items if i.get("type") == "message")
    tools = tuple(_responses_tool(i) for i in items if i.get("type") == "function_call")
    status, finish = data.get("status"), "tool_calls" if tools else "stop"
    answer = Answer(
        output=text,
        usage=read_usage(data.get("usage")),
        tool_calls=tools,
        finish_reason=finish,
        model=_text(data.get("model")),
        id=_text(data.get("id")),
        system_fingerprint=_text(data.get("system_fingerprint")),
    )
    if status == "incomplete":
        reason = as_dict(data.get("incomplete_details")).get("reason")
        return replace(answer, finish_reason="length" if reason == "max_output_tokens" else _text(reason))
    if status in ("failed", "cancelled"):
        error = as_dict(data.get("error"))
        return replace(
            answer,
            status="error",
            error_type=f"response_{status}",
            error=_text(error.get("message")),
            finish_reason=None,
        )
    return answer


def _stream(body: bytes) -> Answer:
    found = events(body)
    if not found:
        return Answer("incomplete", "empty_stream", "the stream ended without an event", complete=False)
    reader = _StreamReader()
    for event in found:
        if event.is_done:
            reader.done = True
            break
        try:
            data = event.json()
        except ValueError as error:
            if not event.closed:
                break  # cut in the middle of an event: truncated, not corrupt
            reader.corrupt = f"a chunk is not JSON ({error}): {event.data[:80]!r}"
            break
        if isinstance(data, dict):
            reader.read(data, event.end)
    return reader.answer()


class _StreamReader:
    """Put a stream's events together, for Chat Completions and Responses."""

    def __init__(self) -> None:
        self.done = False
        self.corrupt: str | None = None
        self.failed: str | None = None
        self.final: Answer | None = None
        self.text: list[str] = []
        self.tools: dict[Any, dict[str, str]] = {}
        self.finish: str | None = None
        self.usage = Usage()
        self.model: str | None = None
        self.id: str | None = None
        self.print: str | None = None
        self.first: int | None = None

    def read(self, data: dict[str, Any], end: int) -> None:
        kind = data.get("type")
        if isinstance(kind, str) and kind.startswith("response."):
            self._responses(kind, data, end)
        elif data.get("error") or kind == "error":
            error = data.get("error") or data
            self.failed = str(error.get("message") or error) if isinstance(error, dict) else str(error)
        elif isinstance(data.get("choices"), list):
            self._chat(data, end)

    def _chat(self, data: dict[str, Any], end: int) -> None:
        self.model = _text(data.get("model")) or self.model
        self.id = _text(data.get("id")) or self.id
        self.print = _text(data.get("system_fingerprint")) or self.print
        if isinstance(data.get("usage"), dict):
            self.usage = read_usage(data["usage"])
        for choice in data["choices"]:
            if not isinstance(choice, dict):
                continue
            delta = as_dict(choice.get("delta"))
            pieces = (delta.get("content"), delta.get("refusal"), choice.get("text"))
            texts = [t for t in pieces if isinstance(t, str) and t]
            calls = [c for c in as_list(delta.get("tool_calls")) if isinstance(c, dict)]
            if (texts or calls or delta.get("reasoning_content")) and self.first is None:
                self.first = end
            if choice.get("index", 0) != 0:
                continue
            self.text += texts
            self.finish = _text(choice.get("finish_reason")) or self.finish
            for call in calls:
                function = as_dict(call.get("function"))
                slot = self.tools.setdefault(
                    _count(call.get("index")) or 0, {"name": "", "arguments": "", "id": ""}
                )
                slot["id"] = _text(call.get("id")) or slot["id"]
                slot["name"] += _text(function.get("name")) or ""
                slot["arguments"] += _text(function.get("arguments")) or ""

    def _responses(self, kind: str, data: dict[str, Any], end: int) -> None:
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            response = data.get("response")
            self.final = _responses_object(as_dict(response))
            if self.final.output == "" and self.text:
                self.final = replace(self.final, output="".join(self.text))
            return
        if kind == "response.created" and isinstance(data.get("response"), dict):
            self.model = _text(data["response"].get("model"))
            self.id = _text(data["response"].get("id"))
        delta = data.get("delta")
        if not kind.endswith(".delta") or not isinstance(delta, str) or not delta:
            return
        if self.first is None:
            self.first = end
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self.text.append(delta)
        elif kind == "response.function_call_arguments.delta":
            slot = self.tools.setdefault(
                _count(data.get("output_index")) or 0, {"name": "", "arguments": "", "id": ""}
            )
            slot["arguments"] += delta

    def answer(self) -> Answer:
        answer = self.final or Answer(
            output="".join(self.text),
            usage=self.usage,
            tool_calls=tuple(
                ToolCall(t["name"], t["arguments"], t["id"] or None) for _, t in sorted(self.tools.items())
            ),
            finish_reason=self.finish,
            model=self.model,
            id=self.id,
            system_fingerprint=self.print,
        )
        answer = replace(answer, first_content=self.first)
        if self.corrupt is not None:
            return replace(answer, status="error", error_type="corrupt_chunk", error=self.corrupt, complete=False)
        if self.failed is not None:
            return replace(answer, status="error", error_type="stream_error", error=self.failed)
        if self.final is None and self.finish is None:
            message = "the stream ended without a finish reason"
            return replace(
                answer, status="incomplete", error_type="truncated_stream", error=message, complete=False
            )
        return answer


def read_usage(usage: Any) -> Usage:
    """Return the tokens that a ``usage`` object reports, in either API's words; unknown stays None."""
    if not isinstance(usage, dict):
        return Usage()
    details_in = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    details_out = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    read = _count(usage.get("input_tokens", usage.get("prompt_tokens")))
    written = _count(usage.get("output_tokens", usage.get("completion_tokens")))
    total = _count(usage.get("total_tokens"))
    if total is None and read is not None:
        total = read + (written or 0)
    return Usage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=total,
        cached_tokens=_count(details_in.get("cached_tokens")) if isinstance(details_in, dict) else None,
        reasoning_tokens=_count(details_out.get("reasoning_tokens")) if isinstance(details_out, dict) else None,
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _chat_tool(call: Mapping[str, Any]) -> ToolCall:
    function = as_dict(call.get("function") or call.get("custom"))
    arguments = function.get("arguments", function.get("input", ""))
    return ToolCall(str(function.get("name", "")), _arguments(arguments), _text(call.get("id")))


def _responses_tool(item: Mapping[str, Any]) -> ToolCall:
    return ToolCall(str(item.get("name", "")), _arguments(item.get("arguments", "")), _text(item.get("call_id")))


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _checked(call: ToolCall, tools: Mapping[str, Any]) -> ToolCall:
    """Return ``call`` with ``valid`` set: arguments are a JSON object that fits the tool's schema, if known."""
    if tools and call.name not in tools:
        return replace(call, valid=False, error=f"unknown tool {call.name!r}: not among those offered")
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError as error:
        return replace(call, valid=False, error=f"arguments are not JSON: {error}")
    if not isinstance(arguments, dict):
        return replace(call, valid=False, error="arguments are not a JSON object")
    issues = _schema_issues(arguments, tools.get(call.name))
    return replace(call, valid=not issues, error="; ".join(issues) or None)


def _schema_issues(arguments: Any, wanted: Any) -> Sequence[str]:
    if not isinstance(wanted, dict):
        return ()
    try:
        return [f"{i.json_path}: {i.message}" for i in schema.issues(arguments, wanted)[:3]]
    except schema.InvalidSchema:
        return ()  # the application's schema is its own affair; the API did accept it
