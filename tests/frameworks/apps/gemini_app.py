"""A team's tests of an application on google-genai. They know nothing of pytest-llmwatch."""

from __future__ import annotations

import asyncio

import pytest
from google import genai
from google.genai import errors, types

MODEL = "gemini-2.5-flash"
HELLO = "Say something about apples"
DECLARED = types.FunctionDeclaration(
    name="get_weather",
    description="Return the weather of a city.",
    parameters=types.Schema(
        type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}, required=["city"]
    ),
)
CLIENT = genai.Client(http_options=types.HttpOptions(api_version="v1beta"))
TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[DECLARED])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def get_degrees(city: str) -> int:
    """Return the temperature in a city."""
    return 21


def test_generate() -> None:
    config = types.GenerateContentConfig(system_instruction="Be brief.", temperature=0, max_output_tokens=200)
    assert CLIENT.models.generate_content(model=MODEL, contents=HELLO, config=config).text


def test_generate_async() -> None:
    async def go() -> str | None:
        return (await CLIENT.aio.models.generate_content(model=MODEL, contents=HELLO)).text

    assert asyncio.run(go())


def test_stream() -> None:
    chunks = list(CLIENT.models.generate_content_stream(model=MODEL, contents=HELLO))
    assert len(chunks) > 1
    assert "".join(chunk.text or "" for chunk in chunks)


def test_stream_async() -> None:
    async def go() -> str:
        stream = await CLIENT.aio.models.generate_content_stream(model=MODEL, contents=HELLO)
        return "".join([chunk.text or "" async for chunk in stream])

    assert asyncio.run(go())


def test_tools() -> None:
    question = "What is the weather in Paris?"
    answer = CLIENT.models.generate_content(model=MODEL, contents=question, config=TOOLS)
    (call,) = answer.function_calls or []
    assert call.name == "get_weather"


def test_tools_that_the_sdk_runs() -> None:
    config = types.GenerateContentConfig(tools=[get_degrees])
    assert CLIENT.models.generate_content(model=MODEL, contents="How warm is Paris?", config=config).text


def test_error() -> None:
    with pytest.raises(errors.APIError, match="no more"):
        CLIENT.models.generate_content(model="gemini-2.5-pro", contents=HELLO)
