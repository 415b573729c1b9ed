"""Slices of a run: every kind of scope, and one that matches nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.measure import aggregates, slice_of

Any_ = Callable[..., Any]


@pytest.mark.parametrize(
    ("scope", "fields"),
    [
        ("feature:support", {"feature": "support"}),
        ("team:search", {"team": "search"}),
        ("user:9f3c", {"user": "9f3c"}),
        ("model:m1", {"model": "m1"}),
        ("model:m1-2026", {"model": "m1", "response_model": "m1-2026"}),
        ("model:m1*", {"model": "x", "response_model": "m1-2026"}),
        ("prompt_version:v2", {"prompt_version": "v2"}),
        ("environment:prod", {"environment": "prod"}),
        ("tag:hard", {"tags": ("hard", "x")}),
        ("marker:slow", {"markers": ("slow",)}),
        ("stage:answer", {"stage": "answer"}),
    ],
)
def test_every_kind_judges_its_own_calls_only(judge: Any_, call: Any_, scope: str, fields: dict[str, Any]) -> None:
    budget = f'[scope."{scope}".cost]\nrun_usd = 1\n[cost]\nrun_usd = 10'
    v = judge(budget, [call(0, usd=2, **fields), call(1, usd=4), call(2, usd=4, feature="other", model="other")])
    scoped = v[f"scope.{scope}.cost.run_usd"]
    assert (scoped.observed, scoped.verdict, scoped.scope, scoped.n) == (2, "fail", scope, 1)
    assert v["cost.run_usd"].observed == 10


def test_tags_of_a_case_count_for_its_calls_and_scores(judge: Any_, call: Any_, result: Any_) -> None:
    results = [result(0, tags=("hard",), scores={"relevance": 0.2}), result(1, scores={"relevance": 1.0})]
    v = judge(
        '[scope."tag:hard".quality]\nrelevance = 0.5\n[scope."tag:hard".cost]\nrun_usd = 0.0015\n'
        "[quality]\nrelevance = 0.5",
        [call(0), call(1)],
        results,
    )
    assert v["scope.tag:hard.quality.relevance"].verdict == "fail"
    assert v["scope.tag:hard.cost.run_usd"].n == 1
    assert v["quality.relevance"].verdict == "pass"


def test_quality_of_a_feature_is_that_of_its_calls_cases(judge: Any_, call: Any_, result: Any_) -> None:
    calls = [call(0, feature="a"), call(1, feature="b")]
    results = [result(0, scores={"relevance": 0.2}), result(1, scores={"relevance": 1.0})]
    v = judge('[scope."feature:a".quality]\nrelevance = 0.5', calls, results)
    assert v["scope.feature:a.quality.relevance"].observed == pytest.approx(0.2)


def test_a_scope_that_matches_nothing_says_so(judge: Any_, call: Any_) -> None:
    v = judge('[scope."feature:nobody".errors]\nrate = 0.1', [call(0, feature="somebody")])
    found = v["scope.feature:nobody.errors.rate"]
    assert (found.verdict, found.reason) == ("inconclusive", "no_match")
    assert "no call of this run has feature nobody" in found.because


def test_slices_and_totals(run_of: Any_, call: Any_, result: Any_) -> None:
    run = run_of([call(0, feature="a"), call(1, operation="tool", feature="a"), call(2)], [result(0)])
    part = slice_of(run, Scope("feature", "a"))
    assert [c.id for c in part.calls] == ["c0000"]
    assert [c.id for c in part.steps] == ["c0000", "c0001"]
    assert slice_of(run, Scope("feature", "zzz")).empty
    assert aggregates(run)["calls"] == 2
    assert aggregates(run, Scope("feature", "a"))["calls"] == 1
