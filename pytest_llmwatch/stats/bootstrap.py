"""Bootstrap over cases: how a figure would vary over builds in which nothing changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

DRAWS = 2000
_BLOCK_CELLS = 2_000_000


def ratios(
    numerators: Sequence[float], denominators: Sequence[float], *, draws: int = DRAWS, seed: int = 0
) -> list[float]:
    """Return sum of numerators over sum of denominators of each of ``draws`` resamples of the clusters.

    A weighted mean has weight times value above and the weight below. A resample whose denominators sum
    to 0 gives infinity (or NaN for 0 / 0).
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    first, second = _sums(above, below, draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(x) for x in first / second]


def sums(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> list[float]:
    """Return the sum of each resample of the clusters."""
    v = np.asarray(values, dtype=np.float64)
    return [float(x) for x in _sums(v, v, draws, seed)[0]]


def maxima(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> list[float]:
    """Return the maximum of each resample of the clusters (of clusters' maxima)."""
    v = np.asarray(values, dtype=np.float64)
    return [float(x) for rows in _indices(len(v), draws, seed) for x in v[rows].max(axis=1)]


def share_beyond(figures: Sequence[float], limit: float, *, ceiling: bool) -> float:
    """Return the share of ``figures`` on the wrong side of ``limit``; NaN counts as not broken."""
    x = np.asarray(figures, dtype=np.float64)
    broken = x > limit if ceiling else x < limit
    return float(np.mean(broken)) if len(x) else 0.0


def quantile(figures: Sequence[float], q: float) -> float:
    """Return the q-quantile of ``figures`` without NaN."""
    return float(np.nanquantile(np.asarray(figures, dtype=np.float64), q))


def _sums(a: Floats, b: Floats, draws: int, seed: int) -> tuple[Floats, Floats]:
    first, second = [], []
    for rows in _indices(len(a), draws, seed):
        first.append(a[rows].sum(axis=1))
        second.append(b[rows].sum(axis=1))
    return np.concatenate(first), np.concatenate(second)


def _indices(n: int, draws: int, seed: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Resample indices in blocks, so that many cases need no large array."""
    rng = np.random.default_rng(seed)
    block = max(1, min(draws, _BLOCK_CELLS // max(n, 1)))
    sizes = [block] * (draws // block) + ([draws % block] if draws % block else [])
    return [rng.integers(0, n, size=(size, n)) for size in sizes]
