"""Applications that know nothing of us are captured: model, usage, text, tools, times; live equals replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llmock.scenarios import Fail, Match, Reply, StreamFault, ToolCall

Script = Callable[..., None]
Present = Callable[..., None]
Drive = Callable[..., Any]


def assert_answered(
    call: dict[str, Any], model: str, *, stream: bool = False, tool: str | None = None, told: bool = True
) -> None:
    """Assert that everything of a good call was read; ``told``: the server reports the tokens."""
    assert (call["status"], call["model"]) == ("success", model)
    assert call["input"]
    assert call.get("response_model", model).startswith(model)
    if told:
        assert call["input_tokens"] > 0
        assert call["output_tokens"] > 0
        assert call["cost_usd"] > 0
    assert call["finish_reason"] == ("tool_calls" if tool else "stop")
    assert call["latency"] > 0
    assert (call.get("ttft") is not None) == stream
    assert bool(call.get("stream")) == stream
    if stream:
        assert 0 < call["ttft"] <= call["latency"]
    if tool is None:
        assert call["output"]
    else:
        assert [(t["name"], t["valid"]) for t in call["tool_calls"]] == [(tool, True)]
        assert call["parameters"]["tools"]


def assert_failed(call: dict[str, Any], code: int, attempts: int = 1) -> None:
    assert (call["status"], call["error_type"]) == ("error", f"http_{code}")
    assert "no more" in call["error"]
    assert len(call["attempts"]) == attempts


def refuse(script: Script, *models: str) -> None:
    script(*(Fail(403, message="no more", times=None, match=Match(model=m)) for m in models))


@pytest.mark.slow
def test_langchain(present: Present, script: Script, drive: Drive) -> None:
    present("langchain_openai", "langchain_anthropic")
    refuse(script, "gpt-4.1-nano")
    script(Fail(503, times=None, match=Match(model="gpt-4o")), Fail(503, match=Match(model="gpt-4.1")))
    seen = drive("langchain")
    seen.check()
    assert_answered(seen.call("test_invoke"), "gpt-4o-mini")
    assert seen.call("test_invoke")["input"].startswith("system: Be brief.\n\nuser: Say")
    assert_answered(seen.call("test_stream"), "gpt-4o-mini", stream=True)
    plain, streamed = seen.calls("test_in_an_event_loop")
    assert_answered(plain, "gpt-4o-mini")
    assert_answered(streamed, "gpt-4o-mini", stream=True)
    assert_answered(seen.call("test_responses"), "gpt-4o-mini")
    assert len(seen.calls("test_batch")) == 3
    failed, fallback = seen.calls("test_fallback")
    assert (failed["model"], failed["error_type"]) == ("gpt-4o", "http_503")
    assert_answered(fallback, "gpt-4o-mini")
    retried = seen.call("test_retry")
    assert [a["status_code"] for a in retried["attempts"]] == [503, 200]
    assert_answered(retried, "gpt-4.1")
    asked, answered = seen.calls("test_tools")
    assert_answered(asked, "gpt-4o-mini", tool="get_weather")
    assert_answered(answered, "gpt-4o-mini")
    assert [r.get("asked", True) for r in answered["tool_results"]] == [True]
    assert seen.call("test_embeddings")["operation"] == "embeddings"
    assert seen.call("test_embeddings")["input_tokens"] > 0
    assert_answered(seen.call("test_claude"), "claude-sonnet-4-6")
    assert_answered(seen.call("test_claude_stream"), "claude-sonnet-4-6", stream=True)
    assert_answered(seen.call("test_claude_tools"), "claude-sonnet-4-6", tool="get_weather")
    assert_failed(seen.call("test_an_error_reaches_the_application"), 403)


@pytest.mark.slow
def test_pydantic_ai(present: Present, script: Script, drive: Drive) -> None:
    present("pydantic_ai")
    agent = Match(model="gpt-4o-mini")
    script(
        Reply(tool_calls=(ToolCall("get_degrees", {"city": "Paris"}),), match=agent),
        Reply(tool_calls=(ToolCall("final_result", {"city": "Paris", "degrees": 21}),), match=agent),
    )
    seen = drive("pydantic_ai")
    seen.check()
    first, second = seen.calls("test_a_tool_and_a_structured_answer")
    assert_answered(first, "gpt-4o-mini", tool="get_degrees")
    assert_answered(second, "gpt-4o-mini", tool="final_result")
    assert first["parameters"]["tools"] == ["final_result", "get_degrees"]
    assert [(r["content"], r.get("asked", True)) for r in second["tool_results"]] == [("21", True)]
    assert_answered(seen.call("test_text_in_an_event_loop"), "gpt-4.1-mini")
    assert_answered(seen.call("test_a_stream"), "gpt-4.1-mini", stream=True)
    assert_answered(seen.call("test_responses"), "gpt-4.1-mini")
    # pydantic-ai streams from Anthropic whether or not it is asked to
    assert_answered(seen.call("test_claude"), "claude-sonnet-4-6", stream=True)


@pytest.mark.slow
def test_litellm(present: Present, script: Script, drive: Drive) -> None:
    present("litellm")
    # litellm writes function_declarations, which the server overlooks and Gemini does not
    script(Reply(tool_calls=(ToolCall("get_weather", {"city": "Paris"}),), match=Match(model="gemini-2.5-pro")))
    seen = drive("litellm")
    seen.check()
    models = {
        "openai": "gpt-4o-mini",
        "anthropic": "claude-sonnet-4-6",
        "mistral": "mistral-small-latest",
        "gemini": "gemini-2.5-flash",
    }
    for name, model in models.items():
        assert_answered(seen.call(f"test_completion[{name}]"), model)
        assert_answered(seen.call(f"test_acompletion[{name}]"), model)
        # the server reports no tokens in streams of Mistral
        told = name != "mistral"
        assert_answered(seen.call(f"test_stream[{name}]"), model, stream=True, told=told)
        assert_answered(seen.call(f"test_astream[{name}]"), model, stream=True, told=told)
        assert_answered(seen.call(f"test_tools[{name}]"), model.replace("flash", "pro"), tool="get_weather")


@pytest.mark.slow
def test_anthropic(present: Present, script: Script, drive: Drive) -> None:
    present("anthropic")
    model, cut = "claude-sonnet-4-6", Match(model="claude-3-haiku-20240307")
    refuse(script, "claude-opus-4-1")
    script(Fail(529, match=Match(model="claude-haiku-4-5")), StreamFault("truncate", after_chunks=4, match=cut))
    seen = drive("anthropic")
    seen.check()
    assert_answered(seen.call("test_create"), model)
    assert seen.call("test_create")["parameters"] == {"max_tokens": 200, "stop": ["END"]}
    assert seen.call("test_create").get("operation", "chat") == "chat"
    assert_answered(seen.call("test_create_async"), model)
    for test in ("test_stream", "test_stream_async", "test_raw_stream"):
        assert_answered(seen.call(test), model, stream=True)
    asked, answered = seen.calls("test_tools")
    assert_answered(asked, model, tool="get_weather")
    assert_answered(answered, model)
    assert [r["content"] for r in answered["tool_results"]] == ["21 degrees"]
    assert_answered(seen.call("test_tool_stream"), model, stream=True, tool="get_weather")
    retried = seen.call("test_retry")
    assert [a["status_code"] for a in retried["attempts"]] == [529, 200]
    assert_answered(retried, "claude-haiku-4-5")
    assert_failed(seen.call("test_error"), 403)
    truncated = seen.call("test_a_stream_that_is_cut")
    assert (truncated["status"], truncated["error_type"]) == ("incomplete", "truncated_stream")
    assert truncated["output"]


@pytest.mark.slow
@pytest.mark.model
def test_anthropic_against_a_real_model(present: Present, drive: Drive, local_model: str) -> None:
    present("anthropic")
    seen = drive("local_claude", ANTHROPIC_BASE_URL=local_model)
    seen.check()
    for test, stream in (("test_create", False), ("test_stream", True), ("test_stream_async", True)):
        call = seen.call(test)
        assert (call["status"], call["response_model"]) == ("success", "smollm2")
        assert call["finish_reason"] in ("stop", "length")
        assert call["output"]
        assert 0 < call["output_tokens"] <= 12
        assert call["input_tokens"] > 10
        assert (call.get("ttft") is not None) == stream
    # the same prompt again: what is in the server's cache is a part of the input, not on top of it
    first, again = seen.call("test_stream"), seen.call("test_stream_async")
    assert 0 < again["cached_tokens"] < again["input_tokens"] <= first["input_tokens"]
    assert first["parameters"]["tools"] == ["get_weather"]
    assert seen.call("test_count")["cost_usd"] == 0


@pytest.mark.slow
def test_google_genai(present: Present, script: Script, drive: Drive) -> None:
    present("google.genai")
    model = "gemini-2.5-flash"
    refuse(script, "gemini-2.5-pro")
    seen = drive("gemini")
    seen.check()
    assert_answered(seen.call("test_generate"), model)
    assert seen.call("test_generate")["parameters"] == {"temperature": 0, "max_tokens": 200}
    assert seen.call("test_generate")["input"].startswith("system: Be brief.")
    assert_answered(seen.call("test_generate_async"), model)
    assert_answered(seen.call("test_stream"), model, stream=True)
    assert_answered(seen.call("test_stream_async"), model, stream=True)
    assert_answered(seen.call("test_tools"), model, tool="get_weather")
    asked, answered = seen.calls("test_tools_that_the_sdk_runs")
    assert_answered(asked, model, tool="get_degrees")
    assert_answered(answered, model)
    assert [r["content"] for r in answered["tool_results"]] == ['{"result": 21}']
    assert_failed(seen.call("test_error"), 403)


@pytest.mark.slow
def test_mistralai(present: Present, script: Script, drive: Drive) -> None:
    present("mistralai")
    model = "mistral-small-latest"
    refuse(script, "mistral-large-latest")
    seen = drive("mistral")
    seen.check()
    assert_answered(seen.call("test_complete"), model)
    assert seen.call("test_complete")["parameters"] == {"temperature": 0.1, "seed": 7}
    assert_answered(seen.call("test_complete_async"), model)
    assert_answered(seen.call("test_stream"), model, stream=True, told=False)
    assert_answered(seen.call("test_stream_async"), model, stream=True, told=False)
    assert_answered(seen.call("test_tools"), model, tool="get_weather")
    assert_failed(seen.call("test_error"), 403)
