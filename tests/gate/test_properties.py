"""What holds of every run and every rule."""

from __future__ import annotations

import math
import random
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch import gate
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.budget_grammar import RULES
from pytest_llmwatch.model import Attempt, Call, CaseResult, Cost, Run, Score, Usage, UserOutcome, Verdict

BUDGET = parse_budget(
    "\n".join(
        f"[{table}]\n" + "\n".join(f"{s.key} = 0.5" for s in RULES if s.table == table)
        for table in dict.fromkeys(s.table for s in RULES)
    )
    + "\n[quality]\nrelevance = 0.5\npass_rate = 0.5\nparse_success = 0.5\ncomposite = { warn = 0.7, fail = 0.5 }"
    + '\n[metric.m]\nmean = 1\np95 = 1\nmin = 1\n[scope."feature:a".latency]\np50 = 0.5\np95 = { warn = 0.4 }'
    + "\n[drift]\n"
)
TODAY = date(2026, 6, 1)

maybe = st.none() | st.floats(0, 5)
calls = st.builds(
    Call,
    id=st.uuids().map(str),
    latency=maybe,
    ttft=maybe,
    status=st.sampled_from(["success", "success", "success", "error", "timeout", "rate_limited", "incomplete"]),
    cost=st.builds(Cost, usd=st.none() | st.floats(0, 1)),
    usage=st.builds(
        Usage, input_tokens=st.none() | st.integers(0, 9), output_tokens=st.none() | st.integers(0, 9)
    ),
    attempts=st.lists(st.builds(Attempt, status_code=st.sampled_from([200, 429, None])), max_size=2).map(tuple),
    time=st.sampled_from([None, "2026-06-01T00:00:00.000Z", "2026-06-01T00:01:00.000Z", "garbage"]),
    feature=st.sampled_from([None, "a", "b"]),
    metrics=st.dictionaries(st.just("m"), st.floats(0, 2)),
    outcome=st.builds(UserOutcome, success=st.none() | st.booleans()),
    operation=st.sampled_from(["chat", "tool"]),
)
scores = st.lists(
    st.builds(
        Score, name=st.sampled_from(["relevance", "composite", "json", "pii"]), value=st.none() | st.floats(0, 1)
    ),
    max_size=3,
    unique_by=lambda s: s.name,
).map(tuple)


@st.composite
def runs(draw: Any) -> Run:
    made = draw(st.lists(calls, max_size=12, unique_by=lambda c: c.id))
    results = tuple(
        CaseResult(
            nodeid=f"t[{i}]",
            set=draw(st.sampled_from([None, "s"])),
            case=f"c{i % 4}",
            attempt=draw(st.sampled_from([0, 0, 1])),
            weight=draw(st.sampled_from([0.0, 1.0, 2.5])),
            outcome=draw(st.sampled_from(["passed", "failed", "error", "skipped", "not_run"])),
            scores=draw(scores),
            call_ids=(c.id,),
        )
        for i, c in enumerate(made[::2])
    )
    return Run("r", "2026-06-01T00:00:00.000Z", calls=tuple(made), results=results)


def judged(run: Run) -> dict[str, Verdict]:
    return {v.rule: v for v in gate.judge(run, BUDGET, today=TODAY, spent={"day": 0.1})}


@settings(max_examples=40)
@given(runs())
def test_verdicts_agree_with_their_numbers(run: Run) -> None:
    for v in judged(run).values():
        assert v.because.startswith(v.rule)
        assert "\n" not in v.because
        assert "nan" not in v.because
        assert v.line is not None
        if v.verdict == "inconclusive":
            assert v.reason is not None
        if v.verdict == "fail":
            assert v.tier == "fail"
            assert v.observed is not None
            assert v.limit is not None
            assert v.action
            assert v.observed < v.limit if v.direction == "floor" else v.observed > v.limit
            assert v.kind == "fact" or (v.p_adjusted is not None and v.p_adjusted <= 0.01)
        if v.verdict == "pass" and v.limit is not None:
            assert v.observed is not None
            assert v.observed >= v.limit if v.direction == "floor" else v.observed <= v.limit
        assert len(v.worst) <= 20
        assert set(v.worst) <= {c.id for c in run.calls}


@settings(max_examples=40)
@given(runs(), st.integers(0, 9))
def test_the_order_of_calls_does_not_matter(run: Run, seed: int) -> None:
    shuffled = list(run.calls)
    random.Random(seed).shuffle(shuffled)
    other = judged(Run(run.run_id, run.time, calls=tuple(shuffled), results=run.results))
    for rule, v in judged(run).items():
        assert (v.verdict, v.n, v.reason) == (other[rule].verdict, other[rule].n, other[rule].reason)
        if v.observed is not None and math.isfinite(v.observed):
            assert other[rule].observed is not None
            assert math.isclose(v.observed, other[rule].observed, rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=40)
@given(runs())
def test_a_conclusion_is_always_reached(run: Run) -> None:
    verdicts = tuple(judged(run).values())
    end = gate.conclude(run, BUDGET, verdicts)
    failed = any(v.verdict == "fail" for v in verdicts)
    assert end.exit_code in (0, 1, 7)
    assert (end.exit_code == 1) == failed
    assert (end.verdict == "fail") == failed
    assert (end.verdict == "error") == (end.exit_code == 7)
    assert end.sentence
    assert "\n" not in end.sentence
    assert sum(end.alpha_by_family.values()) <= 0.01 + 1e-12
    assert gate.flake_rates(run, BUDGET) == gate.flake_rates(run, BUDGET)
