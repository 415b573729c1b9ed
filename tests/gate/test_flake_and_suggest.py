"""Flake rates of facts, and budgets proposed from a run."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pytest_llmwatch import gate
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.budget_suggest import suggest
from pytest_llmwatch.measure import aggregates
from pytest_llmwatch.model import Cost, Run, Score

Any_ = Callable[..., Any]


@pytest.fixture
def run(run_of: Any_, call: Any_, result: Any_) -> Run:
    rng = random.Random(11)
    calls, results = [], []
    for i in range(240):
        calls.append(
            call(
                i,
                latency=rng.lognormvariate(0, 0.6),
                ttft=0.2,
                usd=rng.uniform(0.001, 0.003),
                status="error" if i in (7, 90) else "success",
            )
        )
        score = {
            "relevance": rng.betavariate(4, 2),
            "json": 1.0,
            "markers": Score("markers", 0.1, informational=True),
        }
        results.append(result(i, case=f"k{i % 80}", repeat=i // 80, scores=score))
    return run_of(calls, results)


def test_a_floor_near_the_mean_flakes_and_one_far_away_does_not(run: Run) -> None:
    mean = aggregates(run)["scores"]["relevance"]["mean"]
    near = dict(gate.flake_rates(run, parse_budget(f"[quality]\nrelevance = {mean - 0.005}")))
    far = dict(gate.flake_rates(run, parse_budget("[quality]\nrelevance = 0.5")))
    over = dict(gate.flake_rates(run, parse_budget("[quality]\nrelevance = 0.9")))
    assert 0.1 < (near["quality.relevance"] or 0) < 0.6
    assert far["quality.relevance"] == 0
    assert over["quality.relevance"] == 1


def test_flake_rates_repeat_and_leave_out_tests(run: Run) -> None:
    budget = parse_budget(
        "[latency]\np95 = 2\nmax = 3\n[cost]\nrun_usd = 0.49\nper_call_usd = 0.002\n[tokens]\nmax_output = 30"
    )
    first = gate.flake_rates(run, budget)
    assert first == gate.flake_rates(run, budget)
    assert [rule for rule, _ in first] == ["latency.max", "cost.run_usd", "cost.per_call_usd", "tokens.max_output"]
    shares = dict(first)
    assert 0 < (shares["cost.run_usd"] or 0) < 1
    assert shares["tokens.max_output"] == 0


def test_one_case_claims_no_certainty(run_of: Any_, call: Any_, result: Any_) -> None:
    run = run_of([call(0)], [result(0, scores={"relevance": 0.9})])
    assert gate.flake_rates(run, parse_budget("[quality]\nrelevance = 0.5")) == [("quality.relevance", None)]


def test_clusters_are_resampled_whole(run_of: Any_, call: Any_, result: Any_) -> None:
    def share(clustered: bool) -> float:
        results = [
            result(i, cluster=f"doc{i // 10}" if clustered else None, scores={"relevance": 1.0 if i < 30 else 0.0})
            for i in range(60)
        ]
        run = run_of([call(i) for i in range(60)], results)
        return dict(gate.flake_rates(run, parse_budget("[quality]\nrelevance = 0.4")))["quality.relevance"] or 0

    assert share(True) > 2 * share(False)


def test_a_suggested_budget_holds_and_is_not_flagged(run: Run) -> None:
    text = suggest(run)
    budget = parse_budget(text)
    verdicts = gate.judge(run, budget, today=date(2026, 6, 1))
    assert {v.verdict for v in verdicts} == {"pass"}
    assert all(share is None or share < 0.01 for _, share in gate.flake_rates(run, budget))
    rules = {v.rule for v in verdicts}
    assert {
        "latency.p50",
        "latency.p95",
        "errors.rate",
        "cost.run_usd",
        "quality.relevance",
        "quality.json",
    } <= rules
    assert "quality.markers" not in rules
    assert "# p99: observed" in text
    assert "observed 2.00, n=" not in text
    json_floor = budget.limit("quality.json")
    assert json_floor is not None
    assert json_floor.fail is not None
    assert json_floor.fail <= 1 - 1 / 80  # one more bad case is no regression


def test_nothing_is_suggested_from_too_little(run_of: Any_, call: Any_, result: Any_) -> None:
    run = run_of(
        [call(i, cost=Cost()) for i in range(3)], [result(i, scores={"relevance": 0.9}) for i in range(3)]
    )
    text = suggest(run)
    rules = {x.rule for x in parse_budget(text).limits}
    assert not any(rule.startswith(("quality", "cost", "latency", "errors")) for rule in rules)
    assert "a floor needs 10 cases" in text
    assert "declare it in [prices]" in text


def test_an_empty_run_suggests_nothing(run_of: Any_) -> None:
    assert parse_budget(suggest(run_of())).empty
