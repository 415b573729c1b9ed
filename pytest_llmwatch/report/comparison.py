"""A comparison for the terminal: the figures of each metric, worst first, then the reasons."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from pytest_llmwatch import format as fmt
from pytest_llmwatch.compare import Outcome
from pytest_llmwatch.model import Verdict
from pytest_llmwatch.report import view
from pytest_llmwatch.report.terminal import ASCII

_ORDER = ("fail", "warn", "inconclusive", "pass")
_MARKS = {"fail": "✗", "warn": "!", "pass": "✓", "inconclusive": "?"}
_PLAIN_MARKS = {**_MARKS, "fail": "x", "pass": "ok"}
_HEAD = ("", "", "metric", "baseline", "now", "change", "95 % interval", "p", "cases")
_ALIGNED = ("left", "left", "left", *("right" for _ in _HEAD[3:]))


def render(outcome: Outcome, notes: Sequence[str] = (), *, width: int = 100, ascii: bool = False) -> str:
    """Return the comparison for people.

    Args:
        outcome: What was compared.
        notes: More to print beneath.
        width: Columns to fill with reasons.
        ascii: Nothing but ASCII.
    """
    ranked = sorted(outcome.verdicts, key=lambda v: _ORDER.index(v.verdict))
    rows = [_row(v, _PLAIN_MARKS if ascii else _MARKS) for v in ranked]
    lines = [outcome.verdict.upper()]
    if rows:
        table = tabulate(rows, _HEAD, "plain", disable_numparse=True, colalign=_ALIGNED)
        lines += [f"  {line}".rstrip() for line in table.splitlines()]
        lines.append("")
    for v in ranked:  # a pass says what it rules out
        lines += textwrap.wrap(
            v.because, width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
        )
    if outcome.missing:
        shown = ", ".join(outcome.missing[:5])
        more = f" and {len(outcome.missing) - 5} more" if len(outcome.missing) > 5 else ""
        lines.append(f"  not in the candidate: {shown}{more}")
    lines += [f"note: {note}" for note in (*outcome.notes, *notes)]
    text = "\n".join(lines)
    return text.translate(ASCII) if ascii else text


def _row(v: Verdict, marks: Mapping[str, str]) -> tuple[str, ...]:
    shown = view.rule_row(v)
    return (
        marks[v.verdict], v.verdict, v.metric, fmt.value(v.baseline, v.unit), fmt.value(v.candidate, v.unit),
        shown.delta or fmt.UNKNOWN, shown.interval or "", _p(v.p if v.p_adjusted is None else v.p_adjusted),
        fmt.UNKNOWN if v.n_cases is None else f"{v.n_cases:,}",
    )  # fmt: skip


def _p(p: float | None) -> str:
    return fmt.UNKNOWN if p is None else f"{p:.2g}" if p >= 1e-4 else "<0.0001"
