"""The totals of run.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.measure import aggregates, quantile
from pytest_llmwatch.model import Attempt, Cost, Usage

Any_ = Callable[..., Any]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_quantile_is_numpys(values: list[float], q: float) -> None:
    assert quantile(values, q) == pytest.approx(float(np.quantile(values, q)), rel=1e-9, abs=1e-9)


def test_totals(run_of: Any_, call: Any_, result: Any_) -> None:
    calls = [
        call(0, latency=1.0, ttft=0.1),
        call(1, latency=3.0, cost=Cost(), attempts=(Attempt(status_code=429), Attempt(status_code=200))),
        call(2, latency=0.01, status="error", cost=Cost(), usage=Usage()),
        call(3, latency=None, capture_mode="replayed"),
    ]
    out = aggregates(run_of(calls, [result(0, scores={"relevance": 0.5}), result(1, outcome="failed")]))
    assert (out["calls"], out["failed"], out["unpriced"], out["retries"], out["rate_limited"]) == (4, 1, 1, 1, 1)
    assert out["cost_usd"] == pytest.approx(0.002)
    assert (out["input_tokens"], out["output_tokens"]) == (300, 60)
    assert out["latency"] == {"mean": 2.0, "p50": 2.0, "p95": 2.9, "p99": pytest.approx(2.98), "n": 2}
    assert out["ttft"]["n"] == 1
    assert (out["executions"], out["passed"], out["cases"]) == (2, 1, 2)
    assert out["capture"] == {"live": 3, "recorded": 0, "replayed": 1}
    assert out["scores"]["relevance"]["mean"] == 0.5


def test_unknown_is_none_and_nothing_is_zero(run_of: Any_, call: Any_) -> None:
    empty = aggregates(run_of())
    assert (empty["calls"], empty["cost_usd"], empty["input_tokens"]) == (0, 0.0, 0)
    assert empty["latency"] == {"mean": None, "p50": None, "p95": None, "p99": None, "n": 0}
    unknown = aggregates(run_of([call(0, cost=Cost(), usage=Usage())]))
    assert (unknown["cost_usd"], unknown["input_tokens"], unknown["unpriced"]) == (None, None, 1)
