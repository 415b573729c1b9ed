"""What came back: the text, tool calls, usage and finish reason of a response, and what is wrong with it.

Each vendor's format is a row of `VENDORS`, told by the body itself, so that a gateway or a local server that
speaks it is read as the vendor is. Names of errors are few and fixed, whatever library raised them;
``docs/reference`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_llmwatch import schema
from pytest_llmwatch.capture import answer_anthropic, answer_cohere, answer_gemini, answer_openai
from pytest_llmwatch.capture.answer_base import Answer, StreamReader
from pytest_llmwatch.capture.answer_openai import read_usage
from pytest_llmwatch.capture.sse import Event, events, is_array
from pytest_llmwatch.capture.values import as_dict, as_json, as_text, dicts, loads, shared
from pytest_llmwatch.model import CallStatus, ToolCall

__all__ = ["VENDORS", "Answer", "is_stream", "is_terminated", "read_response", "read_usage"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One format: which objects are its own, how a whole body and a stream are read, which event ends a stream."""

    name: str
    knows: Callable[[dict[str, Any]], bool]
    whole: Callable[[dict[str, Any]], Answer]
    stream: type[StreamReader]
    ends: Callable[[dict[str, Any]], bool]


def _vendor(name: str, module: Any, knows: Callable[[dict[str, Any]], bool]) -> Vendor:
    return Vendor(name, knows, module.whole, module.Stream, module.ends)


_OPENAI = _vendor("openai", answer_openai, answer_openai.knows)
VENDORS: tuple[Vendor, ...] = (
    _vendor("anthropic", answer_anthropic, answer_anthropic.knows),
    _vendor("gemini", answer_gemini, answer_gemini.knows),
    _vendor("cohere", answer_cohere, answer_cohere.knows),
    _OPENAI,
)
"""In the order in which they are asked."""


def _of(data: dict[str, Any]) -> Vendor | None:
    return next((vendor for vendor in VENDORS if vendor.knows(data)), None)


def read_response(status_code: int, content_type: str, body: bytes, tools: Mapping[str, Any]) -> Answer:
    """Read a response.

    Args:
        status_code: HTTP status.
        content_type: Value of that header.
        body: Decoded body, as far as it came.
        tools: Schemas of the arguments of the tools that were offered, by name.
    """
    if status_code >= 300:  # a redirect that nobody follows is no answer either
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
    """Whether a body is a stream of events, by its type, or its first bytes where the server gave no type.

    Gemini's array of responses is one too, though its type is that of any JSON.
    """
    if content_type.startswith("text/event-stream"):
        return True
    if is_array(body):
        return b'"candidates"' in body or b'"promptFeedback"' in body
    return not content_type and body[:6] in (b"data: ", b"event:")


def is_terminated(body: bytes) -> bool:
    """Whether a stream's bytes hold the event that ends it, so that nothing more was to come."""
    return any(_ends(event) for event in events(body)[-_LAST:])


_LAST = 8
"""Events at the end of a stream among which the one that ends it stands: usage and the like may follow it."""


def _ends(event: Event) -> bool:
    if event.is_done:
        return True
    try:
        data = event.json()
    except ValueError:
        return False
    if not isinstance(data, dict):
        return False
    if data.get("type") == "error" or isinstance(data.get("error"), dict):
        return True
    return (_of(data) or _OPENAI).ends(data)


def _http_error(status_code: int, body: bytes) -> Answer:
    status: CallStatus = "error"
    if status_code == 429:
        status = "rate_limited"
    elif status_code in (408, 504):
        status = "timeout"
    try:
        data = loads(body)
    except ValueError:
        text = body[:500].decode("utf-8", errors="replace") or None
        return Answer(status, f"http_{status_code}", text)
    if isinstance(data, list):  # Gemini, where an array was asked for
        data = data[0] if data else None
    error = as_dict(as_dict(data).get("error"))
    return Answer(
        status,
        f"http_{status_code}",
        _told(data),
        id=as_text(as_dict(data).get("request_id")),  # Anthropic
        retry_after=answer_gemini.retry_delay(error),
    )


def _told(data: Any) -> str | None:
    """Return the message of an error's body.

    OpenAI, Anthropic, Gemini: ``error.message``; Mistral and Cohere: ``message``, a text or validation errors;
    FastAPI's servers: ``detail``, likewise.
    """
    if not isinstance(data, dict):
        return as_text(data)
    for key in ("error", "message", "detail"):
        value = data.get(key)
        if isinstance(value, dict):
            return _told(value)
        if isinstance(value, str) and value:
            return as_text(value)
        issues = [_issue(issue) for issue in dicts(value)]
        if issues:
            return "; ".join(issues)[:1000]
    return None


def _issue(issue: dict[str, Any]) -> str:
    place = issue.get("loc")
    where = ".".join(str(p)[:40] for p in place) if isinstance(place, list) else ""
    what = as_text(issue.get("msg")) or as_text(issue.get("message")) or "invalid"
    return f"{where}: {what}" if where else what


def _whole(body: bytes) -> Answer:
    if not body:
        return Answer("incomplete", "empty_response", "the body is empty", complete=False)
    try:
        data = shared(body)
    except ValueError as error:
        return Answer("error", "corrupt_body", f"the body is not JSON: {error}", complete=False)
    if not isinstance(data, dict):
        return Answer("error", "corrupt_body", "the body is not a JSON object")
    if isinstance(data.get("error"), dict) and not data.get("output"):
        message = as_text(data["error"].get("message")) or as_json(data["error"])[:500]
        return Answer("error", "response_failed", message)
    return (_of(data) or _OPENAI).whole(data)  # most servers speak it


def _stream(body: bytes) -> Answer:
    found = events(body)
    if not found:
        return Answer("incomplete", "empty_stream", "the stream ended without an event", complete=False)
    parsed: list[tuple[dict[str, Any], int]] = []
    corrupt: str | None = None
    for event in found:
        if event.is_done:
            break
        try:
            data = event.json()
        except ValueError as error:
            if event.closed:  # else it was cut in the middle of an event: truncated, not corrupt
                corrupt = f"a chunk is not JSON ({error}): {event.data[:80]!r}"
            break
        if isinstance(data, dict):
            parsed.append((data, event.end))
    reader = _reader(parsed)
    reader.corrupt = corrupt
    for data, end in parsed:
        reader.read(data, end)
    return reader.answer()


def _reader(parsed: Sequence[tuple[dict[str, Any], int]]) -> StreamReader:
    """Return the reader of the first event that is somebody's own: a ping or an error is anybody's."""
    known = (vendor for data, _ in parsed if (vendor := _of(data)) is not None)
    return next(known, _OPENAI).stream()


def _checked(call: ToolCall, tools: Mapping[str, Any]) -> ToolCall:
    """Return ``call`` with ``valid`` set: arguments are a JSON object that fits the tool's schema, if known."""
    if tools and call.name not in tools:
        return replace(call, valid=False, error=f"unknown tool {call.name!r}: not among those offered")
    try:
        arguments = loads(call.arguments or "{}")
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
    except (schema.InvalidSchema, RecursionError):
        return ()  # the application's schema is its own affair; the API did accept it
