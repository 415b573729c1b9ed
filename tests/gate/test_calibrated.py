"""A judge's rules: without the standing to fail they warn, with it they fail; the money of judges is its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from pytest_llmwatch import gate, measure
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.budget_types import Budget, Calibration
from pytest_llmwatch.gate_calibrated import disarmed
from pytest_llmwatch.model import Score, Verdict

OURS, OTHER = "judge-0123456789ab", "judge-ba9876543210"
TEXT = "[quality]\ntone = 0.8\nrelevance = 0.8\n"


def known(version: str = OURS, low: float | None = 0.5, n: int = 100) -> Calibration:
    return Calibration(version, "judge", "m", n, None if low is None else low + 0.1, low, 0.9)


def with_judges(text: str, *found: Calibration) -> Budget:
    budget = parse_budget(text, extra_scorers=["tone"])
    return dataclasses.replace(
        budget, judge=dataclasses.replace(budget.judge, known={c.version: c for c in found})
    )


@pytest.fixture
def verdicts(call: Any, result: Any, run_of: Any) -> Any:
    def judge(budget: Budget, *, version: str = OURS, value: float | None = 0.1) -> Mapping[str, Verdict]:
        tone = Score("tone", value, label=None if value is not None else "error", version=version)
        run = run_of(
            [call(i) for i in range(9)], [result(i, scores={"tone": tone, "relevance": 0.1}) for i in range(9)]
        )
        return {v.rule: v for v in gate.judge(run, budget, today=date(2026, 6, 1))}

    return judge


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ((), "nobody has measured how well this judge (judge-0123456789ab) agrees with people"),
        ((known(OTHER),), "nobody has measured"),
        ((known(n=49),), "was compared with 49 labels, fewer than 50"),
        ((known(low=0.39),), "kappa 0.49 [0.39, 0.90] over 100 labels, and its lower bound must reach 0.4"),
        ((known(low=None),), "allow no kappa"),
    ],
)
def test_a_judge_without_standing_only_warns(verdicts: Any, found: tuple[Calibration, ...], why: str) -> None:
    seen = verdicts(with_judges(TEXT, *found))
    tone = seen["quality.tone"]
    assert (tone.verdict, tone.tier, tone.reason) == ("warn", "warn", "judge_uncalibrated")
    assert why in tone.because
    assert tone.because.endswith("run `llmwatch judge calibrate LABELS`")
    assert seen["quality.relevance"].verdict == "fail"  # no judge has a hand in it


def test_a_judge_with_standing_fails_and_the_budget_says_what_that_takes(verdicts: Any) -> None:
    assert verdicts(with_judges(TEXT, known()))["quality.tone"].verdict == "fail"
    strict = TEXT + "[judge]\nmin_kappa = 0.6\n"
    assert verdicts(with_judges(strict, known()))["quality.tone"].verdict == "warn"
    lenient = TEXT + "[judge]\nmin_kappa = 0.1\nmin_labels = 10\n"
    assert verdicts(with_judges(lenient, known(low=0.15, n=12)))["quality.tone"].verdict == "fail"
    assert verdicts(with_judges(TEXT), value=0.9)["quality.tone"].verdict == "pass"


def test_what_is_made_of_a_judge_needs_all_of_them(verdicts: Any) -> None:
    both = f"1+{OURS}+{OTHER}"
    assert verdicts(with_judges(TEXT, known()), version=both)["quality.tone"].verdict == "warn"
    assert verdicts(with_judges(TEXT, known(), known(OTHER)), version=both)["quality.tone"].verdict == "fail"


def test_undecided_by_a_judge_is_no_failure_either(verdicts: Any) -> None:
    policy = '[gate]\ninconclusive = "fail"\n' + TEXT.replace("tone = 0.8", "tone = { fail = 0.8, min_n = 50 }")
    assert verdicts(with_judges(policy))["quality.tone"].verdict == "warn"
    assert verdicts(with_judges(policy, known()))["quality.tone"].verdict == "inconclusive"


def test_thresholds_of_a_judge_count_once_it_has_standing() -> None:
    score = Score("tone", 0.2, threshold=0.7, required=True, version=OURS, explanation="Curt.")
    bare = disarmed(score, with_judges(TEXT).judge)
    assert (bare.threshold, bare.required, bare.value) == (None, False, 0.2)
    assert "The threshold 0.7 is not applied, since nobody has measured" in bare.explanation
    assert disarmed(score, with_judges(TEXT, known()).judge) == score
    plain = dataclasses.replace(score, version="1")
    assert disarmed(plain, with_judges(TEXT).judge) == plain


def test_the_calls_of_judges_are_in_no_rule_of_the_application(call: Any, result: Any, run_of: Any) -> None:
    own = [call(i, usd=0.001, latency=1.0) for i in range(4)]
    asked = [
        call(
            10 + i, usd=0.5, latency=90.0, role="judge", status="error" if i else "success", nodeid=f"t.py::t[{i}]"
        )
        for i in range(3)
    ]
    tone = [Score("tone", 1.0 if i else None, label=None if i else "error", version=OURS) for i in range(4)]
    run = run_of([*own, *asked], [result(i, scores={"tone": tone[i]}) for i in range(4)])
    text = """
        [latency]
        max = 2
        [errors]
        rate = { fail = 0.01, test = false }
        [cost]
        run_usd = 0.1
        [tokens]
        run_total = 480
        [agent]
        steps_per_task = 1
        [judge]
        run_usd = 1.0
        calls = { warn = 2, fail = 5 }
        error_rate = 0.2
        """
    seen = {v.rule: v for v in gate.judge(run, parse_budget(text), today=date(2026, 6, 1))}
    assert {rule: v.verdict for rule, v in seen.items()} == {
        "latency.max": "pass", "errors.rate": "pass", "cost.run_usd": "pass", "tokens.run_total": "pass",
        "agent.steps_per_task": "pass", "judge.run_usd": "fail", "judge.calls": "warn", "judge.error_rate": "fail",
    }  # fmt: skip
    assert (seen["judge.run_usd"].observed, seen["judge.error_rate"].observed) == (1.5, 0.25)
    totals = measure.aggregates(run)
    assert (totals["calls"], totals["failed"], totals["cost_usd"]) == (4, 0, 0.004)
    assert (totals["judge"]["calls"], totals["judge"]["failed"], totals["judge"]["cost_usd"]) == (3, 2, 1.5)
    nobody = run_of(own, [result(i) for i in range(4)])
    assert "judge" not in measure.aggregates(nobody)
    quiet = gate.judge(nobody, parse_budget("[judge]\ncalls = 5\n"), today=date(2026, 6, 1))
    assert (quiet[0].verdict, quiet[0].because) == (
        "inconclusive",
        "judge.calls is not measured: no judge was asked",
    )


def test_a_case_outside_of_the_share_is_no_missing_data(call: Any, result: Any, run_of: Any) -> None:
    left_out = Score("tone", None, label="not_sampled", version=OURS)
    scores = [Score("tone", 0.9, version=OURS) if i < 2 else left_out for i in range(10)]
    run = run_of([call(i) for i in range(10)], [result(i, scores={"tone": scores[i]}) for i in range(10)])
    budget = with_judges("[quality]\ntone = 0.5\n", known())
    (seen,) = gate.judge(run, budget, today=date(2026, 6, 1))
    assert (seen.verdict, seen.observed) == ("pass", 0.9)
    none = run_of([call(0)], [result(0, scores={"tone": left_out})])
    (seen,) = gate.judge(none, budget, today=date(2026, 6, 1))
    assert "asked for a share of the cases, and none of these is in it" in seen.because
