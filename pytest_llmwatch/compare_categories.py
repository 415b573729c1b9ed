"""From categories of answers to what the statistics say of them, in the shape that becomes a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_llmwatch.compare_found import Found
from pytest_llmwatch.compare_samples import Metric, Samples
from pytest_llmwatch.measure_slice import Key
from pytest_llmwatch.stats import categories, rates

_SHOWN = 3


def paired(
    base: Samples, candidate: Samples, keys: Sequence[Key], metrics: Sequence[Metric], seed: int
) -> list[Found]:
    """Compare the categorical metrics over the common cases; p values adjusted by Holm's procedure."""
    out = []
    for i, metric in enumerate(metrics):
        found = _one(base, candidate, keys, metric, seed + i)
        if found is not None:
            out.append(found)
    adjusted = rates.holm([f.p for f in out])
    return [replace(f, p_adjusted=p) for f, p in zip(out, adjusted, strict=True)]


def _one(base: Samples, candidate: Samples, keys: Sequence[Key], metric: Metric, seed: int) -> Found | None:
    used, cases = [], []
    for key in keys:
        before, after = _known(base, metric, key), _known(candidate, metric, key)
        if before and after:
            used.append(key)
            cases.append((before, after, base.clusters.get(key) or candidate.clusters[key]))
    if not cases:
        return None
    shift = categories.compare(cases, seed=seed)
    changed = [k for k, (b, a, _) in zip(used, cases, strict=True) if sorted(set(b)) != sorted(set(a))]
    return Found(
        metric=metric,
        n=shift.n,
        drop=shift.moved,
        low=shift.ci[0],
        high=shift.ci[1],
        upper=shift.upper,
        p=shift.p,
        p_adjusted=shift.p,
        spread=(shift.upper - shift.moved) / 1.645,
        attainable=shift.attainable,
        units=len({c for _, _, c in cases}),
        paired=True,
        baseline=None,
        candidate=None,
        missing=candidate.errored / candidate.executions if candidate.executions else 0.0,
        worst=tuple((k, 0.0, 1.0) for k in changed[:5]),
        repeats=min((len(b), len(a)) for b, a, _ in cases),
        unmoved=not shift.moved,
        told=", ".join(f"{name} {b:.0%} → {a:.0%}" for name, b, a in shift.shares[:_SHOWN] if b != a),
    )


def _known(side: Samples, metric: Metric, key: Key) -> list[str]:
    return [v for v in side.labels.get(metric.name, {}).get(key, ()) if v is not None]
