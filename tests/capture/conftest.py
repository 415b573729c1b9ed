"""Real servers, and a bench on which one execution is recorded and then replayed."""

from __future__ import annotations

import asyncio
import base64
import email.parser
import http.server
import importlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.capture.client import ClientSettings, open_async_client
from pytest_llmwatch.capture.llm_call import LlmCall
from pytest_llmwatch.capture.options import CaptureOptions, Problem
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.model import Call, Case, Score
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Redactor

Act = Callable[[LlmCall], Any]


@dataclass
class Result:
    """What one execution gave: what the test saw (a value or an exception), and what was captured."""

    value: Any
    error: BaseException | None
    watch: Watch
    problems: list[Problem]
    finished: list[Call] = field(default_factory=list)

    @property
    def call(self) -> Call:
        assert len(self.watch.calls) == 1, [c.status for c in self.watch.calls]
        return self.watch.calls[0]


class Bench:
    """Run an act under a capture session of its own, as one execution of one test."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.base_url = base_url

    def cassette(self, name: str = "case") -> Path:
        return self.folder / f"{name}.yaml"

    def run(
        self,
        act: Act,
        mode: str = "once",
        *,
        name: str = "case",
        repeat: int = 0,
        attempt: int = 0,
        settings: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        session: CaptureSession | None = None,
        redactor: Redactor | None = None,
        case: Case | None = None,
        labels: dict[str, str] | None = None,
        guard: Callable[[], None] | None = None,
        score: Callable[..., tuple[Score, ...]] = lambda *_: (),
    ) -> Result:
        finished: list[Call] = []
        own = session is None
        session = session or CaptureSession(
            CaptureOptions(record=mode, **(options or {})),  # type: ignore[arg-type]
            prices=PriceBook(),
            redactor=redactor or Redactor(),
            guard=guard,
            on_call=finished.append,
            hash_key=b"a key",
        )
        handle = session.open_cassette(
            self.cassette(name), repeat=repeat, attempt=attempt, display=f"cassettes/{name}.yaml"
        )
        session.start()
        watch = Watch(
            f"tests/test_app.py::test_{name}",
            repeat=repeat,
            attempt=attempt,
            cassette=handle,
            case=case,
            labels=labels or {},
        )
        chosen = {"model": "gpt-4o-mini", "base_url": self.base_url, "api_key": "sk-test-key", **(settings or {})}
        llm_call = LlmCall(session, ClientSettings(**chosen), watch, score=score)
        value: Any = None
        error: BaseException | None = None
        try:
            with session.watch(watch):
                value = act(llm_call)
        except Exception as caught:
            error = caught
        finally:
            try:
                handle.close()
            finally:
                if own:
                    session.stop()
        return Result(value, error, watch, session.problems, finished)

    def both(self, act: Act, **kwargs: Any) -> tuple[Result, Result]:
        """Record an act, then replay it."""
        return self.run(act, "once", **kwargs), self.run(act, "none", **kwargs)

    # what a test does: --import-mode=importlib cannot import helpers, so they live here

    @staticmethod
    def ask(prompt: Any = "What is the capital of France?", **params: Any) -> Act:
        return lambda llm_call: llm_call(prompt, **params)

    @staticmethod
    def aio(prompt: Any = "What is the capital of France?", **params: Any) -> Act:
        return lambda llm_call: asyncio.run(llm_call.aio(prompt, **params))

    @staticmethod
    def stream(prompt: Any = "What is the capital of France?", **params: Any) -> Act:
        def act(llm_call: LlmCall) -> Any:
            with llm_call.stream(prompt, **params) as stream:
                pieces = list(stream)
            assert "".join(pieces) == stream.reply.text
            return stream.reply

        return act

    @staticmethod
    def astream(api: str = "chat") -> Act:
        """Stream through an asynchronous client, as an application would."""

        async def go(llm_call: LlmCall) -> str:
            text = ""
            async with open_async_client(llm_call._session, llm_call._settings) as client:
                if api == "chat":
                    chunks = await client.chat.completions.create(
                        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}], stream=True
                    )
                    async for chunk in chunks:
                        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                else:
                    events = await client.responses.create(model="gpt-4o-mini", input="Hello", stream=True)
                    async for event in events:
                        text += event.delta if event.type == "response.output_text.delta" else ""
            return text

        return lambda llm_call: asyncio.run(go(llm_call))


@pytest.fixture(scope="session")
def llmock_server() -> Iterator[Any]:
    from llmock.testing import LLMockServer

    with LLMockServer() as server:
        yield server


@pytest.fixture
def faults(llmock_server: Any) -> Any:
    """The server's queue of faults, empty at the start of each test: ``faults.add(Fail(429))``."""
    llmock_server.state.reset()
    return llmock_server.state.scenarios


@pytest.fixture
def bench(tmp_path: Path, llmock_server: Any, faults: Any) -> Bench:
    return Bench(tmp_path, llmock_server.base_url())


@pytest.fixture
def requests_seen(llmock_server: Any) -> Callable[[], int]:
    """How many requests the server has seen in this test."""
    return lambda: len(llmock_server.state.journal.records())


@pytest.fixture
def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def local_model(model_file: Path) -> Iterator[str]:
    """Base URL of llama.cpp's own server with SmolLM2-135M."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file)
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.offline = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield server.listening_address + "/v1"  # a generator keeps the server alive
    del server


# a server for what llmock lacks: binary bodies, multipart, Azure's paths, structured output, slow and held answers

SPEECH = bytes(range(256)) * 40
"""An answer that is no text."""
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


class Api:
    """Answers of a small OpenAI-like server, by the last parts of the path. ``seen`` holds each request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.base_url = ""
        self.delay = 0.0
        """Seconds that each answer takes on the server."""
        self.gate: Callable[[], None] = lambda: None
        """What each request passes before it is answered: it may hold it."""
        self.script: list[tuple[float, str]] = []
        """For the next chat completions: how long each takes more, and what it says."""

    def answer(self, method: str, path: str, query: str, body: bytes, kind: str) -> tuple[str, Any]:
        """Return content type and body; a list is sent as a stream of events."""
        self.seen.append((method, path + (f"?{query}" if query else "")))
        time.sleep(self.delay)
        self.gate()
        if "/files" in path:
            return self._files(method, path, body, kind)
        parts = self.parts(body, kind)
        data = json.loads(body) if body and not kind.startswith("multipart/") else {}
        last = path.rpartition("/")[2]
        if hasattr(self, f"_{last}"):
            found: tuple[str, Any] = getattr(self, f"_{last}")(data, parts)
            return found
        return "application/json", {"object": "list", "data": [], "path": path}

    @staticmethod
    def parts(body: bytes, kind: str) -> dict[str, tuple[str | None, bytes]]:
        """Return a multipart body's parts by name: filename and content."""
        if not kind.startswith("multipart/"):
            return {}
        message = email.parser.BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        return {
            str(part.get_param("name", header="content-disposition")): (
                part.get_filename(),
                bytes(part.get_payload(decode=True) or b""),
            )
            for part in message.get_payload()
        }

    def _files(self, method: str, path: str, body: bytes, kind: str) -> tuple[str, Any]:
        if path.endswith("/content"):
            return "application/octet-stream", SPEECH
        if method == "DELETE":
            return "application/json", {"id": path.rpartition("/")[2], "object": "file", "deleted": True}
        name, content = self.parts(body, kind).get("file", ("notes.jsonl", b""))
        file = {"id": "file-abc123", "object": "file", "bytes": len(content), "created_at": 1, "filename": name}
        file |= {"purpose": "batch", "status": "processed"}
        listed = method == "GET" and path.endswith("/files")
        return "application/json", {"object": "list", "data": [file], "has_more": False} if listed else file

    def _speech(self, data: Any, parts: Any) -> tuple[str, Any]:
        return "audio/mpeg", SPEECH

    def _transcriptions(self, data: Any, parts: Any) -> tuple[str, Any]:
        name, content = parts["file"]
        if parts.get("response_format", (None, b""))[1] == b"text":
            return "text/plain; charset=utf-8", f"heard {len(content)} bytes".encode()
        return "application/json", {"text": f"heard {name}: {len(content)} bytes, first {content[:4].hex()}"}

    def _generations(self, data: Any, parts: Any) -> tuple[str, Any]:
        return "application/json", {"created": 1, "data": [{"b64_json": base64.b64encode(SPEECH).decode()}]}

    def _moderations(self, data: Any, parts: Any) -> tuple[str, Any]:
        result = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
        return "application/json", {"id": "modr-1", "model": "omni-moderation", "results": [result]}

    def _embeddings(self, data: Any, parts: Any) -> tuple[str, Any]:
        numbers = [i / 64 for i in range(256)]
        vector: Any = numbers
        if data.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<256f", *numbers)).decode()
        texts = data["input"] if isinstance(data["input"], list) else [data["input"]]
        items = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(texts))]
        return "application/json", {
            "object": "list",
            "data": items,
            "model": data["model"],
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        }

    def _completions(self, data: Any, parts: Any) -> tuple[str, Any]:
        text = json.dumps({"city": "Paris", "people": 2_100_000}) if data.get("response_format") else "Paris."
        if self.script:
            pause, text = self.script.pop(0)
            time.sleep(pause)
        base = {"id": "chatcmpl-1", "created": 1, "model": data.get("model", "gpt-4o-mini")}
        if data.get("stream"):
            base["object"] = "chat.completion.chunk"
            deltas = [{"role": "assistant", "content": text[:3]}, {"content": text[3:]}, {}]
            ends = [None, None, "stop"]
            chunks = [
                {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
                for delta, end in zip(deltas, ends, strict=True)
            ]
            return "text/event-stream", [*chunks, {**base, "choices": [], "usage": USAGE}]
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        choice["message"] = {"role": "assistant", "content": text}
        if data.get("logprobs"):
            token = {"token": "Paris", "logprob": -0.125, "bytes": [80], "top_logprobs": []}
            choice["logprobs"] = {"content": [token], "refusal": None}
        return "application/json", {**base, "object": "chat.completion", "choices": [choice], "usage": USAGE}


@pytest.fixture
def api() -> Iterator[Api]:
    """A small server of our own; ``api.base_url`` ends in ``/v1``."""
    api = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if "chunked" in self.headers.get("transfer-encoding", ""):
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            path, _, query = self.path.partition("?")
            kind, value = api.answer(self.command, path, query, body, self.headers.get("content-type") or "")
            if isinstance(value, list):
                value = "".join(f"data: {json.dumps(item)}\n\n" for item in value).encode() + b"data: [DONE]\n\n"
            elif not isinstance(value, bytes):
                value = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(value)))
            self.send_header("x-request-id", f"req-{len(api.seen)}")
            self.end_headers()
            self.wfile.write(value)

        do_GET = do_DELETE = do_POST

        def log_message(self, *args: Any) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 512  # hundreds of clients connect at once

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    api.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    yield api
    server.shutdown()
    server.server_close()
    thread.join()


# an application over the SDK, which knows nothing of us

TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


@dataclass(frozen=True)
class Seen:
    """What an application got: pieces of text, then perhaps an error."""

    pieces: tuple[str, ...] = ()
    error: str = ""
    said: str = ""
    request_id: str | None = None


class Application:
    """Ask once, and tell what the application saw.

    ``timeout`` has seconds per step (``connect``, ``read``, ``write``, ``pool``), ``length`` is the prompt's in
    sentences. A stream is closed after ``reads`` pieces. ``crowded``: another request holds the only connection.
    """

    def __init__(
        self,
        base_url: str,
        api: str,
        *,
        streamed: bool = False,
        asynchronous: bool = False,
        timeout: dict[str, float] | None = None,
        retries: int = 0,
        length: int = 1,
        tools: bool = False,
        reads: int | None = None,
        crowded: bool = False,
    ) -> None:
        import openai

        self._api, self._streamed, self._asynchronous = api, streamed, asynchronous
        self._reads, self._crowded = reads, crowded
        self._settings: dict[str, Any] = {"base_url": base_url, "api_key": "sk-test", "max_retries": retries}
        self._settings["timeout"] = openai.Timeout(5.0, **(timeout or {}))
        self._asked: dict[str, Any] = {"model": "gpt-4o-mini", **({"stream": True} if streamed else {})}
        prompt = "Say something about apples. " * length
        self._asked |= {"messages": [{"role": "user", "content": prompt}]} if api == "chat" else {"input": prompt}
        if tools:
            function = {"function": TOOL} if api == "chat" else TOOL
            self._asked["tools"] = [{"type": "function", **function}]
        self._pieces: list[str] = []

    def __call__(self, _: Any) -> Seen:
        self._pieces = []
        try:
            asyncio.run(self._ask_async()) if self._asynchronous else self._ask()
        except Exception as error:
            request_id = getattr(error, "request_id", None)
            return Seen(tuple(self._pieces), type(error).__name__, str(error), request_id)
        return Seen(tuple(self._pieces))

    def _ask(self) -> None:
        import openai

        with openai.OpenAI(**self._settings, **self._pool(openai.DefaultHttpxClient)) as client:
            held = client._client.send(self._other(client), stream=True) if self._crowded else None
            try:
                got = self._create(client)
                for number, item in enumerate(got if self._streamed else [got]):
                    self._take(item)
                    if number + 1 == self._reads:
                        got.close()
                        break
            finally:
                if held is not None:
                    held.close()

    async def _ask_async(self) -> None:
        import openai

        async with openai.AsyncOpenAI(**self._settings, **self._pool(openai.DefaultAsyncHttpxClient)) as client:
            held = await client._client.send(self._other(client), stream=True) if self._crowded else None
            try:
                got = await self._create(client)
                number = 0
                async for item in got if self._streamed else _one(got):
                    self._take(item)
                    number += 1
                    if number == self._reads:
                        await got.close()
                        break
            finally:
                if held is not None:
                    await held.aclose()

    def _pool(self, make: Any) -> dict[str, Any]:
        module = importlib.import_module(make.__mro__[1].__module__.partition(".")[0])  # httpx or httpx2
        return {"http_client": make(limits=module.Limits(max_connections=1))} if self._crowded else {}

    @staticmethod
    def _other(client: Any) -> Any:
        return client._client.build_request("GET", str(client.base_url).replace("/v1/", "/health"))

    def _create(self, client: Any) -> Any:
        return (client.chat.completions if self._api == "chat" else client.responses).create(**self._asked)

    def _take(self, item: Any) -> None:
        if isinstance(item, str):
            self._pieces.append(item)
        elif self._streamed and self._api == "chat":
            self._pieces += [c.delta.content or "" for c in item.choices]
        elif self._streamed:
            self._pieces.append(getattr(item, "delta", None) or item.type)
        else:
            text = item.choices[0].message.content if self._api == "chat" else item.output_text
            self._pieces.append(text or "")


async def _one(item: Any) -> Any:
    yield item


@pytest.fixture
def application() -> type[Application]:
    """The class of an application; an instance is an act for the bench."""
    return Application
