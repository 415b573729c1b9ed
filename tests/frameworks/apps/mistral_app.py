"""A team's tests of an application on mistralai. They know nothing of pytest-llmwatch."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

ASK: dict[str, Any] = {
    "model": "mistral-small-latest",
    "messages": [{"role": "user", "content": "Say something about apples"}],
}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def client() -> Mistral:
    return Mistral(api_key="x", server_url=os.environ["MISTRAL_URL"])


def test_complete() -> None:
    assert client().chat.complete(**ASK, temperature=0.1, random_seed=7).choices[0].message.content


def test_complete_async() -> None:
    assert asyncio.run(client().chat.complete_async(**ASK)).choices[0].message.content


def test_stream() -> None:
    with client().chat.stream(**ASK) as events:
        assert "".join(str(event.data.choices[0].delta.content or "") for event in events)


def test_stream_async() -> None:
    async def go() -> str:
        stream = await client().chat.stream_async(**ASK)
        return "".join([str(event.data.choices[0].delta.content or "") async for event in stream])

    assert asyncio.run(go())


def test_tools() -> None:
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client().chat.complete(**{**ASK, "messages": question}, tools=[TOOL])
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.name == "get_weather"


def test_error() -> None:
    with pytest.raises(SDKError, match="no more"):
        client().chat.complete(**{**ASK, "model": "mistral-large-latest"})
