"""A team's tests of an application on the anthropic SDK. They know nothing of pytest-llmwatch."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

HELLO: Any = [{"role": "user", "content": "Say something about apples"}]
TOOL: Any = {
    "name": "get_weather",
    "description": "Return the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 200, "messages": HELLO}


def test_create() -> None:
    assert anthropic.Anthropic().messages.create(**ASK, system="Be brief.", stop_sequences=["END"]).content[0].text


def test_create_async() -> None:
    async def go() -> str:
        async with anthropic.AsyncAnthropic() as client:
            return (await client.messages.create(**ASK)).content[0].text

    assert asyncio.run(go())


def test_stream() -> None:
    with anthropic.Anthropic().messages.stream(**ASK) as stream:
        assert len(list(stream.text_stream)) > 1
        assert stream.get_final_message().stop_reason == "end_turn"


def test_stream_async() -> None:
    async def go() -> str:
        async with anthropic.AsyncAnthropic() as client, client.messages.stream(**ASK) as stream:
            return "".join([text async for text in stream.text_stream])

    assert asyncio.run(go())


def test_raw_stream() -> None:
    events = anthropic.Anthropic().messages.create(**ASK, stream=True)
    assert [event.type for event in events][-1] == "message_stop"


def test_tools() -> None:
    client = anthropic.Anthropic()
    question: Any = {"role": "user", "content": "What is the weather in Paris?"}
    first = client.messages.create(**{**ASK, "messages": [question]}, tools=[TOOL])
    (use,) = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "21 degrees"}
    turns: Any = [question, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**{**ASK, "messages": turns}, tools=[TOOL]).stop_reason == "end_turn"


def test_tool_stream() -> None:
    question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    with anthropic.Anthropic().messages.stream(**{**ASK, "messages": question}, tools=[TOOL]) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"


def test_retry() -> None:
    client = anthropic.Anthropic(max_retries=2)
    assert client.messages.create(**{**ASK, "model": "claude-haiku-4-5"}).content


def test_error() -> None:
    client = anthropic.Anthropic(max_retries=0)
    with pytest.raises(anthropic.APIStatusError, match="no more"):
        client.messages.create(**{**ASK, "model": "claude-opus-4-1"})


def test_a_stream_that_is_cut() -> None:
    client = anthropic.Anthropic(max_retries=0)
    events = list(client.messages.create(**{**ASK, "model": "claude-3-haiku-20240307"}, stream=True))
    # the SDK says nothing of a stream that ends early: what came is there, the end is not
    assert events[0].type == "message_start"
    assert "message_stop" not in {event.type for event in events}
