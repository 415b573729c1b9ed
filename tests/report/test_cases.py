"""Worst cases, failures by reason, and repeats as one row."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from pytest_llmwatch.model import CaseResult, Run, Score, Verdict
from pytest_llmwatch.report import cases


def rule(name: str, **changes: object) -> Verdict:
    verdict = Verdict(name, name, "fail", "quality", "fact", "", direction="floor")
    return replace(verdict, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "scorer"),
    [("groundedness", "groundedness"), ("quality.groundedness", "groundedness"), ("safety.refusals", "refusal")],
)
def test_a_rule_knows_its_scorer_whichever_way_it_is_named(metric: str, scorer: str) -> None:
    assert cases.scorer_of(rule(metric)) == scorer
    assert cases.scorer_of(rule(metric, layer="cost")) is None


def test_the_gate_names_the_worst_and_else_the_lowest_scores_are() -> None:
    results = tuple(
        CaseResult(f"t::c{i}", scores=(Score("relevance", value),), call_ids=(f"id{i}",))
        for i, value in enumerate([0.9, 0.1, 1.0, 0.4])
    )
    run = Run("r", "2026-01-01T00:00:00Z", results=results)
    found = cases.worst_of(rule("quality.relevance"), run, cases.Index(run))
    assert [w.short for w in found] == ["c1", "c3", "c0"]
    named = cases.worst_of(rule("quality.relevance", worst=("id0", "gone")), run, cases.Index(run))
    assert [w.short for w in named] == ["c0"]
    assert cases.figure(named[0], rule("quality.relevance")) == "0.900"


def test_a_rate_shows_the_score_that_missed() -> None:
    scores = (Score("json", 1.0, threshold=1.0), Score("length", 0.2, threshold=0.5), Score("markers", 0.1))
    run = Run("r", "", results=(CaseResult("t::a", scores=scores, call_ids=("id",)),))
    verdict = rule("quality.pass_rate", worst=("id",))
    (worst,) = cases.worst_of(verdict, run, cases.Index(run))
    assert cases.figure(worst, verdict) == "length 0.200"


def test_failures_that_differ_in_numbers_are_one_group() -> None:
    def failed(name: str, reason: str) -> CaseResult:
        return CaseResult(name, outcome="failed", reason=reason)

    run = Run(
        "r",
        "",
        results=(
            failed("a", "groundedness 0.31 is below 0.6"),
            failed("b", "groundedness 0.12 is below 0.6"),
            failed("c", "KeyError: 'total'"),
            CaseResult("d"),
            replace(failed("e", "no recording"), problem="missing_recording", outcome="error"),
        ),
    )
    groups = cases.failures(run)
    assert [(len(g.results), g.kind) for g in groups] == [(2, "failed"), (1, "failed"), (1, "missing_recording")]
    assert groups[1].reason == "KeyError: 'total'"


@pytest.mark.parametrize(
    ("outcomes", "text", "stable"),
    [
        ("ppp", "all 3 pass", True),
        ("pfp", "2 of 3 pass", False),
        ("pff", "1 of 3 passes", False),
        ("fff", "none of 3 passes", True),
        ("f", "does not pass", True),
        ("p", "passes", True),
        ("n", "not measured", True),
        ("pn", "1 of 2 passes", True),
    ],
)
def test_repeats_are_one_row(outcomes: str, text: str, stable: bool, factory: ModuleType) -> None:
    results = tuple(
        CaseResult(
            f"s::a[{i}]",
            set="s",
            case="a",
            repeat=i,
            outcome="failed" if o == "f" else "passed",
            problem="infrastructure" if o == "n" else None,
        )
        for i, o in enumerate(outcomes)
    )
    report = factory.make_report(8)
    _, (row,) = cases.case_table(replace(report, run=replace(report.run, results=results)))
    assert row.text == text
    assert row.stable is stable


def test_reruns_do_not_count_as_repeats(factory: ModuleType) -> None:
    first = CaseResult("s::a", set="s", case="a", outcome="failed")
    report = factory.make_report(8)
    results = (first, replace(first, attempt=1, outcome="passed"))
    _, (row,) = cases.case_table(replace(report, run=replace(report.run, results=results)))
    assert row.text == "does not pass"
