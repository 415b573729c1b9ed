"""Rules of the budget as tests: in the short summary, in JUnit, in any plugin that reads reports."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmwatch.budget import Budget
from pytest_llmwatch.gate_conclude import fails
from pytest_llmwatch.model import Report, Verdict
from pytest_llmwatch.report.junit import rule_properties

# plugins that would print progress for a rule, or remember it as a failing test to run first
_NOT_FOR = (
    "terminalreporter",
    "lfplugin",
    "nfplugin",
    "stepwiseplugin",
    "session",
    "llmwatch-run",
    "llmwatch-late",
    "llmwatch-ci",
)


def reports_of(report: Report, budget: Budget) -> list[pytest.TestReport]:
    """Return one call-phase test report per rule, in order; a rule that failed is a failed test."""
    display = budget.path or "budget.toml"
    return [_report(v, display, fails(v, budget)) for v in report.verdicts]


def _report(verdict: Verdict, display: str, failed: bool) -> pytest.TestReport:
    nodeid = f"{display}::{verdict.rule}"
    skipped = verdict.verdict == "inconclusive" and not failed
    line = (verdict.line or 1) - 1
    longrepr: Any = None
    if failed:
        policy = "inconclusive, which [gate] fails: " if verdict.verdict == "inconclusive" else ""
        longrepr = policy + verdict.because
    elif skipped:
        longrepr = (display, line + 1, f"Skipped: inconclusive: {verdict.because}")
    properties = list(rule_properties(verdict))
    return pytest.TestReport(
        nodeid=nodeid,
        location=(display, line, verdict.rule),
        keywords={"llmwatch": 1},
        outcome="failed" if failed else "skipped" if skipped else "passed",
        longrepr=longrepr,
        when="call",
        user_properties=properties,
        duration=0.0,
    )


def publish(config: pytest.Config, reports: list[pytest.TestReport]) -> None:
    """Hand the rules' reports to every plugin but those in ``_NOT_FOR`` (JUnit, HTML, a team's own)."""
    manager = config.pluginmanager
    excluded = [manager.get_plugin(name) for name in _NOT_FOR]
    session = [p for p in manager.get_plugins() if isinstance(p, pytest.Session)]
    caller = manager.subset_hook_caller(
        "pytest_runtest_logreport", [p for p in (*excluded, *session) if p is not None]
    )
    for report in reports:
        for when in ("setup", "call", "teardown"):
            if when == "call":
                caller(report=report)
            else:
                caller(report=_phase(report, when))


def _phase(report: pytest.TestReport, when: Any) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=report.nodeid,
        location=report.location,
        keywords=dict(report.keywords),
        outcome="passed",
        longrepr=None,
        when=when,
        user_properties=list(report.user_properties),
        duration=0.0,
    )
