"""From samples to the statistics: paired by case, or by group where no case is common."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pytest_llmwatch.compare_found import Found
from pytest_llmwatch.compare_samples import Metric, Samples
from pytest_llmwatch.measure_slice import Key
from pytest_llmwatch.stats import permutation, rates
from pytest_llmwatch.stats import sessions as session_effects
from pytest_llmwatch.stats import unpaired as groups
from pytest_llmwatch.stats.samples import Pair, logs, pair

_WORST = 5


def paired(
    base: Samples,
    candidate: Samples,
    keys: Sequence[Key],
    metrics: Sequence[Metric],
    seed: int,
    *,
    spread: Mapping[str, float] = MappingProxyType({}),
    sessions: int = 0,
) -> list[Found]:
    """Compare the metrics of one family over the common cases, adjusted over all of them."""
    pairs, used = [], []
    for key in keys:
        made = _pair(base, candidate, key, metrics)
        if made is not None:
            pairs.append(made)
            used.append(key)
    usable = [
        m
        for m in metrics
        if any(_known(base, m, k) and _known(candidate, m, k) for k in used)
    ]  # fmt: skip
    if not usable:
        return []
    if len(usable) < len(metrics):
        return paired(base, candidate, keys, usable, seed, spread=spread, sessions=sessions)
    ratio = metrics[0].shape == "ratio"
    if ratio:
        pairs = logs(pairs)
    found = permutation.compare(
        pairs,
        seed=seed,
        higher_is_worse=metrics[0].higher_is_worse,
        session=[spread.get(m.name, 0.0) for m in metrics],
        sessions=sessions,
    )
    return [
        _found(m, c, (base, candidate), used, repeats=min(_shape(p) for p in pairs))
        for m, c in zip(metrics, found, strict=True)
    ]


def _shape(p: Pair) -> tuple[int, int]:
    return len(p.baseline), len(p.candidate)


def _pair(base: Samples, candidate: Samples, key: Key, metrics: Sequence[Metric]) -> Pair | None:
    sides = []
    for side in (base, candidate):
        columns = [side.values.get(m.name, {}).get(key, []) for m in metrics]
        length = max((len(c) for c in columns), default=0)
        if not length:
            return None
        sides.append([[c[i] if i < len(c) else None for c in columns] for i in range(length)])
    cluster = base.clusters.get(key) or candidate.clusters[key]
    return pair(sides[0], sides[1], cluster=cluster, weight=base.weights.get(key, 1.0))


def _known(side: Samples, metric: Metric, key: Key) -> bool:
    return any(v is not None for v in side.values.get(metric.name, {}).get(key, ()))


def _found(
    metric: Metric,
    c: permutation.Comparison,
    sides: tuple[Samples, Samples],
    keys: Sequence[Key],
    *,
    repeats: tuple[int, int],
) -> Found:
    base, candidate = sides
    turn = _expm1 if metric.shape == "ratio" else float

    common = [k for k in keys if _known(base, metric, k) and _known(candidate, metric, k)]
    return Found(
        metric=metric,
        n=c.n,
        drop=turn(c.drop),
        low=turn(c.ci[0]),
        high=turn(c.ci[1]),
        upper=turn(c.upper),
        p=c.p,
        p_adjusted=c.p_adjusted,
        spread=c.spread,
        attainable=c.attainable,
        units=c.units,
        paired=True,
        baseline=_centre(base, metric, common),
        candidate=_centre(candidate, metric, common),
        missing=_missing(candidate, metric, keys),
        worst=_worst(base, candidate, metric, common),
        repeats=repeats,
        unmoved=all(_case_mean(base, metric, k) == _case_mean(candidate, metric, k) for k in common),
    )


def _expm1(x: float) -> float:
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def _case_mean(side: Samples, metric: Metric, key: Key) -> float:
    known = [v for v in side.values.get(metric.name, {}).get(key, ()) if v is not None]
    return math.fsum(known) / len(known)


def _centre(side: Samples, metric: Metric, keys: Sequence[Key]) -> float | None:
    """Return the median of all values for times, else the weighted mean over cases of case means."""
    if metric.median:
        values = [v for k in keys for v in side.values[metric.name].get(k, ()) if v is not None]
        return plain.median(values) if values else None
    weight = math.fsum(side.weights.get(k, 1.0) for k in keys)
    if not keys or not weight:
        return None
    return math.fsum(side.weights.get(k, 1.0) * _case_mean(side, metric, k) for k in keys) / weight


def _missing(side: Samples, metric: Metric, keys: Sequence[Key]) -> float:
    if metric.family != "quality" or not side.executions:
        return 0.0
    return side.errored / side.executions if keys else 0.0


def _worst(
    base: Samples, candidate: Samples, metric: Metric, keys: Sequence[Key]
) -> tuple[tuple[Key, float, float], ...]:
    sign = 1.0 if metric.higher_is_worse else -1.0
    rows = [(k, _case_mean(base, metric, k), _case_mean(candidate, metric, k)) for k in keys]
    moved = [row for row in rows if sign * (row[2] - row[1]) > 1e-12]
    moved.sort(key=lambda row: (sign * (row[1] - row[2]), str(row[0])))
    return tuple(moved[:_WORST])


def unpaired(base: Samples, candidate: Samples, metrics: Sequence[Metric], seed: int) -> list[Found]:
    """Compare groups without a common case; p values adjusted over the family by Holm's procedure."""
    out = []
    for i, metric in enumerate(metrics):
        ratio = metric.shape == "ratio"
        before, after = (_rows(s, metric, ratio) for s in (base, candidate))
        if not before or not after:
            continue
        d = groups.compare(before, after, seed=seed + i, higher_is_worse=metric.higher_is_worse)
        turn = _expm1 if ratio else float
        out.append(
            Found(
                metric=metric,
                n=min(d.n),
                drop=turn(d.drop),
                low=turn(d.ci[0]),
                high=turn(d.ci[1]),
                upper=turn(d.upper),
                p=d.p,
                p_adjusted=d.p,
                spread=d.spread,
                attainable=1 / math.comb(sum(d.n), d.n[1]) if sum(d.n) < 60 else 0.0,
                units=min(d.n),
                paired=False,
                baseline=_centre(base, metric, _keys(base, metric)),
                candidate=_centre(candidate, metric, _keys(candidate, metric)),
                missing=_missing(candidate, metric, _keys(candidate, metric)),
            )
        )
    adjusted = rates.holm([f.p for f in out])
    return [replace(f, p_adjusted=p) for f, p in zip(out, adjusted, strict=True)]


def _keys(side: Samples, metric: Metric) -> list[Key]:
    return [k for k in side.values.get(metric.name, {}) if _known(side, metric, k)]


def _rows(side: Samples, metric: Metric, ratio: bool) -> list[tuple[str, float]]:
    out = []
    for key in _keys(side, metric):
        value = _case_mean(side, metric, key)
        if not ratio:
            out.append((side.clusters[key], value))
        elif value > 0:
            out.append((side.clusters[key], math.log(value)))
    return out


def session_spread(side: Samples, metric: Metric) -> float:
    """Return the standard deviation of a metric's mean between recording sessions (of its log for ratios)."""
    numbers = sorted({s for row in side.sessions.values() for s in row})
    if len(numbers) < 2:
        return 0.0
    keys = sorted(side.values.get(metric.name, {}), key=str)
    tables = [[_of_session(side, metric, k, n) for k in keys] for n in numbers]
    found = session_effects.of_lists(tables)
    return found.sd if found is not None else 0.0


def _of_session(side: Samples, metric: Metric, key: Key, number: int) -> list[float]:
    out = []
    for value, session in zip(side.values[metric.name][key], side.sessions[key], strict=False):
        if session == number and value is not None and (metric.shape != "ratio" or value > 0):
            out.append(math.log(value) if metric.shape == "ratio" else value)
    return out
