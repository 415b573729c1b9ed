"""(Run, Budget) -> Verdicts -> Conclusion. Pure: no clock, no file, no network.

The chance that a build with nothing wrong goes red is at most ``[gate] alpha`` over all tests together:
alpha is split over the families of tests that this run really has, and Holm's procedure keeps each
family's share over its several tests. Facts compare, and spend none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from pytest_llmwatch import gate_calibrated, gate_drift, gate_rounds
from pytest_llmwatch import gate_judge as judging
from pytest_llmwatch.budget_types import Budget, Family, Limit
from pytest_llmwatch.compare_alpha import split_alpha
from pytest_llmwatch.gate_conclude import Conclusion, conclude
from pytest_llmwatch.gate_flake import flake_rates
from pytest_llmwatch.measure import figure as figure_of
from pytest_llmwatch.measure_figure import Figure, not_measured
from pytest_llmwatch.measure_slice import Slices, is_empty
from pytest_llmwatch.model import Baseline, Run, Verdict, Waiver

__all__ = ["Conclusion", "alpha_by_family", "conclude", "flake_rates", "judge"]


def judge(
    run: Run,
    budget: Budget,
    *,
    today: date,
    baselines: Mapping[str, Baseline] | None = None,
    spent: Mapping[str, float] | None = None,
) -> tuple[Verdict, ...]:
    """Return one verdict per rule, in the order of budget.toml.

    Args:
        run: What was measured.
        budget: The rules.
        today: Decides which waivers still hold (the expiry day included).
        baselines: Frozen references by golden set, for ``[drift]``.
        spent: USD already spent before this run by ``day`` and ``month`` (``feature:x.day`` for a scope);
            None without a store, then such limits are not measured.

    A run of adaptive repeats (``environment["rounds"]``) is judged at what its last look may spend of alpha.
    """

    def at_level(part: Run, alpha: float) -> tuple[Verdict, ...]:
        at = replace(budget, gate=replace(budget.gate, alpha=alpha))
        return _judge(part, at, today=today, baselines=baselines, spent=spent)

    looks = gate_rounds.looks_of(run)
    if looks is None:
        return at_level(run, budget.gate.alpha)
    return gate_rounds.judge(run, looks, budget.gate.alpha, at_level)


def _judge(
    run: Run,
    budget: Budget,
    *,
    today: date,
    baselines: Mapping[str, Baseline] | None,
    spent: Mapping[str, float] | None,
) -> tuple[Verdict, ...]:
    # what was asked beside the run is nearer to it than anything that was frozen before
    baselines = {str(b.set): b for b in run.concurrent} or baselines
    down = _infrastructure(run)
    slices = Slices(run)
    decided: dict[str, Verdict] = {}
    tests: list[tuple[Limit, Figure]] = []
    for limit in budget.limits:
        part = slices.of(limit.scope)
        if down is not None:
            nothing = Figure(None)
            decided[limit.rule] = judging.unsettled(limit, nothing, "infrastructure", f"is not measured: {down}")
            continue
        elsewhere = f"{limit.scope.text}.day" in (spent or {}) if limit.scope is not None else False
        summed = limit.key in ("day_usd", "month_usd") and elsewhere  # other runs' calls count as well
        if limit.scope is not None and part.empty and not is_empty(run) and not summed:
            because = f"matches nothing: no call of this run has {limit.scope.kind} {limit.scope.value}"
            decided[limit.rule] = judging.unsettled(limit, Figure(None), "no_match", because)
            continue
        figure = not_measured("no call was captured") if is_empty(run) else figure_of(limit, part, spent=spent)
        early = judging.preliminary(limit, figure)
        if early is not None:
            decided[limit.rule] = early
        elif limit.kind == "fact":
            decided[limit.rule] = judging.fact(limit, figure, budget.cost)
        else:
            tests.append((limit, figure))
    sides = gate_drift.prepare(run, budget, (baselines or {}) if down is None else {})
    families: set[str | None] = {x.family for x, _ in tests if x.fail is not None}
    drifting = gate_drift.families(sides)
    shares = split_alpha(budget.gate.alpha, families | drifting)
    # a family that tests both limits and drift gives each half of what it may spend
    shares = {f: share / 2 if f in families and f in drifting else share for f, share in shares.items()}
    drifts = gate_drift.judge(run, budget, sides, baselines or {}, alphas=shares, today=today)
    decided |= _tests(tests, shares)
    verdicts = (*(decided[x.rule] for x in budget.limits), *drifts)
    judges = gate_calibrated.judges_of(run)
    waivers = {w.rule: w for w in budget.waivers}
    return tuple(_waive(gate_calibrated.soften(v, judges, budget), waivers.get(v.rule), today) for v in verdicts)


def alpha_by_family(budget: Budget, verdicts: Sequence[Verdict] = ()) -> dict[str, float]:
    """Return what each family of tests may spend of ``[gate] alpha``.

    With ``verdicts``: of the tests that were made; without: of those that the budget asks for.
    """
    if verdicts:
        return split_alpha(budget.gate.alpha, {v.family for v in verdicts if v.p_adjusted is not None})
    asked = {x.family for x in budget.limits if x.kind == "test" and x.fail is not None}
    return split_alpha(budget.gate.alpha, asked)


def _tests(tests: list[tuple[Limit, Figure]], shares: Mapping[str, float]) -> dict[str, Verdict]:
    from pytest_llmwatch.stats import rates

    found = {x.rule: judging.evidence(x, f) for x, f in tests}
    adjusted: dict[str, float] = {}
    families: dict[Family, list[str]] = {}
    for limit, _ in tests:
        if limit.fail is not None:
            families.setdefault(limit.family, []).append(limit.rule)
    for rules in families.values():
        raw = [p for r in rules if (p := found[r].p_fail) is not None]
        adjusted.update(zip(rules, rates.holm(raw), strict=True))
    return {
        x.rule: judging.tested(x, f, found[x.rule], adjusted.get(x.rule), shares.get(x.family, judging.WARN_ALPHA))
        for x, f in tests
    }


def _infrastructure(run: Run) -> str | None:
    """Return the first infrastructure problem of a run in which no call ever succeeded, else None."""
    if any(c.status in ("success", "incomplete") for c in run.calls):
        return None
    return next((p.message for p in run.problems if p.kind == "infrastructure"), None)


def _waive(verdict: Verdict, waiver: Waiver | None, today: date) -> Verdict:
    """Turn a waived failure into a warning; attach an expired waiver, so that it can be told."""
    if waiver is None:
        return verdict
    if waiver.expires < today.isoformat():
        return replace(verdict, waiver=waiver)
    blocked = verdict.verdict == "inconclusive" and verdict.reason in ("unenforceable", "no_match", "not_measured")
    if verdict.verdict != "fail" and not blocked:
        return verdict
    return replace(
        verdict,
        verdict="warn",
        reason="waived",
        waiver=waiver,
        because=f"{verdict.because}; waived until {waiver.expires}: {waiver.reason}",
    )
