"""Kappa, its interval, calibration and AUROC: known answers, and what chance and constants give."""

from __future__ import annotations

import random

import pytest

from pytest_llmwatch.stats import agreement as stats

NOMINAL = [[0.0, 1.0], [1.0, 0.0]]


def from_table(table: list[list[int]]) -> tuple[list[int], list[int]]:
    pairs = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in pairs], [j for _, j in pairs]


def costs(k: int) -> list[list[float]]:
    return [[float((i - j) ** 2) for j in range(k)] for i in range(k)]


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[20, 5], [10, 15]], 0.4),  # the textbook example of two readers and 50 grant proposals
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
        ([[30, 0], [0, 30]], 1.0),
        ([[0, 30], [30, 0]], -1.0),
        ([[25, 25], [25, 25]], 0.0),
    ],
)
def test_kappa_of_known_tables(table: list[list[int]], expected: float) -> None:
    people, judge = from_table(table)
    found = stats.agreement(people, judge, alone(len(people)), NOMINAL)
    assert found.table == tuple(map(tuple, table))
    assert found.kappa == pytest.approx(expected, abs=1e-4)
    assert found.kappa_ci is not None
    assert found.kappa_ci[0] <= expected + 1e-9
    assert found.kappa_ci[1] >= expected - 1e-9
    assert found.accuracy == pytest.approx((table[0][0] + table[1][1]) / len(people))


def test_weights_forgive_the_neighbouring_grade() -> None:
    near, far = [[20, 10, 0], [0, 20, 10], [0, 0, 20]], [[20, 0, 10], [10, 20, 0], [0, 0, 20]]
    kappas = {}
    for name, table in (("near", near), ("far", far)):
        people, judge = from_table(table)
        for kind, weights in (
            ("weighted", costs(3)),
            ("plain", [[float(i != j) for j in range(3)] for i in range(3)]),
        ):
            kappas[name, kind] = stats.agreement(people, judge, alone(len(people)), weights).kappa or 0.0
    assert kappas["near", "plain"] == pytest.approx(kappas["far", "plain"], abs=0.02)
    assert kappas["near", "weighted"] > kappas["far", "weighted"] + 0.2


def test_a_constant_judge_and_a_guessing_one_agree_by_chance_only() -> None:
    rng = random.Random(3)
    people = [int(rng.random() < 0.7) for _ in range(300)]
    constant = stats.agreement(people, [1] * 300, alone(300), NOMINAL)
    assert constant.kappa == pytest.approx(0)
    assert constant.accuracy == constant.majority
    guess = stats.agreement(people, [int(rng.random() < 0.7) for _ in people], alone(300), NOMINAL)
    assert guess.kappa_ci is not None
    assert guess.kappa_ci[0] < 0 < guess.kappa_ci[1]
    one_class = stats.agreement([1] * 300, [1] * 300, alone(300), NOMINAL)
    assert (one_class.kappa, one_class.kappa_ci) == (None, None)


def test_the_interval_covers_the_truth_and_widens_with_clusters() -> None:
    rng = random.Random(5)
    covered = 0
    for seed in range(200):
        people = [int(rng.random() < 0.5) for _ in range(100)]
        judge = [p if rng.random() < 0.8 else 1 - p for p in people]  # kappa .6
        interval = stats.agreement(people, judge, alone(100), NOMINAL, draws=400, seed=seed).kappa_ci
        assert interval is not None
        covered += interval[0] <= 0.6 <= interval[1]
    assert 180 <= covered <= 200
    people, judge = from_table([[40, 10], [10, 40]])
    single = stats.agreement(people, judge, alone(100), NOMINAL).kappa_ci
    tens = stats.agreement(people, judge, [str(i // 10) for i in range(100)], NOMINAL).kappa_ci
    assert single is not None
    assert tens is not None
    assert tens[1] - tens[0] > 1.5 * (single[1] - single[0])


def test_auroc_counts_ties_half() -> None:
    assert stats.auroc([True, True, False, False], [0.9, 0.8, 0.2, 0.1]) == 1
    assert stats.auroc([False, True], [0.9, 0.1]) == 0
    assert stats.auroc([True, False, True, False], [0.5] * 4) == 0.5
    assert stats.auroc([True, False, True], [0.5, 0.5, 0.9]) == 0.75
    assert stats.auroc([True, True], [0.1, 0.2]) is None


def test_calibration_error_is_the_distance_from_what_happened() -> None:
    exact = stats.reliability([True] * 8 + [False] * 2, [0.8] * 10)
    assert [(b.low, b.n, b.share_good) for b in exact] == [(0.8, 10, 0.8)]
    assert stats.calibration_error(exact) == pytest.approx(0)
    sure = stats.reliability([True, False] * 10, [1.0] * 20)
    assert stats.calibration_error(sure) == pytest.approx(0.5)
    assert sure[-1].high == 1
    assert stats.calibration_error(()) is None
