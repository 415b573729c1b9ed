"""The outcome: exit code, verdict, sentence, notes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pytest_llmwatch import gate
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.model import Cost, Problem, Run

Any_ = Callable[..., Any]
GOOD = "[cost]\nrun_usd = 1\n"
BAD = "[tokens]\nrun_total = 1\n"


def outcome(budget: str, run: Run, *, tests_failed: int = 0, today: date = date(2026, 6, 1)) -> gate.Conclusion:
    parsed = parse_budget(budget)
    return gate.conclude(run, parsed, gate.judge(run, parsed, today=today), tests_failed=tests_failed)


@pytest.fixture
def run(run_of: Any_, call: Any_) -> Run:
    return run_of([call(i) for i in range(3)])


def test_pass_fail_and_warn(run: Run) -> None:
    good = outcome(GOOD, run)
    assert (good.verdict, good.exit_code) == ("pass", 0)
    bad = outcome(GOOD + BAD, run)
    assert (bad.verdict, bad.exit_code) == ("fail", 1)
    assert bad.sentence == "tokens.run_total 360 is over 1 (3 calls)"
    several = outcome(BAD + "max_output = 1\n", run)
    assert several.sentence == "2 of 2 rules broke: tokens.run_total, tokens.max_output"
    warned = outcome("[cost]\nrun_usd = { warn = 0.001, fail = 1 }", run)
    assert (warned.verdict, warned.exit_code) == ("warn", 0)
    assert warned.sentence == "no rule broke; 1 of 1 rule warns: cost.run_usd"


def test_no_rules(run: Run) -> None:
    assert (outcome("", run).verdict, outcome("", run).exit_code) == ("none", 0)


def test_inconclusive_by_policy(run: Run) -> None:
    rule = "[latency]\np99 = 2\n"
    assert (outcome(rule, run).verdict, outcome(rule, run).exit_code) == ("inconclusive", 0)
    strict = outcome('[gate]\ninconclusive = "fail"\n' + rule, run)
    assert (strict.verdict, strict.exit_code) == ("fail", 1)
    lenient = outcome('[gate]\ninconclusive = "pass"\n' + rule + GOOD, run)
    assert (lenient.verdict, lenient.exit_code) == ("pass", 0)
    assert "inconclusive rules pass by [gate] inconclusive" in lenient.notes


def test_nothing_measured_is_7(run_of: Any_, run: Run) -> None:
    empty = run_of()
    end = outcome(GOOD, empty)
    assert (end.verdict, end.exit_code) == ("error", 7)
    assert "no call was captured" in end.sentence
    assert outcome("[gate]\nallow_empty = true\n" + GOOD, empty).exit_code == 0
    assert outcome('[gate]\nallow_empty = true\ninconclusive = "fail"\n' + GOOD, empty).exit_code == 0
    assert outcome('[gate]\ninconclusive = "fail"\n' + GOOD, empty).exit_code == 7
    assert outcome("[retrieval]\nempty_rate = 0.1", run).exit_code == 7
    assert outcome("[retrieval]\nempty_rate = 0.1\n" + GOOD, run).exit_code == 0


def test_a_scope_without_a_match_is_7(run: Run) -> None:
    scoped = '[scope."feature:x".cost]\nrun_usd = 1\n'
    assert outcome(GOOD + scoped, run).exit_code == 7
    assert outcome("[gate]\nallow_empty = true\n" + GOOD + scoped, run).exit_code == 0
    assert outcome(BAD + scoped, run).exit_code == 1


def test_unenforceable_is_7_unless_something_failed(run_of: Any_, call: Any_) -> None:
    run = run_of([call(0), call(1, cost=Cost())])
    end = outcome(GOOD, run)
    assert (end.verdict, end.exit_code) == ("error", 7)
    assert "unenforceable" in end.sentence
    assert outcome(GOOD + BAD, run).exit_code == 1
    assert outcome('[gate]\ninconclusive = "fail"\n' + GOOD, run).exit_code == 7
    assert outcome("[gate]\nallow_empty = true\n" + GOOD, run).exit_code == 7


def test_infrastructure_is_7_only_where_nothing_ever_answered(run_of: Any_, call: Any_) -> None:
    problem = Problem("infrastructure", "the endpoint refuses connections")
    dead = run_of([call(0, status="error", cost=Cost())], problems=(problem,))
    end = outcome(GOOD + "[errors]\nrate = 0", dead)
    assert (end.verdict, end.exit_code) == ("error", 7)
    assert "refuses connections" in end.sentence
    verdicts = gate.judge(dead, parse_budget(GOOD), today=date(2026, 1, 1))
    assert verdicts[0].reason == "infrastructure"
    alive = run_of([call(0, status="error"), call(1)], problems=(problem,))
    assert outcome("[errors]\nrate = 0", alive).exit_code == 1
    assert outcome(GOOD, run_of(problems=(problem,))).exit_code == 7
    # without a problem of that kind, failed calls are just failed calls
    assert outcome("[errors]\nrate = 0", run_of([call(0, status="error")])).exit_code == 1


def test_exit_code_maps_every_failure_of_the_gate(run: Run, run_of: Any_) -> None:
    mapped = "[gate]\nexit_code = 3\n"
    assert outcome(mapped + BAD, run).exit_code == 3
    assert outcome(mapped + GOOD, run_of()).exit_code == 3
    assert outcome(mapped + GOOD, run).exit_code == 0


def test_failed_tests_come_before_7(run: Run, run_of: Any_) -> None:
    assert outcome(GOOD, run, tests_failed=2).exit_code == 1
    assert "2 tests failed" in outcome(GOOD, run, tests_failed=2).sentence
    assert outcome(GOOD, run_of(), tests_failed=1).exit_code == 1


def test_drift_without_a_baseline_never_fails(run: Run) -> None:
    strict = '[gate]\ninconclusive = "fail"\n' + GOOD + '[drift]\nmetrics = ["relevance", "latency"]\n'
    end = outcome(strict, run)
    assert (end.verdict, end.exit_code) == ("pass", 0)
    assert any("no baseline" in note for note in end.notes)
    verdicts = gate.judge(run, parse_budget(strict), today=date(2026, 1, 1))
    assert [(v.rule, v.reason, v.layer) for v in verdicts[1:]] == [
        ("drift.relevance", "not_measured", "quality"),
        ("drift.latency", "not_measured", "availability"),
    ]
    assert outcome("[drift]", run).exit_code == 0


WAIVED = BAD + '[[waiver]]\nrule = "tokens.run_total"\nreason = "migration"\nexpires = 2026-06-01\n'


def test_a_waiver_holds_through_its_last_day(run: Run) -> None:
    end = outcome(WAIVED, run, today=date(2026, 6, 1))
    assert (end.verdict, end.exit_code) == ("warn", 0)
    assert "tokens.run_total is waived until 2026-06-01: migration" in end.notes
    expired = outcome(WAIVED, run, today=date(2026, 6, 2))
    assert (expired.verdict, expired.exit_code) == ("fail", 1)
    assert "the waiver of tokens.run_total expired on 2026-06-01; the rule applies again" in expired.notes
    kept = outcome(WAIVED.replace("run_total = 1\n", "run_total = 1000\n"), run)
    assert (kept.verdict, kept.notes) == ("pass", ())


def test_a_partial_run_is_noted(run_of: Any_, call: Any_) -> None:
    end = outcome(GOOD, run_of([call(0)], partial=True, partial_reason="-k refund"))
    assert "partial run (-k refund)" in end.notes[0]


def test_alpha_is_given_to_the_tests_that_were_made(run: Run) -> None:
    assert outcome(GOOD, run).alpha_by_family == {}
    one = outcome("[latency]\np50 = 2", run).alpha_by_family
    assert one == {"latency": pytest.approx(0.01)}
    two = outcome("[gate]\nalpha = 0.05\n[latency]\np50 = 2\n[errors]\nrate = 0.1", run).alpha_by_family
    assert sum(two.values()) == pytest.approx(0.05)
    assert two["latency"] / two["errors"] == pytest.approx(0.2 / 0.15)
    budget = parse_budget("[latency]\np50 = 2\n[errors]\nrate = { warn = 0.1 }")
    assert gate.alpha_by_family(budget) == {"latency": pytest.approx(0.01)}
