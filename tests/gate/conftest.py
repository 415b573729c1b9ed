"""Builders of runs, and one step from a budget's text to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pytest

from pytest_llmwatch import gate
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.model import Call, CaseResult, Cost, Run, Score, Usage, Verdict

TODAY = date(2026, 6, 1)

Judge = Callable[..., dict[str, Verdict]]


def build_call(i: int = 0, **fields: Any) -> Call:
    usd = fields.pop("usd", 0.001)
    usage = fields.pop("usage", Usage(100, 20, 120))
    return Call(id=fields.pop("id", f"c{i:04d}"), **({"latency": 1.0, "cost": Cost(usd), "usage": usage} | fields))


def build_result(i: int = 0, **fields: Any) -> CaseResult:
    scores = fields.pop("scores", {})
    named = tuple(
        s if isinstance(s, Score) else Score(name, s, label=None if s is not None else "not_assessable")
        for name, s in scores.items()
    )
    base = {"nodeid": f"t.py::t[{i}]", "set": "s", "case": f"case{i}", "call_ids": (f"c{i:04d}",)}
    return CaseResult(scores=named, **(base | fields))


@pytest.fixture
def call() -> Callable[..., Call]:
    """Build one call: ``call(i, latency=..., usd=..., ...)``."""
    return build_call


@pytest.fixture
def result() -> Callable[..., CaseResult]:
    """Build one execution: ``result(i, scores={"relevance": .5}, ...)``."""
    return build_result


@pytest.fixture
def run_of() -> Callable[..., Run]:
    """Build a run of calls and results."""

    def build(calls: Any = (), results: Any = (), **fields: Any) -> Run:
        return Run("r1", "2026-06-01T00:00:00.000Z", calls=tuple(calls), results=tuple(results), **fields)

    return build


@pytest.fixture
def judge(run_of: Callable[..., Run]) -> Judge:
    """Judge a run (or calls and results) by a budget given as text; verdicts by rule."""

    def run_it(
        budget: str, calls: Any = (), results: Any = (), *, spent: Mapping[str, float] | None = None, **fields: Any
    ) -> dict[str, Verdict]:
        parsed = parse_budget(budget, extra_scorers=["tone"])
        run = calls if isinstance(calls, Run) else run_of(calls, results, **fields)
        return {v.rule: v for v in gate.judge(run, parsed, today=TODAY, spent=spent)}

    return run_it
