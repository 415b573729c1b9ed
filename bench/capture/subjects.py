"""What is compared: the bare SDK, ours, and stock vcrpy, each behind the same few calls."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MODEL = "gpt-4o-mini"
SYSTEM = (
    "You are a careful assistant of a shop for garden tools. Answer in at most three sentences, name the article, "
    "its price and how long delivery takes, and say so if you do not know. Never promise a discount."
)


class Server:
    """The loopback server of `server.py`, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def journal(self) -> dict[str, tuple[float, float]]:
        """Return by prompt when a request was there and when its first piece was written."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/journal") as answer:
            found: dict[str, tuple[float, float]] = json.load(answer)
        return found

    def close(self) -> None:
        """Stop it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def asked(number: int, *, length: int = 0, **more: Any) -> dict[str, Any]:
    """Return the arguments of one call; each number is another prompt, with ``length`` characters of context."""
    messages = [
        {"role": "system", "content": SYSTEM},
        {
            "role": "user",
            "content": f"Question {number}: which of the spades would you take for heavy soil, and why?"
            + ("\n\n" + prose(number, length) if length else ""),
        },
    ]
    return {"model": MODEL, "messages": messages, "max_tokens": 60, "temperature": 0, **more}


WORDS = (  # noqa: SIM905 (lines of prose)
    "the of garden spade soil clay water plant which order delivery price steel handle heavy light winter spring "
    "customer wants asks about returned article number warranty please answer short sentences name cost"
).split()
PAYLOADS: dict[str, dict[str, Any]] = {
    "0.3 kB prompt, 60 tokens": {},
    "1 kB prompt, 200 tokens": {"max_tokens": 200, "length": 1_000},
    "1 kB prompt, streamed in 50 chunks": {
        "max_tokens": 50,
        "length": 1_000,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "8 kB of context, 200 tokens": {"max_tokens": 200, "length": 8_000},
}
"""What is asked for: arguments of the call, and ``length``, the characters of prose in its prompt."""


def prose(number: int, length: int) -> str:
    """Return text of about so many characters, never the same for two numbers: words, prices, dates."""
    some = random.Random(number)
    out: list[str] = []
    while length > 0:
        out.append(some.choice(WORDS))
        if some.random() < 0.03:
            out.append(
                some.choice(("12.50 EUR", "2024-05-03", "article 4711,", "(see page 12)", "\n- first: 20%"))
            )
        length -= len(out[-1]) + 1
    return " ".join(out)


def prompt(arguments: dict[str, Any]) -> str:
    """Return what identifies a call in the server's journal."""
    return str(arguments["messages"][-1]["content"])


def client(url: str) -> Any:
    """Return an OpenAI client for the server."""
    import openai

    return openai.OpenAI(base_url=url, api_key="sk-bench-key", max_retries=0)


def async_client(url: str, clocked: dict[str, float] | None = None) -> Any:
    """Return an asynchronous OpenAI client for the server.

    Args:
        url: Of the server.
        clocked: Takes by prompt the seconds from a request's first byte to the first chunk of its answer.
    """
    import openai

    more = {} if clocked is None else {"http_client": _clocked_client(clocked)}
    return openai.AsyncOpenAI(base_url=url, api_key="sk-bench-key", max_retries=0, **more)


def _clocked_client(clocked: dict[str, float]) -> Any:
    import openai

    name = "httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx"
    module = importlib.import_module(name)

    class Body(module.AsyncByteStream):  # type: ignore[misc,name-defined]
        def __init__(self, inner: Any, began: list[float], prompt: str) -> None:
            self._inner, self._began, self._prompt = inner, began, prompt

        async def __aiter__(self) -> Any:
            async for data in self._inner:
                clocked.setdefault(self._prompt, time.perf_counter() - self._began[-1])
                yield data

        async def aclose(self) -> None:
            await self._inner.aclose()

    class Clocked(module.AsyncHTTPTransport):  # type: ignore[misc,name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            began = [time.perf_counter()]

            async def trace(event: str, info: Any) -> None:
                if event.endswith(".send_request_headers.started"):
                    began.append(time.perf_counter())

            request.extensions = {**request.extensions, "trace": trace}
            response = await super().handle_async_request(request)
            said = json.loads(request.content)["messages"][-1]["content"]
            response.stream = Body(response.stream, began, said)
            return response

    return module.AsyncClient(transport=Clocked(limits=module.Limits(max_connections=1000)), timeout=600)


def call(openai_client: Any, arguments: dict[str, Any]) -> tuple[str, float]:
    """Make a call; return its text, and when its first content was there (streams only, else at the end)."""
    answer = openai_client.chat.completions.create(**arguments)
    if not arguments.get("stream"):
        return answer.choices[0].message.content, time.perf_counter()
    first, parts = 0.0, []
    for event in answer:
        if event.choices and event.choices[0].delta.content:
            first = first or time.perf_counter()
            parts.append(event.choices[0].delta.content)
    return "".join(parts), first


async def acall(openai_client: Any, arguments: dict[str, Any]) -> tuple[str, float]:
    """Make a call as `call` does."""
    answer = await openai_client.chat.completions.create(**arguments)
    if not arguments.get("stream"):
        return answer.choices[0].message.content, time.perf_counter()
    first, parts = 0.0, []
    async for event in answer:
        if event.choices and event.choices[0].delta.content:
            first = first or time.perf_counter()
            parts.append(event.choices[0].delta.content)
    return "".join(parts), first


class Bare:
    """The SDK as it is."""

    name = "bare SDK"

    @contextlib.contextmanager
    def recording(self, _path: Path) -> Iterator[Any]:
        """Do nothing."""
        yield None


class Ours:
    """pytest-llmwatch's capture, as the plugin drives it for one test; ``mode`` is a record mode.

    The clients are the application's own: what they call is found through the SDK.
    """

    name = "pytest-llmwatch"

    def __init__(self, mode: str = "all") -> None:
        self.mode = mode

    def session(self, mode: str) -> Any:
        """Return a session that is not started."""
        from pytest_llmwatch.capture.options import CaptureOptions
        from pytest_llmwatch.capture.session import CaptureSession
        from pytest_llmwatch.pricing import PriceBook
        from pytest_llmwatch.redact import Redactor

        options = CaptureOptions(record=mode, cassette_max_bytes=10**9)  # type: ignore[arg-type]
        return CaptureSession(options, prices=PriceBook(), redactor=Redactor(), hash_key=b"bench")

    @contextlib.contextmanager
    def _watched(self, path: Path, mode: str) -> Iterator[Any]:
        from pytest_llmwatch.capture.watch import Watch

        session = self.session(mode)
        session.start()
        handle = None if mode == "off" else session.open_cassette(path, display=path.name)
        watch = Watch("tests/test_shop.py::test_spades", cassette=handle)
        try:
            with session.watch(watch):
                yield watch
        finally:
            if handle is not None:
                handle.close()
            session.stop()
        if session.problems:
            raise SystemExit(f"capture reports {session.problems}")

    def recording(self, path: Path) -> Any:
        """Record (or, in mode ``off``, only watch) what is called inside."""
        return self._watched(path, self.mode)

    def replaying(self, path: Path) -> Any:
        """Replay what is called inside."""
        return self._watched(path, "none")

    def load(self, path: Path) -> int:
        """Open a cassette; return how many recordings it has."""
        from pytest_llmwatch.capture.cassette_file import CassetteFile
        from pytest_llmwatch.redact import Redactor

        return len(CassetteFile(path, path.name, Redactor()).interactions)

    def parse(self, path: Path) -> int:
        """Open a cassette and parse every recording in it."""
        from pytest_llmwatch.capture.cassette_file import CassetteFile
        from pytest_llmwatch.redact import Redactor

        return sum(1 for i in CassetteFile(path, path.name, Redactor()).interactions if i.body)


class Stock:
    """vcrpy's ``use_cassette``, matching on the body too: else each chat call is the same call."""

    name = "vcrpy"
    mode = "all"

    @contextlib.contextmanager
    def _used(self, path: Path, mode: str) -> Iterator[Any]:
        import vcr

        recorder = vcr.VCR(match_on=["method", "uri", "body"], record_mode=mode)
        with recorder.use_cassette(str(path)) as cassette:
            yield cassette

    def recording(self, path: Path) -> Any:
        """Record what is called inside."""
        return self._used(path, "all")

    def replaying(self, path: Path) -> Any:
        """Replay what is called inside."""
        return self._used(path, "none")

    def load(self, path: Path) -> int:
        """Load a cassette; return how many recordings it has."""
        from vcr.cassette import Cassette

        return len(Cassette.load(path=str(path)))

    parse = load


def cpu(act: Callable[[], Any]) -> float:
    """Return the processor seconds of this process that ``act`` takes."""
    start = time.process_time()
    act()
    return time.process_time() - start


def sync_calls(openai_client: Any, numbers: range, **more: Any) -> Callable[[], None]:
    """Return what makes the calls, one after another."""
    made = [asked(n, **more) for n in numbers]

    def act() -> None:
        for arguments in made:
            call(openai_client, arguments)

    return act


def async_calls(
    loop: asyncio.AbstractEventLoop, openai_client: Any, numbers: range, **more: Any
) -> Callable[[], None]:
    """Return what makes the calls in an event loop, one after another."""
    made = [asked(n, **more) for n in numbers]

    async def go() -> None:
        for arguments in made:
            await acall(openai_client, arguments)

    return lambda: loop.run_until_complete(go())
