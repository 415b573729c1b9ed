"""The permutation tests against exact enumeration, against scipy, and on data in which nothing changed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_llmwatch.stats import unpaired
from pytest_llmwatch.stats.permutation import attainable_p, compare, permute
from pytest_llmwatch.stats.samples import Pair, logs, pair


def pairs_of(before: np.ndarray, after: np.ndarray, clusters: list[str] | None = None) -> list[Pair]:
    names = clusters or [str(i) for i in range(len(before))]
    return [
        Pair(b.reshape(len(b), -1), c.reshape(len(c), -1), k) for b, c, k in zip(before, after, names, strict=True)
    ]


def enumerated(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Exact p values of T1 and T2 over every labelling of every case."""
    tables = []
    for b, c in zip(before, after, strict=True):
        values = [*b, *c]
        rows = []
        for chosen in itertools.combinations(range(len(values)), len(c)):
            inside = [values[i] for i in chosen]
            outside = [values[i] for i in range(len(values)) if i not in chosen]
            rows.append(sum(outside) / len(outside) - sum(inside) / len(inside))
        tables.append(rows)
    observed = [b.mean() - c.mean() for b, c in zip(before, after, strict=True)]
    t1 = sum(observed) - 1e-9
    t2 = sum(max(y, 0) ** 2 for y in observed) - 1e-9
    whole = list(itertools.product(*tables))
    return (
        sum(sum(w) >= t1 for w in whole) / len(whole),
        sum(sum(max(y, 0) ** 2 for y in w) >= t2 for w in whole) / len(whole),
    )


@pytest.mark.parametrize(("before", "after"), [(1, 1), (3, 1), (2, 2), (1, 3)])
def test_p_values_are_those_of_all_labellings(before: int, after: int) -> None:
    rng = np.random.default_rng(before * 10 + after)
    n = 5 if before + after > 2 else 10
    b, c = rng.normal(0.3, 1, (n, before)), rng.normal(0, 1, (n, after))
    exact = enumerated(b, c)
    found = compare(pairs_of(b, c), seed=1, draws=40_000)[0]
    assert found.p_mean == pytest.approx(exact[0], abs=0.01)
    assert found.p_concentrated == pytest.approx(exact[1], abs=0.01)
    assert found.attainable == pytest.approx(math.comb(before + after, after) ** -n)


def test_one_repeat_a_side_is_what_scipy_says() -> None:
    rng = np.random.default_rng(4)
    b = rng.normal(size=10)
    c = b - rng.normal(0.3, 0.5, size=10)
    exact = stats.permutation_test(
        (b, c), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf, alternative="greater"
    )
    found = compare(pairs_of(b[:, None], c[:, None]), seed=1, draws=40_000)[0]
    assert found.p_mean == pytest.approx(exact.pvalue, abs=0.01)
    assert found.drop == pytest.approx((b - c).mean())


def test_the_fast_way_and_the_general_way_agree() -> None:
    rng = np.random.default_rng(5)
    b, c = rng.normal(size=(12, 5, 3)), rng.normal(size=(12, 2, 3))
    alike = compare([Pair(x, y, str(i)) for i, (x, y) in enumerate(zip(b, c, strict=True))], seed=1)
    # a fourth scorer that could not assess one answer sends the cases the general way
    more = rng.normal(size=(12, 5, 1))
    more[:, 0] = np.nan
    before = np.concatenate([b, more], axis=2)
    after = np.concatenate([c, rng.normal(size=(12, 2, 1))], axis=2)
    general = compare([Pair(x, y, str(i)) for i, (x, y) in enumerate(zip(before, after, strict=True))], seed=1)
    assert len(general) == 4
    for one, other in zip(alike, general, strict=False):
        assert one.drop == pytest.approx(other.drop)
        assert one.p == pytest.approx(other.p, abs=0.02)
        assert one.spread == pytest.approx(other.spread, rel=0.06)


def test_a_repeat_that_measured_nothing_counts_for_nothing() -> None:
    rng = np.random.default_rng(15)
    b, c = rng.normal(0.3, 1, (12, 3, 2)), rng.normal(size=(12, 1, 2))
    gap = np.full((1, 2), np.nan)
    plain = [Pair(x, y, str(i)) for i, (x, y) in enumerate(zip(b, c, strict=True))]
    gaps = [Pair(np.concatenate([gap, p.baseline]), np.concatenate([p.candidate, gap]), p.cluster) for p in plain]
    assert compare(gaps, seed=1) == compare(plain, seed=1)
    lost = Pair(np.full((3, 2), np.nan), c[0], "lost")
    assert compare([*plain, lost], seed=1) == compare(plain, seed=1)


def test_a_seed_gives_the_same_answer_and_another_nearly_the_same() -> None:
    rng = np.random.default_rng(6)
    pairs = pairs_of(rng.normal(0.2, 1, (30, 5)), rng.normal(size=(30, 1)))
    assert compare(pairs, seed=3) == compare(pairs, seed=3)
    assert compare(pairs, seed=3)[0].p == pytest.approx(compare(pairs, seed=4)[0].p, abs=0.02)


def test_nothing_changed_is_red_at_most_alpha_for_several_scorers_together() -> None:
    rng = np.random.default_rng(7)
    builds, alpha = 400, 0.05
    red = 0
    for k in range(builds):
        quality = rng.random((20, 1, 1))
        scores = (rng.random((20, 6, 4)) < quality).astype(float)  # binary and skewed
        found = compare([Pair(x[:5], x[5:], str(i)) for i, x in enumerate(scores)], seed=k, draws=499)
        red += min(f.p_adjusted for f in found) <= alpha
    assert red <= stats.binom.ppf(0.999, builds, alpha)


def test_clusters_keep_the_rate_that_cases_alone_do_not() -> None:
    rng = np.random.default_rng(8)
    builds, alpha = 300, 0.05
    red = {"cases": 0, "clusters": 0}
    names = [str(i // 8) for i in range(64)]
    for k in range(builds):
        # cases of a cluster share what one session makes of their document
        shared = np.repeat(rng.normal(size=(8, 2)), 8, axis=0)
        values = shared + rng.normal(size=(64, 2))
        pairs = pairs_of(values[:, :1], values[:, 1:])
        together = pairs_of(values[:, :1], values[:, 1:], names)
        red["cases"] += compare(pairs, seed=k, draws=499)[0].p <= alpha
        red["clusters"] += compare(together, seed=k, draws=499)[0].p <= alpha
    assert red["clusters"] <= stats.binom.ppf(0.999, builds, alpha)
    assert red["cases"] > 2 * red["clusters"], "the control: permuting cases must be seen to cry wolf"


def test_few_broken_cases_are_found_by_the_second_statistic() -> None:
    rng = np.random.default_rng(9)
    b, c = rng.normal(0, 0.1, (60, 5)), rng.normal(0, 0.1, (60, 1))
    c[:3] -= 0.6
    found = compare(pairs_of(b, c), seed=1)[0]
    assert found.p_concentrated < found.p_mean
    assert found.p <= 0.01


def test_the_interval_covers_the_true_drop() -> None:
    rng = np.random.default_rng(10)
    covered = above = 0
    builds = 300
    for k in range(builds):
        b, c = rng.normal(0, 1, (25, 3)), rng.normal(-0.4, 1, (25, 2))
        found = compare(pairs_of(b, c), seed=k, draws=999)[0]
        covered += found.ci[0] <= 0.4 <= found.ci[1]
        above += found.upper >= 0.4
    assert stats.binom.ppf(0.001, builds, 0.95) <= covered <= stats.binom.ppf(0.999, builds, 0.97)
    assert stats.binom.ppf(0.001, builds, 0.95) <= above <= stats.binom.ppf(0.999, builds, 0.97)


def test_a_session_effect_widens_the_null() -> None:
    rng = np.random.default_rng(11)
    pairs = pairs_of(rng.normal(0.3, 0.3, (80, 5)), rng.normal(0, 0.3, (80, 1)))
    narrow = compare(pairs, seed=1)[0]
    wide = compare(pairs, seed=1, session=[0.2], sessions=5)[0]
    assert narrow.p <= 0.001 < wide.p
    assert wide.ci[0] < narrow.ci[0] < narrow.ci[1] < wide.ci[1]


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 1.0, math.nan]), min_size=2, max_size=6), min_size=1, max_size=12
    )
)
def test_missing_values_never_break_it(rows: list[list[float]]) -> None:
    pairs = [pair([[v] for v in row[:1]], [[v] for v in row[1:]], cluster=str(i)) for i, row in enumerate(rows)]
    usable = [p for p in pairs if not np.isnan(p.baseline).all() and not np.isnan(p.candidate).all()]
    if not usable:
        with pytest.raises(ValueError, match="measured on both sides"):
            compare(pairs, seed=1, draws=99)
        return
    found = compare(pairs, seed=1, draws=99)[0]
    assert found.n == len(usable)
    assert 0 < found.p <= 1
    assert found.p <= found.p_adjusted <= 1
    assert math.isfinite(found.drop)


def test_higher_is_worse_turns_the_sign() -> None:
    b, c = np.ones((20, 3)), np.full((20, 1), 2.0)
    assert compare(pairs_of(b, c), seed=1, higher_is_worse=True)[0].drop == 1.0
    assert compare(pairs_of(b, c), seed=1, higher_is_worse=True)[0].p < 0.01
    assert compare(pairs_of(b, c), seed=1)[0].p > 0.9


def test_logs_give_relative_changes_and_tame_an_outlier() -> None:
    rng = np.random.default_rng(12)
    b = rng.lognormal(0, 0.3, (40, 5))
    c = b[:, :1] * 1.2
    c[0] *= 1000
    tamed = compare(logs(pairs_of(b, c)), seed=1, higher_is_worse=True)[0]
    assert math.exp(tamed.drop) - 1 == pytest.approx(0.2, abs=0.1)
    raw = compare(logs(pairs_of(b, c), winsor=0), seed=1, higher_is_worse=True)[0]
    assert raw.drop > tamed.drop + 0.1
    assert math.isnan(logs([pair([[0.0]], [[1.0]], cluster="a")])[0].baseline[0, 0])


def test_too_few_cases_cannot_reach_a_small_p() -> None:
    assert attainable_p([(1, 1)] * 6) == pytest.approx(2**-6)
    assert attainable_p([(5, 1)] * 3) == pytest.approx(6**-3)
    with pytest.raises(ValueError, match="no case is common"):
        compare([], seed=1)
    with pytest.raises(ValueError, match="infinite"):
        pair([[math.inf]], [[1.0]], cluster="a")
    with pytest.raises(ValueError, match="at least one repeat"):
        pair([], [[1.0]], cluster="a")


def test_the_shares_tell_how_a_shift_would_move_each_permutation() -> None:
    rng = np.random.default_rng(13)
    b, c = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    here = permute(pairs_of(b, c), seed=2, draws=200)
    there = permute(pairs_of(b, c - 0.5), seed=2, draws=200)
    assert here.weight[0] == pytest.approx(1)
    np.testing.assert_allclose(there.mean - here.mean, 0.5 * here.weight, atol=1e-9)


@pytest.mark.parametrize(("k", "n", "k0", "n0"), [(8, 20, 2, 25), (0, 5, 0, 7), (50, 50, 3, 50), (3, 9, 5, 9)])
def test_fisher_is_what_scipy_says(k: int, n: int, k0: int, n0: int) -> None:
    exact = stats.fisher_exact([[k, n - k], [k0, n0 - k0]], alternative="greater").pvalue
    assert unpaired.fisher_greater(k, n, k0, n0) == pytest.approx(exact, rel=1e-6)


def test_groups_without_a_common_case_are_compared_by_permutation() -> None:
    rng = np.random.default_rng(14)
    b = [(str(i), x) for i, x in enumerate(rng.normal(0.2, 1, 60))]
    c = [(str(i), x) for i, x in enumerate(rng.normal(0, 1, 50))]
    found = unpaired.compare(b, c, seed=1)
    exact = stats.permutation_test(
        ([x for _, x in b], [x for _, x in c]),
        lambda x, y: np.mean(x) - np.mean(y),
        alternative="greater",
        n_resamples=9999,
        vectorized=False,
        rng=np.random.default_rng(1),
    )
    assert found.p == pytest.approx(exact.pvalue, abs=0.02)
    interval = stats.ttest_ind([x for _, x in b], [x for _, x in c], equal_var=False).confidence_interval()
    assert found.ci == pytest.approx((interval.low, interval.high))
    assert found.n == (60, 50)
    # a cluster counts once
    doubled = [(str(i // 2), x) for i, x in enumerate(rng.normal(size=40))]
    assert unpaired.compare(doubled, c, seed=1).n == (20, 50)


def test_shares_are_compared_by_fisher_in_either_direction() -> None:
    good = [(str(i), 1.0) for i in range(20)]
    bad = [(str(i), float(i < 10)) for i in range(20)]
    assert unpaired.compare(good, bad, seed=1).p < 0.001
    assert unpaired.compare(bad, good, seed=1).p > 0.99
    assert unpaired.compare(bad, good, seed=1, higher_is_worse=True).p < 0.001
    with pytest.raises(ValueError, match="without values"):
        unpaired.compare([], bad, seed=1)
