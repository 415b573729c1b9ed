"""Whose time is whose: the server's, the queue's, the reader's; in sync and async clients, live and replayed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import gc
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import httpx2
import openai
import pytest
from llmock.scenarios import Delay, Fail, StreamFault

from pytest_llmwatch.errors import InfrastructureError, UsageError

CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
BOTH = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def same(live: Any, replayed: Any) -> None:
    assert live.value == replayed.value
    as_live = [dataclasses.replace(c, capture_mode="recorded") for c in replayed.watch.calls]
    assert as_live == live.watch.calls


def at_once(
    base_url: str, asks: list[Callable[[Any], Any]], *, asynchronous: bool, apart: float = 0.1, **options: Any
) -> Any:
    """Return an act that makes calls side by side, each begun ``apart`` seconds after the one before."""

    async def gathered() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0, **options) as client:

            async def later(i: int, ask: Any) -> Any:
                await asyncio.sleep(apart * i)
                return await ask(client)

            return await asyncio.gather(*(later(i, ask) for i, ask in enumerate(asks)), return_exceptions=True)

    def threaded() -> list[Any]:
        with openai.OpenAI(base_url=base_url, api_key="x", max_retries=0, **options) as client:

            def later(i: int, ask: Any) -> Any:
                time.sleep(apart * i)
                return ask(client)

            with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
                futures = [pool.submit(later, i, ask) for i, ask in enumerate(asks)]
                return [future.exception() or future.result() for future in futures]

    return lambda _: asyncio.run(gathered()) if asynchronous else threaded()


def said(answers: list[Any]) -> list[str]:
    return [answer.choices[0].message.content for answer in answers]


@BOTH
def test_identical_requests_keep_the_order_in_which_they_began(bench: Any, api: Any, asynchronous: bool) -> None:
    api.script = [(1.2, "first"), (0.0, "second")]  # the second is answered long before the first
    both = [lambda client: client.chat.completions.create(**CHAT)] * 2
    # the first call of a process imports half of the SDK
    act = at_once(api.base_url, both, asynchronous=asynchronous, apart=0.5)
    live, replayed = bench.both(lambda call: said(act(call)))
    assert live.value == ["first", "second"]
    same(live, replayed)


def streaming(
    base_url: str, each: Callable[[Any], float | None], *, asynchronous: bool, close: bool = True
) -> Any:
    """Return an act that reads a stream; ``each`` returns seconds to think about a chunk, None = stop reading."""

    async def over_async() -> int:
        client = openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0)
        stream = await client.chat.completions.create(**CHAT, stream=True)
        count = 0
        async for chunk in stream:
            count += 1
            pause = each(chunk)
            if pause is None:
                break
            await asyncio.sleep(pause)
        if close:
            await stream.close()
            await client.close()
        return count

    def sync() -> int:
        client = openai.OpenAI(base_url=base_url, api_key="x", max_retries=0)
        stream = client.chat.completions.create(**CHAT, stream=True)
        count = 0
        for chunk in stream:
            count += 1
            pause = each(chunk)
            if pause is None:
                break
            time.sleep(pause)
        if close:
            stream.close()
            client.close()
        else:
            kept.append((stream, client))
        return count

    kept: list[Any] = []
    return lambda _: asyncio.run(over_async()) if asynchronous else sync()


def until_finished(chunk: Any) -> float | None:
    return None if chunk.choices and chunk.choices[0].finish_reason else 0.0


@BOTH
def test_a_stream_left_at_its_last_event_is_complete(bench: Any, asynchronous: bool) -> None:
    live, replayed = bench.both(streaming(bench.base_url, until_finished, asynchronous=asynchronous))
    same(live, replayed)
    assert (live.call.status, live.call.finish_reason) == ("success", "stop")


@BOTH
def test_a_stream_left_before_is_not(bench: Any, faults: Any, asynchronous: bool) -> None:
    faults.add(StreamFault("stall", after_chunks=2, stall_seconds=0.3))
    live, replayed = bench.both(streaming(bench.base_url, lambda _: None, asynchronous=asynchronous))
    same(live, replayed)
    assert (live.call.status, live.call.error_type) == ("incomplete", "closed_early")


@BOTH
def test_the_readers_time_between_chunks_is_not_the_calls(bench: Any, asynchronous: bool) -> None:
    thoughts = iter([0.4, 0.2])
    slow = streaming(bench.base_url, lambda _: next(thoughts, 0.0), asynchronous=asynchronous)
    live = bench.run(slow)
    replayed = bench.run(slow, "none")
    same(live, replayed)
    assert live.call.latency < 0.4


@BOTH
def test_the_servers_time_is(bench: Any, faults: Any, asynchronous: bool) -> None:
    faults.add(StreamFault("stall", after_chunks=2, stall_seconds=0.4))
    live, replayed = bench.both(streaming(bench.base_url, lambda _: 0.0, asynchronous=asynchronous))
    same(live, replayed)
    assert live.call.latency >= 0.4 > live.call.ttft


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@BOTH
def test_a_stream_that_nobody_closes_is_recorded(bench: Any, faults: Any, asynchronous: bool) -> None:
    faults.add(StreamFault("stall", after_chunks=2, stall_seconds=0.3))
    act = streaming(bench.base_url, lambda _: None, asynchronous=asynchronous, close=False)
    live, replayed = bench.both(act)
    same(live, replayed)
    assert live.call.error_type == "closed_early"
    assert live.call.latency > 0
    gc.collect()


def one_connection(*, asynchronous: bool, pool: float | None = None) -> dict[str, Any]:
    http = httpx2 if int(openai.__version__.partition(".")[0]) >= 3 else httpx
    cls = http.AsyncClient if asynchronous else http.Client
    limits = http.Limits(max_connections=1)
    return {"http_client": cls(limits=limits, timeout=http.Timeout(5.0, pool=pool)), "timeout": openai.NOT_GIVEN}


@BOTH
def test_waiting_for_a_connection_is_queue_wait(bench: Any, api: Any, asynchronous: bool) -> None:
    api.delay = 0.4
    asks = [lambda client: client.chat.completions.create(**CHAT)] * 2
    options = one_connection(asynchronous=asynchronous)
    act = at_once(api.base_url, asks, asynchronous=asynchronous, **options)
    live = bench.run(lambda call: said(act(call)))
    assert live.error is None
    first, second = live.watch.calls
    assert first.queue_wait < 0.2 < second.queue_wait
    assert all(0.4 <= call.latency < 0.6 for call in (first, second))
    # the one opened the connection, the other found it open
    assert (first.attempts[0].connect is not None, second.attempts[0].connect) == (True, None)
    assert [c.attempts[0].queue_wait for c in (first, second)] == [first.queue_wait, second.queue_wait]
    options = one_connection(asynchronous=asynchronous)
    act = at_once(api.base_url, asks, asynchronous=asynchronous, **options)
    same(live, bench.run(lambda call: said(act(call)), "none"))


@BOTH
def test_a_pool_that_stays_full_is_a_timeout_of_nothing_but_waiting(
    bench: Any, api: Any, asynchronous: bool
) -> None:
    api.delay = 0.6
    asks = [lambda client: client.chat.completions.create(**CHAT)] * 2
    options = one_connection(asynchronous=asynchronous, pool=0.2)
    act = at_once(api.base_url, asks, asynchronous=asynchronous, **options)
    live = bench.run(lambda call: [type(answer).__name__ for answer in act(call)])
    assert live.value == ["ChatCompletion", "APITimeoutError"]
    second = live.watch.calls[1]
    assert (second.status, second.error_type) == ("timeout", "pool_timeout")
    assert second.queue_wait >= 0.2 > second.latency


@BOTH
@pytest.mark.parametrize("http", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_a_users_own_trace_goes_on(bench: Any, http: Any, asynchronous: bool) -> None:
    seen: list[str] = []
    url = bench.base_url + "/chat/completions"

    async def trace(name: str, info: dict[str, Any]) -> None:
        seen.append(name)

    async def over_async() -> dict[str, Any]:
        async with http.AsyncClient() as client:
            request = client.build_request("POST", url, json=CHAT, extensions={"trace": trace})
            await client.send(request)
            return dict(request.extensions)

    def sync() -> dict[str, Any]:
        note = lambda name, info: seen.append(name)  # noqa: E731
        with http.Client() as client:
            request = client.build_request("POST", url, json=CHAT, extensions={"trace": note})
            client.send(request)
            return dict(request.extensions)

    live = bench.run(lambda _: asyncio.run(over_async()) if asynchronous else sync())
    assert live.error is None
    assert live.call.status == "success"
    for name in ("connection.connect_tcp.started", "http11.send_request_headers.started"):
        assert seen.count(name) == 1
    assert "http11.receive_response_body.complete" in seen
    assert live.value["trace"] is not None
    assert "llmwatch" not in live.value["trace"].__module__


@pytest.mark.parametrize("way", ["wait_for", "anyio", "task group", "limiter"])
def test_a_cancelled_call_is_a_call_and_no_recording(bench: Any, faults: Any, way: str) -> None:
    faults.add(Delay(2.0, times=None))
    asked = {"model": "gpt-4o-mini", "input": "Hello"}

    async def go() -> None:
        async with openai.AsyncOpenAI(base_url=bench.base_url, api_key="x") as client:
            if way == "wait_for":
                await asyncio.wait_for(client.responses.create(**asked), 0.2)
            elif way == "anyio":
                with anyio.fail_after(0.2):
                    await client.responses.create(**asked)
            elif way == "task group":

                async def fail() -> None:
                    await asyncio.sleep(0.2)
                    raise TimeoutError

                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(client.responses.create(**asked))
                        group.create_task(fail())
                except* TimeoutError as errors:
                    raise errors.exceptions[0] from None
            else:
                faults.clear()
                await client.responses.create(**asked)
                await asyncio.wait_for(client.responses.create(**asked), 0.2)

    live = bench.run(lambda _: asyncio.run(go()), options={"rpm": 10} if way == "limiter" else {})
    assert isinstance(live.error, TimeoutError)
    call = live.watch.calls[-1]
    assert (call.status, call.error_type, call.capture_mode) == ("error", "cancelled", "live")
    assert call.latency < 1.0
    assert call.server_address == "127.0.0.1"
    assert [a.error_type for a in call.attempts] == ["cancelled"]
    assert bench.cassette().exists() == (way == "limiter")  # of the call that was not cancelled


@BOTH
def test_the_server_of_a_replay_is_the_recorded_one(bench: Any, asynchronous: bool) -> None:
    act = bench.aio() if asynchronous else bench.ask()
    live = bench.run(act)
    replayed = bench.run(act, "none", settings={"base_url": "https://llm.example.org:8443/v1"})
    assert str(live.value) == str(replayed.value)
    assert dataclasses.replace(replayed.call, capture_mode="recorded") == live.call
    assert (replayed.call.server_address, replayed.call.server_port) == ("127.0.0.1", live.call.server_port)


@BOTH
def test_back_off_counts_and_queues_do_not(bench: Any, faults: Any, asynchronous: bool) -> None:
    """Latency is from the first request written to the last byte read, as the record's docstring says."""
    faults.add(Fail(429, retry_after=0.3), Delay(0.2))
    act = bench.aio() if asynchronous else bench.ask()
    live, replayed = bench.both(act, options={"rpm": 120})
    assert dataclasses.replace(replayed.call, capture_mode="recorded") == live.call
    call = live.call
    served = sum(a.latency for a in call.attempts)
    assert call.queue_wait >= 0.1  # 0.5 s between requests, of which back-off takes 0.3
    assert served + 0.3 <= call.latency < served + 0.3 + call.queue_wait + 0.1


# llm_call.astream


@pytest.mark.parametrize("api_name", ["responses", "chat"])
def test_an_async_stream_of_llm_call(bench: Any, api_name: str) -> None:
    async def go(llm_call: Any) -> tuple[list[str], str, int]:
        stream = llm_call.astream("What is the capital of France?", api=api_name)
        with pytest.raises(UsageError, match="read it to its end"):
            assert stream.reply
        pieces = [piece async for piece in stream]
        return pieces, stream.reply.text, stream.reply.usage.output_tokens

    live, replayed = bench.both(lambda llm_call: asyncio.run(go(llm_call)))
    assert live.error is None
    same(live, replayed)
    pieces, text, tokens = live.value
    assert len(pieces) > 1
    assert "".join(pieces) == text
    assert tokens > 0
    assert (live.call.stream, live.call.operation) == (True, api_name)


def test_an_async_stream_can_be_left(bench: Any, faults: Any) -> None:
    faults.add(StreamFault("stall", after_chunks=2, stall_seconds=0.3))

    async def go(llm_call: Any) -> str:
        async with llm_call.astream("Hello", api="chat") as stream:
            async for piece in stream:
                if piece:
                    break
        return stream.reply.call.error_type

    live, replayed = bench.both(lambda llm_call: asyncio.run(go(llm_call)))
    same(live, replayed)
    assert live.value == "closed_early"


def test_an_async_stream_from_nobody_is_infrastructure(bench: Any, closed_port: int) -> None:
    async def go(llm_call: Any) -> None:
        async for _ in llm_call.astream("Hello"):
            pass

    settings = {"base_url": f"http://127.0.0.1:{closed_port}/v1", "max_retries": 0}
    live = bench.run(lambda llm_call: asyncio.run(go(llm_call)), settings=settings)
    assert isinstance(live.error, InfrastructureError)
    assert live.error.slug == "endpoint-dead"


def test_calls_inside_of_a_streams_loop_are_their_own(bench: Any) -> None:
    def act(llm_call: Any) -> tuple[str, str]:
        stream = llm_call.stream("One", prompt_version="streamed")
        for _ in stream:
            with openai.OpenAI(base_url=bench.base_url, api_key="x") as client:
                client.responses.create(model="gpt-4o-mini", input="Two")
            break
        return stream.reply.call.input, stream.reply.call.prompt_version

    result = bench.run(act)
    assert result.value == ("One", "streamed")
    assert [c.prompt_version for c in result.watch.calls if c.input == "Two"] == [None]
