"""``--llm-baseline`` that is wrong: one line and exit 4 before a call is paid for; that says little: a verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import baseline, baseline_file, gate
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.model import Call, CaseResult, Run, Score

SET = """\
api: chat
model: gpt-4o-mini
prompt: "Q: {{ input }}"
scorers: [must_mention]
"""
CASES = [{"id": f"c{n}", "input": f"question {n}", "must_mention": ["response"]} for n in range(10)]
BUDGET = '[drift]\nmetrics = ["must_mention", "passed"]\n'
ARGS = ("golden_sets", "--llm-budget=budget.toml", "--llm-record=off", "-p", "no:xdist")


def run_of(cases: int, repeats: int) -> Run:
    results = tuple(
        CaseResult(
            nodeid=f"c{n}-{r}",
            set="qa",
            case=f"c{n}",
            repeat=r,
            outcome="passed",
            scores=(Score("must_mention", 1.0, version="1"),),
            input=f"question {n}",
            call_ids=(f"c{n}-{r}",),
        )
        for n in range(cases)
        for r in range(repeats)
    )
    calls = tuple(Call(id=r.call_ids[0], set="qa", case=r.case, repeat=r.repeat) for r in results)
    return Run("run-0", "2026-11-01T10:00:00.000Z", calls=calls, results=results)


def frozen(cases: int = 10, repeats: int = 3) -> dict[str, Any]:
    """Return what `llmwatch baseline record` writes of runs in which every answer was good."""
    made = baseline.make([run_of(cases, repeats)], "qa")
    data: dict[str, Any] = json.loads(baseline_file.dumps(made))
    return data


def changed(**values: Any) -> Callable[[dict[str, Any]], str]:
    def apply(data: dict[str, Any]) -> str:
        data["cases"]["c0"]["values"].update(values)
        return json.dumps(data)

    return apply


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], str | None], str]] = {
    "missing": (lambda _: None, "base.json"),
    "of a newer schema": (lambda d: json.dumps(d | {"schema_version": 99}), "newer version (schema 99"),
    "NaN": (changed(must_mention=[math.nan]), "case 'c0': must_mention must be a number >= 0 or null (got nan)"),
    "a score over 1": (changed(must_mention=[7]), "case 'c0': must_mention must be in [0, 1] (got 7)"),
    "a text": (changed(must_mention=["high"]), "must be a number >= 0 or null (got 'high')"),
    "a negative latency": (changed(latency=[-1.0]), "latency must be a number >= 0 or null (got -1.0)"),
    "a case twice": (lambda d: json.dumps(d).replace('"c1": {', '"c0": {'), "gives 'c0' twice"),
    "cut off": (lambda d: json.dumps(d)[:90], "is not valid JSON"),
    "something else": (lambda _: '{"hello": 1}', 'is not a baseline (no "cases")'),
}


def test_what_cannot_be_read_is_one_line_before_anything_is_asked(project: Any) -> None:
    project.golden("qa", SET, CASES)
    project.budget(BUDGET)
    file = Path(project.path / "base.json")
    for name, (damage, text) in REFUSED.items():
        damaged = damage(frozen())
        if damaged is not None:
            file.write_text(damaged)
        with pytest.raises(pytest.UsageError) as refused:
            project.pytester.parseconfigure(*ARGS, "--llm-baseline=base.json")
        said = str(refused.value)
        assert text in said, name
        assert "base.json" in said, name
        assert len(said.splitlines()) == 1, name
    # pytest makes of such an error what the others are: one line, 4
    done = project.run(*ARGS, "--llm-baseline=base.json")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["ERROR: *base.json*is not a baseline*"])
    assert len([line for line in done.stderr.lines if line.strip()]) == 1
    assert not (project.path / "llmwatch-report").exists()


def test_what_says_little_is_said_in_the_verdict(project: Any) -> None:
    project.golden("qa", SET, CASES)
    project.budget(BUDGET)
    data = frozen()
    cases = data["cases"]
    cases["c0"]["print"] = "0" * 12  # asked something else
    cases["c1"] |= {
        "values": {"must_mention": [1.0], "passed": [1.0]},
        "sessions": [0],
    }  # one repeat, others three
    cases["c2"]["values"] = {"must_mention": [None] * 3, "passed": [None] * 3}  # all of them were errors
    (project.path / "base.json").write_text(json.dumps(data))
    done = project.run(*ARGS, "--llm-baseline=base.json")
    report = project.report()
    found = {v["rule"]: v for v in report["verdicts"]}
    assert (
        "1 case changed (input, reference or context) and cannot be compared: qa/c0"
        in found["cases.changed"]["because"]
    )
    assert found["drift.passed"]["n_cases"] == 8
    assert "8 paired cases, 1+1 repeats" in found["drift.passed"]["because"]
    assert done.ret == (1 if report["verdict"] == "fail" else 0)
    assert "Traceback" not in done.stdout.str() + done.stderr.str()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: d["cases"].pop("c1") and d, "1 paired case, 3+1 repeats cannot reach p"),
        (lambda d: [c.update(values={}) for c in d["cases"].values()] and d, "have no value in common"),
        (lambda d: [c.update(print="0" * 12) for c in d["cases"].values()] and d, "have no value in common"),
    ],
    ids=["one case", "all errors", "all of another fingerprint"],
)
def test_a_baseline_of_almost_nothing_decides_nothing(damage: Callable[[Any], Any], says: str) -> None:
    base = baseline_file.loads(json.dumps(damage(frozen(cases=2))), "base.json")
    budget = parse_budget(BUDGET)
    run = run_of(2, 1)
    found = {v.rule: v for v in gate.judge(run, budget, today=date(2026, 11, 2), baselines={"qa": base})}
    assert found["drift.must_mention"].verdict == "inconclusive"
    assert says in found["drift.must_mention"].because
