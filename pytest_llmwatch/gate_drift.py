"""The seam of ``[drift]``: comparison with a frozen baseline.

Each declared metric gets a rule of its own from the start, so a budget can name it, waive it, and report
it; without a baseline it is "not measured", which never fails a build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_llmwatch.budget_types import Budget, Drift, Family
from pytest_llmwatch.model import Baseline, Layer, Run, Verdict

_FAMILIES: dict[str, tuple[Family, Layer]] = {
    "latency": ("latency", "availability"),
    "ttft": ("latency", "availability"),
    "error": ("errors", "availability"),
    "cost_usd": ("cost", "cost"),
    "input_tokens": ("cost", "cost"),
    "output_tokens": ("cost", "cost"),
}


def is_drift(verdict: Verdict) -> bool:
    """Whether a verdict compares with a baseline, rather than with a limit."""
    prefix = f"scope.{verdict.scope}." if verdict.scope is not None else ""
    return verdict.rule.removeprefix(prefix).partition(".")[0] == "drift"


def judge(run: Run, budget: Budget, baselines: Mapping[str, Baseline]) -> tuple[Verdict, ...]:
    """Return the verdicts of every ``[drift]`` in the budget.

    Args:
        run: The candidate.
        budget: Its ``drifts`` name metrics, margin and smallest effect.
        baselines: Frozen references by golden set.
    """
    return tuple(v for drift in budget.drifts for v in _not_measured(run, drift, baselines))


def _not_measured(run: Run, drift: Drift, baselines: Mapping[str, Baseline]) -> Iterator[Verdict]:
    sets = {r.set for r in run.results if r.set is not None}
    known = sorted(sets & baselines.keys())
    why = "no baseline" if not known else f"no comparison with the baseline of {', '.join(known)} was made"
    prefix = f"scope.{drift.scope.text}." if drift.scope is not None else ""
    for metric in drift.metrics or ("",):
        name = f"drift.{metric}" if metric else "drift"
        family, layer = _FAMILIES.get(metric, ("quality", "quality"))
        yield Verdict(
            rule=prefix + name,
            metric=metric or "drift",
            verdict="inconclusive",
            layer=layer,
            kind="test",
            because=f"{prefix}{name} is not measured: {why}",
            family=family,
            reason="not_measured",
            scope=drift.scope.text if drift.scope is not None else None,
            line=drift.line,
        )
