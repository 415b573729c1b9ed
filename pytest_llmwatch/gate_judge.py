"""One rule and its figure to a verdict: fail, warn, pass, inconclusive, the first that holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from pytest_llmwatch import gate_text as text
from pytest_llmwatch.budget_types import CostPolicy, Limit
from pytest_llmwatch.measure_figure import Figure
from pytest_llmwatch.model import Grade, Tier, Verdict
from pytest_llmwatch.operations import action

SUMS = frozenset({"run_usd", "day_usd", "month_usd", "per_hour_usd"})
MAX_MISSING = 0.10
PASS_LEVEL = 0.95
"""A test passes only if its one-sided upper bound at this level is inside the limit."""
WARN_ALPHA = 0.05
"""Evidence that a warn tier asks for: it never turns a build red, so it spends no alpha."""
POSSIBLE = 0.10
"""A breach of the fail limit at this (adjusted) p is possible but unproven: a warning."""

Why = Literal["not_measured", "unenforceable", "no_match", "infrastructure", "too_few", "missing_data", "critical"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a test says: p values against both tiers, the bound for a pass, the interval."""

    p_fail: float | None
    p_warn: float | None
    inside: bool
    bound: float | None
    ci: tuple[float | None, float | None]


_METRICS = {"latency": "latency", "cost": "cost_usd", "errors": "error"}


def metric_of(limit: Limit) -> str:
    """Return the metric's name as comparisons use it: a scorer's own name, ``latency``, ``cost_usd``, ...

    A limit on anything else is named by its rule without the scope.
    """
    if limit.table == "quality":
        return "passed" if limit.key == "pass_rate" else limit.key
    if limit.key.startswith("ttft"):
        return "ttft"
    if limit.table == "tokens" and limit.key in ("input_per_call", "output_per_call"):
        return "input_tokens" if limit.key.startswith("input") else "output_tokens"
    if limit.table in _METRICS and limit.key not in ("tokens_per_second", "retries_per_call"):
        return _METRICS[limit.table]
    return limit.metric


def verdict(limit: Limit, figure: Figure, grade: Grade, because: str, **more: Any) -> Verdict:
    """Return the verdict of one rule with everything that limit and figure already say."""
    told = grade in ("fail", "warn")
    fields: dict[str, Any] = {
        "family": limit.family,
        "unit": limit.unit,
        "direction": limit.direction,
        "observed": figure.value,
        "candidate": figure.value,
        "limit": limit.fail,
        "warn_limit": limit.warn,
        "tier": None,
        "scope": limit.scope.text if limit.scope is not None else None,
        "n": figure.n,
        "n_cases": figure.n_cases,
        "action": action(limit.table, limit.key) if told else None,
        "worst": figure.worst,
        "line": limit.line,
    }
    return Verdict(
        rule=limit.rule,
        metric=metric_of(limit),
        verdict=grade,
        layer=limit.layer,
        kind=limit.kind,
        because=because,
        **(fields | more),
    )


def unsettled(limit: Limit, figure: Figure, reason: Why, because: str, **more: Any) -> Verdict:
    """Return an inconclusive verdict with its reason."""
    return verdict(limit, figure, "inconclusive", f"{limit.rule} {because}", reason=reason, **more)


def preliminary(limit: Limit, figure: Figure) -> Verdict | None:
    """Return the verdict where no comparison is possible, else None."""
    if figure.reason == "unenforceable":
        known = figure.known
        if known is not None and limit.fail is not None and known > limit.fail and math.isfinite(known):
            broken = replace(figure, value=known, reason=None, why="")
            because = f"{text.broken(limit, broken)}, though {figure.why}"
            return verdict(limit, broken, "fail", because, tier="fail")
        so_far = f"; what is known comes to {text.value(known, limit)}" if known is not None else ""
        return unsettled(limit, figure, "unenforceable", f"is unenforceable: {figure.why}{so_far}")
    if figure.value is None or (figure.n == 0 and limit.table != "cost"):
        return unsettled(limit, figure, "not_measured", f"is not measured: {figure.why or 'no data'}")
    if limit.min_n is not None and figure.n < limit.min_n:
        asked = f"n={figure.n:,}, the budget asks for {limit.min_n:,}"
        seen = f"{text.value(figure.value, limit)} is inconclusive: {asked}"
        return unsettled(limit, figure, "too_few", seen, n_needed=limit.min_n)
    if figure.missing > MAX_MISSING:
        share = text.percent(figure.missing, MAX_MISSING)
        seen = (
            f"{text.value(figure.value, limit)} is inconclusive: {share} of the answers are missing ({figure.why})"
        )
        return unsettled(limit, figure, "missing_data", seen)
    return None


def fact(limit: Limit, figure: Figure, cost: CostPolicy) -> Verdict:
    """Compare this run's own unrounded figure with the limit."""
    assert figure.value is not None
    x = figure.value
    if limit.fail is not None and (_reaches(limit, x, limit.fail)):
        return verdict(limit, figure, "fail", text.broken(limit, figure), tier="fail")
    if limit.warn is not None and _reaches(limit, x, limit.warn):
        return verdict(limit, figure, "warn", text.warned(limit, figure), tier="warn")
    if limit.warn is None and limit.table == "cost" and limit.key in SUMS and limit.fail:
        return _share_of_sum(limit, figure, cost)
    return verdict(limit, figure, "pass", text.held(limit, figure))


def _reaches(limit: Limit, x: float, bound: float) -> bool:
    if limit.key in ("tpm_quota", "rpm_quota"):  # a share of a quota warns where it is reached
        return x >= bound
    return x < bound if limit.direction == "floor" else x > bound


def _share_of_sum(limit: Limit, figure: Figure, cost: CostPolicy) -> Verdict:
    assert figure.value is not None
    assert limit.fail is not None
    share = figure.value / limit.fail
    warn_limit = cost.warn_at * limit.fail
    if share >= cost.critical_at:
        because = text.share_used(limit, figure, share, critical=True)
        return verdict(
            limit,
            figure,
            "warn",
            because,
            tier="warn",
            reason="critical",
            warn_limit=cost.critical_at * limit.fail,
        )
    if share >= cost.warn_at:
        because = text.share_used(limit, figure, share, critical=False)
        return verdict(limit, figure, "warn", because, tier="warn", warn_limit=warn_limit)
    return verdict(limit, figure, "pass", text.held(limit, figure), warn_limit=warn_limit)


def evidence(limit: Limit, figure: Figure) -> Evidence:
    """Return what the exact test of a latency quantile or an error rate says."""
    return _rate_evidence(limit, figure) if limit.table == "errors" else _quantile_evidence(limit, figure)


def quantile_of(limit: Limit) -> float:
    """Return .95 for ``p95`` and ``ttft_p95``."""
    return int(limit.key.rpartition("p")[2]) / 100


def _rate_evidence(limit: Limit, figure: Figure) -> Evidence:
    from pytest_llmwatch.stats import rates

    k, n = figure.k or 0, figure.n
    bound = rates.upper_bound(k, n, PASS_LEVEL)
    inside = limit.fail if limit.fail is not None else limit.warn
    assert inside is not None
    return Evidence(
        p_fail=None if limit.fail is None else rates.binomial_greater(k, n, limit.fail),
        p_warn=None if limit.warn is None else rates.binomial_greater(k, n, limit.warn),
        # the bound is at the limit exactly where P(X <= k) is 5 %: decided on the probability, which is exact
        inside=inside >= 1 or rates.binomial_at_most(k, n, inside) <= 1 - PASS_LEVEL,
        bound=bound,
        ci=rates.clopper_pearson(k, n),
    )


def _quantile_evidence(limit: Limit, figure: Figure) -> Evidence:
    from pytest_llmwatch.stats import quantile

    q = quantile_of(limit)
    tests = {
        tier: quantile.against_ceiling(figure.values, q, bound)
        for tier, bound in (("fail", limit.fail), ("warn", limit.warn))
        if bound is not None
    }
    inside = tests.get("fail") or tests["warn"]
    return Evidence(
        p_fail=tests["fail"].p if "fail" in tests else None,
        p_warn=tests["warn"].p if "warn" in tests else None,
        inside=inside.p_inside <= 1 - PASS_LEVEL,
        bound=quantile.upper_bound(figure.values, q, PASS_LEVEL),
        ci=quantile.interval(figure.values, q),
    )


def tested(limit: Limit, figure: Figure, found: Evidence, p_adjusted: float | None, alpha: float) -> Verdict:
    """Return the verdict of a test.

    Args:
        limit: The rule.
        figure: The run's figure.
        found: What its test says.
        p_adjusted: Holm's p over the family's tests; None for a rule with a warn tier only.
        alpha: What the family may spend.
    """
    common: dict[str, Any] = {"ci": found.ci, "p": found.p_fail, "p_adjusted": p_adjusted}
    if limit.fail is None:
        common["p"] = found.p_warn
    if p_adjusted is not None and p_adjusted <= alpha:
        return verdict(limit, figure, "fail", text.proven(limit, figure, found, p_adjusted), tier="fail", **common)
    tier: Tier = "warn"
    if found.p_warn is not None and found.p_warn <= WARN_ALPHA:
        return verdict(limit, figure, "warn", text.warn_proven(limit, figure, found), tier=tier, **common)
    n_needed = needed(limit, figure, alpha)
    if p_adjusted is not None and p_adjusted <= POSSIBLE:
        because = text.unproven(limit, figure, p_adjusted, n_needed)
        return verdict(limit, figure, "warn", because, tier=tier, n_needed=n_needed, **common)
    if found.inside:
        return verdict(limit, figure, "pass", text.within(limit, figure, found), **common)
    because = text.open_question(limit, figure, found, n_needed)
    return verdict(limit, figure, "inconclusive", because, reason="too_few", n_needed=n_needed, **common)


def needed(limit: Limit, figure: Figure, alpha: float) -> int | None:
    """Return the n at which this rule would be settled with 80 % power, if the truth is as observed.

    For a quantile, "as observed" is the share of values over the limit. None where the share sits so near
    the limit that no affordable n settles it.
    """
    from pytest_llmwatch.stats import rates

    bound = limit.fail if limit.fail is not None else limit.warn
    assert bound is not None
    if limit.table == "errors":
        seen, allowed = (figure.k or 0) / figure.n, bound
    else:
        seen = sum(1 for v in figure.values if v > bound) / figure.n
        allowed = 1 - quantile_of(limit)
    if seen > allowed:
        return rates.n_to_fail(seen, allowed, alpha=alpha)
    return rates.n_to_pass(seen, allowed)
