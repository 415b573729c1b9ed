"""How often would each fact turn an unchanged build red? Bootstrap over cases."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_llmwatch.budget_types import Budget
from pytest_llmwatch.measure import figure as figure_of
from pytest_llmwatch.measure_flake import flake_rate
from pytest_llmwatch.measure_slice import Slices
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
    slices = Slices(run)
    for limit in budget.limits:
        if limit.kind != "fact" or limit.fail is None:
            continue
        figure = figure_of(limit, slices.of(limit.scope), spent=spent)
        out.append((limit.rule, flake_rate(limit, figure)))
    return out
