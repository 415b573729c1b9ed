"""Quantiles against a budget: equal to scipy's, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, quantile_test

from pytest_llmwatch.stats import quantile

values = st.lists(st.floats(0.01, 50), min_size=1, max_size=400)
quantiles = st.sampled_from([0.5, 0.95, 0.99])


@given(values, quantiles, st.floats(0.01, 50))
def test_p_equals_scipys_binomtest(xs: list[float], q: float, ceiling: float) -> None:
    found = quantile.against_ceiling(xs, q, ceiling)
    above = sum(x > ceiling for x in xs)
    assert found.above == above
    assert found.p == pytest.approx(binomtest(above, len(xs), 1 - q, "greater").pvalue, rel=1e-7, abs=1e-12)
    assert found.p == pytest.approx(
        quantile_test(xs, q=ceiling, p=q, alternative="greater").pvalue, rel=1e-7, abs=1e-12
    )


@given(values, quantiles)
def test_interval_equals_scipys_quantile_test(xs: list[float], q: float) -> None:
    exact = quantile_test(xs, p=q).confidence_interval(0.95)
    theirs = tuple(None if np.isnan(end) else float(end) for end in (exact.low, exact.high))
    assert quantile.interval(xs, q) == theirs


@given(values, quantiles, st.floats(0.01, 50))
def test_the_bound_is_inside_exactly_where_the_test_passes(xs: list[float], q: float, ceiling: float) -> None:
    bound = quantile.upper_bound(xs, q)
    inside = bound is not None and bound <= ceiling
    assert inside == (quantile.against_ceiling(xs, q, ceiling).p_inside <= 0.05)


def test_least_sizes_that_can_pass() -> None:
    assert [quantile.n_minimum(q) for q in (0.5, 0.95, 0.99)] == [5, 59, 299]
    assert quantile.upper_bound([1.0] * 58, 0.95) is None
    assert quantile.upper_bound([1.0] * 59, 0.95) == 1.0
    assert quantile.interval([], 0.5) == (None, None)
    assert quantile.against_ceiling([], 0.5, 1).p == 1


def test_intervals_cover_what_they_claim() -> None:
    rng = np.random.default_rng(20260101)
    runs = 300
    for q, n in ((0.5, 25), (0.95, 150)):
        truth = float(np.quantile(np.exp(rng.standard_normal(1_000_000) * 0.9), q))
        two_sided = one_sided = 0
        for _ in range(runs):
            xs = np.exp(rng.standard_normal(n) * 0.9).tolist()
            low, high = quantile.interval(xs, q)
            two_sided += (low is None or low <= truth) and (high is None or truth <= high)
            bound = quantile.upper_bound(xs, q)
            one_sided += bound is None or truth <= bound
        assert two_sided / runs >= 0.92
        assert one_sided / runs >= 0.92


def test_false_alarms_of_a_p95_budget_stay_under_alpha() -> None:
    rng = np.random.default_rng(7)
    sigma, n, runs, alpha = 0.9, 200, 800, 0.002
    p95 = float(np.exp(1.6448536269514722 * sigma))
    just_under, naive, alarms, missed = p95 * 1.05, 0, 0, 0
    for _ in range(runs):
        xs = np.exp(rng.standard_normal(n) * sigma)
        naive += float(np.quantile(xs, 0.95)) > just_under
        alarms += quantile.against_ceiling(xs.tolist(), 0.95, just_under).p <= alpha
        # negative control: the same rule finds a latency that doubled
        missed += quantile.against_ceiling((xs * 2).tolist(), 0.95, just_under).p > alpha
    assert alarms / runs <= 0.01
    assert naive / runs > 0.13
    assert missed / runs < 0.2
