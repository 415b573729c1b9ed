"""``llm_fault``: a team tests its own fallback, retries and error message, live, recorded and replayed."""

from __future__ import annotations

from typing import Any

import pytest

APP = """
import openai

def client():
    return openai.OpenAI(max_retries=1)

def ask(question, model="gpt-4o-mini", fallback="gpt-4o"):
    for name in (model, fallback):
        try:
            done = client().chat.completions.create(model=name, messages=[{"role": "user", "content": question}])
            return done.choices[0].message.content
        except openai.APIError as error:
            last = error
    request = getattr(last, "request_id", None)
    return f"Sorry, we could not answer. Quote {request} to support."

def stream(question):
    text = ""
    try:
        events = client().chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": question}], stream=True
        )
        for event in events:
            text += (event.choices[0].delta.content or "") if event.choices else ""
    except Exception as error:
        return text + f" [cut: {type(error).__name__}]"
    return text
"""

TESTS = """
import asyncio, json, threading
import openai, pytest
import app

KINDS = ["timeout", "connect_timeout", "refused", "dns", "reset", "disconnected", 429, 503, 500, "rate_limit"]

@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_gets_over_one_fault(llm_fault, llm_watch, kind):
    fault = llm_fault(kind, retry_after=0.01 if kind in (429, 503) else None)
    assert not app.ask("What is the capital of France?").startswith("Sorry")
    assert fault.used == 1
    (call,) = llm_watch.calls
    assert [a.injected for a in call.attempts] == [True, False]
    assert call.status == "success"

def test_the_fallback_answers_when_the_model_is_down(llm_fault, llm_watch):
    llm_fault(503, times=None, model="gpt-4o-mini")
    assert not app.ask("What is the capital of France?").startswith("Sorry")
    first, second = llm_watch.calls
    assert (first.model, first.status, first.error_type) == ("gpt-4o-mini", "error", "http_503")
    assert (second.model, second.status, second.fallback) == ("gpt-4o", "success", True)

def test_the_user_gets_the_request_id(llm_fault):
    llm_fault(500, times=None)
    assert "Quote req_llmfault_" in app.ask("What is the capital of France?")

@pytest.mark.parametrize("kind, end", [("dropped", "APIError"), ("corrupt", "JSONDecodeError")])
def test_a_stream_that_breaks_keeps_its_beginning(llm_fault, llm_watch, kind, end):
    llm_fault(kind, after_chunks=3, times=None)
    text = app.stream("Tell me a story")
    assert text.startswith("This answer"), text
    assert "[cut: " in text
    assert llm_watch.calls[0].status in ("incomplete", "error")

def test_a_truncated_stream_ends_in_silence_and_is_recorded_as_incomplete(llm_fault, llm_watch):
    llm_fault("truncated", after_chunks=3)
    assert app.stream("Tell me a story").startswith("This answer")
    assert (llm_watch.calls[0].status, llm_watch.calls[0].error_type) == ("incomplete", "truncated_stream")

def test_an_answer_can_hold_invalid_tool_arguments(llm_fault, llm_client, llm_watch):
    llm_fault("invalid_tool_arguments")
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    done = llm_client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Weather?"}], tools=[tool]
    )
    with pytest.raises(ValueError):
        json.loads(done.choices[0].message.tool_calls[0].function.arguments)
    assert llm_watch.calls[0].tool_calls[0].valid is False

def test_a_content_filter(llm_fault, llm_call):
    llm_fault("content_filter")
    assert llm_call("Hello", api="chat").finish_reason == "content_filter"
    llm_fault("content_filter")
    assert llm_call("Hello").finish_reason == "content_filter"

def test_other_calls_are_not_touched(llm_fault, llm_watch):
    with llm_fault(429, when=lambda prompt: "France" in prompt, times=None) as fault:
        assert not app.ask("What is two and two?").startswith("Sorry")
        assert app.ask("What is the capital of France?").startswith("Sorry")
    assert not app.ask("What is the capital of France?").startswith("Sorry")
    assert fault.used == 4

def test_in_event_loops_and_threads(llm_fault, async_llm_client, llm_watch):
    llm_fault(503, times=3)
    async def one():
        done = await async_llm_client.with_options(max_retries=4).chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "What is the capital of Spain?"}]
        )
        return done.choices[0].message.content
    async def go():
        async with async_llm_client:
            return await asyncio.gather(one(), one())
    assert all(asyncio.run(go()))
    llm_fault("timeout")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(app.ask("What is the capital of Italy?")))
    thread.start(); thread.join()
    assert answers and not answers[0].startswith("Sorry")

WRITES = []

def test_a_tool_that_is_down_and_a_write_that_runs_once(llm_fault, llm_watch):
    @llm_watch.tool
    def search(query):
        return "found"
    def order():
        with llm_watch.tool("order", side_effect=True):
            WRITES.append(1)
    llm_fault("tool_down", tool="search", times=1)
    with pytest.raises(ConnectionError, match="search is down"):
        search("x")
    assert search("x") == "found"
    llm_fault(503)
    app.ask("What is the capital of France?")
    order()
    assert WRITES == [1], "a fault and a retry of a call never run a tool again"
    failed = [s for s in llm_watch.spans if s.error]
    assert [(s.name, s.error) for s in failed] == [("search", "ConnectionError")]

def test_a_function_without_spans(llm_fault, monkeypatch):
    llm_fault.tool("app:ask", TimeoutError("slow"))
    with pytest.raises(TimeoutError, match="slow"):
        app.ask("anything")

def test_unknown_kinds_are_named(llm_fault):
    with pytest.raises(Exception, match="did you mean 'timeout'"):
        llm_fault("timout")
    with pytest.raises(Exception, match="times must be at least 1"):
        llm_fault("timeout", times=0)
    with pytest.raises(Exception, match="can be imported"):
        llm_fault.tool("app:nothing")
    llm_fault("timeout", optional=True)
"""

UNMET = """
def test_nothing_met_it(llm_fault):
    llm_fault("timeout")

def test_that_fails_anyway_says_why_it_failed(llm_fault):
    llm_fault("timeout")
    assert False, "the real reason"
"""

BUDGET = """
[errors]
rate = { fail = 0.0, test = false }
rate_limited = { fail = 0.0, test = false }
[latency]
max = 60
[model]
model = "gpt-4o-mini"
"""


@pytest.fixture
def suite(project: Any) -> Any:
    """A project with an application, its tests, and a budget that allows no error."""
    (project.path / "app.py").write_text(APP, encoding="utf-8")
    (project.path / "conftest.py").write_text(
        "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
    )
    (project.path / "test_faults.py").write_text(TESTS, encoding="utf-8")
    project.budget(BUDGET)
    return project


def test_the_same_suite_passes_recorded_and_replayed(suite: Any, loopback: Any) -> None:
    recorded = suite.run("-q", "--llm-budget=budget.toml")
    recorded.assert_outcomes(passed=22)
    recorded.stdout.fnmatch_lines(["*faults that tests asked for*"])
    assert recorded.ret == 0, "a fault that a test asked for is no regression"
    texts = [p.read_text("utf-8") for p in suite.path.glob("cassettes/**/*.yaml")]
    assert texts
    assert not any("llmfault" in t or "Injected" in t for t in texts), "a fault is never recorded"
    seen = len(loopback.state.journal.records())
    assert seen
    replayed = suite.run("-q", "--llm-budget=budget.toml", "--llm-record=none")
    replayed.assert_outcomes(passed=22)
    assert replayed.ret == 0
    assert len(loopback.state.journal.records()) == seen, "the replay went over the network"


def test_a_fault_that_nothing_met_fails_its_test(project: Any) -> None:
    (project.path / "test_unmet.py").write_text(UNMET, encoding="utf-8")
    result = project.run("-q")
    result.stdout.fnmatch_lines(["*no call met timeout, so this test proves nothing*"])
    result.stdout.fnmatch_lines(["*the real reason*"])
    result.assert_outcomes(passed=1, failed=1, errors=1)
