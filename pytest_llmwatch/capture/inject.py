"""Faults that a test asks for: the next LLM calls meet them before the network, live and on replay alike.

A faulted attempt is played like a recording that says so. It is never written into a cassette, so the retry that
follows meets the recording, or the server, that it would have met without the fault.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.capture import inject_bodies as bodies
from pytest_llmwatch.capture.cassette_item import Interaction

if TYPE_CHECKING:
    from pytest_llmwatch.capture.asked import Asked
    from pytest_llmwatch.capture.exchange import Sent

REQUEST_ID = "req_llmfault"
"""Start of the request id of an injected answer."""

_TRANSPORT: Mapping[str, tuple[str, str, str]] = {
    # kind: (class of httpx, what it says, our name of it)
    "timeout": ("ReadTimeout", "The read operation timed out", "read_timeout"),
    "connect_timeout": ("ConnectTimeout", "timed out", "connect_timeout"),
    "refused": ("ConnectError", "[Errno 111] Connection refused", "connection_refused"),
    "dns": ("ConnectError", "[Errno -2] Name or service not known", "dns_failure"),
    "reset": ("ReadError", "[Errno 104] Connection reset by peer", "connection_reset"),
    "disconnected": (
        "RemoteProtocolError", "Server disconnected without sending a response.", "server_disconnected",
    ),
}  # fmt: skip
_BROKEN = {
    "class": "RemoteProtocolError",
    "message": "peer closed connection without sending complete message body (incomplete chunked read)",
    "type": "dropped_stream",
}
_STREAMS = ("dropped", "truncated", "corrupt", "empty")
_ANSWERS = ("invalid_tool_arguments", "content_filter")
_STATUS = {"rate_limit": 429, "overloaded": 503, "server_error": 500, "unavailable": 503, "bad_request": 400}
KINDS = (*_TRANSPORT, *_STREAMS, *_ANSWERS, *_STATUS)
"""Kinds by name; an HTTP status from 400 to 599 is a kind too, and ``tool_down`` is about tools."""

Match = Callable[["Sent", "Asked"], bool]


@dataclass(slots=True)
class Fault:
    """One fault that is waiting for calls.

    Args:
        kind: One of `KINDS`, or an HTTP status as text.
        times: Attempts that meet it; None = all.
        match: Which requests; None = any.
        retry_after: Seconds that a 429 or 503 asks to wait.
        after_chunks: Chunks of a stream that come before it breaks.
        message: What an error answer says.
        used: Attempts that met it so far.
    """

    kind: str
    times: int | None = 1
    match: Match | None = None
    retry_after: float | None = None
    after_chunks: int = 1
    message: str | None = None
    used: int = 0
    closed: bool = False


@dataclass(slots=True)
class ToolFault:
    """A tool that is down: entering its span raises ``error``."""

    tool: str
    error: BaseException
    times: int | None = None
    used: int = 0
    closed: bool = False


@dataclass(slots=True)
class Faults:
    """The faults of one test; threads share them."""

    calls: list[Fault] = field(default_factory=list)
    tools: list[ToolFault] = field(default_factory=list)
    _counter: Any = field(default_factory=lambda: itertools.count(1))
    _lock: Any = field(default_factory=threading.Lock)

    def take(self, sent: Sent, asked: Asked) -> Interaction | None:
        """Return what an attempt meets instead of the server, None where nothing waits for it."""
        if not self.calls:
            return None
        with self._lock:
            for fault in self.calls:
                left = fault.times is None or fault.used < fault.times
                if left and not fault.closed and (fault.match is None or fault.match(sent, asked)):
                    fault.used += 1
                    return interaction(fault, sent, asked, next(self._counter))
        return None

    def of_tool(self, name: str) -> BaseException | None:
        """Return what running the tool ``name`` raises, None where it is not down."""
        with self._lock:
            for fault in self.tools:
                left = fault.times is None or fault.used < fault.times
                if left and not fault.closed and fault.tool in (name, "*"):
                    fault.used += 1
                    return fault.error
        return None


def status_of(kind: str) -> int | None:
    """Return the HTTP status of a kind, None where it is no answer with a status of an error."""
    if kind in _STATUS:
        return _STATUS[kind]
    return int(kind) if kind.isdigit() and 400 <= int(kind) <= 599 else None


def interaction(fault: Fault, sent: Sent, asked: Asked, number: int) -> Interaction:
    """Return the fault as a recording of it."""
    status = status_of(fault.kind)
    request_id = f"{REQUEST_ID}_{number}"
    headers = {"content-type": ["application/json"], "x-request-id": [request_id], "request-id": [request_id]}
    if fault.kind in _TRANSPORT:
        name, message, ours = _TRANSPORT[fault.kind]
        error = {"class": name, "message": fault.message or message, "type": ours}
        return _made(sent, 0, {}, b"", {"state": "failed", "error": error, "total": 0.0})
    if status is not None:
        if fault.retry_after is not None:
            headers["retry-after"] = [f"{fault.retry_after:g}"]
        body = bodies.error(sent.url, status, fault.message)
        return _made(sent, status, headers, body, {"state": "complete", "total": 0.0, "headers": 0.0})
    if fault.kind in _ANSWERS:
        stream = asked.stream
        body = bodies.answer(sent.url, asked, fault.kind)
        headers["content-type"] = ["text/event-stream" if stream else "application/json"]
        return _made(sent, 200, headers, body, {"state": "complete", "total": 0.0, "headers": 0.0})
    return _stream(fault, sent, asked, headers)


def _stream(fault: Fault, sent: Sent, asked: Asked, headers: dict[str, list[str]]) -> Interaction:
    timing: dict[str, Any] = {"state": "complete", "total": 0.0, "headers": 0.0}
    if not asked.stream:
        if fault.kind == "dropped":
            name, message, ours = _TRANSPORT["disconnected"]
            error = {"class": name, "message": message, "type": ours}
            return _made(sent, 0, {}, b"", {"state": "failed", "error": error, "total": 0.0})
        whole = bodies.answer(sent.url, asked, "plain")
        cut = {"truncated": whole[: len(whole) // 2], "corrupt": b"{" + whole, "empty": b""}[fault.kind]
        return _made(sent, 200, headers, cut, timing)
    headers["content-type"] = ["text/event-stream"]
    chunks = [] if fault.kind == "empty" else bodies.chunks(sent.url, asked)[: max(0, fault.after_chunks)]
    if fault.kind == "corrupt":
        chunks.append(b'data: {"id": "llmfault", "choi\n\n')
    body = b"".join(chunks)
    if fault.kind == "dropped":
        timing |= {"state": "broken", "error": dict(_BROKEN)}
    timing["chunks"] = [[0.0, len(c)] for c in chunks]
    if chunks:
        timing["first_byte"] = 0.0
    return _made(sent, 200, headers, body, timing)


def _made(
    sent: Sent, status: int, headers: dict[str, list[str]], body: bytes, timing: dict[str, Any]
) -> Interaction:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Interaction.make(
        method=sent.method,
        url=sent.url,
        request_body=b"",
        request_headers={},
        status=(status, ""),
        headers=headers,
        body=body,
        timing={"time": now, **timing},
    )
