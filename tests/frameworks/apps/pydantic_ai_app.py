"""A team's tests of an application on pydantic-ai. They know nothing of pytest-llmwatch."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel


class Weather(BaseModel):
    city: str
    degrees: int


def agent(model: str) -> Agent[None, Weather]:
    out = Agent(OpenAIChatModel(model), output_type=Weather, instructions="Use the tool.")

    @out.tool_plain
    def get_degrees(city: str) -> int:
        """Return the temperature in a city."""
        return 21

    return out


def test_a_tool_and_a_structured_answer() -> None:
    result = agent("gpt-4o-mini").run_sync("What is the weather in Paris?")
    assert result.output == Weather(city="Paris", degrees=21)


def test_text_in_an_event_loop() -> None:
    async def go() -> str:
        return (await Agent(OpenAIChatModel("gpt-4.1-mini")).run("Say something about apples")).output

    assert asyncio.run(go())


def test_a_stream() -> None:
    async def go() -> str:
        async with Agent(OpenAIChatModel("gpt-4.1-mini")).run_stream("Say something about pears") as stream:
            return "".join([piece async for piece in stream.stream_text(delta=True)])

    assert asyncio.run(go())


def test_responses() -> None:
    assert Agent(OpenAIResponsesModel("gpt-4.1-mini")).run_sync("Say something about plums").output


def test_claude() -> None:
    assert Agent(AnthropicModel("claude-sonnet-4-6")).run_sync("Say something about figs").output
