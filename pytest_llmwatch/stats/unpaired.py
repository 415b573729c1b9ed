"""Two groups without a common case: permutation of the group labels over cases, or over clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln, logsumexp, stdtrit

from pytest_llmwatch.stats.samples import Floats

DRAWS = 9_999
_BLOCK_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """What two groups say: ``drop`` = mean of the baseline minus mean of the candidate, positive = worse.

    ``n`` are the units (cases or clusters) of both groups; ``ci`` is two-sided 95 % and ``upper`` the one-sided
    95 % upper bound of the drop (Welch's); ``p`` is one-sided for worse, by permutation or, where all values are 0
    or 1, Fisher's exact test. ``spread`` is the standard error of the drop.
    """

    n: tuple[int, int]
    drop: float
    ci: tuple[float, float]
    upper: float
    p: float
    spread: float


def compare(
    baseline: Sequence[tuple[str, float]],
    candidate: Sequence[tuple[str, float]],
    *,
    seed: int,
    draws: int = DRAWS,
    higher_is_worse: bool = False,
) -> Difference:
    """Compare two groups of (cluster, value); values of one cluster are averaged and move together.

    Raises:
        ValueError: A group is empty.
    """
    sign = -1.0 if higher_is_worse else 1.0
    before, after = sign * _units(baseline), sign * _units(candidate)
    if not len(before) or not len(after):
        raise ValueError("a group without values cannot be compared")
    drop = float(before.mean() - after.mean())
    spread, freedom = _welch(before, after)
    wide, one = (float(stdtrit(freedom, q)) * spread if spread else 0.0 for q in (0.975, 0.95))
    values = np.concatenate([before, after]) * sign
    if np.isin(values, (0.0, 1.0)).all():
        hits = values if higher_is_worse else 1 - values
        p = fisher_greater(int(hits[len(before) :].sum()), len(after), int(hits[: len(before)].sum()), len(before))
    else:
        p = _permuted(before, after, seed, draws)
    return Difference((len(before), len(after)), drop, (drop - wide, drop + wide), drop + one, p, spread)


def fisher_greater(k: int, n: int, k_before: int, n_before: int) -> float:
    """Return P(X >= k) of Fisher's exact test: events k of n against k_before of n_before, the margins fixed."""
    events = k + k_before
    low, high = max(k, events - n_before, 0), min(n, events)
    x = np.arange(low, high + 1)
    logs = _log_comb(n, x) + _log_comb(n_before, events - x) - _log_comb(n + n_before, np.array([events]))
    return min(1.0, float(np.exp(logsumexp(logs)))) if len(x) else 0.0


def _log_comb(n: int, k: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    return np.asarray(-np.log(n + 1) - betaln(n - k + 1, k + 1) if n else -gammaln(k + 1.0), dtype=np.float64)


def _units(rows: Sequence[tuple[str, float]]) -> Floats:
    groups: dict[str, list[float]] = {}
    for cluster, value in rows:
        if not math.isnan(value):
            groups.setdefault(cluster, []).append(value)
    return np.array([math.fsum(v) / len(v) for v in groups.values()], dtype=np.float64)


def _welch(before: Floats, after: Floats) -> tuple[float, float]:
    if len(before) < 2 or len(after) < 2:
        return math.inf, 1.0
    a, b = before.var(ddof=1) / len(before), after.var(ddof=1) / len(after)
    if a + b == 0:
        return 0.0, 1.0
    freedom = (a + b) ** 2 / (a**2 / (len(before) - 1) + b**2 / (len(after) - 1))
    return math.sqrt(a + b), float(freedom)


def _permuted(before: Floats, after: Floats, seed: int, draws: int) -> float:
    rng = np.random.default_rng(seed)
    values = np.concatenate([before, after])
    n, k = len(values), len(after)
    observed = round(float(after.sum()), 9)
    hits, done = 1, 1  # the observed labelling counts
    block = max(1, _BLOCK_CELLS // n)
    while done < draws:
        size = min(block, draws - done)
        keys = rng.random((size, n))
        chosen = np.argpartition(keys, k - 1, axis=1)[:, :k] if k < n else np.tile(np.arange(n), (size, 1))
        hits += int((np.round(values[chosen].sum(axis=1), 9) <= observed).sum())
        done += size
    return hits / draws
