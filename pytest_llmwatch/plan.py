"""Before money is spent: what a comparison can detect, and what it takes to detect more. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_llmwatch.compare_alpha import split_alpha
from pytest_llmwatch.compare_samples import Samples, metric_named
from pytest_llmwatch.model import Call, Run

ASSUMED = {"score": 0.30, "rate": 0.30, "ratio": 0.30}
"""Standard deviation of a paired difference (of logarithms for ratios) where no repeats tell: a noisy judge's."""

COMMON = (1, 2, 3, 5, 10)
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Need:
    """What one metric needs, or has.

    ``sd`` is the standard deviation of a case's paired difference at one repeat a side; ``assumed`` where the
    data do not tell it. ``detects`` is the drop found with the asked power by the cases at hand, ``power`` the
    chance that they find the drop asked for, ``cases`` how many it needs, ``enough`` the fewest repeats (of 1, 2,
    3, 5, 10) that do with the cases at hand, None where more cases are needed.
    """

    metric: str
    sd: float
    assumed: bool
    alpha: float
    detects: float
    power: float
    cases: int
    enough: int | None


@dataclass(frozen=True, slots=True)
class Price:
    """What one execution of a case takes: calls, US dollars, seconds; None = not known."""

    calls: float
    usd: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for each metric, on so many cases with ``repeats`` (K_b, K_c), and what an execution takes."""

    cases: int
    repeats: tuple[int, int]
    drop: float
    asked: float
    needs: tuple[Need, ...]
    price: Price

    def cost(self, cases: int, repeats: int) -> tuple[float, float | None, float | None]:
        """Return calls, US dollars and seconds (one call at a time) of a build."""
        n = cases * repeats
        p = self.price
        return (
            n * p.calls,
            None if p.usd is None else n * p.usd,
            None if p.seconds is None else n * p.seconds,
        )


def plan(
    side: Samples,
    price: Price,
    *,
    drop: float,
    power: float,
    alpha: float,
    baseline_repeats: int,
    candidate_repeats: int,
) -> Plan:
    """Return what finding ``drop`` (absolute for scores and rates, relative for the rest) takes.

    Args:
        side: What was measured so far: a baseline or a run; its repeats tell the noise.
        price: Of one execution.
        drop: Smallest drop that must be found.
        power: Chance to find it.
        alpha: False alarms of the whole build; each family has its share.
        baseline_repeats: K_b.
        candidate_repeats: K_c of a build.
    """
    names = [m for m in side.metrics() if m != "error"]
    shares = split_alpha(alpha, {metric_named(m).family for m in names})
    repeats = (baseline_repeats, candidate_repeats)
    needs = tuple(
        _need(side, m, drop=drop, power=power, level=shares[metric_named(m).family], repeats=repeats)
        for m in names
    )
    return Plan(len(side.cases), repeats, drop, power, needs, price)


def in_parts(made: Plan, looks: int) -> tuple[tuple[str, float, float, float], ...]:
    """Return what looking after each part of the cases would take: one repeat a case, stopping at the first proof.

    A row for each metric: its name, the chance to find the drop, and the shares of a build's calls that a build
    with that drop and an unchanged one take on average.
    """
    from pytest_llmwatch.stats import by_case
    from pytest_llmwatch.stats.power import variance_factor

    out = []
    for need in made.needs:
        size = math.log1p(made.drop) if metric_named(need.metric).shape == "ratio" else made.drop
        factor = variance_factor(made.repeats[0], 1)
        found, share = by_case.expected(need.sd, size, made.cases, alpha=need.alpha, factor=factor, looks=looks)
        _, quiet = by_case.expected(need.sd, 0.0, made.cases, alpha=need.alpha, factor=factor, looks=looks)
        out.append((need.metric, found, share, quiet))
    return tuple(out)


def _need(side: Samples, name: str, *, drop: float, power: float, level: float, repeats: tuple[int, int]) -> Need:
    from pytest_llmwatch.stats.power import cases_needed, power_of, quantiles, variance_factor

    kb, kc = repeats
    metric = metric_named(name)
    found = paired_sd(side, name)
    sd = ASSUMED[metric.shape] if found is None else found
    count = max(1, sum(1 for row in side.values[name].values() if any(v is not None for v in row)))
    ratio = metric.shape == "ratio"
    size = math.log1p(drop) if ratio else drop
    detects = quantiles(level, power) * sd * math.sqrt(variance_factor(kb, kc) / count)
    chances = {
        k: power_of(sd, size, count, alpha=level, baseline_repeats=kb, candidate_repeats=k) for k in (*COMMON, kc)
    }
    return Need(
        metric=name,
        sd=sd,
        assumed=found is None,
        alpha=level,
        detects=math.expm1(detects) if ratio else detects,
        power=chances[kc],
        cases=cases_needed(sd, size, alpha=level, power=power, baseline_repeats=kb, candidate_repeats=kc),
        enough=next((k for k in COMMON if chances[k] >= power), None),
    )


def paired_sd(side: Samples, metric: str) -> float | None:
    """Return the standard deviation of a paired difference at one repeat, from variances within cases.

    sqrt(2) times the pooled standard deviation of a case's repeats (of logarithms for ratios); None without any
    case of two repeats.
    """
    ratio = metric_named(metric).shape == "ratio"
    squares, freedom = 0.0, 0
    for row in side.values.get(metric, {}).values():
        known = [v for v in row if v is not None and (not ratio or v > 0)]
        values = [math.log(v) for v in known] if ratio else known
        if len(values) >= 2:
            centre = math.fsum(values) / len(values)
            squares += math.fsum((v - centre) ** 2 for v in values)
            freedom += len(values) - 1
    if not freedom:
        return None
    sd = math.sqrt(2 * squares / freedom)
    return sd if sd > _ROUNDING else 0.0


def price_of(run: Run | None) -> Price:
    """Return what one execution took in a run: means over executions that made calls."""
    if run is None:
        return Price(1.0, None, None)
    by_id: Mapping[str, Call] = {c.id: c for c in run.calls}
    executions = [[by_id[i] for i in r.call_ids if i in by_id] for r in run.results if r.call_ids]
    calls = [c for e in executions for c in e]
    if not calls:
        return Price(1.0, None, None)
    usd = [c.cost.usd for c in calls if c.cost.usd is not None]
    seconds = [c.latency for c in calls if c.latency is not None]
    per = len(calls) / len(executions)
    return Price(
        per,
        per * math.fsum(usd) / len(usd) if usd else None,
        per * math.fsum(seconds) / len(seconds) if seconds else None,
    )
