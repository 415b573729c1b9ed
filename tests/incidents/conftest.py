"""Builders: a judged report of calls and results, and a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import pipeline
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.model import Attempt, Call, CaseResult, Cost, Problem, Report, Run, Score, Usage


def build_call(i: int, **fields: Any) -> Call:
    base: dict[str, Any] = {
        "nodeid": f"t.py::t[{i}]",
        "latency": 0.5,
        "usage": Usage(100, 20, 120),
        "cost": Cost(0.001),
        "model": "m",
        "feature": "support",
        "prompt_version": "p1",
        "attempts": (Attempt(200, 0.5),),
        "time": f"2026-03-01T10:{i // 60 % 60:02d}:{i % 60:02d}.000Z",
    }
    return Call(id=f"c{i:05d}", **(base | fields))


def build_result(i: int, **scores: float) -> CaseResult:
    found = tuple(Score(name, value) for name, value in scores.items())
    return CaseResult(f"t.py::t[{i}]", scores=found, call_ids=(f"c{i:05d}",), case=f"case{i}")


@pytest.fixture
def call() -> Callable[..., Call]:
    """Build one call: ``call(3, latency=...)``."""
    return build_call


@pytest.fixture
def result() -> Callable[..., CaseResult]:
    """Build one result: ``result(3, json=0.0)``."""
    return build_result


@pytest.fixture
def judged() -> Callable[..., Report]:
    """Judge calls and results by a budget given as text."""

    def build(
        budget: str,
        calls: Any = (),
        results: Any = (),
        *,
        run_id: str = "r1",
        problems: tuple[Problem, ...] = (),
        time: str = "2026-03-01T10:00:00.000Z",
        **fields: Any,
    ) -> Report:
        fields.setdefault("environment", {"branch": "main"})
        run = Run(run_id, time, tuple(calls), tuple(results), problems=problems, **fields)
        return pipeline.judge(run, parse_budget(budget, display="budget.toml"))

    return build


@pytest.fixture(params=["folder", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind that needs no server."""
    return str(tmp_path / "store") if request.param == "folder" else f"sqlite:///{tmp_path / 'runs.db'}"
