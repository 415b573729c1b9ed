"""Real servers, and a bench on which one execution is recorded and then replayed."""

from __future__ import annotations

import asyncio
import socket
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
