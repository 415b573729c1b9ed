"""How well a judge agrees with people: Cohen's kappa, its bootstrap interval, calibration error, AUROC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_llmwatch.stats.bootstrap import DRAWS

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

BINS = 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two raters over the same items.

    ``table[i][j]`` counts items that people put into class i and the judge into class j. ``majority`` is the
    accuracy of always naming people's most frequent class. Intervals are two-sided 95 %, by bootstrap over
    clusters. Kappa is None where people know only one class.
    """

    table: tuple[tuple[int, ...], ...]
    kappa: float | None
    kappa_ci: tuple[float, float] | None
    accuracy: float
    accuracy_ci: tuple[float, float]
    majority: float


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of the reliability diagram: scores in [low, high), their mean, and the share of good answers."""

    low: float
    high: float
    n: int
    mean_score: float
    share_good: float


def agreement(
    people: Sequence[int],
    judge: Sequence[int],
    clusters: Sequence[str],
    costs: Sequence[Sequence[float]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Agreement:
    """Return how well two ratings of the same items agree.

    Args:
        people: Class of each item by people, from 0.
        judge: The same by the judge.
        clusters: What moves together: whole clusters are resampled.
        costs: ``costs[i][j]`` is how wrong j is where i is right: 0 and 1, or squared differences of grades.
        draws: Resamples of the bootstrap.
        seed: Of the bootstrap.

    Kappa is 1 - (observed cost) / (cost expected by chance from the margins): Cohen (1960), and with squared
    differences Cohen's weighted kappa (1968).
    """
    weights = np.asarray(costs, dtype=np.float64)
    k = len(weights)
    names = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    tables = np.zeros((len(names), k, k))
    for row, column, cluster in zip(people, judge, clusters, strict=True):
        tables[names[cluster], row, column] += 1
    whole = tables.sum(axis=0)
    rng = np.random.default_rng(seed)
    chosen = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(np.float64)
    resampled = (chosen @ tables.reshape(len(names), k * k)).reshape(draws, k, k)
    kappas, hits = _kappas(resampled, weights), _accuracies(resampled)
    kappa = float(_kappas(whole[None], weights)[0])
    known = bool(np.isfinite(kappa)) and int((whole.sum(axis=1) > 0).sum()) > 1
    # a resample with one class only says nothing: taken as no agreement, which is on the safe side
    interval = _interval(np.where(np.isfinite(kappas), kappas, 0.0))
    return Agreement(
        tuple(tuple(int(x) for x in row) for row in whole),
        kappa if known else None,
        interval if known else None,
        float(_accuracies(whole[None])[0]),
        _interval(hits),
        float(whole.sum(axis=1).max() / whole.sum()),
    )


def _kappas(tables: Floats, weights: Floats) -> Floats:
    n = tables.sum(axis=(1, 2))
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    seen = (tables * weights).sum(axis=(1, 2)) * n
    by_chance = np.einsum("di,ij,dj->d", rows, weights, columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(by_chance > 0, 1 - seen / by_chance, np.nan)
    return found


def _accuracies(tables: Floats) -> Floats:
    found: Floats = np.einsum("dii->d", tables) / np.maximum(tables.sum(axis=(1, 2)), 1)
    return found


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def auroc(good: Sequence[bool], scores: Sequence[float]) -> float | None:
    """Return the chance that a good item scores above a bad one, ties counted half; None without both kinds."""
    flags, values = np.asarray(good, dtype=bool), np.asarray(scores, dtype=np.float64)
    if flags.all() or not flags.any():
        return None
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n, m = int(flags.sum()), int((~flags).sum())
    return float((ranks[flags].sum() - n * (n + 1) / 2) / (n * m))


def reliability(good: Sequence[bool], scores: Sequence[float], bins: int = BINS) -> tuple[Bin, ...]:
    """Return the bins of equal width that hold anything; the last one holds 1 too."""
    flags, values = np.asarray(good, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    place = np.minimum((values * bins).astype(int), bins - 1)
    return tuple(
        Bin(b / bins, (b + 1) / bins, int(inside.sum()), float(values[inside].mean()), float(flags[inside].mean()))
        for b in range(bins)
        if (inside := place == b).any()
    )


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Return the expected calibration error: the mean distance of score and share of good items, by bin size.

    Naeini, Cooper and Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning".
    """
    n = sum(b.n for b in bins)
    return sum(b.n * abs(b.mean_score - b.share_good) for b in bins) / n if n else None
