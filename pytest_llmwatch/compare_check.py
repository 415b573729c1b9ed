"""How often one baseline would call an unchanged build worse."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from pytest_llmwatch.compare_alpha import split_alpha
from pytest_llmwatch.compare_samples import Samples, metric_named
from pytest_llmwatch.stats import permutation
from pytest_llmwatch.stats.samples import Pair, logs

_DRAWS = 999


def false_alarms(base: Samples, *, alpha: float, builds: int, seed: str) -> dict[str, Any]:
    """Return the share of ``builds`` simulated unchanged builds that any family calls worse at its share of alpha.

    Each build draws one of a case's repeats, all metrics of it together, and moves it away from the case's mean by
    sqrt(K/(K - 1)); K = 1 cannot be resampled, so such cases are left out. None where nothing can be resampled.
    """
    metrics = [metric_named(m) for m in base.metrics()]
    shares = split_alpha(alpha, {m.family for m in metrics})
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    tables = {}
    for family in shares:
        members = [m for m in metrics if m.family == family]
        pairs = []
        for key in sorted(base.cases, key=str):
            columns = [base.values.get(m.name, {}).get(key, []) for m in members]
            length = max(map(len, columns), default=0)
            if length >= 2:
                rows = [[c[i] if i < len(c) else None for c in columns] for i in range(length)]
                table = np.array([[math.nan if v is None else v for v in row] for row in rows])
                pairs.append(Pair(table, table[:1], base.clusters[key], base.weights.get(key, 1.0)))
        if pairs:
            tables[family] = (members, logs(pairs) if members[0].shape == "ratio" else pairs)
    if not tables:
        return {"builds": 0, "false_alarms": None}
    # P must reach the smallest share of alpha at all
    draws = max(_DRAWS, math.ceil(4 / min(shares.values())))
    red = 0
    for build in range(builds):
        red += any(
            _red([_drawn(p, rng) for p in pairs], members[0].higher_is_worse, shares[family], build, draws)
            for family, (members, pairs) in tables.items()
        )
    return {"builds": builds, "false_alarms": red / builds, "alpha": alpha}


def _red(pairs: list[Pair], higher_is_worse: bool, alpha: float, seed: int, draws: int) -> bool:
    found = permutation.compare(pairs, seed=seed, draws=draws, higher_is_worse=higher_is_worse)
    return min(c.p_adjusted for c in found) <= alpha


def _drawn(p: Pair, rng: np.random.Generator) -> Pair:
    k = len(p.baseline)
    with np.errstate(invalid="ignore"):
        centre = np.nanmean(p.baseline, axis=0) if not np.isnan(p.baseline).all(axis=0).any() else p.baseline[0]
    row = p.baseline[int(rng.integers(k))]
    return Pair(p.baseline, (centre + (row - centre) * math.sqrt(k / (k - 1)))[None, :], p.cluster, p.weight)
