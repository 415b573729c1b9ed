"""A team's tests of an application on litellm. They know nothing of pytest-llmwatch."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import litellm
import pytest

HELLO = [{"role": "user", "content": "Say something about apples"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
GEMINI = {
    "model": "gemini/gemini-2.5-flash",
    "api_base": os.environ.get("GOOGLE_GEMINI_BASE_URL", "") + "/v1beta",
    "api_key": "x",
}
MODELS: list[dict[str, Any]] = [
    {"model": "openai/gpt-4o-mini"},
    {"model": "anthropic/claude-sonnet-4-6"},
    {
        "model": "mistral/mistral-small-latest",
        "api_base": os.environ.get("MISTRAL_URL", "") + "/v1",
        "api_key": "x",
    },
    GEMINI,
]
STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 200}
EACH = pytest.mark.parametrize("model", MODELS, ids=["openai", "anthropic", "mistral", "gemini"])


@EACH
def test_completion(model: dict[str, Any]) -> None:
    answer = litellm.completion(messages=HELLO, max_tokens=200, **model)
    assert answer.choices[0].message.content


@EACH
def test_acompletion(model: dict[str, Any]) -> None:
    answer = asyncio.run(litellm.acompletion(messages=HELLO, max_tokens=200, **model))
    assert answer.choices[0].message.content


@EACH
def test_stream(model: dict[str, Any]) -> None:
    chunks = list(litellm.completion(messages=HELLO, **STREAMED, **model))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@EACH
def test_astream(model: dict[str, Any]) -> None:
    async def go() -> str:
        stream = await litellm.acompletion(messages=HELLO, **STREAMED, **model)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(go())


@EACH
def test_tools(model: dict[str, Any]) -> None:
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked = {**model, "model": model["model"].replace("flash", "pro")}
    answer = litellm.completion(messages=question, tools=[TOOL], max_tokens=200, **asked)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
