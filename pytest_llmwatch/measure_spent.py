"""What a run spent by feature, team, model and so on, so that day and month budgets of slices add up.

A store keeps sums by what calls say of themselves, not by the scopes of one budget: a scope that is written down
tomorrow finds what was spent today.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from pytest_llmwatch.budget_grammar import SCOPE_KINDS
from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.measure_slice import Slices, same
from pytest_llmwatch.model import JSON, Call, Run
from pytest_llmwatch.store.expense import Expense, Facets

_Sums = dict[str, dict[tuple[str, ...], list[float]]]


def facets(run: Run) -> dict[str, JSON]:
    """Return what the run's live calls cost by each kind of scope; a call counts once in each kind that it has."""
    slices = Slices(run)
    sums: _Sums = {}
    for task in slices.of(None).tasks:
        tags = task.result.tags if task.result is not None else ()
        for call in task.calls:
            if call.capture_mode == "replayed" or call.judging or not call.cost.usd:
                continue
            for kind in SCOPE_KINDS:
                values = _values(kind, call, slices, tags)
                if values:
                    sums.setdefault(kind, {}).setdefault(values, []).append(call.cost.usd)
    return _listed(sums)


def _listed(sums: _Sums) -> dict[str, JSON]:
    return {kind: [[list(v), math.fsum(usd)] for v, usd in sorted(rows.items())] for kind, rows in sums.items()}


def _values(kind: str, call: Call, slices: Slices, tags: Collection[str]) -> tuple[str, ...]:
    given: Iterable[str | None]
    if kind == "tag":
        given = (*call.tags, *tags)
    elif kind == "marker":
        given = call.markers
    elif kind == "model":
        given = (call.model, call.response_model)
    elif kind == "stage":
        given = slices.stages(call)
    else:
        given = (getattr(call, kind),)
    return tuple(sorted({v for v in given if v}))


def joined(*parts: Facets) -> dict[str, JSON]:
    """Return the sums of several facets."""
    sums: _Sums = {}
    for part in parts:
        for kind, rows in part.items():
            for values, usd in rows:
                sums.setdefault(kind, {}).setdefault(tuple(values), []).append(float(usd))
    return _listed(sums)


def less(whole: Facets, parts: Iterable[Facets]) -> dict[str, JSON]:
    """Return ``whole`` without what ``parts`` hold of it, never below 0."""
    negative = [{k: [[v, -usd] for v, usd in rows] for k, rows in part.items()} for part in parts]
    left = joined(whole, *negative)
    return {k: kept for k, rows in left.items() if (kept := [[v, usd] for v, usd in rows if usd > 1e-12])}


def of_scopes(
    expenses: Iterable[Expense], scopes: Iterable[Scope], day: str, without: Collection[str] = ()
) -> dict[str, float]:
    """Return what each scope cost on ``day`` and in its month, as ``feature:x.day`` and ``feature:x.month``.

    A sum that would leave money out, since a run did not note how its cost divides, is not there.
    """
    counted = [e for e in expenses if e.run not in without and e.day[:7] == day[:7] and e.usd > 0]
    spans = {"month": counted, "day": [e for e in counted if e.day == day]}
    out = {}
    for scope in dict.fromkeys(scopes):
        for name, rows in spans.items():
            if all(e.by is not None for e in rows):
                out[f"{scope.text}.{name}"] = math.fsum(_in(scope, e.by or {}) for e in rows)
    return out


def _in(scope: Scope, by: Facets) -> float:
    return math.fsum(
        float(usd)
        for values, usd in by.get(scope.kind, ())
        if any(same(v, scope.value) for v in values) or (scope.also is not None and scope.also in values)
    )
