"""An agent with tools on a server that misbehaves: each rule breaks and holds, live, replayed, and gated alone."""

from __future__ import annotations

import json
from typing import Any

from llmock.ratelimit import LimitSettings, RateLimiter
from llmock.scenarios import Fail, Match, Reply, ToolCall, ToolFault
from llmock.testing import LLMockServer

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
