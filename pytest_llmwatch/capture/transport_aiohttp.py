"""The same choke point in aiohttp: a wrapper on the session's request method and a client middleware below it.

aiohttp is wrapped when it is imported, never imported for that. The middleware stands next to the network, where
a request has its final URL and body: it plays a recording instead of sending, or tees what is read of a response.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.capture import faults
from pytest_llmwatch.capture.exchange import Exchange, Sent
from pytest_llmwatch.capture.options import Problem

if TYPE_CHECKING:
    from pytest_llmwatch.capture.transport import Gate

_NAME = "aiohttp"


class Installation(importlib.abc.MetaPathFinder):
    """The wrapper on aiohttp: in place now if it is imported, else as soon as it will be.

    Args:
        gate: Decides on each request.
        module: httpx or httpx2, whose decoders undo content encodings.
        report: Takes the problem of an aiohttp that is too old.
    """

    def __init__(self, gate: Gate, module: ModuleType, report: Callable[[Problem], None]) -> None:
        self._gate = gate
        self._module = module
        self._report = report
        self._real: tuple[Any, Any] | None = None
        self._looking = False
        known = sys.modules.get(_NAME)
        if known is not None:
            self._wrap(known)
        else:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Put the real method back, or wait for aiohttp no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._real is not None:
            cls, real = self._real
            cls._request = real
            self._real = None

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Let the others find aiohttp, and be told when it has been loaded."""
        if fullname != _NAME or self._looking:
            return None
        self._looking = True  # the other finders are asked next
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._loaded)
        return spec

    def _loaded(self, module: ModuleType) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self._wrap(module)

    def _wrap(self, aiohttp: Any) -> None:
        cls = aiohttp.ClientSession
        real = cls._request
        if "middlewares" not in inspect.signature(real).parameters:
            self._report(
                Problem(
                    "aiohttp-old",
                    f"aiohttp {aiohttp.__version__} has no client middlewares, so its LLM calls are not captured; "
                    "upgrade it to 3.12 or newer",
                )
            )
            return
        self._real = (cls, real)
        cls._request = functools.wraps(real)(_request(real, self._gate, _Classes(aiohttp), self._module))


class _Loader(importlib.abc.Loader):
    """A module's own loader, and a word to us when it is done."""

    def __init__(self, inner: Any, loaded: Callable[[ModuleType], None]) -> None:
        self._inner = inner
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._inner.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._inner
        self._inner.exec_module(module)
        self._loaded(module)


def _request(real: Any, gate: Gate, classes: _Classes, module: ModuleType) -> Any:
    async def _request(self: Any, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        try:
            url = self._build_url(str_or_url)
        except (TypeError, ValueError):
            return await real(self, method, str_or_url, **kwargs)  # which says so
        # what is told by the body is judged below, where there is one
        if not _wanted(gate, method.upper(), url, lambda: b'{"model": "", "input": ""}'):
            return await real(self, method, str_or_url, **kwargs)
        decoded = kwargs.get("auto_decompress")
        middleware = _Middleware(gate, classes, module, self._auto_decompress if decoded is None else decoded)
        theirs = kwargs.pop("middlewares", None)
        theirs = self._middlewares if theirs is None else theirs
        try:
            return await real(self, method, str_or_url, middlewares=(*theirs, middleware), **kwargs)
        except BaseException as error:
            middleware.failed(error)
            raise

    return _request


def _wanted(gate: Gate, method: str, url: Any, body: Callable[[], bytes]) -> bool:
    port = None if url.is_default_port() else url.port
    return bool(url.host) and gate.wants(method, url.host, port, url.raw_path, body)


class _Middleware:
    """What stands between one request of a session and the network."""

    def __init__(self, gate: Gate, classes: _Classes, module: ModuleType, decoded: bool) -> None:
        self._gate = gate
        self._classes = classes
        self._module = module
        self._decoded = decoded
        self._exchange: Exchange | None = None

    def failed(self, error: BaseException) -> None:
        """Note that no response came. That a total timeout did it is known only outside of the middleware."""
        if self._exchange is not None:
            self._exchange.failed(error)
            self._exchange = None

    async def __call__(self, request: Any, handler: Any) -> Any:
        body = await _bytes_of(request)
        if not _wanted(self._gate, request.method, request.url, lambda: body):
            return await handler(request)
        headers = {k.lower(): v for k, v in request.headers.items()}
        exchange = self._gate.begin(Sent(request.method, str(request.url), headers, body), self._module)
        if exchange.replayed is not None:
            return self._classes.play(exchange, request)
        waits = self._gate.admit(exchange)
        self._exchange = exchange
        exchange.start()
        for pause in waits:
            import asyncio

            await asyncio.sleep(pause)
        traces = request._traces if isinstance(getattr(request, "_traces", None), list) else None
        if traces is not None:
            traces.append(self._classes.probe(exchange))
        exchange.sending(traced=traces is not None)
        try:
            response = await handler(request)
        except Exception as error:
            self.failed(error)
            raise
        self._exchange = None
        exchange.responded(response.status, response.reason or "", self._headers(response))
        response.content = self._classes.tee(response.content, exchange)
        return response

    def _headers(self, response: Any) -> list[tuple[str, str]]:
        # a body that aiohttp has decoded already must not be decoded again
        gone = "content-encoding" if self._decoded else ""
        return [(k, v) for k, v in response.headers.items() if k.lower() != gone]


async def _bytes_of(request: Any) -> bytes:
    body = request.body
    if isinstance(body, bytes | bytearray | tuple):
        return bytes(body) if body else b""
    content: bytes = await body.as_bytes()
    return content


class _Classes:
    """Our classes over aiohttp's own, which exist once it is imported."""

    def __init__(self, aiohttp: Any) -> None:
        from aiohttp.tracing import Trace

        self._aiohttp = aiohttp
        pulled = _pulled_class(aiohttp.StreamReader)
        self._tee = _tee_class(pulled)
        self._player = _player_class(pulled)
        self._probe = _probe_class(Trace)
        config: Any = aiohttp.TraceConfig()
        config.freeze()
        self._config = config

    def probe(self, exchange: Exchange) -> Any:
        """Return what aiohttp tells of a connection and of the moment in which the request is written."""
        return self._probe(exchange, self._config)

    def tee(self, inner: Any, exchange: Exchange) -> Any:
        """Return a reader that notes what is read through it."""
        if inner.at_eof():
            exchange.ended()
            return inner
        return self._tee(inner, exchange)

    def play(self, exchange: Exchange, request: Any) -> Any:
        """Return the recorded response, or raise the recorded error."""

        def error() -> Exception:
            return faults.rebuild_aiohttp(self._aiohttp, exchange, request)

        if exchange.status_code is None:
            exchange.closed()
            raise error()
        response = self._response(request)
        from multidict import CIMultiDict, CIMultiDictProxy

        response.status, response.reason = exchange.status_code, exchange.reason
        response.version = self._aiohttp.HttpVersion11
        response._headers = CIMultiDictProxy(CIMultiDict(exchange.headers))
        response._raw_headers = tuple((k.encode(), v.encode()) for k, v in exchange.headers)
        response._closed = False
        response.content = self._player(exchange, error)
        return response

    def _response(self, request: Any) -> Any:
        cls = request.response_class
        arguments = {
            "writer": None,
            "continue100": None,
            "timer": None,
            "request_info": request.request_info,
            "traces": [],
            "loop": request.loop,
            "session": request._session,
        }
        if "stream_writer" in inspect.signature(cls.__init__).parameters:  # of 3.14 and newer
            arguments["stream_writer"] = SimpleNamespace(output_size=0)
        return cls(request.method, request.original_url, **arguments)


class _NoConnection:
    """Stands where a stream reader expects the connection that feeds it."""

    connected = True

    def pause_reading(self) -> None: ...

    def resume_reading(self, *args: object, **kwargs: object) -> None: ...


def _pulled_class(base: Any) -> Any:
    class Pulled(base):  # type: ignore[misc]
        """A stream reader that gets its data when someone waits for it."""

        def __init__(self, exchange: Exchange) -> None:
            super().__init__(_NoConnection(), 2**20)
            self._exchange = exchange

        async def _pull(self) -> None:
            raise AssertionError("a subclass feeds data, or the end")

        async def _wait(self, *_: object) -> None:
            await self._pull()

        def set_exception(self, *args: Any) -> None:
            super().set_exception(*args)
            self._exchange.closed()  # released or closed before the end

    return Pulled


def _tee_class(base: Any) -> Any:
    class Tee(base):  # type: ignore[misc]
        def __init__(self, inner: Any, exchange: Exchange) -> None:
            super().__init__(exchange)
            self._inner = inner
            self._chunked = inner._http_chunk_splits is not None
            if self._chunked:
                self.begin_http_chunk_receiving()

        async def _pull(self) -> None:
            with self._exchange.waiting:
                data, end_of_chunk = await self._inner.readchunk()
            self._take(data, end_of_chunk)

        def _take(self, data: bytes, end_of_chunk: bool = False) -> None:
            if data:
                self._exchange.chunk(data)
                self.feed_data(data)
            if end_of_chunk and self._chunked:
                self.end_http_chunk_receiving()
            if self._inner.at_eof():
                self._exchange.ended()
                self.feed_eof()

        def read_nowait(self, n: int = -1) -> bytes:
            self._take(self._inner.read_nowait(-1))
            data: bytes = super().read_nowait(n)
            return data

        def set_exception(self, *args: Any) -> None:
            super().set_exception(*args)
            self._inner.set_exception(*args)

    return Tee


def _player_class(base: Any) -> Any:
    class Player(base):  # type: ignore[misc]
        def __init__(self, exchange: Exchange, error: Callable[[], Exception]) -> None:
            super().__init__(exchange)
            self._pieces = iter(exchange.pieces())
            self._error = error

        async def _pull(self) -> None:
            piece = next(self._pieces, None)
            if piece is not None:
                self.feed_data(piece)
                return
            self._exchange.closed()
            if self._exchange.state == "broken":
                raise self._error()
            self.feed_eof()

    return Player


def _probe_class(base: Any) -> Any:
    class Probe(base):  # type: ignore[misc]
        def __init__(self, exchange: Exchange, config: Any) -> None:
            super().__init__(None, config, None)
            self._exchange = exchange

        async def send_connection_create_start(self) -> None:
            self._exchange.got_slot()

        async def send_request_headers(self, *_: object) -> None:
            self._exchange.writing()

    return Probe
