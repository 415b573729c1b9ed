"""How often one frozen reference would call an unchanged build worse, from its own repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_llmwatch.stats import permutation
from pytest_llmwatch.stats.samples import Pair, Repeats, logs

_DRAWS = 999


@dataclass(frozen=True, slots=True)
class Family:
    """Scorers that are tested together at ``alpha``: for each case its repeats, its cluster and its weight."""

    cases: Sequence[tuple[Repeats, str, float]]
    alpha: float
    higher_is_worse: bool = False
    ratio: bool = False


def false_alarms(families: Sequence[Family], *, builds: int, seed: int) -> float | None:
    """Return the share of simulated unchanged builds in which any family is red.

    Each build draws one of a case's repeats, all scorers of it together, and moves it away from the case's mean
    by sqrt(K/(K - 1)), since the mean is that of the same repeats. One repeat cannot be resampled: such cases are
    left out; None where none is left.
    """
    tables = [(f, pairs) for f in families if (pairs := _pairs(f))]
    if not tables:
        return None
    rng = np.random.default_rng(seed)
    # there must be enough permutations to reach the smallest share of alpha at all
    draws = max(_DRAWS, math.ceil(4 / min(f.alpha for f, _ in tables)))
    red = sum(
        any(_red([_drawn(p, rng) for p in pairs], f, build, draws) for f, pairs in tables)
        for build in range(builds)
    )
    return red / builds


def _pairs(family: Family) -> list[Pair]:
    out = []
    for rows, cluster, weight in family.cases:
        if len(rows) >= 2:
            table = np.array([[math.nan if v is None else v for v in row] for row in rows], dtype=np.float64)
            out.append(Pair(table, table[:1], cluster, weight))
    return logs(out) if family.ratio else out


def _red(pairs: list[Pair], family: Family, seed: int, draws: int) -> bool:
    found = permutation.compare(pairs, seed=seed, draws=draws, higher_is_worse=family.higher_is_worse)
    return min(c.p_adjusted for c in found) <= family.alpha


def _drawn(p: Pair, rng: np.random.Generator) -> Pair:
    k = len(p.baseline)
    known = ~np.isnan(p.baseline)
    counts = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, p.baseline, 0.0).sum(axis=0) / counts
    row = p.baseline[int(rng.integers(k))]
    return Pair(p.baseline, (centre + (row - centre) * math.sqrt(k / (k - 1)))[None, :], p.cluster, p.weight)
