"""How a figure would vary over builds in which nothing changed: bootstrap over cases, whole clusters."""

from __future__ import annotations

import zlib

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.measure_figure import Figure


def flake_rate(limit: Limit, figure: Figure) -> float | None:
    """Return the share of resampled builds in which ``figure`` would break the fail limit; None unknown."""
    from pytest_llmwatch.stats import bootstrap

    if limit.fail is None:
        return None
    figures = resample(limit.rule, figure)
    if figures is None:
        return None
    return bootstrap.share_beyond(figures, limit.fail, ceiling=limit.direction == "ceiling")


def resample(rule: str, figure: Figure) -> list[float] | None:
    """Return the figure of 2,000 resamples of clusters; None where it has no distribution over cases."""
    from pytest_llmwatch.stats import bootstrap

    if figure.value is None or not figure.units or figure.shape == "other":
        return None
    above: dict[str, list[float]] = {}
    below: dict[str, float] = {}
    for unit in figure.units:
        above.setdefault(unit.cluster, []).append(unit.above)
        below[unit.cluster] = below.get(unit.cluster, 0.0) + unit.below
    if len(above) < 2:  # one cluster resamples to itself and would claim certainty
        return None
    seed = zlib.crc32(rule.encode())
    if figure.shape == "ratio":
        return bootstrap.ratios([sum(v) for v in above.values()], list(below.values()), seed=seed)
    if figure.shape == "sum":
        return bootstrap.sums([sum(v) for v in above.values()], seed=seed)
    if figure.shape == "max":
        return bootstrap.maxima([max(v) for v in above.values()], seed=seed)
    return [-x for x in bootstrap.maxima([-min(v) for v in above.values()], seed=seed)]
