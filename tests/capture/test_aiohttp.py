"""Calls over aiohttp: the SDK's own aiohttp client, and sessions of an application."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from llmock.scenarios import Delay, Fail, SlowFirstToken, StreamFault

from pytest_llmwatch.capture import faults as error_names
from pytest_llmwatch.capture import transport_aiohttp

aiohttp = pytest.importorskip("aiohttp")

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def same(live: Any, replayed: Any) -> None:
    assert live.value == replayed.value
    assert (type(live.error), str(live.error)) == (type(replayed.error), str(replayed.error))
    assert live.call.capture_mode == "recorded"
    assert dataclasses.replace(replayed.call, capture_mode="recorded") == live.call


def posting(url: str, read: Callable[[Any], Any], *, body: Any = None, **session_options: Any) -> Any:
    """Return an act that posts to ``url`` over a session of its own and reads the response in some way."""

    async def go() -> Any:
        sent = CHAT if body is None else body
        async with aiohttp.ClientSession(**session_options) as session, session.post(url, json=sent) as response:
            return await read(response)

    return lambda _: asyncio.run(go())


async def as_json(response: Any) -> Any:
    return response.status, response.headers["content-type"], await response.json()


async def as_text(response: Any) -> Any:
    return response.ok, await response.text()


async def as_bytes(response: Any) -> Any:
    return await response.read()


async def by_line(response: Any) -> Any:
    return [line async for line in response.content]


async def by_chunk(response: Any) -> Any:
    return b"".join([chunk async for chunk in response.content.iter_chunked(1000)])


async def by_any(response: Any) -> Any:
    return b"".join([chunk async for chunk in response.content.iter_any()])


async def by_http_chunk(response: Any) -> Any:
    return b"".join([chunk async for chunk, _ in response.content.iter_chunks()])


@pytest.mark.parametrize("read", [as_json, as_text, as_bytes, by_chunk], ids=lambda read: read.__name__)
def test_a_sessions_call_is_replayed_as_it_was(
    bench: Any, requests_seen: Callable[[], int], read: Callable[[Any], Any]
) -> None:
    live, replayed = bench.both(posting(bench.base_url + "/chat/completions", read))
    assert live.error is None
    same(live, replayed)
    assert requests_seen() == 1
    assert (live.call.status, live.call.operation, live.call.usage.output_tokens > 0) == ("success", "chat", True)
    assert live.call.latency > 0
    assert [a.status_code for a in live.call.attempts] == [200]
    assert live.call.queue_wait is not None


@pytest.mark.parametrize("read", [by_line, by_any, by_chunk, by_http_chunk], ids=lambda read: read.__name__)
def test_a_stream_is_teed_and_replayed(bench: Any, faults: Any, read: Callable[[Any], Any]) -> None:
    faults.add(SlowFirstToken(0.2))
    act = posting(bench.base_url + "/chat/completions", read, body={**CHAT, "stream": True})
    live, replayed = bench.both(act)
    assert live.error is None
    same(live, replayed)
    assert (live.call.status, live.call.stream) == ("success", True)
    assert live.call.latency >= live.call.ttft >= 0.2
    assert live.call.output


def test_the_time_of_the_reader_is_not_the_calls(bench: Any) -> None:
    async def slowly(response: Any) -> Any:
        lines = []
        async for line in response.content:
            if not lines:
                await asyncio.sleep(0.5)
            lines.append(line)
        return lines

    act = posting(bench.base_url + "/chat/completions", slowly, body={**CHAT, "stream": True})
    live, replayed = bench.both(act)
    same(live, replayed)
    assert live.call.latency < 0.5


def test_chunks_come_to_the_reader_as_they_come_from_the_server(bench: Any, faults: Any) -> None:
    """The first line is read while the server still holds the rest back: nothing is buffered."""
    faults.add(StreamFault("stall", after_chunks=2, stall_seconds=0.4))

    async def first(response: Any) -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await response.content.readline()
        at = loop.time() - start
        await response.read()
        return at

    live = bench.run(posting(bench.base_url + "/chat/completions", first, body={**CHAT, "stream": True}))
    assert live.error is None
    assert live.value < 0.3 < live.call.latency


@pytest.mark.parametrize(
    ("fault", "timeout", "said"),
    [
        (Fail(429, retry_after=1.5), None, ("rate_limited", "http_429", None)),
        (Fail(503), None, ("error", "http_503", None)),
        (Delay(1.5), {"sock_read": 0.2}, ("timeout", "read_timeout", "SocketTimeoutError")),
        (Delay(1.5), {"total": 0.2}, ("timeout", "total_timeout", "TimeoutError")),
        (StreamFault("disconnect", 2), None, ("incomplete", "dropped_stream", "ClientPayloadError")),
        (StreamFault("truncate", 2), None, ("incomplete", "truncated_stream", None)),
        (StreamFault("malformed", 2), None, ("error", "corrupt_chunk", None)),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_failures_are_named_and_raised_again(
    bench: Any, faults: Any, fault: Any, timeout: Any, said: tuple[str, str, str | None]
) -> None:
    faults.add(fault)
    options = {"timeout": aiohttp.ClientTimeout(**timeout)} if timeout else {}
    body = {**CHAT, "stream": isinstance(fault, StreamFault)}
    live, replayed = bench.both(posting(bench.base_url + "/chat/completions", as_bytes, body=body, **options))
    same(live, replayed)
    error = None if live.error is None else type(live.error).__name__
    assert (live.call.status, live.call.error_type, error) == said


def test_nobody_answers(bench: Any, closed_port: int) -> None:
    live, replayed = bench.both(posting(f"http://127.0.0.1:{closed_port}/v1/chat/completions", as_json))
    same(live, replayed)
    assert isinstance(replayed.error, aiohttp.ClientConnectorError)
    assert (live.call.status, live.call.error_type) == ("error", "connection_refused")


def test_tls_that_fails(bench: Any, api: Any) -> None:
    url = api.base_url.replace("http:", "https:") + "/chat/completions"
    live, replayed = bench.both(posting(url, as_json))
    assert isinstance(live.error, aiohttp.ClientConnectorSSLError)
    assert (live.call.status, live.call.error_type) == ("error", "tls_error")
    same(live, replayed)


def test_a_certificate_that_is_not_trusted_is_told_again_as_it_was() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)
    cause = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed (_ssl.c:1006)")
    error = aiohttp.ClientConnectorCertificateError(key, cause)
    exchange = SimpleNamespace(error=error_names.described(error), error_type=error_names.error_type(error))
    again = error_names.rebuild_aiohttp(aiohttp, exchange, SimpleNamespace(connection_key=key))
    assert exchange.error_type == "tls_error"
    assert (type(again), str(again)) == (type(error), str(error))
    exchange.error["message"] = "edited [by hand]"
    again = error_names.rebuild_aiohttp(aiohttp, exchange, SimpleNamespace(connection_key=key))
    assert "by hand" in str(again)


def test_a_missing_recording_is_raised(bench: Any) -> None:
    bench.run(posting(bench.base_url + "/chat/completions", as_json))
    other = {**CHAT, "temperature": 0.5}
    missed = bench.run(posting(bench.base_url + "/chat/completions", as_json, body=other), "none")
    assert missed.error is missed.watch.errors[0]
    assert missed.error.slug == "missing-recording"


def test_a_released_stream_is_recorded_as_far_as_it_was_read(bench: Any) -> None:
    async def first_line(response: Any) -> Any:
        return await response.content.readline()

    act = posting(bench.base_url + "/chat/completions", first_line, body={**CHAT, "stream": True})
    live, replayed = bench.both(act)
    same(live, replayed)
    assert (live.call.status, live.call.error_type) == ("incomplete", "closed_early")


def test_a_cancelled_call_is_a_call_and_no_recording(bench: Any, faults: Any) -> None:
    faults.add(Delay(2.0))

    async def go() -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.wait_for(session.post(bench.base_url + "/chat/completions", json=CHAT), 0.2)

    live = bench.run(lambda _: asyncio.run(go()))
    assert isinstance(live.error, TimeoutError)
    assert (live.call.status, live.call.error_type) == ("error", "cancelled")
    assert not bench.cassette().exists()


def test_waiting_for_a_connection_is_queue_wait(bench: Any, faults: Any) -> None:
    faults.add(Delay(0.3, times=None))

    async def go() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:

            async def ask(i: int) -> None:
                async with session.post(bench.base_url + "/chat/completions", json={**CHAT, "seed": i}) as answer:
                    await answer.read()

            await asyncio.gather(ask(1), ask(2))

    live = bench.run(lambda _: asyncio.run(go()))
    assert live.error is None
    first, second = sorted(live.watch.calls, key=lambda call: call.queue_wait)
    assert first.queue_wait < 0.2 < second.queue_wait
    assert 0.3 <= second.latency < 0.55
    assert first.attempts[0].connect is not None
    assert second.attempts[0].connect is None


def test_what_is_no_llm_call_passes_untouched(bench: Any, api: Any) -> None:
    async def go() -> Any:
        root = api.base_url.removesuffix("/v1")
        async with aiohttp.ClientSession() as session, session.get(root + "/weather") as one:
            two = await (await session.post(root + "/v1/messages", json={})).json()
            return (await one.json())["path"], two["path"], type(one.content).__name__

    for mode in ("once", "none", "off"):
        result = bench.run(lambda _: asyncio.run(go()), mode)
        assert result.value == ("/weather", "/v1/messages", "StreamReader")
        assert (result.watch.calls, result.watch.errors) == ([], [])
    assert not bench.cassette().exists()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_the_sdk_over_aiohttp(bench: Any, faults: Any, requests_seen: Callable[[], int], streamed: bool) -> None:
    sdk_client(bench.base_url)  # skips where its transport is not installed
    faults.add(Fail(429, retry_after=0.2))

    async def go() -> str:
        async with sdk_client(bench.base_url) as client:
            answer = await client.chat.completions.create(**CHAT, stream=streamed)
            if not streamed:
                return str(answer.choices[0].message.content)
            return "".join([(c.choices[0].delta.content or "") if c.choices else "" async for c in answer])

    live, replayed = bench.both(lambda _: asyncio.run(go()))
    assert live.error is None
    same(live, replayed)
    assert live.value
    assert requests_seen() == 2
    assert [a.status_code for a in live.call.attempts] == [429, 200]


@pytest.mark.parametrize("fault", [Delay(1.5, times=None), None], ids=["timeout", "refused"])
def test_failures_of_the_sdk_over_aiohttp(bench: Any, faults: Any, closed_port: int, fault: Any) -> None:
    url = bench.base_url
    if fault is None:
        url = f"http://127.0.0.1:{closed_port}/v1"
    else:
        faults.add(fault)

    async def go() -> None:
        async with sdk_client(url) as client:
            await client.with_options(timeout=0.2, max_retries=0).chat.completions.create(**CHAT)

    live, replayed = bench.both(lambda _: asyncio.run(go()))
    same(live, replayed)
    # some versions of the transport take a refused connection for a timeout, live as well
    assert isinstance(replayed.error, openai.APIConnectionError)
    assert live.call.error_type == ("read_timeout" if fault else "connection_refused")


def sdk_client(base_url: str) -> Any:
    try:
        http_client = openai.DefaultAioHttpClient()
    except RuntimeError as missing:
        pytest.skip(str(missing))
    return openai.AsyncOpenAI(base_url=base_url, api_key="x", http_client=http_client)


SCRIPT = """
import sys
import httpx2
from pytest_llmwatch.capture import faults as error_names
from pytest_llmwatch.capture import transport_aiohttp
installation = transport_aiohttp.Installation(None, httpx2, print)
before = "aiohttp" in sys.modules
import aiohttp
wrapped = aiohttp.ClientSession._request
loader = aiohttp.__spec__.loader is aiohttp.__loader__ and type(aiohttp.__loader__).__name__
installation.remove()
found = [f for f in sys.meta_path if "llmwatch" in type(f).__module__]
print([before, hasattr(wrapped, "__wrapped__"), aiohttp.ClientSession._request is wrapped, loader, found])
"""


def test_aiohttp_is_wrapped_when_it_is_imported_and_not_imported_for_that() -> None:
    out = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[False, True, False, 'SourceFileLoader', []]"


def test_an_old_aiohttp_is_named_and_left_alone() -> None:
    class OldSession:
        async def _request(self, method: str, str_or_url: str) -> None: ...

    real = OldSession._request
    problems: list[Any] = []
    installation = transport_aiohttp.Installation.__new__(transport_aiohttp.Installation)
    installation._report = problems.append
    old = type("Old", (), {"ClientSession": OldSession, "__version__": "3.9.0"})
    installation._wrap(old)
    assert [p.slug for p in problems] == ["aiohttp-old"]
    assert "3.9.0" in problems[0].message
    assert OldSession._request is real


def test_a_recording_of_one_library_is_played_to_the_other(bench: Any, faults: Any) -> None:
    faults.add(Delay(1.5))
    url = bench.base_url + "/chat/completions"
    timeout = aiohttp.ClientTimeout(sock_read=0.2)
    live = bench.run(posting(url, as_bytes, timeout=timeout))
    body = json.dumps(CHAT).encode()

    def over_httpx(_: Any) -> None:
        httpx.post(url, content=body, headers={"content-type": "application/json"})

    replayed = bench.run(over_httpx, "none")
    assert isinstance(replayed.error, httpx.ReadTimeout)
    assert replayed.call.latency == live.call.latency
