"""Fixtures, markers and live options, against a real loopback server."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

BUDGET = '[model]\nmodel = "gpt-4o-mini"\n[latency]\nmax = "60 s"\n'


def write(project: Any, body: str) -> None:
    project.path.joinpath("test_app.py").write_text(body)


def test_every_way_to_call_is_recorded_and_replayed(project: Any, dead_url: str) -> None:
    write(
        project,
        """
import asyncio
import gc

def test_responses(llm_call):
    reply = llm_call("hello")
    assert reply.text and reply.latency > 0 and reply.usage.output_tokens and reply.cost_usd > 0
    assert reply.finish_reason and reply.call.operation == "responses"

def test_chat_messages(llm_call):
    reply = llm_call([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}], api="chat")
    assert reply.text and reply.call.operation == "chat"

def test_stream(llm_call):
    for api in ("responses", "chat"):
        stream = llm_call.stream("tell me a story", api=api)
        text = "".join(stream)
        assert text == stream.reply.text
        assert 0 < stream.reply.ttft <= stream.reply.latency

def test_async(llm_call):
    async def many():
        return await asyncio.gather(*(llm_call.aio(f"hello {i}", api="chat") for i in range(3)))
    replies = asyncio.run(many())
    assert len({r.call.id for r in replies}) == 3

def test_client(llm_client):
    done = llm_client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}])
    assert done.choices[0].message.content

def test_async_client(async_llm_client):
    async def one():
        return await async_llm_client.responses.create(model="gpt-4o-mini", input="x")
    # one loop after another; with -W error a connection that the collector finds open fails the run
    assert asyncio.run(one()).output_text
    gc.collect()
    assert asyncio.run(one()).output_text

def test_nothing_is_left_open():
    gc.collect()

def test_the_applications_own_client():
    import openai
    with openai.OpenAI() as client:
        assert client.responses.create(model="gpt-4o-mini", input="unchanged application").output_text
""",
    )
    project.budget(BUDGET)
    live = project.run("--llm-budget=budget.toml", "-W", "error")
    live.assert_outcomes(passed=8)
    first = project.report()
    replayed = project.run(
        "--llm-budget=budget.toml", "--llm-record=none", OPENAI_BASE_URL=dead_url, OPENAI_API_KEY="sk-dummy"
    )
    replayed.assert_outcomes(passed=8)
    second = project.report()
    assert first["aggregates"]["calls"] == second["aggregates"]["calls"] == 11
    assert first["aggregates"]["latency"] == pytest.approx(second["aggregates"]["latency"], abs=1e-6)


def test_a_failing_assertion_shows_case_output_and_evidence(project: Any) -> None:
    project.golden(cases=[{"id": "apples", "input": "Say something about apples", "must_mention": ["zebra-42"]}])
    write(
        project,
        """
import pytest

@pytest.mark.llm_golden("qa")
def test_case(llm_call, llm_case):
    reply = llm_call(llm_case)
    assert reply.score("must_mention").value > 0.9

def test_quality(llm_call):
    reply = llm_call("Say something about quantum chromodynamics", api="chat", model="gpt-4o-mini")
    reply.assert_quality(min=0.99)
""",
    )
    result = project.run("--llm-report=out", "--llm-record=off")
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    for part in ("apples", "zebra-42", "must_mention", "output:", "composite"):
        assert part in text, part


def test_markers_label_calls_and_scopes_slice_them(project: Any) -> None:
    write(
        project,
        """
import pytest

@pytest.mark.llm(feature="search", team="core", prompt_version="7")
def test_a(llm_call):
    assert llm_call("a", api="chat").call.feature == "search"

@pytest.mark.smoke
def test_b(llm_call):
    assert llm_call("b", api="chat").call.feature is None
""",
    )
    project.pytester.makeini("[pytest]\nmarkers = smoke\n")
    scopes = "".join(
        f'[scope."{s}".latency]\nmax = "60 s"\n'
        for s in ("feature:search", "team:core", "prompt_version:7", "marker:smoke")
    )
    project.budget(BUDGET + scopes)
    result = project.run("--llm-budget=budget.toml")
    assert result.ret == 0, result.stdout.str()
    verdicts = {v["rule"]: v for v in project.report()["verdicts"]}
    assert verdicts["scope.feature:search.latency.max"]["n"] == 1
    assert verdicts["scope.marker:smoke.latency.max"]["n"] == 1
    assert verdicts["latency.max"]["n"] == 2


def test_users_are_hashed_never_kept_raw(project: Any) -> None:
    write(
        project,
        "import pytest\n@pytest.mark.llm(user='alice-the-user')\n"
        "def test_a(llm_call):\n    assert llm_call('a', api='chat').text\n",
    )
    project.budget(BUDGET)
    assert project.run("--llm-budget=budget.toml", LLMWATCH_HASH_KEY="k").ret == 0
    for path in project.path.rglob("*"):
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
            data = path.read_bytes()
            if path.suffix == ".gz":
                import gzip

                data = gzip.decompress(data)
            assert b"alice-the-user" not in data, path


def test_reruns_quality_counts_the_first_attempt_and_cost_all(project: Any) -> None:
    write(
        project,
        """
tries = []
def test_flaky(llm_call):
    tries.append(llm_call("again", api="chat").text)
    assert len(tries) > 1
""",
    )
    project.budget(BUDGET)
    result = project.run("--llm-budget=budget.toml", "--reruns=2")
    assert result.ret == 0, result.stdout.str()
    data = project.report()
    assert data["aggregates"]["calls"] == 2
    assert [c["attempt"] for c in data["cases"]] == [0, 1]
    again = project.run("--llm-budget=budget.toml", "--reruns=2", "--llm-record=none")
    assert again.ret == 0, again.stdout.str()


def test_live_sets_are_asked_ahead_and_paced(project: Any, loopback: Any) -> None:
    from llmock.scenarios import Delay

    loopback.state.scenarios.add(Delay(0.6, times=None))
    cases = [{"id": f"c{i}", "input": f"question {i}"} for i in range(6)]
    project.golden(cases=cases)
    project.budget(BUDGET)
    result = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=off", "--llm-concurrency=6")
    result.assert_outcomes(passed=6)
    calls = _calls(project)
    starts = sorted(c["time"] for c in calls)
    ends = min(c["latency"] for c in calls)
    assert ends >= 0.6
    assert _seconds(starts[-1]) - _seconds(starts[0]) < 0.6  # all six were in flight before the first came back
    one = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=off", "--llm-concurrency=1")
    one.assert_outcomes(passed=6)
    starts = sorted(c["time"] for c in _calls(project))
    assert all(_seconds(b) - _seconds(a) >= 0.55 for a, b in itertools.pairwise(starts))


def _calls(project: Any) -> list[dict[str, Any]]:
    import gzip

    text = gzip.decompress((project.path / "llmwatch-report" / "calls.jsonl.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def _seconds(iso: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()


def test_a_run_that_asked_for_nothing_writes_cassettes_and_no_report(project: Any) -> None:
    write(project, "def test_a(llm_call):\n    assert llm_call('a', api='chat', model='gpt-4o-mini').text\n")
    result = project.run()
    assert result.ret == 0
    assert not (project.path / "llmwatch-report").exists()
    assert list((project.path / "cassettes").rglob("*.yaml"))
    result.stdout.fnmatch_lines(["*llm: 1 call*"])
