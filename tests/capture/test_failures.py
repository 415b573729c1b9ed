"""Every failure has a name, and meets the application again on replay: one row each, live and then replayed.

The servers are real: llmock for what it can do, sockets that hang, cut off or reset for the rest. Each row is
driven through an application that knows nothing of us, over both APIs and both clients, plain and streamed.
``docs/explanation/failures.md`` holds the same rows with what `bench/capture/failures.py` saw under each major
version of the SDK.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from llmock.scenarios import Delay, Fail, Reply, SlowFirstToken, StreamFault, ToolFault

Behaviour = Callable[[socket.socket], None]
World = Callable[["Servers", str, bool], str]
"""Starts a server for requests of an API, plain or streamed; returns its base URL."""

CLOSE = "Connection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
HTML = b"<html>please log in</html>"
RESPONSE = {"id": "r", "object": "response", "created_at": 0, "model": "gpt-4o-mini", "output": [], "tools": []}


# what servers do


def http(status: str, body: bytes, kind: str = "application/json", **headers: str) -> Behaviour:
    extra = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    length = "" if "content_length" in headers else f"Content-Length: {len(body)}\r\n"
    return lambda s: s.sendall(
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}{extra}{CLOSE}".encode() + body
    )


def error(status: str, **headers: str) -> Behaviour:
    body = json.dumps({"error": {"message": "no", "type": "t", "code": None}}).encode()
    return http(status, body, x_request_id="req_1", **headers)


def until_a_date(s: socket.socket) -> None:
    error("429 Slow", retry_after=email.utils.formatdate(time.time() + 100, usegmt=True))(s)


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


def nothing(s: socket.socket) -> None:
    pass


def then_reset(act: Behaviour) -> Behaviour:
    def both(s: socket.socket) -> None:
        act(s)
        time.sleep(0.05)
        reset(s)

    return both


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def begun(api: str) -> list[bytes]:
    """Return the first events of a stream."""
    if api == "chat":
        head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "gpt-4o-mini"}
        deltas = [{"index": 0, "delta": {"content": w}, "finish_reason": None} for w in ("One ", "two ")]
        return [event({**head, "choices": [d]}) for d in deltas]
    place: dict[str, Any] = {"item_id": "m", "output_index": 0, "content_index": 0, "logprobs": []}
    words = [{"type": "response.output_text.delta", **place, "delta": w} for w in ("One ", "two ")]
    first: dict[str, Any] = {"type": "response.created", "response": response("in_progress")}
    return [event({**e, "sequence_number": i}) for i, e in enumerate((first, *words))]


def response(status: str, **more: Any) -> dict[str, Any]:
    return {**RESPONSE, "status": status, "parallel_tool_calls": True, "tool_choice": "auto", **more}


def ended(status: str, **more: Any) -> World:
    """Answer with a response of this status, which nothing but its body tells."""
    body = response(status, **more)

    def make(servers: Servers, api: str, streamed: bool) -> str:
        if streamed:
            return servers.serve(stream(*begun(api), event({"type": f"response.{status}", "response": body})))
        return servers.serve(http("200 OK", json.dumps(body).encode()))

    return make


def serve(act: Behaviour) -> World:
    return lambda servers, api, streamed: servers.serve(act)


def cut(
    *more: bytes, end: bool = True, pause: float = 0.0, after: Callable[[Behaviour], Behaviour] = lambda b: b
) -> World:
    """Begin a stream, and go on as told."""
    return lambda servers, api, streamed: servers.serve(after(stream(*begun(api), *more, end=end, pause=pause)))


def mock(*behaviours: Any) -> World:
    return lambda servers, api, streamed: servers.mock(*behaviours)


def half(servers: Servers, api: str, streamed: bool) -> str:
    """Promise more than comes."""
    return servers.serve(http("200 OK", b'{"id": "x", "cho', content_length="900"))


def moved(servers: Servers, api: str, streamed: bool) -> str:
    target = servers.mock()
    path = "/chat/completions" if api == "chat" else "/responses"
    return servers.serve(http("307 Temporary Redirect", b"", location=target + path))


def astray(servers: Servers, api: str, streamed: bool) -> str:
    return servers.serve(http("307 Temporary Redirect", b"", location="?again=1"))


class Servers:
    """Start servers; they end with the test."""

    def __init__(self, bench: Any, queue: Any) -> None:
        self.bench, self._queue = bench, queue
        self.open = contextlib.ExitStack()

    def mock(self, *behaviours: Any) -> str:
        self._queue.add(*behaviours)
        return str(self.bench.base_url)

    def serve(self, act: Behaviour, scheme: str = "http", *, reads: bool = True) -> str:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        self.open.callback(listener.close)
        threading.Thread(target=self._serve, args=(listener, act, reads), daemon=True).start()
        return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1"

    @staticmethod
    def _serve(listener: socket.socket, act: Behaviour, reads: bool) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                if reads:
                    read_request(connection)
                act(connection)

    def nobody(self, api: str, streamed: bool) -> str:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{s.getsockname()[1]}/v1"

    def full(self, api: str, streamed: bool) -> str:
        """Listen, with a queue that is full: the next connection is never made."""
        listener = self.open.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            s = self.open.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    def deaf(self, api: str, streamed: bool) -> str:
        """Accept, and read nothing."""
        return self.serve(lambda s: time.sleep(1.0), reads=False)

    def tls(self, api: str, streamed: bool) -> str:
        """Speak TLS, and have no certificate to show."""

        def act(s: socket.socket) -> None:
            with contextlib.suppress(ssl.SSLError):
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(s, server_side=True)

        return self.serve(act, "https", reads=False)


def read_request(s: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while len(body) < (int(found[1]) if found else 0):
        body += s.recv(65536)


@pytest.fixture
def servers(bench: Any, faults: Any) -> Iterator[Servers]:
    """Servers of this test; `mock` is llmock's, which the bench talks to."""
    made = Servers(bench, faults)
    with made.open:
        yield made


# the table


@dataclass(frozen=True)
class Way:
    """One way of asking."""

    api: str
    streamed: bool
    asynchronous: bool

    def __str__(self) -> str:
        return f"{self.api}-{'a' if self.asynchronous else ''}{'stream' if self.streamed else 'plain'}"


WAYS = [Way(api, s, a) for api in ("chat", "responses") for s in (False, True) for a in (False, True)]


@dataclass(frozen=True)
class Row:
    """A failure: what the server does, to which requests, what the call is then, and what the application sees."""

    name: str
    world: World
    status: str
    error_type: str | None
    sees: str = ""
    """Names of exceptions, one per kind of SDK at most; empty = none, the application is told nothing."""
    ways: str = "plain stream"
    apis: str = "chat responses"
    retry_after: Any = None
    attempts: tuple[int | None, ...] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the call, and whether its tool calls are valid."""
    at_least: Mapping[str, float] = field(default_factory=dict)
    app: Mapping[str, Any] = field(default_factory=dict)
    """How the application asks, see the fixture."""

    def fits(self, way: Way) -> bool:
        return way.api in self.apis and ("stream" if way.streamed else "plain") in self.ways.split()


A_DATE = pytest.approx(100, abs=1.1)  # it tells whole seconds
CONNECTION, TIMEOUT, BARE = "APIConnectionError", "APITimeoutError", "JSONDecodeError"
ROWS = [
    # no answer
    Row("nobody listens", Servers.nobody, "error", "connection_refused", CONNECTION),
    Row("no such host", lambda *_: "http://nowhere.invalid/v1", "error", "dns_failure", CONNECTION, ways="plain"),
    Row(
        "no connection within the timeout", Servers.full, "timeout", "connect_timeout", TIMEOUT,
        app={"timeout": {"connect": 0.2}},
    ),
    Row("TLS fails", Servers.tls, "error", "tls_error", CONNECTION, ways="plain"),
    Row(
        "TLS with a server that has none", lambda s, *_: s.serve(error("400 No"), "https", reads=False), "error",
        "tls_error", CONNECTION, ways="plain",
    ),
    Row(
        "request not taken within the timeout", Servers.deaf, "timeout", "write_timeout", TIMEOUT, ways="plain",
        apis="chat", app={"timeout": {"write": 0.2}, "length": 160_000},
    ),
    Row(
        "no place in the pool within the timeout", mock(), "timeout", "pool_timeout", TIMEOUT, ways="plain",
        app={"timeout": {"pool": 0.1}, "crowded": True},
    ),
    Row(
        "no answer within the timeout", mock(Delay(0.6)), "timeout", "read_timeout", TIMEOUT,
        app={"timeout": {"read": 0.25}},
    ),
    Row("connection reset", serve(reset), "error", "connection_reset", CONNECTION),
    Row("server disconnects without an answer", serve(nothing), "error", "server_disconnected", CONNECTION),
    # an error by its status
    Row("400", mock(Fail(400)), "error", "http_400", "BadRequestError"),
    Row("401", mock(Fail(401)), "error", "http_401", "AuthenticationError"),
    Row("403", mock(Fail(403)), "error", "http_403", "PermissionDeniedError", ways="plain"),
    Row("404", mock(Fail(404)), "error", "http_404", "NotFoundError", ways="plain"),
    Row("409", mock(Fail(409)), "error", "http_409", "ConflictError", ways="plain"),
    Row("413", mock(Fail(413)), "error", "http_413", "APIStatusError", ways="plain"),
    Row("422", mock(Fail(422)), "error", "http_422", "UnprocessableEntityError", ways="plain"),
    Row("429", serve(error("429 Slow")), "rate_limited", "http_429", "RateLimitError"),
    Row(
        "429 with Retry-After", mock(Fail(429, retry_after=2)), "rate_limited", "http_429", "RateLimitError",
        retry_after=2.0,
    ),
    Row(
        "429 with Retry-After as a date", serve(until_a_date), "rate_limited", "http_429", "RateLimitError",
        retry_after=A_DATE, ways="plain",
    ),
    Row(
        "429 with retry-after-ms", serve(error("429 Slow", retry_after_ms="250")), "rate_limited", "http_429",
        "RateLimitError", retry_after=0.25, ways="plain",
    ),
    Row("500", mock(Fail(500)), "error", "http_500", "InternalServerError"),
    Row(
        "502 with an HTML page", serve(http("502 Bad Gateway", HTML, "text/html")), "error", "http_502",
        "InternalServerError",
    ),
    Row("503", mock(Fail(503, retry_after=1)), "error", "http_503", "InternalServerError", retry_after=1.0),
    Row("504", serve(error("504 Late")), "timeout", "http_504", "InternalServerError", ways="plain"),
    Row("redirect without end", astray, "error", "http_307", CONNECTION, ways="plain"),
    # an answer that is none
    Row("200 with an HTML page", serve(http("200 OK", HTML, "text/html")), "error", "corrupt_body"),
    Row(
        "200 with broken JSON",
        serve(http("200 OK", b'{"id": "x", "cho')), "error", "corrupt_body", BARE, ways="plain",
    ),
    Row("200 with an empty body", serve(http("200 OK", b"")), "incomplete", "empty_response", BARE, ways="plain"),
    Row("200 cut in the middle of the body", half, "incomplete", "dropped_stream", CONNECTION, ways="plain"),
    Row(
        "response that failed", ended("failed", error={"code": "server_error", "message": "broken"}), "error",
        "response_failed", apis="responses",
    ),
    Row(
        "response that is incomplete", ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        "success", None, apis="responses", more={"finish_reason": "length"},
    ),
    Row(
        "response that was filtered", ended("incomplete", incomplete_details={"reason": "content_filter"}),
        "success", None, apis="responses", more={"finish_reason": "content_filter"},
    ),
    Row(
        "answer that was filtered", mock(Reply(text="", finish_reason="content_filter")), "success", None,
        apis="chat", more={"finish_reason": "content_filter"},
    ),
    Row(
        "answer that was cut at the token limit", mock(Reply(text="One", finish_reason="length")), "success",
        None, apis="chat", more={"finish_reason": "length"},
    ),
    Row(
        "tool call whose arguments are no JSON", mock(ToolFault("malformed_arguments")), "success", None,
        app={"tools": True}, more={"tool_calls[].valid": [False]},
    ),
    Row(
        "call of a tool that was not offered", mock(ToolFault("unknown_tool")), "success", None,
        app={"tools": True}, more={"tool_calls[].valid": [False]},
    ),
    Row("slow answer", mock(Delay(0.2)), "success", None, at_least={"latency": 0.2}),
    Row("slow first token", mock(SlowFirstToken(0.2)), "success", None, ways="stream", at_least={"ttft": 0.2}),
    # a stream that goes wrong
    Row(
        "stream that is dropped", mock(StreamFault("disconnect", after_chunks=2)), "incomplete", "dropped_stream",
        "RemoteProtocolError APIConnectionError", ways="stream",
    ),
    Row(
        "stream that is reset", cut(end=False, after=then_reset), "incomplete", "dropped_stream",
        "ReadError APIConnectionError", ways="stream",
    ),
    Row(
        "stream that ends without a finish reason", mock(StreamFault("truncate", after_chunks=2)), "incomplete",
        "truncated_stream", ways="stream",
    ),
    Row(
        "stream that ends in the middle of an event",
        cut(b'data: {"id": "c", "cho'), "incomplete", "truncated_stream", ways="stream",
    ),
    Row(
        "stream with a corrupt chunk", mock(StreamFault("malformed", after_chunks=1)), "error", "corrupt_chunk",
        BARE, ways="stream",
    ),
    Row("stream without an event", serve(stream()), "incomplete", "empty_stream", ways="stream"),
    Row(
        "stream with an error event", cut(event({"error": {"message": "overloaded"}}), DONE), "error",
        "stream_error", "APIError", ways="stream", apis="chat",
    ),
    Row(
        "stream with an error event of the Responses API",
        cut(event({"type": "error", "code": "x", "message": "overloaded", "param": None, "sequence_number": 9})),
        "error", "stream_error", ways="stream", apis="responses",
    ),
    Row(
        "stream that stalls", mock(StreamFault("stall", after_chunks=2, stall_seconds=0.6)), "timeout",
        "read_timeout", "ReadTimeout APITimeoutError", ways="stream", app={"timeout": {"read": 0.25}},
    ),
    Row(
        "stream that the application closes early", cut(end=False, pause=0.1), "incomplete", "closed_early",
        ways="stream", app={"reads": 1},
    ),
    # over it in the end
    Row(
        "503, then an answer", mock(Fail(503, retry_after=0.05)), "success", None, app={"retries": 1},
        attempts=(503, 200), more={"retries": 1},
    ),
    Row(
        "429 with Retry-After twice, then an answer", mock(Fail(429, retry_after=0.1, times=2)), "success", None,
        app={"retries": 2}, attempts=(429, 429, 200), more={"retries": 2}, at_least={"latency": 0.2},
    ),
    Row("redirect to an answer", moved, "success", None, attempts=(307, 200), more={"retries": 0}),
]  # fmt: skip


def cases() -> list[Any]:
    return [pytest.param(row, way, id=f"{row.name}-{way}") for row in ROWS for way in WAYS if row.fits(way)]


@pytest.mark.parametrize(("row", "way"), cases())
def test_a_failure_has_its_name_and_is_the_same_on_replay(
    servers: Servers, application: Any, record_property: Callable[[str, object], None], row: Row, way: Way
) -> None:
    bench = servers.bench
    base_url = row.world(servers, way.api, way.streamed)
    app = application(base_url, way.api, streamed=way.streamed, asynchronous=way.asynchronous, **row.app)
    live = bench.run(app, "all")
    call, seen = live.watch.calls[0], live.value
    replayed = bench.run(app, "none")
    again = dataclasses.replace(replayed.watch.calls[0], capture_mode="recorded") if replayed.watch.calls else None
    same = (again, replayed.value) == (call, seen)
    told = {"name": row.name, "status": row.status, "error_type": row.error_type, "more": row.more}
    record_property("failure", json.dumps({**told, "way": str(way), "seen": seen.error, "same": same}))

    assert live.error is None
    assert (call.status, call.error_type) == (row.status, row.error_type), seen
    assert seen.error in (row.sees.split() or [""]), seen
    assert call.attempts[-1].retry_after == row.retry_after
    assert row.attempts is None or tuple(a.status_code for a in call.attempts) == row.attempts
    facts = {"tool_calls[].valid": [t.valid for t in call.tool_calls]}
    assert {name: facts[name] if name in facts else getattr(call, name) for name in row.more} == row.more
    assert all(getattr(call, name) >= low for name, low in row.at_least.items())
    assert replayed.error is None
    assert replayed.value == seen
    assert again == call
    assert same


def test_where_a_redirect_leads_is_kept_without_its_key(servers: Servers, application: Any) -> None:
    target = servers.mock() + "/chat/completions?api-key=not-to-be-kept-1234&v=2"
    base_url = servers.serve(http("307 Temporary Redirect", b"", location=target))
    app = application(base_url, "chat")
    live, replayed = servers.bench.both(app)
    assert live.value.pieces == replayed.value.pieces != ()
    kept = servers.bench.cassette().read_text("utf-8")
    assert "/chat/completions?api-key=[REDACTED]&v=2" in kept
    assert "not-to-be-kept" not in kept


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"retry_after": "Fri, 31 Dec 1999 23:59:59 -0000"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after_ms": "soon", "retry_after": "3"}, 3.0),
    ],
)
def test_what_a_server_asks_to_wait_may_be_past_or_nonsense(
    servers: Servers, application: Any, headers: dict[str, str], seconds: float | None
) -> None:
    live, replayed = servers.bench.both(application(servers.serve(error("429 Slow", **headers)), "chat"))
    assert live.call.attempts[0].retry_after == replayed.call.attempts[0].retry_after == seconds


def test_the_page_has_the_same_rows() -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/failures.md").read_text("utf-8")
    told = re.findall(r"^\| (.+?) \| `(\w+)`(?:, `(\w+)`)?(?:;[^|]*)? \|", page, flags=re.MULTILINE)
    assert told == [(row.name, row.status, row.error_type or "") for row in ROWS]
