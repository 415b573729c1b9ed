"""Exact binomial tests, intervals and sample sizes for rates.

``scipy.special`` alone: ``scipy.stats`` would add a second of import for the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import bdtr, betainc, betaincinv

Sizes = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

N_CAP = 1_000_000
"""No sample size above this is proposed."""


def binomial_greater(k: int, n: int, rate: float) -> float:
    """Return P(X >= k) for X ~ Binomial(n, rate): scipy's ``binomtest(k, n, rate, "greater").pvalue``."""
    if k <= 0:
        return 1.0
    if rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    return float(betainc(k, n - k + 1, rate))


def binomial_at_most(k: int, n: int, rate: float) -> float:
    """Return P(X <= k) for X ~ Binomial(n, rate)."""
    if k >= n or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    return float(betainc(n - k, k + 1, 1 - rate))


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the two-sided exact interval of a rate (Clopper and Pearson, 1934); (0, 1) without data."""
    if n == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    return low, upper_bound(k, n, 1 - tail)


def upper_bound(k: int, n: int, level: float = 0.95) -> float:
    """Return the one-sided exact upper bound of a rate; 1 without data."""
    return 1.0 if k >= n else float(betaincinv(k + 1, n - k, level))


def n_to_pass(observed: float, limit: float, *, level: float = 0.95, power: float = 0.80) -> int | None:
    """Return the least n at which a true rate ``observed`` would show itself to be within ``limit``.

    With probability ``power`` the one-sided upper bound at ``level`` then lies at or under ``limit``.
    Exact for ``observed`` 0, else on a grid of 0.5 %. None where no n up to ``N_CAP`` does.
    """
    if limit >= 1:
        return 1
    if observed >= limit:
        return None
    if observed <= 0:
        return math.ceil(math.log(1 - level) / math.log1p(-limit) - 1e-9)

    def settled(sizes: Sizes) -> Flags:
        allowed = _most_allowed(sizes, limit, 1 - level)
        return (allowed >= 0) & (bdtr(np.maximum(allowed, 0), sizes, observed) >= power)

    return _least_size(settled)


def n_to_fail(observed: float, limit: float, *, alpha: float, power: float = 0.80) -> int | None:
    """Return the least n (grid of 0.5 %) at which a true rate ``observed`` over ``limit`` would be proven.

    With probability ``power`` the exact test then has p <= ``alpha``. None where no n up to ``N_CAP`` does.
    """
    if observed <= limit:
        return None
    if limit <= 0:
        return 1 if observed >= 1 else math.ceil(math.log(1 - power) / math.log1p(-observed) - 1e-9)

    def settled(sizes: Sizes) -> Flags:
        # the least k with P(X >= k) <= alpha is one more than the least k with P(X <= k) >= 1 - alpha
        needed = _least_reaching(sizes, limit, 1 - alpha) + 1
        shown = 1 - bdtr(np.minimum(needed, sizes) - 1, sizes, min(observed, 1 - 1e-12))
        return (needed <= sizes) & (shown >= power)

    return _least_size(settled)


def _least_size(settled: Callable[[Sizes], Flags]) -> int | None:
    """Return the least size that is ``settled``: found on a coarse grid, then on one of 0.5 % below it."""
    coarse = _grid(1, N_CAP, 1.05)
    found = _first(coarse, settled(coarse))
    if found is None:
        return None
    fine = _grid(max(1, int(found / 1.2)), found, 1.005)
    return _first(fine, settled(fine)) or found


def _grid(low: int, high: int, ratio: float) -> Sizes:
    steps = math.ceil(math.log(high / low) / math.log(ratio)) + 1
    grid = np.unique(np.ceil(low * ratio ** np.arange(steps)))
    return grid[grid <= high].astype(np.int64)


def _first(sizes: Sizes, reached: Flags) -> int | None:
    # the power of a discrete test is a saw-tooth: ask that it hold at the next size of the grid too
    steady = reached.copy()
    steady[:-1] &= reached[1:]
    return int(sizes[int(np.argmax(steady))]) if steady.any() else None


def _most_allowed(sizes: Sizes, rate: float, tail: float) -> Sizes:
    """For each n, the most k with P(X <= k) <= tail, -1 where there is none."""
    low = np.full(sizes.shape, -1, dtype=np.int64)
    high = sizes.copy()
    while (high - low > 1).any():
        middle = (low + high) // 2
        inside = bdtr(np.maximum(middle, 0), sizes, rate) <= tail
        low = np.where(inside, middle, low)
        high = np.where(inside, high, middle)
    return low


def _least_reaching(sizes: Sizes, rate: float, mass: float) -> Sizes:
    """For each n, the least k with P(X <= k) >= mass."""
    low = np.full(sizes.shape, -1, dtype=np.int64)
    high = sizes.copy()
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = bdtr(np.maximum(middle, 0), sizes, rate) >= mass
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p values of Holm's step-down procedure (Holm, 1979), in the given order."""
    m = len(p_values)
    order = sorted(range(m), key=lambda i: p_values[i])
    adjusted = [0.0] * m
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted
