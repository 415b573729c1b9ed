"""An agent with tools on a server that misbehaves: each rule breaks and holds, live, replayed, and gated alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llmock.ratelimit import LimitSettings, RateLimiter
from llmock.scenarios import Fail, Match, Reply, ToolCall, ToolFault
from llmock.testing import LLMockServer

from pytest_llmwatch.budget_grammar import rule_spec
from pytest_llmwatch.cli import main

APP = """
import json
import openai

def tool(name):
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}

TOOLS = [tool("search"), tool("send_mail")]

def run(call, case):
    if case == "down":
        return "Error: the index is down"
    return f"found {call.function.arguments}"

def answer(case):
    client = openai.OpenAI(max_retries=1)
    messages = [{"role": "user", "content": f"{case}: please look it up"}]
    for _ in range(6):
        for model in (case, case + "-backup"):
            try:
                reply = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
                break
            except openai.APIStatusError:
                continue
        message = reply.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message.model_dump(exclude_none=True))
        for i, call in enumerate(message.tool_calls):
            if case == "lost" and i:
                continue
            told = {"role": "tool", "tool_call_id": call.id, "content": run(call, case)}
            messages += [told] * (2 if case == "lost" else 1)
    return "gave up"
"""

SET = "target: agent:answer\nscorers: [tool_calls]\n"
CASES = ["good", "loop", "malformed", "unknown", "down", "lost", "fallen"]

BREAKS = """
[agent]
side_effects = ["send_*"]
steps_per_task = 1
max_steps = 3
tool_calls_per_task = 1
tool_error_rate = 0
invalid_arguments = 0
unauthorised_tools = 0
wrong_tools = 0
loops = 0
repeated_side_effects = 0
tool_retry_rate = 0
call_retry_rate = 0
lost_tool_results = 0
mismatched_tool_results = 0
step_time = 0.000001
step_time_p95 = 0.000001
fallback_rate = 0
task_success = 1
[throughput]
peak_calls_per_minute = 5
peak_tokens_per_minute = 5
calls_per_minute = 1000000
tokens_per_minute = 1000000000
calls_per_hour = 1000000000
tokens_per_hour = 1000000000000
concurrency = 0
rpm_quota = 10
tpm_quota = 10
"""
HOLDS = """
[agent]
side_effects = ["send_*"]
steps_per_task = 4
max_steps = 6
tool_calls_per_task = 4
tool_error_rate = 0.5
invalid_arguments = 0.5
unauthorised_tools = 0.5
wrong_tools = 0.9
loops = 0.5
repeated_side_effects = 1
tool_retry_rate = 0.5
call_retry_rate = 0.5
lost_tool_results = 0.5
mismatched_tool_results = 0.5
step_time = "60 s"
step_time_p95 = "60 s"
fallback_rate = 0.5
task_success = 0.5
[throughput]
peak_calls_per_minute = 1000
peak_tokens_per_minute = 1000000
calls_per_minute = 1
tokens_per_minute = 1
calls_per_hour = 1
tokens_per_hour = 1
concurrency = 100
rpm_quota = 10000
tpm_quota = 10000000
"""


def script(server: LLMockServer) -> None:
    """What the model says to each case, which it knows by the model's name."""

    def reply(case: str, *calls: tuple[str, dict[str, str]], times: int = 1) -> Reply:
        made = tuple(ToolCall(name, arguments) for name, arguments in calls)
        return Reply(None if made else f"done with {case}", made, times=times, match=Match(model=case))

    add = server.state.scenarios.add
    search = ("search", {"q": "x"})
    add(reply("good", search))
    add(reply("good"))
    add(reply("loop", ("send_mail", {"q": "x"}), times=3))
    add(reply("loop"))
    add(ToolFault("malformed_arguments", match=Match(model="malformed")))
    add(ToolFault("unknown_tool", match=Match(model="unknown")))
    add(reply("down", search, times=2))
    add(reply("down"))
    add(reply("lost", search, ("search", {"q": "y"})))
    add(reply("lost"))
    add(Fail(503, times=2, match=Match(model="fallen")))
    add(reply("fallen-backup"))


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Figures by rule; a share of a quota depends on the quota."""
    return {v["rule"]: v["observed"] for v in report["verdicts"] if "quota" not in v["rule"]}


def test_every_rule_breaks_and_holds(project: Any, loopback: LLMockServer, monkeypatch: Any, capsys: Any) -> None:
    project.path.joinpath("agent.py").write_text(APP)
    cases = [{"id": c, "input": c, "expected_tool_calls": ["search"]} for c in CASES]
    project.golden(set_yaml=SET, cases=cases)
    project.budget(BREAKS)
    script(loopback)
    live = project.run("golden_sets", "--llm-budget=budget.toml")
    assert live.ret == 1, live.stdout.str()
    broken = project.report()
    state = {v["rule"]: v["verdict"] for v in broken["verdicts"]}
    told = figures(broken)
    assert {r for r, v in state.items() if v != "fail"} == {"agent.task_success"}, (state, told)
    assert told["agent.steps_per_task"] > 2
    assert told["agent.max_steps"] == 4
    assert told["agent.lost_tool_results"] == told["agent.invalid_arguments"] == 0.1
    assert told["agent.loops"] == 1 / 7
    scores = {c["case"]: c["scores"]["tool_calls"]["value"] for c in broken["cases"]}
    assert (scores["good"], scores["loop"]) == (1, 0)  # the calls of the whole test, not of its last answer
    assert told["agent.repeated_side_effects"] == 1  # of the one task that sent a mail

    project.budget(HOLDS)
    again = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=none")
    assert again.ret == 0, again.stdout.str()
    held = project.report()
    assert {v["rule"]: v["verdict"] for v in held["verdicts"] if v["verdict"] != "pass"} == {}
    assert figures(held) == told

    # the same rules over the calls alone, as production records are gated
    monkeypatch.chdir(project.path)
    records = "llmwatch-report/calls.jsonl.gz"
    assert main(["gate", records, "--budget", "budget.toml", "-o", "held"]) == 0
    assert figures(json.loads((project.path / "held" / "run.json").read_text())) == told
    project.budget(BREAKS)
    assert main(["gate", records, "--budget", "budget.toml", "-o", "broken"]) == 1
    capsys.readouterr()


QUOTA = """
import openai

def test_calls():
    client = openai.OpenAI(max_retries=0)
    for i in range(5):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(i)}])
"""


def test_a_quota_from_the_headers(project: Any, loopback: LLMockServer, monkeypatch: Any) -> None:
    project.path.joinpath("test_quota.py").write_text(QUOTA)
    project.budget('[throughput]\nrpm_quota = "headers"\n')
    monkeypatch.setattr(loopback.state, "limiter", RateLimiter(LimitSettings(rpm=5)))
    full = project.run("--llm-budget=budget.toml")
    assert full.ret == 1, full.stdout.str()
    assert figures_of_quota(project) == ("fail", 1.0)
    monkeypatch.setattr(loopback.state, "limiter", RateLimiter(LimitSettings(rpm=50)))
    assert project.run("--llm-budget=budget.toml", "--llm-record=all").ret == 0
    assert figures_of_quota(project) == ("pass", 0.1)


def figures_of_quota(project: Any) -> tuple[str, float]:
    verdict = project.report()["verdicts"][0]
    return verdict["verdict"], round(verdict["observed"], 2)


WATCHED = """
import openai
import pytest

def answer(watch, question, documents, model="m"):
    watch.retrieval(question, documents, source="index", top_k=2)
    client = openai.OpenAI(max_retries=0)
    with watch.span("answer", kind="agent"):
        reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
        with watch.tool("send_mail", {"to": question}, side_effect=True):
            pass
    return reply.choices[0].message.content

GOOD = [{"id": "d1", "text": "a first document"}, {"id": "d2", "text": "a second document"}]

@pytest.mark.llm_golden("docs")
def test_docs(llm_watch, llm_case):
    found = {"first": GOOD, "second": GOOD[::-1], "none": []}[llm_case.case.id]
    llm_case.check(answer(llm_watch, llm_case.case.input, found))
    good = llm_case.case.id == "first"
    feedback = "thumbs_up" if good else "thumbs_down"
    llm_watch.outcome(
        success=good, feedback=feedback, reask=not good, corrected=not good, escalated=not good
    )
    llm_watch.metric("depth", 1.0 if good else 3.0)
    with llm_watch.span("look up", cache_hit=good):
        pass
    if not good:
        with llm_watch.tool("send_mail", {"to": llm_case.case.input}, side_effect=True):
            pass
"""
WATCHED_SET = "scorers: [relevance]\nprompt: '{{ input }}'\nmodel: m\n"
WATCHED_CASES = [
    {"id": i, "input": f"about {i}", "expected_documents": ["d1", "d3"]} for i in ("first", "second", "none")
]
THIRD = 1 / 3
WATCHED_FIGURES = {
    "retrieval.hit_rate": 2 * THIRD,
    "retrieval.hit_at_1": THIRD,
    "retrieval.mrr": 0.5,
    "retrieval.precision_at_k": THIRD,
    "retrieval.recall_at_k": THIRD,
    "retrieval.documents": 4 * THIRD,
    "retrieval.empty_rate": THIRD,
    "agent.repeated_side_effects": 2 * THIRD,
    "agent.tool_calls_per_task": 5 * THIRD,
    "agent.cache_hit_rate": THIRD,
    "agent.task_success": THIRD,
    "outcome.success_rate": THIRD,
    "outcome.reask_rate": 2 * THIRD,
    "outcome.correction_rate": 2 * THIRD,
    "outcome.escalation_rate": 2 * THIRD,
    "outcome.thumbs_down_rate": 2 * THIRD,
    "metric.depth.mean": 7 * THIRD,
    "metric.depth.max": 3.0,
}


def limits(slack: float) -> str:
    """A budget in which each figure is ``slack`` inside its limit; negative: outside."""
    lines = []
    for rule, value in WATCHED_FIGURES.items():
        table, _, key = rule.rpartition(".")
        spec = rule_spec(table, key)  # None for a metric, of which mean and max are ceilings
        floor = spec is not None and spec.direction == "floor"
        lines.append(f"[{table}.{key}]\nfail = {value - slack if floor else value + slack}")
    return "\n".join(lines)


def test_what_the_test_knows_can_be_gated(project: Any, monkeypatch: Any, capsys: Any) -> None:
    project.golden("docs", set_yaml=WATCHED_SET, cases=WATCHED_CASES)
    project.path.joinpath("test_watched.py").write_text(WATCHED)
    project.budget(limits(-0.01))
    broken = project.run("--llm-budget=budget.toml", "test_watched.py")
    assert broken.ret == 1, broken.stdout.str()
    assert figures(project.report()) == {r: pytest.approx(v) for r, v in WATCHED_FIGURES.items()}
    assert {v["verdict"] for v in project.report()["verdicts"]} == {"fail"}
    case = next(c for c in project.report()["cases"] if c["case"] == "second")
    assert case["scores"]["hit_rate"]["value"] == 1
    assert case["scores"]["mrr"]["value"] == 0.5

    project.budget(limits(0.01))
    held = project.run("--llm-budget=budget.toml", "--llm-record=none", "test_watched.py")
    assert held.ret == 0, held.stdout.str()
    assert figures(project.report()) == {r: pytest.approx(v) for r, v in WATCHED_FIGURES.items()}
    held.stdout.fnmatch_lines(["agents and retrieval", "*documents by source index 4*"])

    # the same from the calls alone: the spans are found beside them, and missed where they are not
    monkeypatch.chdir(project.path)
    calls = "llmwatch-report/calls.jsonl.gz"
    assert main(["gate", calls, "--budget", "budget.toml", "-o", "again"]) == 0, capsys.readouterr().out
    again = json.loads((project.path / "again" / "run.json").read_text())
    assert figures(again) == figures(project.report())
    assert again["spans"] == project.report()["spans"] > 0
    project.path.joinpath("llmwatch-report/spans.jsonl.gz").unlink()
    capsys.readouterr()
    main(["gate", calls, "--budget", "budget.toml", "-o", "alone"])
    assert "spans.jsonl.gz is not beside" in capsys.readouterr().out
    alone = json.loads((project.path / "alone" / "run.json").read_text())
    assert figures(alone)["agent.tool_calls_per_task"] == 0
