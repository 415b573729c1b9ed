"""A team's tests of an application on the anthropic SDK, whose endpoint is llama.cpp's own server."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic

ASK: dict[str, Any] = {
    "model": "smollm2",
    "max_tokens": 12,
    "messages": [{"role": "user", "content": "What is the capital of France? Answer in one word."}],
}
TOOL: Any = {
    "name": "get_weather",
    "description": "Return the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def test_create() -> None:
    assert anthropic.Anthropic().messages.create(**ASK, system="Be brief.").content


def test_stream() -> None:
    with anthropic.Anthropic().messages.stream(**ASK, tools=[TOOL]) as stream:
        assert len(list(stream.text_stream)) > 1


def test_stream_async() -> None:
    async def go() -> str:
        async with anthropic.AsyncAnthropic() as client, client.messages.stream(**ASK) as stream:
            return "".join([text async for text in stream.text_stream])

    assert asyncio.run(go())


def test_count() -> None:
    counted = anthropic.Anthropic().messages.count_tokens(model=ASK["model"], messages=ASK["messages"])
    assert counted.input_tokens > 0
