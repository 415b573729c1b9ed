"""Live against a real loopback server, then replayed: the same outcome, the same times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import openai
import pytest
from llmock.scenarios import Delay, Fail, Reply, SlowFirstToken, StreamFault, ToolFault

from pytest_llmwatch.errors import InfrastructureError

TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def same(live: Any, replayed: Any) -> None:
    """Everything that is said of the call is the same, but for how it was captured."""
    assert live.call.capture_mode == "recorded"
    assert replayed.call.capture_mode == "replayed"
    assert dataclasses.replace(replayed.call, capture_mode="recorded") == live.call
    assert type(live.error) is type(replayed.error)
    assert str(live.error) == str(replayed.error)


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("way", ["ask", "aio", "stream", "astream"])
def test_an_answer_is_replayed_as_it_was(bench: Any, requests_seen: Callable[[], int], way: str, api: str) -> None:
    act = getattr(bench, way)(api=api)
    live = bench.run(act)
    assert requests_seen() == 1
    replayed = bench.run(act, "none")
    assert requests_seen() == 1, "a replay went over the network"
    same(live, replayed)
    assert str(live.value) == str(replayed.value)
    call = replayed.call
    assert call.status == "success"
    assert call.output
    assert call.latency is not None
    assert call.latency > 0
    assert (call.ttft is not None) == ("stream" in way)
    assert call.finish_reason == "stop"
    assert call.operation == api
    assert [a.status_code for a in call.attempts] == [200]
    if way != "astream":
        assert call.usage.output_tokens
        assert call.cost.usd
        assert call.cost.source
        assert live.finished == [live.call]


def test_a_429_with_a_retry_is_one_call_with_two_attempts(bench: Any, faults: Any) -> None:
    faults.add(Fail(429, retry_after=0.3))
    live, replayed = bench.both(bench.ask())
    same(live, replayed)
    assert live.error is None
    assert [a.status_code for a in live.call.attempts] == [429, 200]
    assert live.call.retries == 1
    assert live.call.rate_limited_attempts == 1
    assert live.call.attempts[0].retry_after == 0.3
    # back-off belongs to the logical call's time, also where the replay did not sit it out
    assert replayed.call.latency >= 0.3 > sum(a.latency for a in replayed.call.attempts)


def test_a_rate_limit_that_stays_is_a_rate_limited_call(bench: Any, faults: Any) -> None:
    faults.add(Fail(429, retry_after=0.05, times=None))
    live, replayed = bench.both(bench.ask(), settings={"max_retries": 1})
    same(live, replayed)
    assert isinstance(live.error, openai.RateLimitError)
    assert live.call.status == "rate_limited"
    assert len(live.call.attempts) == 2


def test_a_server_error_names_its_status(bench: Any, faults: Any) -> None:
    faults.add(Fail(503, times=None))
    live, replayed = bench.both(bench.ask(), settings={"max_retries": 0})
    same(live, replayed)
    assert (live.call.status, live.call.error_type) == ("error", "http_503")


def test_a_timeout_is_raised_again_on_replay(bench: Any, faults: Any) -> None:
    faults.add(Delay(1.5, times=None))
    live, replayed = bench.both(bench.ask(), settings={"timeout": 0.2, "max_retries": 1})
    same(live, replayed)
    assert isinstance(replayed.error, openai.APITimeoutError)
    assert (live.call.status, live.call.error_type) == ("timeout", "read_timeout")
    assert len(live.call.attempts) == 2
    assert live.call.latency >= 0.4


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_truncated_stream_is_incomplete_although_nothing_raises(
    bench: Any, faults: Any, way: str, api: str
) -> None:
    faults.add(StreamFault("truncate", after_chunks=3))
    live, replayed = bench.both(getattr(bench, way)(api=api))
    same(live, replayed)
    assert live.error is None
    assert (live.call.status, live.call.error_type) == ("incomplete", "truncated_stream")
    assert live.call.finish_reason is None


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_dropped_stream_is_dropped_again(bench: Any, faults: Any, way: str) -> None:
    faults.add(StreamFault("disconnect", after_chunks=3))
    live, replayed = bench.both(getattr(bench, way)(api="chat"))
    same(live, replayed)
    assert live.error is not None
    assert (live.call.status, live.call.error_type) == ("incomplete", "dropped_stream")


def test_a_corrupt_chunk_is_an_error_with_a_name(bench: Any, faults: Any) -> None:
    faults.add(StreamFault("malformed", after_chunks=3))
    live, replayed = bench.both(bench.stream(api="chat"))
    same(live, replayed)
    assert isinstance(live.error, ValueError)
    assert (live.call.status, live.call.error_type) == ("error", "corrupt_chunk")


def test_a_slow_first_token_shows_in_the_time_to_first_token(bench: Any, faults: Any) -> None:
    faults.add(SlowFirstToken(0.3))
    live, replayed = bench.both(bench.stream(api="chat"))
    same(live, replayed)
    assert replayed.call.ttft >= 0.3


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_broken_tool_call_is_invalid_in_a_success(bench: Any, faults: Any, api: str) -> None:
    faults.add(ToolFault("malformed_arguments"))
    live, replayed = bench.both(bench.ask("What is the weather in Paris?", api=api, tools=[TOOL]))
    same(live, replayed)
    assert live.call.status == "success"
    (tool,) = live.value.tool_calls
    assert (tool.name, tool.valid) == ("get_weather", False)
    assert "JSON" in tool.error


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_sound_tool_call_is_valid(bench: Any, api: str) -> None:
    result = bench.run(bench.ask("What is the weather in Paris?", api=api, tools=[TOOL]))
    (tool,) = result.call.tool_calls
    assert (tool.name, tool.valid, tool.error) == ("get_weather", True, None)
    assert result.call.finish_reason == "tool_calls"


def test_an_unknown_tool_is_invalid(bench: Any, faults: Any) -> None:
    faults.add(ToolFault("unknown_tool"))
    result = bench.run(bench.ask("What is the weather in Paris?", tools=[TOOL]))
    assert result.call.tool_calls[0].valid is False
    assert "unknown tool" in result.call.tool_calls[0].error


def test_nobody_answers(bench: Any, closed_port: int) -> None:
    settings = {"base_url": f"http://127.0.0.1:{closed_port}/v1", "max_retries": 1}
    live, replayed = bench.both(bench.ask(), settings=settings)
    same(live, replayed)
    assert isinstance(replayed.error, InfrastructureError)
    assert replayed.error.slug == "endpoint-dead"
    assert (live.call.status, live.call.error_type) == ("error", "connection_refused")
    assert len(live.call.attempts) == 2


def test_a_dead_endpoint_that_came_back_is_recorded_over(
    bench: Any, closed_port: int, requests_seen: Callable[[], int]
) -> None:
    dead = bench.run(bench.ask(), settings={"base_url": f"http://127.0.0.1:{closed_port}/v1", "max_retries": 0})
    assert dead.error is not None
    alive = bench.run(bench.ask())
    assert (alive.error, alive.call.capture_mode, requests_seen()) == (None, "recorded", 1)
    assert bench.run(bench.ask(), "none").call.status == "success"


@pytest.mark.parametrize(
    ("status", "slug"), [(401, "api-key-refused"), (403, "api-key-refused"), (404, "unknown-model")]
)
def test_what_only_the_endpoint_can_mend_is_infrastructure(
    bench: Any, faults: Any, status: int, slug: str
) -> None:
    faults.add(Fail(status, times=None))
    result = bench.run(bench.ask())
    assert isinstance(result.error, InfrastructureError)
    assert result.error.slug == slug
    assert "\n" not in str(result.error)
    assert result.watch.errors == [result.error]


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_length_limit_is_a_success_that_says_so(bench: Any, faults: Any, api: str) -> None:
    faults.add(Reply("cut", finish_reason="length"))
    live, replayed = bench.both(bench.ask(api=api))
    same(live, replayed)
    assert (live.call.status, live.call.finish_reason) == ("success", "length")


def test_a_stream_left_open_is_recorded_as_far_as_it_came(bench: Any) -> None:
    kept = []

    def act(llm_call: Any) -> str:
        stream = llm_call.stream("Hello", api="chat")
        kept.append(stream)
        return next(iter(stream))

    live, replayed = bench.both(act)
    assert live.value == replayed.value
    assert (live.call.status, live.call.error_type) == ("incomplete", "closed_early")
    same(live, replayed)
    for stream in kept:
        stream.close()


def test_a_stream_closed_after_its_terminal_event_is_complete(bench: Any) -> None:
    def act(llm_call: Any) -> Any:
        stream = llm_call.stream("Hello", api="responses")
        # the consumer stops at response.completed and never sees the end of the body
        for event in stream._events:
            if event.type == "response.completed":
                break
        stream.close()
        return stream.reply

    live, replayed = bench.both(act)
    same(live, replayed)
    assert live.call.status == "success"


def test_the_consumers_time_between_chunks_is_not_the_servers(bench: Any) -> None:
    import time

    def act(llm_call: Any) -> Any:
        stream = llm_call.stream("Tell me a long story, please", api="chat")
        for _ in stream:
            time.sleep(0.15)
        return stream.reply

    result = bench.run(act)
    pieces = len(result.value.text.split())
    assert pieces >= 4
    assert result.call.latency < 0.15 * pieces / 2


def test_concurrent_identical_requests_keep_the_order_in_which_they_started(bench: Any, faults: Any) -> None:
    import asyncio

    faults.add(Delay(0.4), Reply("first"), Reply("second"))

    def act(llm_call: Any) -> list[str]:
        async def go() -> list[str]:
            async def later() -> Any:
                await asyncio.sleep(0.1)
                return await llm_call.aio("Same question")

            one, two = await asyncio.gather(llm_call.aio("Same question"), later())
            return [one.text, two.text]

        return asyncio.run(go())

    live, replayed = bench.both(act)
    assert live.value == replayed.value == ["first", "second"]
    assert [c.output for c in live.watch.calls] == ["first", "second"]
    assert live.watch.calls[0].latency > live.watch.calls[1].latency


def test_a_conversation_with_tools_replays_although_its_ids_change(bench: Any) -> None:
    def act(call_id: str) -> Any:
        return bench.ask(
            [
                {"role": "user", "content": "Weather in Paris?"},
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": call_id,
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": call_id, "content": "21 degrees"},
            ],
            api="chat",
        )

    assert bench.run(act("call_first")).error is None
    replayed = bench.run(act("call_second"), "none")
    assert replayed.error is None
    assert replayed.call.input.startswith("user: Weather in Paris?")
    assert "tool: 21 degrees" in replayed.call.input
