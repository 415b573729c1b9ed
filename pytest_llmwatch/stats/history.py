"""The trend over builds: CUSUM against a frozen reference, and the build at which the level changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pytest_llmwatch.stats.samples import Floats

K, H = 0.5, 6.0
"""Allowance and limit in standard deviations (Page, 1954). With a known reference they give a false alarm in 3.5 %
of histories of 100 unchanged builds; a reference estimated from few builds needs a higher limit, see `limit`."""

_LIMITS = (
    (5, 39.0), (8, 20.2), (10, 15.4), (15, 10.7), (20, 9.0), (30, 7.6), (40, 7.0), (60, 6.4), (100, 6.0),
)  # fmt: skip

LEAST_BUILDS = 8


@dataclass(frozen=True, slots=True)
class Cusum:
    """One-sided CUSUM for worse. ``path`` has a value per build; ``alarm`` is the first index above the limit.

    ``since`` is the build after the path's last zero before the alarm: the maximum-likelihood start of the shift.
    """

    path: tuple[float, ...]
    alarm: int | None
    since: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of level: ``index`` is the first build of the new level, ``p`` by permutation of the builds."""

    index: int
    p: float
    before: float
    after: float


def limit(builds: int) -> float:
    """Return the limit at which an unchanged history of 100 builds alarms with a chance of at most .07.

    ``builds`` is the number of builds that mean and standard deviation of the reference were estimated from: their
    error counts. From 60,000 simulated histories; linear in 1/builds between the tabulated ones. Infinite below 5.
    """
    if builds < _LIMITS[0][0]:
        return math.inf
    for (few, high), (many, low) in pairwise(_LIMITS):
        if builds <= many:
            part = (1 / builds - 1 / many) / (1 / few - 1 / many)
            return low + (high - low) * part
    return H


def cusum(
    values: Sequence[float], *, mean: float, sd: float, higher_is_worse: bool = False, k: float = K, h: float = H
) -> Cusum:  # fmt: skip
    """Return the CUSUM of ``values`` against a frozen reference.

    Args:
        values: One figure per build, oldest first; NaN is passed over.
        mean: Of the reference.
        sd: Standard deviation of the figure between unchanged builds; must be positive.
        higher_is_worse: For latency, cost, tokens, errors.
        k: Allowance, in ``sd``.
        h: Limit, in ``sd``.

    Raises:
        ValueError: ``sd`` is not positive.
    """
    if not sd > 0:
        raise ValueError("a reference without variation has no CUSUM")
    total, zero = 0.0, 0
    path: list[float] = []
    alarm = since = None
    for i, value in enumerate(values):
        if not math.isnan(value):
            step = (value - mean) / sd
            total = max(0.0, total + (step if higher_is_worse else -step) - k)
        if total == 0:
            zero = i + 1
        path.append(total)
        if alarm is None and total > h:
            alarm, since = i, zero
    return Cusum(tuple(path), alarm, since)


def change_point(values: Sequence[float], *, seed: int, draws: int = 9_999, least: int = 2) -> Change | None:
    """Return the most likely change of level, or None with fewer than 8 builds or no variation.

    The statistic is the largest standardised difference of means over all splits with at least ``least`` builds on
    either side (Hinkley, 1970); its p value comes from permutations of the builds, so no shape is assumed.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < LEAST_BUILDS or np.isnan(x).any() or np.ptp(x) == 0:
        return None
    rng = np.random.default_rng(seed)
    splits = np.arange(least, n - least + 1)
    weight = np.sqrt(n / (splits * (n - splits)))

    def scan(rows: Floats) -> Floats:
        centred = rows - rows.mean(axis=1, keepdims=True)
        sums = np.cumsum(centred, axis=1)[:, splits - 1]
        return np.asarray(np.round(np.abs(sums) * weight, 9), dtype=np.float64)

    observed = scan(x[None, :])[0]
    best = int(np.argmax(observed))
    hits, done = 1, 1
    while done < draws:
        size = min(1000, draws - done)
        rows = rng.permuted(np.tile(x, (size, 1)), axis=1)
        hits += int((scan(rows).max(axis=1) >= observed[best]).sum())
        done += size
    index = int(splits[best])
    return Change(index, hits / draws, float(x[:index].mean()), float(x[index:].mean()))
