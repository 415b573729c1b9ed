"""``llmwatch golden add``: calls that went wrong become cases of a golden set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_llmwatch.cli_load import add_store, load, store_of
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.format import plural

_ROOT = Path("golden_sets")


def add(commands: Any) -> None:
    """Add the command to the parser of ``golden``."""
    parser = commands.add_parser("add", help="promote calls of a run, or the worst of RECORDS, into cases")
    parser.add_argument("source", metavar="RUN|RECORDS", help="a stored run, or JSON lines")
    parser.add_argument("call", nargs="*", metavar="CALL", help="ids of calls (or beginnings), cases, or tests")
    parser.add_argument(
        "--worst", type=int, metavar="N", help="the N worst instead: failed tests, then low scores"
    )
    parser.add_argument("--metric", metavar="NAME", help="worst by this score (default: composite, else the mean)")
    parser.add_argument("--set", dest="set_name", metavar="NAME", help="the golden set (default: the only one)")
    parser.add_argument("--golden", type=Path, default=_ROOT, metavar="DIR", help="folder of golden sets")
    parser.add_argument("--id", dest="case_id", metavar="ID", help="of the new case (default: from its question)")
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="for the new cases (repeatable)")
    parser.add_argument("--budget", metavar="FILE", help="its [redact] applies (default: budget.toml, if there)")
    parser.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="rename a key of RECORDS")
    parser.add_argument("--dry-run", action="store_true", help="show the cases, write nothing")
    add_store(parser)
    parser.set_defaults(run=cmd_add)


def cmd_add(args: argparse.Namespace) -> int:
    """Write the cases and say what a reviewer has to add."""
    from pytest_llmwatch import pipeline, pipeline_golden

    if bool(args.call) == (args.worst is not None):
        raise UsageError("name calls, or give --worst N (one of the two)", slug="golden-add")
    if args.worst is not None and args.worst < 1:
        raise UsageError(f"--worst must be at least 1 (got {args.worst})", slug="golden-add")
    if args.case_id and len(args.call) != 1:
        raise UsageError("--id names one case; give one CALL with it", slug="golden-add")
    budget = Path(args.budget) if args.budget else Path("budget.toml")
    setup = pipeline.load_setup(
        budget if args.budget or budget.is_file() else None, str(budget), golden=[args.golden]
    )
    golden = pipeline_golden.find_set(args.golden, args.set_name)
    run, notes = load(args.source, args.map, store=store_of(args, setup))
    for note in notes:
        print(f"note: {note}")
    if args.call:
        sources = [pipeline_golden.named(run, call) for call in dict.fromkeys(args.call)]
    else:
        sources = pipeline_golden.worst(run, args.metric)
    done = pipeline_golden.add(
        golden,
        sources,
        setup.redactor,
        most=args.worst or len(sources),
        case_id=args.case_id,
        tags=args.tag,
        dry=args.dry_run,
    )
    _tell(done, args)
    return 0


def _tell(done: Any, args: argparse.Namespace) -> None:
    import json

    from pytest_llmwatch.report.text import one_line

    word = "would add" if args.dry_run else "added"
    print(f"{done.file.as_posix()}: {word} {plural(len(done.cases), 'case')}")
    for case in done.cases:
        told = case["metadata"]["promoted"]
        why = f"  {told['why']}" if told.get("why") else ""
        print(f"  {one_line(case['id'])}{one_line(why) and '  ' + one_line(why)}  call {told['call']}")
        if args.dry_run:
            print(f"    {one_line(json.dumps(case, ensure_ascii=False), 400)}")
    for call, known in done.known[:10]:
        print(f"  call {call} asks what case {one_line(known)} asks already: not added")
    if len(done.known) > 10:
        print(f"  and {len(done.known) - 10:,} more that the set has already")
    if done.hidden:
        print(f"  redacted something in {plural(done.hidden, 'case')}: read them before you commit")
    open_ends = [c["id"] for c in done.cases if "reference" not in c]
    if open_ends:
        print(
            "  say what a right answer holds: `reference`, `must_mention` or `must_not_mention` in each new case"
        )
    if done.cases and not args.dry_run:
        print(
            f"next: pytest {done.file.parent.as_posix()} --llm-record=new records them (paid calls, needs a key)"
        )
