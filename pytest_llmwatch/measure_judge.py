"""Figures of what judges cost and how often they fail: the rules of ``[judge]``, apart from the application's."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pytest_llmwatch import measure_calls as calls_
from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.measure_figure import Figure, Unit, not_measured, worst_ids
from pytest_llmwatch.measure_slice import Slice
from pytest_llmwatch.model import Score
from pytest_llmwatch.scorers.asking import VERSION

_NOBODY = "no judge was asked"


def judge(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[judge]`` rule."""
    if limit.key == "error_rate":
        return _error_rate(part)
    if not part.judged:
        return not_measured(_NOBODY)
    if limit.key == "run_usd":
        return calls_.cost(limit, dataclasses.replace(part, calls=part.judged), None)
    units = tuple(Unit(part.cluster(c), 1.0) for c in part.judged)
    return Figure(float(len(part.judged)), n=len(part.judged), shape="sum", units=units)


def summary(part: Slice) -> dict[str, Any] | None:
    """Return what judges did, for the totals of a run; None where none was asked."""
    calls = part.judged
    if not calls:
        return None
    known = [c.cost.usd for c in calls if c.cost.usd is not None]
    return {
        "calls": len(calls),
        "failed": sum(c.failed for c in calls),
        "cost_usd": math.fsum(known) if known else None,
        "unpriced": sum(map(calls_.is_unpriced, calls)),
        "models": sorted({c.response_model or c.model or "?" for c in calls}),
        "error_rate": _error_rate(part).value,
    }


def _error_rate(part: Slice) -> Figure:
    rows = []
    for task in part.tasks:
        for score in task.result.scores if task.result is not None and task.first_attempt else ():
            if VERSION.fullmatch(score.version) and _was_asked(score):
                rows.append((task, score.label == "error"))
    if not rows:
        return not_measured(_NOBODY)
    k = sum(lost for _task, lost in rows)
    return Figure(
        k / len(rows),
        n=len(rows),
        noun="judgement",
        k=k,
        worst=worst_ids(t.calls[-1].id for t, lost in rows if lost and t.calls),
        shape="ratio",
        units=tuple(Unit(t.cluster, float(lost)) for t, lost in rows),
    )


def _was_asked(score: Score) -> bool:
    return score.value is not None or score.label == "error"
