"""``llmwatch gate RECORDS --window 5m``: the same rules over sliding windows of live traffic."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import format as fmt
from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_llmwatch.budget_types import Budget
    from pytest_llmwatch.model import Baseline, Report, Run
    from pytest_llmwatch.windows import Window

    Judged = list[tuple[Window, Report]]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SHOWN = 20
_ORDER = ("fail", "error", "warn", "inconclusive", "pass", "none")


def seconds(text: str) -> float:
    """Return the length of a window: ``90``, ``"30s"``, ``"5m"``, ``"1h"``, ``"1d"``.

    Raises:
        UsageError: It is something else, or not positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d|)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--window must be a length such as 30s, 5m, 1h (got {text!r})", slug="window-option")
    return float(match[1]) * _UNITS[match[2]]


def gate(
    run: Run,
    budget: Budget,
    baselines: Mapping[str, Baseline],
    length: float,
    *,
    as_json: bool,
    tell: Callable[[Judged], tuple[Judged, tuple[str, ...]]] | None = None,
) -> int:
    """Judge every window, print them, and return 1 if any is red, 7 if none could be judged, else 0.

    ``tell`` opens incidents and sends what the alerts ask for; it returns the windows, and notes.
    Alpha is shared by all windows alike, so the whole look at the records keeps it.
    """
    from pytest_llmwatch import pipeline
    from pytest_llmwatch.windows import windows

    found, untimed = windows(run, length)
    shared = replace(budget, gate=replace(budget.gate, alpha=budget.gate.alpha / len(found)))
    judged = [(w, pipeline.judge(w.run, shared, baselines=baselines)) for w in found]
    worst = min((r.verdict for _, r in judged), key=_ORDER.index)
    failed = any(r.exit_code == 1 for _, r in judged)
    blocked = all(r.exit_code not in (0, 1) for _, r in judged)
    code = 1 if failed else 7 if blocked else 0
    judged, notes = tell(judged) if tell is not None else (judged, ())
    if as_json:
        told = {"verdict": worst, "exit_code": code, "untimed": untimed, "notes": notes, "windows": _rows(judged)}
        print(json.dumps(told, indent=2))
        return code
    print("\n".join([_text(judged, worst, length, untimed), *(f"note: {note}" for note in notes)]))
    return code


def _rows(judged: list[tuple[Window, Report]]) -> list[dict[str, Any]]:
    return [
        {
            "start": w.start.isoformat(timespec="seconds"),
            "end": w.end.isoformat(timespec="seconds"),
            "calls": len(w.run.calls),
            "verdict": r.verdict,
            "sentence": r.sentence,
            "failed": [v.rule for v in r.verdicts if v.verdict == "fail"],
            "warned": [v.rule for v in r.verdicts if v.verdict == "warn"],
            "incidents": {i.id: i.state for i in r.incidents},
        }
        for w, r in judged
    ]


def _text(judged: list[tuple[Window, Report]], worst: str, length: float, untimed: int) -> str:
    lines = [f"{worst.upper()}: {fmt.plural(len(judged), 'window')} of {length:g} s, each sliding by half"]
    told = [(w, r) for w, r in judged if r.verdict in ("fail", "error", "warn")]
    for w, r in told[:_SHOWN]:
        when = f"{w.start:%Y-%m-%d %H:%M:%S}–{w.end:%H:%M:%S}"
        lines.append(f"  {r.verdict:<5} {when}  {fmt.plural(len(w.run.calls), 'call'):>10}  {r.sentence}")
    if len(told) > _SHOWN:
        lines.append(f"  and {len(told) - _SHOWN} more")
    quiet = len(judged) - len(told)
    if quiet:
        lines.append(f"  {fmt.plural(quiet, 'window')} without a finding")
    if untimed:
        lines.append(f"note: {fmt.plural(untimed, 'record')} without a time left out")
    return "\n".join(lines)
