"""What a gate says of a run that was looked at after each round of repeats."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest

from pytest_llmwatch import baseline as frozen
from pytest_llmwatch import gate, gate_rounds
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.gate_rounds import Looks
from pytest_llmwatch.model import Call, CaseResult, Run, Score, Verdict


def verdict(rule: str = "drift.relevance", **fields: Any) -> Verdict:
    known: dict[str, Any] = {
        "metric": rule.rpartition(".")[2], "verdict": "inconclusive", "reason": "too_few", "layer": "quality",
        "kind": "test", "because": rule, "family": "quality",
    }  # fmt: skip
    return Verdict(rule=rule, **(known | fields))


def test_the_levels_of_all_rounds_sum_to_alpha() -> None:
    for of in (1, 2, 5, 9):
        levels = [gate_rounds.level(0.01, Looks(n, of), n) for n in range(1, of + 1)]
        assert math.fsum(levels) == pytest.approx(0.01)
        assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("found", "asks"),
    [
        (verdict(), True),
        (verdict(verdict="warn", reason=None, p_adjusted=0.04), True),
        (verdict(verdict="warn", reason=None, p_adjusted=0.0001), False),  # real but small: no repeat changes that
        (verdict(verdict="pass", reason=None), False),
        (verdict(reason="missing_data"), False),
        (verdict(reason="waived", verdict="warn", p_adjusted=0.04), False),
        (verdict("quality.relevance", kind="fact", reason="too_few"), False),
        (verdict("scope.feature:a.drift.relevance", scope="feature:a"), False),  # slices explore
        (verdict("drift.latency", family="latency"), False),  # over one session it can only warn
        (verdict("latency.p95", family="latency", n=20, n_needed=59), True),
        (verdict("latency.p99", family="latency", n=20, n_needed=299), False),  # not with five rounds of 20
    ],
)
def test_what_asks_for_another_round(found: Verdict, asks: bool) -> None:
    left = gate_rounds.open_rules([found], alpha=0.002, looks=Looks(1, 5), sessions=1)
    assert left == ([found] if asks else [])


def test_a_failed_fact_stops_nothing() -> None:
    fact = verdict("cost.run_usd", kind="fact", verdict="fail", reason=None)
    test = verdict(verdict="fail", reason=None)
    assert gate_rounds.failed([fact, test]) == [test]


@pytest.mark.parametrize(
    "told", [None, "2 of 5", {}, {"done": 6, "of": 5}, {"done": "1", "of": 5}, {"done": 0, "of": 1}]
)
def test_an_entry_that_makes_no_sense_is_passed_over(told: object) -> None:
    assert gate_rounds.looks_of(Run("r", "", environment={"rounds": told})) is None


def run(values: dict[int, float], cases: int = 12, **environment: Any) -> Run:
    results = tuple(
        CaseResult(
            f"c{n}[{k}]", set="s", case=f"c{n}", repeat=k, outcome="passed", input=f"q{n}",
            scores=(Score("relevance", value - n % 3 / 100),),
        )
        for n in range(cases)
        for k, value in values.items()
    )  # fmt: skip
    calls = tuple(Call(id=r.nodeid) for r in results)
    return Run("r", "2026-06-01T10:00:00.000Z", calls=calls, results=results, environment=environment)


def test_a_failure_at_an_earlier_look_stays_and_nothing_is_laundered() -> None:
    base = frozen.make([run({0: 0.8 + s / 500}) for s in range(5)], "s")
    budget = parse_budget('[drift]\nmetrics = ["relevance"]\n')

    def judged(candidate: Run) -> Verdict:
        found = gate.judge(candidate, budget, today=date(2026, 6, 2), baselines={"s": base})
        return next(v for v in found if v.rule == "drift.relevance")

    worse_then_better = {0: 0.6, 1: 1.0, 2: 1.0}
    assert judged(run(worse_then_better, rounds={"done": 3, "of": 5})).verdict != "fail"
    kept = judged(run(worse_then_better, rounds={"done": 3, "of": 5, "early": {"1": ["drift.relevance"]}}))
    assert kept.verdict == "fail"
    assert kept.because.endswith("shown by round 1 of 5")
    # what is named but was no failure then does not become one
    fine = judged(run({0: 0.81, 1: 0.81}, rounds={"done": 2, "of": 5, "early": {"1": ["drift.relevance"]}}))
    assert fine.verdict == "pass"
    saved = judged(run({0: 0.81}, rounds={"done": 1, "of": 5, "calls_saved": 48}))
    assert saved.because.endswith("stopped after 1 of 5 rounds, 48 calls saved")
