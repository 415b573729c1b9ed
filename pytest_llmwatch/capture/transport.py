"""The one choke point: a wrapper on the transports of httpx and httpx2, sync and async.

A request that is no LLM call goes straight to the real method. For one that is, the session decides whether it is
played from a recording or sent; a response that is sent back is teed chunk by chunk, never buffered.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType, TracebackType
from typing import Any, Protocol

from pytest_llmwatch.capture import faults, transport_aiohttp
from pytest_llmwatch.capture.exchange import Exchange, Sent
from pytest_llmwatch.capture.options import Problem


class Gate(Protocol):
    """What the wrapper asks of the session."""

    def wants(self, method: str, host: str, port: int | None, path: str, body: Callable[[], bytes]) -> bool:
        """Whether a request is to be captured."""

    def begin(self, sent: Sent, module: ModuleType) -> Exchange:
        """Open an exchange, replayed or live; raises where the request must not be made."""

    def admit(self, exchange: Exchange) -> Iterator[float]:
        """Check limits before a live request; return the waits before it may go, in seconds each."""

    def outgoing(self, exchange: Exchange) -> bytes | None:
        """Return the body that goes out instead of the application's, None for the application's own."""


class Removable(Protocol):
    """Wrapped methods of one HTTP library."""

    def remove(self) -> None:
        """Put the real methods back."""


class Installation:
    """The wrapped methods of one HTTP library."""

    def __init__(self, module: ModuleType, gate: Gate) -> None:
        self._module = module
        self._real: list[tuple[type, str, Any]] = []
        streams = _Streams(module)
        self._wrap(module.HTTPTransport, "handle_request", lambda real: _sync(real, gate, module, streams))
        self._wrap(
            module.AsyncHTTPTransport, "handle_async_request", lambda real: _async(real, gate, module, streams)
        )

    def _wrap(self, cls: type, name: str, make: Callable[[Any], Any]) -> None:
        real = getattr(cls, name)
        self._real.append((cls, name, real))
        setattr(cls, name, functools.wraps(real)(make(real)))

    def remove(self) -> None:
        """Put the real methods back."""
        for cls, name, real in self._real:
            setattr(cls, name, real)
        self._real.clear()


def install(gate: Gate, report: Callable[[Problem], None]) -> list[Removable]:
    """Wrap whichever of httpx and httpx2 is installed, and aiohttp once it is imported."""
    found = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
    modules = [importlib.import_module(name) for name in found]
    return [
        *(Installation(module, gate) for module in modules),
        transport_aiohttp.Installation(gate, modules[-1], report),
    ]


_PLACES: dict[str, tuple[str, int | None, str]] = {}
"""Host, port and path of the URLs that were met lately: httpx works them out anew each time it is asked."""
_MOST_PLACES = 256


def _wanted(request: Any, gate: Gate) -> str | None:
    """Return the URL of a request that is to be captured, None for any other."""
    url = request.url
    text = str(url)
    place = _PLACES.get(text)
    if place is None:
        if len(_PLACES) >= _MOST_PLACES:
            _PLACES.clear()
        path = url.raw_path.partition(b"?")[0].decode("ascii", "replace")
        place = _PLACES[text] = (url.host, url.port, path)
    wanted = gate.wants(request.method, *place, lambda: _content(request))
    return text if wanted else None


def _content(request: Any) -> bytes:
    """Return the body of a request, empty where it is still to be read from somewhere."""
    try:
        content: bytes = request.content
    except Exception:  # RequestNotRead, of whichever library
        return b""
    return content


def _sent(request: Any, url: str, body: bytes) -> Sent:
    pairs = _pairs(request.headers)
    headers = dict(pairs)
    if len(headers) < len(pairs):  # a header that came twice: the library joins its values
        headers = {k.lower(): v for k, v in request.headers.items()}
    return Sent(request.method, url, headers, body)


def _pairs(headers: Any) -> list[tuple[str, str]]:
    """Return headers as the library's ``multi_items`` does, but without its search for their encoding."""
    names, values = zip(*headers.raw, strict=True) if headers else ((), ())
    joined, all_values = b"\0".join(names), b"\0".join(values)
    if joined.isascii() and all_values.isascii() and names:
        said = all_values.decode("ascii").split("\0")
        if len(said) == len(names):  # no value holds the sign between them
            return list(zip(joined.decode("ascii").lower().split("\0"), said, strict=True))
    pairs: list[tuple[str, str]] = headers.multi_items()
    return pairs


def _sync(real: Any, gate: Gate, module: ModuleType, streams: _Streams) -> Any:
    def handle_request(self: Any, request: Any) -> Any:
        url = _wanted(request, gate)
        if url is None:
            return real(self, request)
        exchange = gate.begin(_sent(request, url, request.read()), module)
        if exchange.replayed is not None:
            return streams.play(exchange, request, asynchronous=False)
        with _Sending(gate, exchange, request, _tracer) as sending:
            for pause in sending.waits:
                time.sleep(pause)
            sending.go()
            response = real(self, _outgoing(request, exchange, gate, module))
        return streams.taken(response, exchange, streams.tee)

    return handle_request


def _async(real: Any, gate: Gate, module: ModuleType, streams: _Streams) -> Any:
    async def handle_async_request(self: Any, request: Any) -> Any:
        url = _wanted(request, gate)
        if url is None:
            return await real(self, request)
        exchange = gate.begin(_sent(request, url, await request.aread()), module)
        if exchange.replayed is not None:
            return streams.play(exchange, request, asynchronous=True)
        with _Sending(gate, exchange, request, _async_tracer) as sending:
            for pause in sending.waits:
                import anyio  # asyncio or trio: httpx depends on it

                await anyio.sleep(pause)
            sending.go()
            response = await real(self, _outgoing(request, exchange, gate, module))
        return streams.taken(response, exchange, streams.atee)

    return handle_async_request


def _outgoing(request: Any, exchange: Exchange, gate: Gate, module: ModuleType) -> Any:
    """Return the request as it goes out: ``request``, or one like it with another body."""
    body = gate.outgoing(exchange)
    if body is None:
        return request
    headers = [(k, v) for k, v in request.headers.raw if k.lower() != b"content-length"]
    return module.Request(
        request.method, request.url, headers=headers, content=body, extensions=request.extensions
    )


Trace = Callable[[str, dict[str, Any]], Any]


class _Sending:
    """A live request on its way: admitted, told by httpcore of its steps, and noted if no response comes."""

    def __init__(
        self, gate: Gate, exchange: Exchange, request: Any, tracer: Callable[[Trace, Trace | None], Trace]
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._extensions = request.extensions
        self._tracer = tracer
        self.waits = gate.admit(exchange)
        """Seconds to wait, one after another, for the rate limiter and a turn."""

    def __enter__(self) -> _Sending:
        self._exchange.start()
        return self

    def go(self) -> None:
        """Start the request's own time."""
        theirs = self._extensions.get("trace")
        extensions = dict(self._extensions)
        # httpcore shares this dictionary: what we need to know is known once the request is written, so that the
        # events of each chunk need not come here
        written = None if theirs else lambda: extensions.pop("trace", None)
        extensions["trace"] = self._tracer(_steps(self._exchange, written), theirs)
        self._request.extensions = extensions
        self._exchange.sending(traced=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._request.extensions = self._extensions
        if error is not None:
            self._exchange.failed(error)


def _steps(exchange: Exchange, written: Callable[[], object] | None) -> Callable[[str, dict[str, Any]], None]:
    """Return what tells an exchange of httpcore's trace events, see the page "Extensions" of its documentation."""

    def step(name: str, info: dict[str, Any]) -> None:
        if not name.endswith(".send_request_headers.started") or _is_tunnel(info):
            exchange.got_slot()
            return
        exchange.writing()
        if written is not None:
            written()

    return step


def _is_tunnel(info: dict[str, Any]) -> bool:
    return getattr(info.get("request"), "method", None) == b"CONNECT"


def _tracer(step: Trace, theirs: Trace | None) -> Trace:
    def trace(name: str, info: dict[str, Any]) -> Any:
        step(name, info)
        return None if theirs is None else theirs(name, info)

    return trace


def _async_tracer(step: Trace, theirs: Trace | None) -> Trace:
    async def trace(name: str, info: dict[str, Any]) -> Any:
        step(name, info)
        return None if theirs is None else await theirs(name, info)

    return trace


class _Streams:
    """The stream classes of one HTTP library, which insists on its own base classes."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self.tee = _tee_class(module)
        self.atee = _async_tee_class(module)
        self._player = _player_class(module)

    def taken(self, response: Any, exchange: Exchange, tee: Any) -> Any:
        """Note a live response's head, and what is read of its body from now on."""
        exchange.answered()
        exchange.responded(response.status_code, response.reason_phrase, _pairs(response.headers))
        response.stream = tee(response.stream, exchange)
        return response

    def play(self, exchange: Exchange, request: Any, *, asynchronous: bool) -> Any:
        """Return the recorded response, or raise the recorded error."""
        if exchange.status_code is None:
            exchange.closed()
            raise faults.rebuild(self._module, exchange.error or {}, request, exchange.error_type)
        extensions: dict[str, Any] = {"http_version": b"HTTP/1.1"}
        if exchange.reason:
            extensions["reason_phrase"] = exchange.reason.encode("ascii", "replace")
        return self._module.Response(
            exchange.status_code,
            headers=exchange.headers,
            stream=self._player(exchange, request, asynchronous),
            extensions=extensions,
        )


def _tee_class(module: ModuleType) -> Any:
    class Tee(module.SyncByteStream):  # type: ignore[misc,name-defined]
        def __init__(self, inner: Any, exchange: Exchange) -> None:
            self._inner, self._exchange = inner, exchange

        def __iter__(self) -> Iterator[bytes]:
            source = iter(self._inner)
            while True:
                with self._exchange.waiting:
                    data = next(source, None)
                if data is None:
                    return self._exchange.ended()
                self._exchange.chunk(data)
                yield data

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                self._exchange.closed()

    return Tee


def _async_tee_class(module: ModuleType) -> Any:
    class AsyncTee(module.AsyncByteStream):  # type: ignore[misc,name-defined]
        def __init__(self, inner: Any, exchange: Exchange) -> None:
            self._inner, self._exchange = inner, exchange

        async def __aiter__(self) -> AsyncIterator[bytes]:
            source = aiter(self._inner)
            while True:
                with self._exchange.waiting:
                    data = await anext(source, None)
                if data is None:
                    self._exchange.ended()
                    return
                self._exchange.chunk(data)
                yield data

        async def aclose(self) -> None:
            try:
                await self._inner.aclose()
            finally:
                self._exchange.closed()

    return AsyncTee


def _player_class(module: ModuleType) -> Any:
    class _Base(module.SyncByteStream):  # type: ignore[misc,name-defined]
        def __init__(self, exchange: Exchange, request: Any) -> None:
            self._exchange = exchange
            self._request = request

        def _end(self) -> None:
            exchange = self._exchange
            exchange.closed()
            if exchange.state == "broken":
                raise faults.rebuild(module, exchange.error or {}, self._request, exchange.error_type)

    class Player(_Base):
        def __iter__(self) -> Iterator[bytes]:
            yield from self._exchange.pieces()
            self._end()

        def close(self) -> None:
            self._exchange.closed()

    class AsyncPlayer(_Base, module.AsyncByteStream):  # type: ignore[misc,name-defined]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self._exchange.pieces():
                yield piece
            self._end()

        async def aclose(self) -> None:
            self._exchange.closed()

    def player(exchange: Exchange, request: Any, asynchronous: bool) -> Any:
        return (AsyncPlayer if asynchronous else Player)(exchange, request)

    return player
