"""What GitHub and GitLab read: few annotations, a summary that fits, metrics whose series stay the same."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.model import CaseResult
from pytest_llmwatch.report import github, gitlab, junit, terminal


def test_annotations_are_at_most_ten_worst_first_and_leave_room_for_tests(factory: ModuleType) -> None:
    report = factory.make_report()
    failed = tuple(
        CaseResult(f"tests/test_{n}.py::test_x", outcome="failed", reason=f"{word} went wrong")
        for n, word in enumerate(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"])
    )
    verdicts = tuple(replace(v, line=n + 1) for n, v in enumerate(report.verdicts))
    broken = [v for v in verdicts if v.verdict == "fail"]
    many = replace(report, verdicts=verdicts + tuple(replace(v, rule=f"scope.{v.rule}") for v in broken * 3))
    many = replace(many, run=replace(many.run, results=failed))
    found = github.remarks(many, {"tests/test_3.py::test_x": ("tests/test_3.py", 7)})
    assert len(found) == github.MOST
    assert found[0].title == f"{broken[0].rule} broken"
    assert found[0].line == broken[0].line
    tests = [a for a in found if a.file.startswith("tests/")]
    assert len(tests) == 4
    assert [a.level for a in found] == ["error"] * 10
    placed = github.remarks(replace(many, verdicts=()), {"tests/test_3.py::test_x": ("tests/test_3.py", 7)})
    assert [a.line for a in placed if a.file == "tests/test_3.py"] == [7]


def test_tests_that_failed_alike_share_an_annotation(factory: ModuleType) -> None:
    report = factory.passing_report()
    same = tuple(CaseResult(f"t.py::test_{n}", outcome="failed", reason=f"got {n}, not 5") for n in range(30))
    found = github.remarks(replace(report, run=replace(report.run, results=same)))
    assert [a.message for a in found if a.level == "error"] == ["got 0, not 5 (and 29 more like it)"]


@given(st.text(), st.text(), st.text())
def test_nothing_in_an_annotation_ends_its_line_or_its_fields(file: str, title: str, message: str) -> None:
    line = github.Annotation("error", file, 3, title, message).command()
    head, _, rest = line.removeprefix("::error ").partition("::")
    assert "\n" not in line
    assert "\r" not in line
    assert len(head.split(",")) == 3
    assert "\n" not in rest


def test_a_summary_that_does_not_fit_is_cut_to_its_head(factory: ModuleType) -> None:
    from pytest_llmwatch.report import markdown

    text = markdown.render(factory.make_report())
    assert github.room_for(text, 1000) == text
    cut = github.room_for(text, github.SUMMARY_BYTES - 1500)
    assert len(cut.encode()) <= 1500
    assert "FAIL" in cut
    assert "summary.md" in cut
    assert github.room_for(text, github.SUMMARY_BYTES) == ""


@pytest.mark.parametrize(
    "line", ["::stop-commands::x", "   ::add-mask::a", "\t::error::boo", "text ##[endgroup] text", "a\n::debug::b"]
)
def test_no_output_commands_the_runner(line: str) -> None:
    safe = github.inert(line)
    assert safe != line
    assert "##[" not in safe
    assert not any(part.lstrip().startswith("::") for part in safe.splitlines())


def test_other_lines_stay_as_they_are() -> None:
    line = "golden_sets/support/set.yaml::case-1 0.31 ## [x]"
    assert github.inert(line) == line


def test_the_terminal_section_prints_no_command(factory: ModuleType) -> None:
    report = replace(factory.make_report(), notes=("see " + "x" * 60 + " ::stop-commands::token ##[group]",))
    text = terminal.plain(terminal.render(report, terminal.TerminalStyle(width=60)))
    assert "stop-commands" in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    assert "##[" not in text


def test_gitlab_metrics_are_openmetrics_without_anything_that_changes(factory: ModuleType) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    report = factory.make_report()
    text = gitlab.render(report)
    families = {f.name: f for f in text_string_to_metric_families(text)}
    states = {s.labels["rule"]: s.value for s in families["llmwatch_rule_state"].samples}
    assert set(states) == {v.rule for v in report.verdicts}
    assert {r for r, s in states.items() if s == 3} == {v.rule for v in report.verdicts if v.verdict == "fail"}
    assert families["llmwatch_calls"].samples[0].value == report.aggregates["calls"]
    assert {tuple(s.labels) for f in families.values() for s in f.samples} <= {(), ("rule",), ("scorer",)}
    later = replace(report, run=replace(report.run, run_id="another", time="2027-01-01T00:00:00.000Z"))
    assert gitlab.render(later) == text


def test_junit_of_a_stored_run_has_rules_and_tests_with_properties(factory: ModuleType) -> None:
    report = factory.make_report()
    root = ET.fromstring(junit.render(report))
    rules, tests = root.findall("testsuite")
    failed = {c.get("name") for c in rules.findall("testcase") if c.find("failure") is not None}
    assert failed == {v.rule for v in report.verdicts if v.verdict == "fail"}
    assert int(rules.get("failures", 0)) == len(failed)
    assert int(tests.get("tests", 0)) == len(report.run.results)
    found = [{p.get("name"): p.get("value") for p in c.iter("property")} for c in tests.findall("testcase")]
    properties = next(p for p in found if "llm.cost_usd" in p)
    assert float(properties["llm.cost_usd"] or 0) > 0
    assert int(properties["llm.input_tokens"] or 0) > 0
    assert any(name and name.startswith("score.") for name in properties)


def test_junit_leaves_out_a_cost_that_is_only_partly_known(factory: ModuleType) -> None:
    run = factory.make_run(2)
    first = replace(run.calls[0], cost=replace(run.calls[0].cost, usd=0.001))
    unknown = replace(first, id="other", cost=replace(first.cost, usd=None))
    known = dict(junit.result_properties(run.results[0], [first]))
    partly = dict(junit.result_properties(run.results[0], [first, unknown]))
    assert "llm.cost_usd" in known
    assert "llm.cost_usd" not in partly
    assert partly["llm.calls"] == 2
