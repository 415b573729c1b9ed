"""Judges in a run: recorded and replayed, counted apart, and without calibration never a reason to fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llmock.scenarios import Match, Reply

from pytest_llmwatch import cli

SET = """\
description: judged answers
api: chat
model: gpt-4o-mini
prompt: "{{ input }}"
feature: chat
scorers:
  - judge: {rubric: Is it polite?, label: tone, threshold: 0.9, required: true}
"""
BUDGET = """
[model]
model = "gpt-4o-mini"
[latency]
max = "30 s"
[cost]
run_usd = 1.0
[errors]
rate = { fail = 0.5, test = false }
[judge]
model = "gpt-4o"
run_usd = 0.5
calls = 3
error_rate = 0.5
[quality]
tone = 0.9
pass_rate = 1.0
[scope."feature:chat".judge]
calls = 2
"""


def graded(grade: str) -> Reply:
    text = json.dumps({"reason": "Curt.", "quotes": [], "grade": grade})
    return Reply(text=text, times=None, match=Match(model="gpt-4o"))


def calibration(version: str, low: float, n: int = 120) -> str:
    entry = {"name": "judge", "model": "gpt-4o", "n": n, "kappa": low + 0.1, "kappa_ci": [low, low + 0.2]}
    return json.dumps({"schema_version": 1, "judges": {version: entry}})


def verdicts(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {v["rule"]: v for v in report["verdicts"]}


def test_a_judge_is_recorded_counted_apart_and_fails_nothing_until_it_is_calibrated(
    project: Any, loopback: Any, dead_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project.golden(set_yaml=SET)
    project.budget(BUDGET)
    loopback.state.scenarios.add(graded("2"))
    first = project.run("golden_sets", "--llm-budget=budget.toml")
    first.assert_outcomes(passed=3, failed=1)  # the rule on the scope
    recorded = project.report()
    rules = verdicts(recorded)
    assert {rule: v["verdict"] for rule, v in rules.items()} == {
        "latency.max": "pass", "cost.run_usd": "pass", "errors.rate": "pass", "judge.run_usd": "pass",
        "judge.calls": "pass", "judge.error_rate": "pass", "quality.tone": "warn", "quality.pass_rate": "pass",
        "scope.feature:chat.judge.calls": "fail",
    }  # fmt: skip
    tone = rules["quality.tone"]
    assert (tone["observed"], tone["reason"]) == (0.25, "judge_uncalibrated")
    assert "nobody has measured how well this judge" in tone["because"]
    assert "llmwatch judge calibrate LABELS" in tone["because"]
    totals = recorded["aggregates"]
    assert (totals["calls"], totals["judge"]["calls"], totals["judge"]["models"]) == (3, 3, ["gpt-4o"])
    assert rules["judge.run_usd"]["observed"] == totals["judge"]["cost_usd"] > totals["cost_usd"]
    score = recorded["cases"][0]["scores"]["tone"]
    assert "The threshold 0.9 is not applied" in json.dumps(score)

    # its calls are in the run's file, and are no answers to score
    capsys.readouterr()
    calls = str(project.path / "llmwatch-report" / "calls.jsonl.gz")
    assert cli.main(["score", calls, "--scorers", "json"]) == 0
    scored = capsys.readouterr()
    labels = [json.loads(line)["scores"]["json"]["label"] for line in scored.out.splitlines()]
    assert (len(labels), labels.count("not_assessable")) == (6, 3)
    assert scored.err == "note: 3 calls of a judge not scored: no answers of the application\n"

    # the same from the recordings, with nobody at the endpoint; this time the judge agrees with people
    project.budget(BUDGET.replace("calls = 2", "calls = 3"))
    version = tone["because"].partition("(judge-")[2].partition(")")[0]
    (project.path / "judge.json").write_text(calibration(f"judge-{version}", 0.5))
    env = {"OPENAI_BASE_URL": dead_url, "OPENAI_API_KEY": ""}
    second = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=none", **env)
    assert second.ret == 1
    failed = verdicts(project.report())
    assert [r for r, v in failed.items() if v["verdict"] == "fail"] == ["quality.tone", "quality.pass_rate"]
    second.assert_outcomes(failed=5)
    second.stdout.fnmatch_lines(["*tone is 0.250, required: at least 0.9*"])

    # one that agrees too little, over enough labels, only warns again
    (project.path / "judge.json").write_text(calibration(f"judge-{version}", 0.1))
    third = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=none", **env)
    assert third.ret == 0, third.stdout.str()
    because = verdicts(project.report())["quality.tone"]["because"]
    assert "kappa 0.20 [0.10, 0.30] over 120 labels, and its lower bound must reach 0.4" in because


def test_an_invalid_grade_is_no_number_and_a_missing_recording_fails_the_test(project: Any, loopback: Any) -> None:
    folder = project.golden(set_yaml=SET)
    project.budget(BUDGET)
    loopback.state.scenarios.add(Reply(text="I would give it a 5.", times=None, match=Match(model="gpt-4o")))
    result = project.run("golden_sets", "--llm-budget=budget.toml")
    assert result.ret == 1
    rules = verdicts(project.report())
    assert (rules["judge.error_rate"]["observed"], rules["judge.error_rate"]["verdict"]) == (1.0, "fail")
    assert rules["quality.tone"]["verdict"] == "inconclusive"
    assert "scorer crashed on" in rules["quality.tone"]["because"]
    # another rubric is another question: nobody recorded it
    (folder / "set.yaml").write_text(SET.replace("polite", "rude"))
    project.pytester.makepyfile(
        test_marked="""
        import pytest

        @pytest.mark.llm_golden("qa")
        def test_answers(llm_call, llm_case):
            llm_call(llm_case)
        """
    )
    replayed = project.run("test_marked.py", "--llm-budget=budget.toml", "--llm-record=none")
    assert replayed.ret == 1
    replayed.assert_outcomes(failed=3 + 1)
    replayed.stdout.fnmatch_lines(["*no recording*"])
