"""What GitHub Actions reads: annotations in the log, and the step summary.

Limits of GitHub: 10 annotations of a kind a step, 50 a job; 1 MiB of summary a step, of which more fails the
upload (https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_llmwatch.model import CaseResult, Report
from pytest_llmwatch.report import cases, view
from pytest_llmwatch.report.text import one_line

MOST = 10
"""Annotations of a report; GitHub drops more than ten of a kind without a word."""
SUMMARY_BYTES = 1 << 20
"""Room for the summary of a step."""

Level = Literal["error", "warning", "notice"]
_ERRORS, _CASES = 6, 4  # rules come first, and leave some room for the worst tests
_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A remark at a line of a file; ``line`` is 1-based, None where it is not known.

    ``file`` is a test's, below the root directory, or the budget's, as the user gave it (``budget``).
    """

    level: Level
    file: str
    line: int | None
    title: str
    message: str
    budget: bool = False

    def command(self, file: str | None = None) -> str:
        """Return the line that makes GitHub show it at ``file``, a path in the repository (default: its own)."""
        where = [f"file={_property(self.file if file is None else file)}"]
        if self.line is not None:
            where.append(f"line={self.line}")
        where.append(f"title={_property(self.title)}")
        return f"::{self.level} {','.join(where)}::{_data(self.message)}"


def remarks(report: Report, places: Mapping[str, tuple[str, int | None]] | None = None) -> tuple[Annotation, ...]:
    """Return at most ten annotations, worst first: broken rules, failed tests, what was not judged, what warns.

    Args:
        report: What to tell.
        places: File and 1-based line of tests by node id, where they are known.
    """
    rules = sorted(view.rules(report), key=lambda r: _RANK.get(r.state, 9))
    broken = [_rule(report, r, "error") for r in rules if r.state == "broken"]
    blind = [_rule(report, r, "error") for r in rules if r.state == "blind" and report.exit_code]
    warns = [_rule(report, r, "warning") for r in rules if r.state == "warn"]
    tests = list(_tests(report, places or {}))
    room = max(_CASES, MOST - len(broken)) if tests else 0
    first = broken[: max(_ERRORS, MOST - len(tests[:room]))]
    return tuple([*first, *tests[:room], *blind, *broken[len(first) :], *warns][:MOST])


_RANK = {"broken": 0, "blind": 1, "warn": 2}


def _rule(report: Report, row: view.RuleRow, level: Level) -> Annotation:
    against = f" (baseline {row.baseline}, {row.delta})" if row.baseline and row.delta else ""
    action = row.verdict.action if row.state == "broken" else None
    parts = [
        f"{row.observed}, budget {row.limit}{against}, n {row.n}",
        "" if row.plain else row.note,
        action or "",
    ]
    text = ". ".join(p.rstrip(". ") for p in parts if p)
    file, title = report.budget or "budget.toml", one_line(f"{row.rule} {row.word}", 200)
    return Annotation(level, file, row.verdict.line, title, one_line(text, 800), budget=True)


def _tests(report: Report, places: Mapping[str, tuple[str, int | None]]) -> Iterator[Annotation]:
    """Yield a remark per reason for which tests failed, the most frequent first, at the worst test's place."""
    for group in cases.failures(report.run):
        worst = min(group.results, key=_lowest)
        file, line = places.get(worst.nodeid) or (worst.nodeid.split("::", 1)[0], None)
        more = f" (and {len(group.results) - 1:,} more like it)" if len(group.results) > 1 else ""
        name = worst.nodeid.split("::", 1)[-1]
        level: Level = "warning" if group.kind == "not_run" else "error"
        yield Annotation(
            level, file, line, one_line(name, 200), one_line(worst.reason or group.reason, 600) + more
        )


def _lowest(result: CaseResult) -> float:
    return min((s.value for s in result.scores if s.value is not None), default=1.0)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def room_for(text: str, taken: int) -> str:
    """Return ``text`` where it fits beside the ``taken`` bytes of the step's summary, else its head."""
    left = SUMMARY_BYTES - taken
    if len(text.encode()) <= left:
        return text
    note = "\n\nThe rest does not fit into this step's summary; it is in summary.md.\n"
    head = text[:2000].partition("\n\n|")[0].partition("\n<details>")[0] + note
    return head if len(head.encode()) <= left else ""


def inert(line: str) -> str:
    """Return a line of the log in which nothing that a model wrote can command the runner.

    GitHub takes any line that starts with ``::name::`` (white space before it ignored), and ``##[name]`` anywhere,
    for a command: to hide words of the log, or to stop later commands.
    """
    return _COMMAND.sub(r"\1: :", line).replace("##[", "# #[")
