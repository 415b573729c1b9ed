"""Alpha spending, group-sequential looks, the e-value, CUSUM, change points, sessions, and plans."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pytest_llmwatch.stats import by_case, history, permutation, power, sequential, sessions
from pytest_llmwatch.stats.permutation import compare
from pytest_llmwatch.stats.samples import Pair


def test_the_levels_of_all_rounds_sum_to_alpha_and_rise() -> None:
    levels = [sequential.level_of_round(0.005, i, 5) for i in range(1, 6)]
    assert sum(levels) == pytest.approx(0.005)
    assert levels == sorted(levels)
    assert sequential.spent(0.01, 0.5, 0) == pytest.approx(0.005)
    assert sequential.spent(0.01, 2, -2) == pytest.approx(0.01)


def test_looks_reject_at_most_alpha_of_the_permutations_and_find_a_drop() -> None:
    rng = np.random.default_rng(0)
    alpha, builds, fractions = 0.05, 400, [0.2, 0.4, 0.6, 0.8, 1.0]

    def run(drop: float) -> list[int | None]:
        out = []
        for _ in range(builds):
            y = rng.normal(drop, 1, 50)
            signs = rng.choice([-1.0, 1.0], size=(499, 50))
            signs[0] = 1
            columns = [(signs[:, : int(50 * f)] * y[: int(50 * f)]).sum(axis=1) for f in fractions]
            out.append(sequential.look(columns, fractions, alpha))
        return out

    quiet = run(0.0)
    assert sum(i is not None for i in quiet) <= stats.binom.ppf(0.999, builds, alpha)
    loud = run(0.8)
    assert sum(i is not None for i in loud) > 0.95 * builds
    assert np.mean([i for i in loud if i is not None]) < 3, "a large drop is seen before the last look"


def by_case_share(drop: float, alpha: float, builds: int, *, naive: bool = False) -> tuple[float, float]:
    """Return how often looks by case are red, and the share of cases they took: 40 noisy cases, K_b = 3."""
    rng, red, asked = np.random.default_rng(8), 0, 0
    parts = by_case.order([i % 3 for i in range(40)], seed=1)
    for build in range(builds):
        levels = rng.beta(6, 2, 40)[:, None]
        base = np.round((levels + rng.normal(0, 0.21, (40, 3))) * 5) / 5
        after = np.round((levels - drop + rng.normal(0, 0.21, (40, 1))) * 5) / 5
        pairs = [Pair(b[:, None], c[:, None], str(i)) for i, (b, c) in enumerate(zip(base, after, strict=True))]
        if naive:  # each look by itself at the whole level, as if there were no other
            ends = [
                permutation.compare([pairs[i] for p in parts[:k] for i in p], seed=build, draws=199)[0].p <= alpha
                for k in range(1, 6)
            ]
            red += any(ends)
            continue
        found = by_case.compare(pairs, parts, alpha=alpha, seed=build, draws=299)
        red += found.look is not None
        asked += found.cases
    return red / builds, asked / (40 * builds)


def test_looks_by_case_hold_their_level_and_save_what_a_fixed_sample_would_ask() -> None:
    alpha, builds = 0.05, 250
    quiet, asked = by_case_share(0.0, alpha, builds)
    assert quiet <= stats.binom.ppf(0.999, builds, alpha) / builds
    assert asked > 0.95, "what is not worse is asked to the end"
    found, asked = by_case_share(0.15, alpha, 120)
    fixed = power.power_of(0.31, 0.15, 40, alpha=alpha, baseline_repeats=3)
    assert found > fixed - 0.12
    assert asked < 0.75
    planned, share = by_case.expected(0.31, 0.15, 40, alpha=alpha, factor=power.variance_factor(3, 1))
    assert (found, asked) == (pytest.approx(planned, abs=0.1), pytest.approx(share, abs=0.12))
    # negative control: five looks that each spend all of it
    assert by_case_share(0.0, alpha, 120, naive=True)[0] > 2 * alpha


def test_parts_hold_every_case_once_and_every_stratum_alike() -> None:
    parts = by_case.order(["easy"] * 40 + ["hard"] * 10, seed=3)
    assert sorted(i for part in parts for i in part) == list(range(50))
    assert [sum(i >= 40 for i in part) for part in parts] == [2] * 5
    assert parts == by_case.order(["easy"] * 40 + ["hard"] * 10, seed=3) != by_case.order([""] * 50, seed=3)
    assert len(by_case.order(["one"] * 3, seed=1)) == 3
    pairs = [Pair(np.ones((2, 1)), np.zeros((1, 1)), "a cluster") for _ in range(10)]
    assert by_case.compare(pairs, by_case.order([0] * 10, seed=0), alpha=0.05, seed=0, draws=99).look is None
    with pytest.raises(ValueError, match="one repeat and one scorer"):
        by_case.compare([Pair(np.ones((2, 1)), np.zeros((2, 1)), "a")], [[0]], alpha=0.05, seed=0)
    assert by_case.expected(0.0, 0.1, 20, alpha=0.05) == (1.0, pytest.approx(0.2))


def test_looks_never_reject_on_ties() -> None:
    flat = np.zeros(999)
    assert sequential.look([flat, flat], [0.5, 1.0], 0.05) is None


def test_the_e_value_is_one_on_average_and_grows_with_a_drop() -> None:
    rng = np.random.default_rng(1)
    quiet = [math.exp(sequential.log_e_value(rng.normal(0, 0.3, 20))) for _ in range(3000)]
    assert np.mean(np.array(quiet) >= 100) <= 0.01
    assert sequential.log_e_value(list(rng.normal(0.2, 0.3, 60))) > math.log(100)
    assert sequential.log_e_value([]) == 0
    assert sequential.log_e_value([math.nan, -1.0, -1.0]) < 0
    assert math.isfinite(sequential.log_e_value([-50.0] * 100))


def test_cusum_alarms_on_a_lasting_shift_and_says_since_when() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0.9, 0.02, 30), rng.normal(0.87, 0.02, 20)])
    found = history.cusum(list(values), mean=0.9, sd=0.02)
    assert found.alarm is not None
    assert 30 <= found.alarm < 45
    assert found.since is not None
    assert 27 <= found.since <= 33
    assert history.cusum(list(values), mean=0.9, sd=0.02, higher_is_worse=True).alarm is None
    assert len(found.path) == 50
    with pytest.raises(ValueError, match="without variation"):
        history.cusum([1.0], mean=1.0, sd=0.0)


def test_cusum_rarely_alarms_in_a_hundred_unchanged_builds() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(500):
        reference = rng.normal(size=12)
        values = list(rng.normal(size=100))
        mean, sd = reference.mean(), reference.std(ddof=1)
        alarms += history.cusum(values, mean=mean, sd=sd, h=history.limit(12)).alarm is not None
    assert alarms <= stats.binom.ppf(0.999, 500, 0.07)


def test_a_reference_of_few_builds_needs_a_higher_limit() -> None:
    limits = [history.limit(n) for n in (5, 7, 12, 30, 50, 100, 10_000)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] == 39.0
    assert limits[-1] == history.H
    assert history.limit(4) == math.inf


def test_a_change_point_names_the_build_and_noise_has_none() -> None:
    rng = np.random.default_rng(4)
    values = [*rng.normal(1, 0.1, 15), *rng.normal(1.3, 0.1, 9)]
    found = history.change_point(values, seed=1)
    assert found is not None
    assert found.index == 15
    assert found.p <= 0.01
    assert found.after > found.before
    noise = [history.change_point(list(rng.normal(size=20)), seed=k, draws=199) for k in range(200)]
    red = sum(1 for c in noise if c is not None and c.p <= 0.05)
    assert red <= stats.binom.ppf(0.999, 200, 0.05)
    assert history.change_point([1.0] * 20, seed=1) is None
    assert history.change_point([1.0, 2.0, 3.0], seed=1) is None


@pytest.mark.parametrize(
    ("sd", "drop", "n"), [(0.1, 0.05, 53), (0.1, 0.1, 14), (0.2, 0.05, 209), (0.2, 0.1, 53), (0.3, 0.05, 469)]
)
def test_the_plan_is_the_published_table(sd: float, drop: float, n: int) -> None:
    assert power.cases_needed(sd, drop, alpha=0.01) == n
    five = power.cases_needed(sd, drop, alpha=0.01, baseline_repeats=5)
    assert five == pytest.approx(0.6 * n, abs=1)
    assert power.power_of(sd, drop, n, alpha=0.01) == pytest.approx(0.9, abs=0.03)


def test_a_plan_needs_enough_labellings_too() -> None:
    assert power.cases_needed(0.001, 0.5, alpha=0.01) == 7
    assert power.cases_needed(0.001, 0.5, alpha=0.01, baseline_repeats=5) == 3
    with pytest.raises(ValueError, match="positive"):
        power.cases_needed(0.1, 0, alpha=0.01)


def test_what_can_be_detected_is_detected() -> None:
    rng = np.random.default_rng(5)

    def build(drop: float, seed: int) -> list[Pair]:
        b, c = rng.normal(0, 0.2, (50, 5, 1)), rng.normal(-drop, 0.2, (50, 1, 1))
        return [Pair(x, y, str(i)) for i, (x, y) in enumerate(zip(b, c, strict=True))]

    spread = compare(build(0.0, 0), seed=0)[0].spread
    drop = power.detectable(spread, alpha=0.05)
    found = sum(compare(build(drop, k), seed=k, draws=499)[0].p_mean <= 0.05 for k in range(200))
    assert 0.68 <= found / 200 <= 0.9


def test_more_repeats_settle_a_margin_unless_the_baseline_limits_it() -> None:
    # K_b = 5, K_c = 1: standard error .03; how many repeats show that .05 is ruled out?
    more = power.repeats_to_settle(0.03, 0.05, baseline_repeats=5, candidate_repeats=1)
    assert more is not None
    factor = power.variance_factor(5, more) / power.variance_factor(5, 1)
    assert power.quantiles(0.05, 0.8) * 0.03 * math.sqrt(factor) <= 0.05
    assert power.repeats_to_settle(0.2, 0.05, baseline_repeats=5, candidate_repeats=1) is None
    assert power.repeats_to_settle(0.0, 0.05, baseline_repeats=5, candidate_repeats=1) == 1


def test_sessions_show_their_spread_and_noise_does_not() -> None:
    rng = np.random.default_rng(6)
    found = [
        sessions.effect([rng.normal(rng.normal(0, 0.1), 0.3, (100, 1)) for _ in range(6)]) for _ in range(200)
    ]
    assert np.sqrt(np.mean([f.sd**2 for f in found if f])) == pytest.approx(0.1, abs=0.02)
    quiet = [sessions.effect([rng.normal(0, 0.3, (100, 1)) for _ in range(6)]) for _ in range(200)]
    assert np.median([f.sd for f in quiet if f]) < 0.03
    assert sessions.effect([np.ones((3, 1))]) is None
    assert sessions.effect([np.full((3, 1), np.nan)] * 2) is None
