"""The terminal section, whole, in the widths and moods that people have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from pytest_llmwatch.model import Problem, Verdict
from pytest_llmwatch.report import terminal, view
from pytest_llmwatch.report.terminal import TerminalStyle

OUTPUTS = {
    "html report": "llmwatch-report/report.html",
    "run": "llmwatch-report/run.json",
    "summary": "llmwatch-report/summary.md",
}


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("wide", TerminalStyle(120)),
        ("normal", TerminalStyle(80)),
        ("narrow-ascii", TerminalStyle(50, color=False, ascii=True)),
        ("verbose", TerminalStyle(100, verbosity=1)),
        ("quiet", TerminalStyle(80, verbosity=-1)),
        ("one-line", TerminalStyle(80, verbosity=-2)),
    ],
)
def test_a_failing_report_looks_like_its_golden_file(
    name: str, style: TerminalStyle, factory: ModuleType, assert_golden: Callable[[str, str], None]
) -> None:
    lines = terminal.render(factory.make_report(), style, OUTPUTS)
    assert_golden(f"terminal-{name}.txt", terminal.plain(lines))


def test_a_passing_report_is_short_and_not_silent(
    factory: ModuleType, assert_golden: Callable[[str, str], None]
) -> None:
    report = factory.passing_report()
    assert_golden("terminal-pass.txt", terminal.plain(terminal.render(report, TerminalStyle(80), OUTPUTS)))
    one = terminal.plain(terminal.render(report, TerminalStyle(80, verbosity=-2)))
    assert one.count("\n") == 1
    assert "PASS" in one


def test_no_line_is_wider_than_the_terminal_unless_a_single_word_is(factory: ModuleType) -> None:
    report = factory.make_report()
    for width in (40, 60, 80, 100, 120, 160):
        for line in terminal.plain(terminal.render(report, TerminalStyle(width), OUTPUTS)).splitlines():
            longest = max(map(len, line.split()), default=0)
            assert len(line) <= width or longest + 12 > width or line.startswith(("next:", "worst cases"))


def test_control_characters_never_reach_the_terminal(factory: ModuleType) -> None:
    evil = "\x1b]0;owned\x07 \x1b[2J \u202eevil\u2069 \ud800 \r gone"
    report = factory.make_report(40)
    report = replace(
        report,
        sentence=evil,
        notes=(evil,),
        run=replace(
            report.run,
            run_id=evil,
            problems=(Problem("infrastructure", evil, evil),),
            results=tuple(replace(r, nodeid=evil, reason=evil) for r in report.run.results),
        ),
        verdicts=tuple(replace(v, because=evil, action=evil) for v in report.verdicts),
    )
    text = terminal.plain(terminal.render(report, TerminalStyle(100, verbosity=1), OUTPUTS))
    assert "<U+001B>" in text
    assert not any(c in text for c in "\x1b\x07\r\u202e\u2069\ud800")


def test_ascii_style_prints_ascii_only(factory: ModuleType) -> None:
    lines = terminal.render(factory.make_report(), TerminalStyle(80, ascii=True), OUTPUTS)
    assert terminal.plain(lines).isascii()
    fancy = terminal.render(factory.make_report(), TerminalStyle(80), OUTPUTS)
    assert not terminal.plain(fancy).isascii()  # the fallback has something to do


def test_without_colour_no_segment_has_markup(factory: ModuleType) -> None:
    def marked(*, color: bool) -> bool:
        lines = terminal.render(factory.make_report(), TerminalStyle(80, color=color), OUTPUTS)
        return any(markup for line in lines for _, markup in line)

    assert marked(color=True)
    assert not marked(color=False)


def test_a_figure_is_never_rounded_across_its_limit() -> None:
    verdict = Verdict(
        "quality.groundedness", "groundedness", "fail", "quality", "fact", "", direction="floor",
        observed=0.8799999, limit=0.88, tier="fail",
    )  # fmt: skip
    row = view.rule_row(verdict)
    assert float(row.observed) < 0.88
    assert row.limit == "≥ 0.880"
    assert view.rule_row(replace(verdict, observed=0.91)).observed == "0.910"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"verdict": "fail"}, "broken"),
        ({"verdict": "inconclusive", "reason": "too_few"}, "undecided"),
        ({"verdict": "inconclusive", "reason": "unenforceable"}, "blind"),
        ({"verdict": "inconclusive", "reason": "no_match"}, "blind"),
        ({"verdict": "warn"}, "warn"),
        ({"verdict": "pass"}, "holds"),
    ],
)
def test_what_could_not_be_judged_is_not_shown_as_undecided(changes: dict[str, str], state: str) -> None:
    verdict = Verdict("latency.p95", "latency", "pass", "availability", "test", "")
    assert view.state_of(replace(verdict, **changes)) == state


def test_the_next_command_fits_the_trouble(factory: ModuleType) -> None:
    report = factory.make_report(60, hostile=False)
    rows = view.rules(report)
    assert (terminal.next_command(report, rows) or "").startswith("pytest 'golden_sets/")
    missing = replace(report, run=replace(report.run, problems=(Problem("missing_recording", "gone"),)))
    assert "--llm-record=new" in (terminal.next_command(missing, rows) or "")
    assert "suggest" in (terminal.next_command(replace(report, verdict="none"), []) or "")
    short = [r for r in rows if r.state == "undecided"]
    calm = replace(report, verdict="inconclusive")
    assert "--llm-repeats=32" in (terminal.next_command(calm, short) or "")
    assert terminal.next_command(factory.passing_report(), []) is None


def test_many_rules_that_hold_are_counted_and_listed_only_when_asked(factory: ModuleType) -> None:
    report = factory.passing_report()
    many = tuple(replace(v, rule=f"scope.feature:f{i}.{v.rule}") for i in range(20) for v in report.verdicts)
    report = replace(report, verdicts=many)
    short = terminal.plain(terminal.render(report, TerminalStyle(100), {}))
    assert "40 more hold" in short
    assert "feature:f7" not in short
    assert "feature:f7" in terminal.plain(terminal.render(report, TerminalStyle(100, verbosity=1), {}))


def test_a_move_against_the_baseline_prints_the_command_that_accepts_it(factory: ModuleType) -> None:
    report = factory.make_report()
    moved = tuple(replace(v, baseline=1.0) if v.verdict == "fail" else v for v in report.verdicts)
    outputs = {"run": "llmwatch-report/run.json"}
    whole = replace(report, verdicts=moved, run=replace(report.run, partial=False))
    command = "llmwatch baseline accept llmwatch-report/run.json --reason"
    assert command in terminal.plain(terminal.render(whole, terminal.TerminalStyle(), outputs))
    partial = replace(whole, run=replace(whole.run, partial=True))
    assert command not in terminal.plain(terminal.render(partial, terminal.TerminalStyle(), outputs))
    still = replace(whole, verdicts=tuple(replace(v, baseline=None) for v in moved))
    assert command not in terminal.plain(terminal.render(still, terminal.TerminalStyle(), outputs))
