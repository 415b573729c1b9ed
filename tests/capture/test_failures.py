"""Every failure has a name, and meets the application again on replay: one row each, live and then replayed.

The servers are real: sockets that answer, hang, cut off or reset. ``docs/explanation/failures.md`` holds the same
table, and `.ci/matrix` runs this file under each major version of the SDK.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Behaviour = Callable[[socket.socket], None]

CLOSE = "Connection: close\r\n\r\n"
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "gpt-4o-mini"}
TEXT = [
    {**CHUNK, "choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]} for w in ("One ", "two ")
]


def events(*values: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(v).encode() + b"\n\n" for v in values)


def response(status: str, body: bytes, kind: str = "application/json", **headers: str) -> Behaviour:
    extra = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}{CLOSE}"
    return lambda s: s.sendall(head.encode() + body)


def error(status: str, **headers: str) -> Behaviour:
    body = json.dumps({"error": {"message": "no", "type": "t", "code": None}}).encode()
    return response(status, body, x_request_id="req_1", **headers)


def stream(*parts: bytes, end: bool = True, pause: float = 0.0) -> Behaviour:
    """Answer with server-sent events, chunk by chunk; without ``end`` the last chunk never comes."""

    def act(s: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n{CLOSE}"
        s.sendall(head.encode())
        for part in parts:
            s.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(0.02)
        time.sleep(pause)
        if end:
            s.sendall(b"0\r\n\r\n")

    return act


def reset(s: socket.socket) -> None:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang(s: socket.socket) -> None:
    time.sleep(1.0)


def nothing(s: socket.socket) -> None:
    pass


@dataclass(frozen=True)
class Row:
    """A failure: what the server does, to which requests, and what the call is then."""

    name: str
    act: Behaviour
    status: str
    error_type: str
    raises: bool = True
    ways: str = "plain"
    api: str = "chat"
    retry_after: float | None = None


def failed_response(status: str, **more: Any) -> dict[str, Any]:
    base = {"id": "r", "object": "response", "created_at": 0, "model": "gpt-4o-mini", "output": [], "tools": []}
    return {**base, "status": status, "parallel_tool_calls": True, "tool_choice": "auto", **more}


DONE = b"data: [DONE]\n\n"
HTML = b"<html>please log in</html>"
ROWS = [
    Row("connection reset", reset, "error", "connection_reset", ways="both"),
    Row("server disconnects without an answer", nothing, "error", "server_disconnected", ways="both"),
    Row("no answer within the timeout", hang, "timeout", "read_timeout", ways="both"),
    Row("400", error("400 Bad Request"), "error", "http_400", ways="both"),
    Row("401", error("401 Unauthorized"), "error", "http_401", ways="both"),
    Row("403", error("403 Forbidden"), "error", "http_403"),
    Row("404", error("404 Not Found"), "error", "http_404"),
    Row("409", error("409 Conflict"), "error", "http_409"),
    Row("413", error("413 Payload Too Large"), "error", "http_413"),
    Row("422", error("422 Unprocessable Entity"), "error", "http_422"),
    Row("429", error("429 Too Many Requests"), "rate_limited", "http_429", ways="both"),
    Row("429 with Retry-After", error("429 Slow", retry_after="2"), "rate_limited", "http_429", retry_after=2.0),
    Row(
        "429 with retry-after-ms", error("429 Slow", retry_after_ms="250"), "rate_limited", "http_429",
        retry_after=0.25,
    ),
    Row("500", error("500 Internal Server Error"), "error", "http_500", ways="both"),
    Row("502 with an HTML page", response("502 Bad Gateway", HTML, "text/html"), "error", "http_502"),
    Row("503", error("503 Service Unavailable"), "error", "http_503"),
    Row("504", error("504 Gateway Timeout"), "timeout", "http_504"),
    Row("200 with an HTML page", response("200 OK", HTML, "text/html"), "error", "corrupt_body", raises=False),
    Row("200 with broken JSON", response("200 OK", b'{"id": "x", "cho'), "error", "corrupt_body"),
    Row("200 with an empty body", response("200 OK", b""), "incomplete", "empty_response"),
    Row(
        "stream that is dropped", stream(*map(events, TEXT), end=False), "incomplete", "dropped_stream",
        ways="stream",
    ),
    Row(
        "stream that ends without a finish reason", stream(*map(events, TEXT)), "incomplete", "truncated_stream",
        raises=False, ways="stream",
    ),
    Row(
        "stream with a corrupt chunk", stream(events(TEXT[0]), b'data: {"id": "c", "ch\n\n', DONE), "error",
        "corrupt_chunk", ways="stream",
    ),
    Row("stream without an event", stream(), "incomplete", "empty_stream", raises=False, ways="stream"),
    Row(
        "stream with an error event", stream(events(TEXT[0]), events({"error": {"message": "overloaded"}}), DONE),
        "error", "stream_error", ways="stream",
    ),
    Row(
        "stream that stalls", stream(events(TEXT[0]), end=False, pause=1.0), "timeout", "read_timeout",
        ways="stream",
    ),
    Row(
        "Responses stream that failed",
        stream(
            events({"type": "response.created", "response": failed_response("in_progress")}),
            events(
                {
                    "type": "response.failed",
                    "response": failed_response("failed", error={"code": "server_error", "message": "broken"}),
                }
            ),
        ),
        "error", "response_failed", raises=False, ways="stream", api="responses",
    ),
]  # fmt: skip


@pytest.fixture
def server() -> Iterator[Callable[[Behaviour], str]]:
    """Start a server with one behaviour; returns its base URL."""
    listeners: list[socket.socket] = []

    def start(act: Behaviour) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, act), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    yield start
    for listener in listeners:
        listener.close()


def serve(listener: socket.socket, act: Behaviour) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            read_request(connection)
            act(connection)


def read_request(s: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while len(body) < (int(found[1]) if found else 0):
        body += s.recv(65536)


def cases() -> list[Any]:
    out = []
    for row in ROWS:
        ways = {"plain": ["ask", "aio"], "stream": ["stream", "astream"], "both": ["ask", "aio", "stream"]}[
            row.ways
        ]
        out += [pytest.param(row, way, id=f"{row.name}-{way}") for way in ways]
    return out


@pytest.mark.parametrize(("row", "way"), cases())
def test_a_failure_has_its_name_and_is_the_same_on_replay(
    bench: Any, server: Callable[[Behaviour], str], row: Row, way: str
) -> None:
    bench.base_url = server(row.act)
    settings = {"max_retries": 0, "timeout": 0.4}
    act = getattr(bench, way)(api=row.api)
    live = bench.run(act, "all", settings=settings)
    call = live.watch.calls[0]
    assert (call.status, call.error_type) == (row.status, row.error_type)
    assert (live.error is not None) == row.raises, live.error
    assert call.attempts[-1].retry_after == row.retry_after
    replayed = bench.run(act, "none", settings=settings)
    assert dataclasses.replace(replayed.watch.calls[0], capture_mode="recorded") == call
    assert type(replayed.error) is type(live.error)
    assert str(replayed.error) == str(live.error)


def test_nobody_listens(bench: Any, closed_port: int) -> None:
    bench.base_url = f"http://127.0.0.1:{closed_port}/v1"
    live, replayed = bench.both(bench.ask(api="chat"), settings={"max_retries": 0})
    assert (live.call.status, live.call.error_type) == ("error", "connection_refused")
    assert type(replayed.error) is type(live.error)
    assert dataclasses.replace(replayed.call, capture_mode="recorded") == live.call


def test_tls_against_a_server_without_it(bench: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        bench.base_url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        live, replayed = bench.both(bench.ask(api="chat"), settings={"max_retries": 0, "timeout": 2})
    assert (live.call.status, live.call.error_type) == ("error", "connect_error")
    assert type(replayed.error) is type(live.error)


def test_the_page_has_the_same_rows() -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/failures.md").read_text("utf-8")
    told = {m[0]: (m[1], m[2]) for m in re.findall(r"^\| (.+?) \| `(\w+)`, `(\w+)` \|", page, flags=re.MULTILINE)}
    assert {row.name: (row.status, row.error_type) for row in ROWS}.items() <= told.items()
