"""Rates: equal to scipy's exact binomial, and the sizes they propose hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from pytest_llmwatch.stats import rates

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
shares = st.floats(0.0001, 0.9999)


@given(counts, shares)
def test_p_equals_scipys_binomtest(count: tuple[int, int], rate: float) -> None:
    k, n = count
    assert rates.binomial_greater(k, n, rate) == pytest.approx(
        binomtest(k, n, rate, "greater").pvalue, rel=1e-7, abs=1e-12
    )
    assert rates.binomial_at_most(k, n, rate) == pytest.approx(binom.cdf(k, n, rate), rel=1e-7, abs=1e-12)


@given(counts)
def test_intervals_equal_scipys_clopper_pearson(count: tuple[int, int]) -> None:
    k, n = count
    exact = binomtest(k, n).proportion_ci(0.95, "exact")
    assert rates.clopper_pearson(k, n) == pytest.approx((exact.low, exact.high), abs=1e-9)
    one_sided = binomtest(k, n, alternative="less").proportion_ci(0.95, "exact").high
    assert rates.upper_bound(k, n) == pytest.approx(one_sided, abs=1e-9)


@given(counts, shares)
def test_the_bound_is_inside_exactly_where_the_test_says_so(count: tuple[int, int], limit: float) -> None:
    k, n = count
    probability = rates.binomial_at_most(k, n, limit)
    if abs(probability - 0.05) > 1e-9:
        assert (rates.upper_bound(k, n) <= limit) == (probability <= 0.05)


def test_edges() -> None:
    assert rates.binomial_greater(0, 10, 0.5) == 1
    assert rates.binomial_greater(1, 10, 0.0) == 0
    assert rates.binomial_greater(3, 10, 1.0) == 1
    assert rates.binomial_at_most(10, 10, 0.3) == 1
    assert rates.binomial_at_most(3, 10, 1.0) == 0
    assert rates.clopper_pearson(0, 0) == (0.0, 1.0)
    assert rates.upper_bound(4, 4) == 1


def test_the_figures_of_the_design() -> None:
    # 1 error in 20 against 2 % is not yet evidence
    assert rates.binomial_greater(1, 20, 0.02) == pytest.approx(0.33, abs=0.005)
    # 0 of 100 does not rule out 2 %
    assert rates.upper_bound(0, 100) == pytest.approx(0.0295, abs=0.0001)
    assert rates.n_to_pass(0, 0.02) == 149


@given(st.floats(0.002, 0.3), st.floats(0, 0.9))
def test_n_to_pass_gives_its_power(limit: float, part: float) -> None:
    true = limit * part
    n = rates.n_to_pass(true, limit)
    if n is None:
        assert part > 0.5  # only a truth near the limit is beyond reach
        return
    allowed = int(np.searchsorted(binom.cdf(np.arange(n), n, limit), 0.05, side="right")) - 1
    assert binom.cdf(allowed, n, true) >= 0.8 - 1e-9
    if true == 0:
        assert rates.binomial_at_most(0, n - 1, limit) > 0.05


@given(st.floats(0.005, 0.3), st.floats(1.3, 3), st.sampled_from([0.0015, 0.005, 0.01]))
def test_n_to_fail_gives_its_power(limit: float, factor: float, alpha: float) -> None:
    true = min(0.99, limit * factor)
    n = rates.n_to_fail(true, limit, alpha=alpha)
    assert n is not None
    needed = int(np.argmax(binom.sf(np.arange(-1, n + 1), n, limit) <= alpha))
    assert binom.sf(needed - 1, n, true) >= 0.8 - 1e-9


def test_no_size_settles_a_truth_on_the_limit() -> None:
    assert rates.n_to_pass(0.02, 0.02) is None
    assert rates.n_to_fail(0.02, 0.02, alpha=0.01) is None
    assert rates.n_to_pass(0.0199999, 0.02) is None
    assert rates.n_to_pass(0.5, 1.0) == 1


def test_holm() -> None:
    assert rates.holm([]) == []
    assert rates.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert rates.holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_raw_and_bonferroni(p: list[float]) -> None:
    adjusted = rates.holm(p)
    for raw, a in zip(p, adjusted, strict=True):
        assert raw <= a <= min(1.0, len(p) * raw) + 1e-12
    assert min(adjusted) == pytest.approx(min(1.0, len(p) * min(p)))
    assert not any(math.isnan(a) for a in adjusted)
