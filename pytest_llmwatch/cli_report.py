"""``llmwatch report`` and ``llmwatch index``: stored runs rendered again, and a page that lists them."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.cli_load import add_store, store_of

if TYPE_CHECKING:
    from pytest_llmwatch.model import Report


def add(commands: Any, default: str) -> None:
    """Add the commands to the parser; ``default`` is where reports go."""
    report = commands.add_parser(
        "report", help="render stored runs again: the newest, earlier ones as its history"
    )
    report.add_argument("runs", nargs="+", metavar="RUN|RECORDS")
    report.add_argument("--budget", metavar="FILE", help="judge by this budget (default: as it was judged)")
    report.add_argument("-o", "--output", type=Path, default=Path(default), metavar="DIR")
    report.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML too: rules and tests")
    add_store(report)
    report.set_defaults(run=cmd_report)

    index = commands.add_parser("index", help="write index.html, a page that lists the runs below a folder")
    index.add_argument("folder", type=Path, metavar="DIR", help="searched for run.json, at any depth")
    index.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: DIR/index.html")
    index.add_argument("--title", metavar="TEXT", help="of the page")
    index.set_defaults(run=cmd_index)


def cmd_report(args: argparse.Namespace) -> int:
    """Render stored runs; without a budget, with the verdicts that they were stored with."""
    from pytest_llmwatch import pipeline_page, pipeline_report

    store = store_of(args)
    report, notes = pipeline_report.again(args.runs, store, args.budget)
    report = pipeline_page.with_earlier(report, store, Path())
    show(report, args.output, junit=args.junit, notes=notes)
    return 0


def cmd_index(args: argparse.Namespace) -> int:
    """Write the page and say where."""
    from pytest_llmwatch import pipeline_report
    from pytest_llmwatch.format import plural

    path, count, unread = pipeline_report.write_index(args.folder, args.output, args.title)
    for note in unread:
        print(f"note: {note}")
    print(f"{path}: {plural(count, 'run')}")
    return 0


def show(
    report: Report,
    folder: Path | None,
    *,
    as_json: bool = False,
    junit: Path | None = None,
    notes: Sequence[str] = (),
    tell: bool = False,
    incidents_at: str | None = None,
) -> None:
    """Write the report's files and print it.

    Args:
        report: What to show.
        folder: Where its files go, None for nowhere.
        as_json: Print run.json instead of the table.
        junit: Where JUnit XML goes, None for nowhere.
        notes: Printed first.
        tell: Annotate files and add to the step's summary in GitHub Actions.
        incidents_at: See `terminal.render`.
    """
    from pytest_llmwatch import atomic, pipeline, pipeline_ci
    from pytest_llmwatch.report import junit as xml
    from pytest_llmwatch.report import run_json, terminal

    written = pipeline.write_outputs(report, folder) if folder else {}
    shown = {"html report": "report", "run": "run", "summary": "summary"}
    outputs = {label: str(written[name]) for label, name in shown.items() if name in written}
    if junit is not None:
        atomic.write_text(junit, xml.render(report))
        outputs["junit"] = str(junit)
    if tell:
        pipeline_ci.append_summary(report)
    if as_json:
        print(json.dumps(run_json.render(report), indent=2, ensure_ascii=False))
        return
    for note in notes:
        print(f"note: {note}")
    style = terminal.TerminalStyle(
        width=min(shutil.get_terminal_size((100, 24)).columns, 120), color=False, ascii=_ascii(), verbosity=0
    )
    print(terminal.plain(terminal.render(report, style, outputs, incidents_at)))
    if tell:
        for line in pipeline_ci.log_lines(report, Path()):
            print(line)


def _ascii() -> bool:
    try:
        "✗✓≤–".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
