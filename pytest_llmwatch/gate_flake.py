"""How often would each fact turn an unchanged build red? Bootstrap over cases."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from pytest_llmwatch.budget_types import Budget, Limit
from pytest_llmwatch.measure import figure as figure_of
from pytest_llmwatch.measure import slice_of
from pytest_llmwatch.measure_figure import Figure
from pytest_llmwatch.model import Run


def flake_rates(
    run: Run, budget: Budget, *, spent: Mapping[str, float] | None = None
) -> list[tuple[str, float | None]]:
    """Return (rule, share of unchanged builds it would turn red) for each fact with a fail tier.

    The share is that of 2,000 resamples of the run's cases (whole clusters) whose figure breaks the limit;
    None where the run has no figure, or one that has no distribution over cases (a rate per minute).
    Seeded by the rule's name: the same run gives the same shares.
    """
    out: list[tuple[str, float | None]] = []
    for limit in budget.limits:
        if limit.kind != "fact" or limit.fail is None:
            continue
        figure = figure_of(limit, slice_of(run, limit.scope), spent=spent)
        out.append((limit.rule, flake_rate(limit, figure)))
    return out


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
    seed = zlib.crc32(rule.encode())
    if figure.shape == "ratio":
        return bootstrap.ratios([sum(v) for v in above.values()], list(below.values()), seed=seed)
    if figure.shape == "sum":
        return bootstrap.sums([sum(v) for v in above.values()], seed=seed)
    if figure.shape == "max":
        return bootstrap.maxima([max(v) for v in above.values()], seed=seed)
    return [-x for x in bootstrap.maxima([-min(v) for v in above.values()], seed=seed)]
