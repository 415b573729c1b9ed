"""A real model behind a real OpenAI-compatible server: llama.cpp with SmolLM2-135M."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

pytestmark = pytest.mark.model

QUESTION = "What is the capital of France? Answer in one word."
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.mark.parametrize(
    ("way", "api"), [("ask", "responses"), ("aio", "chat"), ("stream", "chat"), ("stream", "responses")]
)
def test_a_real_answer_is_recorded_and_replayed(bench: Any, local_model: str, way: str, api: str) -> None:
    act = getattr(bench, way)(QUESTION, api=api, temperature=0, max_tokens=12)
    settings = {"base_url": local_model, "model": "smollm2-135m"}
    live, replayed = bench.both(act, settings=settings)
    assert live.error is None
    assert live.call.output.strip()
    assert live.call.usage.output_tokens
    assert live.call.latency > 0.01
    assert (live.call.ttft is not None) == (way == "stream")
    assert dataclasses.replace(replayed.call, capture_mode="recorded") == live.call
    # the server calls its model by the path of a file of this machine
    assert live.call.response_model.endswith(".gguf")
    assert "/" not in live.call.response_model
    text = bench.cassette().read_text()
    assert ".gguf" in text
    assert "site-packages" not in text


def test_a_schema_is_enforced_and_parsed(bench: Any, local_model: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    act = bench.ask("Extract: Bob is 12.", api="chat", temperature=0, max_tokens=60, response_format=form)
    live, replayed = bench.both(act, settings={"base_url": local_model, "model": "smollm2-135m"})
    assert set(live.value.json) == {"name", "age"}
    assert replayed.value.json == live.value.json


def test_a_length_limit_shows(bench: Any, local_model: str) -> None:
    act = bench.ask("Tell a long story.", api="chat", temperature=0, max_tokens=5)
    result = bench.run(act, settings={"base_url": local_model, "model": "smollm2-135m"})
    assert (result.call.status, result.call.finish_reason) == ("success", "length")
    assert result.call.parameters["max_tokens"] == 5
