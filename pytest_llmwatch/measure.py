"""From a run to numbers: the totals of run.json, and each rule's figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_llmwatch import (
    measure_agent,
    measure_agent_summary,
    measure_judge,
    measure_retrieval,
    measure_stages,
    measure_throughput,
)
from pytest_llmwatch import measure_calls as calls_
from pytest_llmwatch import measure_quality as quality_
from pytest_llmwatch.budget_types import Limit, Scope
from pytest_llmwatch.measure_figure import Figure, Unit
from pytest_llmwatch.measure_slice import Slice, matches, mean, quantile, slice_of
from pytest_llmwatch.model import Call, CaseResult, Run

__all__ = ["Figure", "Slice", "Unit", "aggregates", "figure", "matches", "quantile", "slice_of"]


def figure(limit: Limit, part: Slice, *, spent: Mapping[str, float] | None = None) -> Figure:
    """Return what ``part`` of a run says for ``limit``.

    Args:
        limit: The rule.
        part: The slice of the run that its scope names.
        spent: USD already spent before this run, by ``day`` and ``month`` (``feature:x.day`` for a
            scope), from the store; None without a store.
    """
    match limit.table:
        case "latency":
            return calls_.latency(limit, part)
        case "throughput":
            return measure_throughput.throughput(limit, part)
        case "cost":
            return calls_.cost(limit, part, spent)
        case "tokens":
            return calls_.tokens(limit, part)
        case "errors":
            return calls_.errors(limit, part)
        case "metric":
            return calls_.metric(limit, part)
        case "safety":
            return quality_.safety(limit, part)
        case "outcome":
            return quality_.outcome(limit, part)
        case "agent":
            return measure_agent.agent(limit, part)
        case "judge":
            return measure_judge.judge(limit, part)
        case "retrieval":
            return measure_retrieval.retrieval(limit, part)
        case _:
            return quality_.quality(limit, part)


def aggregates(run: Run, scope: Scope | None = None) -> dict[str, Any]:
    """Return the totals of a run as ``run.json`` holds them.

    Sums are over known values; ``cost_usd``, ``input_tokens`` and ``output_tokens`` are None where calls
    were made and none of them tells. ``unpriced`` and ``no_usage`` count the calls that do not. ``agents`` is
    there only where tools were called or documents retrieved, ``stages`` where there are spans or stages of calls,
    ``judge`` where a judge was asked: its calls are in no other total.
    """
    part = slice_of(run, scope)
    calls = part.calls
    results = [t.result for t in part.tasks if t.result is not None and t.first_attempt]
    agents = measure_agent_summary.summary(part)
    judges = measure_judge.summary(part)
    return {
        "calls": len(calls),
        "failed": sum(1 for c in calls if c.failed),
        "cost_usd": _total(calls, [c.cost.usd for c in calls]),
        "unpriced": sum(1 for c in calls if calls_.is_unpriced(c)),
        "input_tokens": _whole(_total(calls, [c.usage.input_tokens for c in calls])),
        "output_tokens": _whole(_total(calls, [c.usage.output_tokens for c in calls])),
        "cached_tokens": sum(c.usage.cached_tokens or 0 for c in calls),
        "no_usage": sum(1 for c in calls if calls_.tokens_of(c) is None),
        "latency": _spread(v for v, _ in calls_.timed(calls)),
        "ttft": _spread(v for v, _ in calls_.timed(calls, "ttft")),
        "attempts": sum(max(1, len(c.attempts)) for c in calls),
        "retries": sum(c.retries for c in calls),
        "rate_limited": sum(calls_.rate_limited(c) for c in calls),
        "timeouts": sum(1 for c in calls if c.status == "timeout"),
        "incomplete": sum(1 for c in calls if c.status == "incomplete"),
        "capture": {
            mode: sum(1 for c in calls if c.capture_mode == mode) for mode in ("live", "recorded", "replayed")
        },
        "executions": len(results),
        "passed": sum(1 for r in results if r.passed),
        "cases": len({t.key for t in part.tasks if t.result is not None and t.result.case is not None}),
        "scores": _scores(part, results),
        **({"agents": agents} if agents is not None else {}),
        **({"judge": judges} if judges is not None else {}),
        **({"stages": _stages(run)} if scope is None and _has_stages(run) else {}),
    }


def _has_stages(run: Run) -> bool:
    return bool(run.spans) or any(c.stage is not None for c in run.calls)


def _stages(run: Run) -> dict[str, Any]:
    return {
        s.name: {"n": s.n, "errors": s.errors, "p50": s.p50, "p95": s.p95, "tail_share": s.tail_share}
        for s in measure_stages.stages(run)
    }


def _total(calls: Iterable[Call], values: list[Any]) -> float | None:
    known = [v for v in values if v is not None]
    if not known and any(True for _ in calls):
        return None
    return math.fsum(known)


def _whole(x: float | None) -> int | None:
    return None if x is None else int(x)


def _spread(values: Iterable[float]) -> dict[str, Any]:
    items = list(values)
    return {
        "mean": mean(items),
        "p50": quantile(items, 0.50),
        "p95": quantile(items, 0.95),
        "p99": quantile(items, 0.99),
        "n": len(items),
    }


def _scores(part: Slice, results: list[CaseResult]) -> dict[str, Any]:
    names = dict.fromkeys(s.name for r in results for s in r.scores)
    out = {}
    for name in names:
        found = quality_.score_mean(part, name)
        given = [s for r in results if (s := r.score(name)) is not None]
        out[name] = {
            "mean": found.value,
            "cases": found.n_cases or 0,
            "n": sum(1 for s in given if s.value is not None),
            "not_assessable": sum(1 for s in given if s.value is None),
        }
    return out
