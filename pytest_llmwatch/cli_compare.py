"""``llmwatch compare``: is the candidate worse than the baseline?"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.cli_load import add_store, rename_map, store_of
from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.compare import Outcome
    from pytest_llmwatch.model import Verdict

_KEYS = (
    "metric", "verdict", "baseline", "candidate", "delta", "ci", "p", "p_adjusted", "n_cases", "paired", "because",
)  # fmt: skip


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("compare", help="compare two runs, or two files of RECORDS, case by case")
    parser.add_argument("base", metavar="BASE", help="RUN or RECORDS to compare with")
    parser.add_argument("candidate", metavar="CANDIDATE", help="RUN or RECORDS that may be worse")
    parser.add_argument("--metric", action="append", default=[], metavar="NAME", help="only this (repeatable)")
    parser.add_argument(
        "--alpha", type=float, default=0.01, metavar="A", help="false alarms allowed (default 0.01)"
    )
    parser.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="rename a key of RECORDS")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write the candidate's report with the comparison there"
    )
    add_store(parser)
    parser.set_defaults(run=cmd_compare)


def cmd_compare(args: argparse.Namespace) -> int:
    """Compare and print; 1 if any metric got worse, else 0."""
    from pytest_llmwatch import pipeline, pipeline_compare
    from pytest_llmwatch.report import comparison

    if not 0 < args.alpha <= 0.5:
        raise UsageError(f"--alpha must be in (0, 0.5] (got {args.alpha:g})", slug="compare-alpha")
    outcome, report = pipeline_compare.compare(
        args.base,
        args.candidate,
        store_of(args),
        metrics=tuple(args.metric),
        alpha=args.alpha,
        rename=rename_map(args.map),
    )
    if args.report is not None:
        pipeline.write_outputs(report, args.report)
    notes = tuple(note for note in report.notes if note not in outcome.notes)
    if args.json:
        print(json.dumps(as_json(outcome), indent=2, ensure_ascii=False))
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 140)
        print(comparison.render(outcome, notes, width=width, ascii=not _can_print("✗✓≤–−…")))
        if args.report is not None:
            print(f"report: {args.report / 'report.html'}")
    return 1 if outcome.verdict == "fail" else 0


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the comparison as the documented JSON; unknown is null."""
    return {
        "verdict": outcome.verdict,
        "alpha_by_family": dict(outcome.alpha_by_family),
        "missing": list(outcome.missing),
        "notes": list(outcome.notes),
        "verdicts": [_verdict(v) for v in outcome.verdicts],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    out = {key: getattr(verdict, key) for key in _KEYS}
    out["ci"] = list(verdict.ci) if verdict.ci is not None else None
    return out


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
