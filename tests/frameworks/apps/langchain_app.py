"""A team's tests of an application on LangChain. They know nothing of pytest-llmwatch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

QUESTION = "Say something about apples"


@tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"21 degrees in {city}"


def chat(**settings: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": "gpt-4o-mini", "temperature": 0, **settings})


def test_invoke() -> None:
    assert chat().invoke([("system", "Be brief."), ("user", QUESTION)]).content


def test_stream() -> None:
    pieces = [chunk.content for chunk in chat(stream_usage=True).stream(QUESTION)]
    assert len([piece for piece in pieces if piece]) > 1


def test_in_an_event_loop() -> None:
    async def go() -> str:
        assert (await chat().ainvoke(QUESTION)).content
        return "".join([str(chunk.content) async for chunk in chat(stream_usage=True).astream(QUESTION)])

    assert asyncio.run(go())


def test_responses() -> None:
    assert chat(use_responses_api=True).invoke(QUESTION).content


def test_batch() -> None:
    assert all(answer.content for answer in chat().batch([f"{QUESTION} {n}" for n in range(3)]))


def test_fallback() -> None:
    model = chat(model="gpt-4o", max_retries=0).with_fallbacks([chat()])
    assert model.invoke(QUESTION).content


def test_retry() -> None:
    assert chat(model="gpt-4.1", max_retries=2).invoke(QUESTION).content


def test_tools() -> None:
    model = chat().bind_tools([get_weather])
    question = HumanMessage("What is the weather in Paris?")
    asked = model.invoke([question])
    assert isinstance(asked, AIMessage)
    results = [ToolMessage(get_weather.invoke(c["args"]), tool_call_id=c["id"]) for c in asked.tool_calls]
    assert len(results) == 1
    assert model.invoke([question, asked, *results]).content


def test_embeddings() -> None:
    vectors = OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False)
    assert len(vectors.embed_query("apples")) > 1


def claude() -> ChatAnthropic:
    return ChatAnthropic(model="claude-sonnet-4-6", max_tokens=200, temperature=0)


def test_claude() -> None:
    assert claude().invoke(QUESTION).content


def test_claude_stream() -> None:
    assert "".join(str(chunk.text) for chunk in claude().stream(QUESTION))


def test_claude_tools() -> None:
    (call,) = claude().bind_tools([get_weather]).invoke("What is the weather in Paris?").tool_calls
    assert call["name"] == "get_weather"


def test_an_error_reaches_the_application() -> None:
    with pytest.raises(Exception, match="no more"):
        chat(model="gpt-4.1-nano", max_retries=0).invoke(QUESTION)
