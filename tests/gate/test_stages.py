"""Figures of stages, and scopes that are about one."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.measure import aggregates, figure
from pytest_llmwatch.measure_slice import Slices, is_empty
from pytest_llmwatch.measure_stages import stages
from pytest_llmwatch.model import Call, CaseResult, Cost, Run, Span, UserOutcome


def at(seconds: float) -> str:
    return f"2026-01-02T03:04:{seconds:06.3f}Z"


def span(task: int, name: str, start: float, latency: float | None, parent: str = "", **more: Any) -> Span:
    return Span(
        f"{task}-{name}-{start}",
        name,
        nodeid=f"t::{task}",
        time=at(start),
        latency=latency,
        parent_id=f"{task}-{parent}" if parent else None,
        **more,
    )


def run_of(spans: list[Span], calls: list[Call] | None = None, **result: Any) -> Run:
    calls = calls or []
    nodes = dict.fromkeys(x.nodeid or "" for x in (*spans, *calls))
    results = tuple(
        CaseResult(node, call_ids=tuple(c.id for c in calls if c.nodeid == node), **result) for node in nodes
    )
    return Run("r", "", calls=tuple(calls), results=results, spans=tuple(spans))


def rag(task: int, retrieve: float, write: float) -> list[Span]:
    return [
        span(task, "answer", 0, retrieve + write + 0.1),
        span(task, "retrieve", 0, retrieve, "answer-0"),
        span(task, "write", retrieve, write, "answer-0"),
    ]


def test_the_slow_tail_tells_which_stage_makes_it(  # 40 tasks: the slowest two are slow in retrieval
) -> None:
    spans = [s for i in range(38) for s in rag(i, 0.1, 0.8)]
    spans += [s for i in (38, 39) for s in rag(i, 4.0, 0.9)]
    found = {s.name: s for s in stages(run_of(spans))}
    assert list(found) == ["retrieve", "write", "answer"]
    assert [found[name].tail_share for name in found] == pytest.approx([0.8, 0.18, 0.02])
    assert found["retrieve"].n == 40
    assert found["retrieve"].p50 == 0.1
    # the control: without the two, writing takes most of it
    calm = stages(run_of(spans[: 38 * 3]))
    assert (calm[0].name, calm[0].tail_share) == ("write", pytest.approx(0.8))


def test_what_runs_at_once_counts_once_inside_and_what_is_unknown_does_not_count() -> None:
    spans = [
        span(0, "all", 0, 2.0),
        span(0, "part", 0, 1.5, "all-0"),
        span(0, "part", 0.5, 1.5, "all-0", error="ValueError"),
        span(0, "lost", 0, None, "all-0"),
    ]
    found = {s.name: s for s in stages(run_of(spans))}
    assert found["all"].tail_share == 0  # its parts fill it
    assert found["part"].tail_share == pytest.approx(1.5)  # more than 1: they ran at the same time
    assert found["part"].errors == 1
    assert (found["lost"].n, found["lost"].p50) == (1, None)


def test_labelled_calls_are_stages_where_there_are_no_spans() -> None:
    calls = [
        Call("a", nodeid="t::0", stage="plan", latency=1.0, time=at(0)),
        Call("b", nodeid="t::0", stage="write", latency=3.0, time=at(1)),
        Call("c", nodeid="t::0", latency=4.0, time=at(4)),
    ]
    found = {s.name: s for s in stages(run_of([], calls))}
    assert {name: s.tail_share for name, s in found.items()} == pytest.approx({"write": 3 / 8, "plan": 1 / 8})
    assert aggregates(run_of([], calls))["stages"]["plan"]["p95"] == 1.0
    assert "stages" not in aggregates(run_of([], [Call("a", nodeid="t::0")]))
    assert stages(Run("r", "")) == ()


def value(run: Run, text: str) -> Any:
    limit = parse_budget(text, "budget.toml").limits[0]
    return figure(limit, Slices(run).of(limit.scope))


def nested() -> Run:
    spans = [
        span(0, "answer", 0, 2.0),
        span(0, "plan", 0, 1.5, "answer-0"),
        span(1, "answer", 0, 9.0),
        span(1, "plan", 0, 0.01, "answer-0", error="ValueError"),
        span(2, "plan", 0, 5.0, error="ReadTimeout"),
        span(2, "plan", 6, None, ),
    ]  # fmt: skip
    calls = [
        Call("in-plan", nodeid="t::0", parent_id="0-plan-0", stage="plan", latency=1.0, cost=Cost(0.25)),
        Call("in-answer", nodeid="t::1", parent_id="1-answer-0", stage="answer", latency=8.0, cost=Cost(0.5)),
        Call("outside", nodeid="t::1", latency=20.0, cost=Cost(4.0)),
    ]
    return run_of(spans, calls)


def test_a_stage_scope_judges_spans_by_time_and_the_calls_inside_by_all_else() -> None:
    run = nested()
    plan = value(run, '[scope."stage:plan".latency]\nmax = 1')
    # an error that cut it short does not count, a timeout does; one without a time is told
    assert (plan.value, plan.n, plan.noun) == (5.0, 2, "span")
    assert "1 span without a recorded time" in plan.why
    assert plan.worst == ("in-plan",)
    answer = value(run, '[scope."stage:answer".latency]\np95 = 1')
    assert answer.n == 2
    assert answer.worst == ("in-answer", "in-plan")
    assert value(run, '[scope."stage:answer".cost]\nrun_usd = 1').value == 0.75
    assert value(run, '[scope."stage:pl*".cost]\nrun_usd = 1').value == 0.25
    assert value(run, "[latency]\nmax = 1").value == 20.0


def test_a_stage_without_spans_is_judged_by_its_calls() -> None:
    calls = [Call(str(i), nodeid="t::0", stage="plan", latency=float(i)) for i in range(3)]
    found = value(run_of([], calls), '[scope."stage:plan".latency]\nmax = 1')
    assert (found.value, found.noun) == (2.0, "call")
    assert Slices(run_of([], calls)).of(None).calls
    nothing = parse_budget('[scope."stage:other".latency]\nmax = 1', "budget.toml").limits[0]
    assert Slices(run_of([], calls)).of(nothing.scope).empty


def test_other_scopes_leave_out_spans_that_are_labelled_as_something_else() -> None:
    spans = [span(0, name, 0, 1.0, labels={"feature": name} if name != "c" else {}) for name in "abc"]
    calls = [Call("x", nodeid="t::0", feature="a")]
    limit = parse_budget('[scope."feature:a".cost]\nrun_usd = 1', "budget.toml").limits[0]
    assert [s.name for s in Slices(run_of(spans, calls)).of(limit.scope).spans] == ["a", "c"]


def test_metrics_and_outcomes_count_without_a_call() -> None:
    told = [
        CaseResult("t::0", metrics={"stars": (5.0, 1.0)}, user_outcome=UserOutcome(success=True)),
        CaseResult("t::1", metrics={"stars": (3.0,)}, user_outcome=UserOutcome(success=False)),
    ]
    run = Run("r", "", results=tuple(told))
    assert not is_empty(run)
    assert is_empty(Run("r", "", results=(CaseResult("t::0"),)))
    assert value(run, "[metric.stars]\nmean = 1").value == 3.0
    assert value(run, "[metric.stars]\nmin = 1").value == 1.0
    assert value(run, "[outcome]\nsuccess_rate = 1").value == 0.5
    # a test's own values win over the copy at its last call
    call = Call("c", nodeid="t::0", metrics={"stars": 1.0})
    with_call = Run(
        "r", "", calls=(call,), results=(CaseResult("t::0", call_ids=("c",), metrics={"stars": (5.0, 1.0)}),)
    )
    assert value(with_call, "[metric.stars]\nmean = 1").n == 2
    # and a test that only has spans is no test of an answer
    only = run_of([span(0, "a", 0, 1.0)])
    assert value(only, "[quality]\npass_rate = 1").value is None
