"""``llmwatch import``: traces of production as RECORDS, for ``score``, ``compare`` and ``gate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_llmwatch.cli_load import add_store, store_of
from pytest_llmwatch.format import plural


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("import", help="turn exported traces (OTLP JSON, Phoenix, Langfuse) into RECORDS")
    parser.add_argument("traces", type=Path, metavar="TRACES", help="JSON or JSON lines, gzip or not")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("records.jsonl"), metavar="FILE", help="(default: records.jsonl)"
    )
    parser.add_argument(
        "--format", default="auto", choices=("auto", "otlp", "phoenix", "langfuse"), help="(default: auto)"
    )
    parser.add_argument("--budget", metavar="FILE", help="take redaction patterns from its [redact] and [plugins]")
    add_store(parser, "; its key hashes the ids of users")
    parser.set_defaults(run=cmd_import)


def cmd_import(args: argparse.Namespace) -> int:
    """Write the records and say what the file held."""
    from pytest_llmwatch import pipeline, pipeline_import, pipeline_users

    setup = pipeline.load_setup(Path(args.budget) if args.budget else None, args.budget)
    store = store_of(args, setup)
    key = pipeline_users.key_of(store, Path(), report=Path("llmwatch-report").resolve())
    done = pipeline_import.import_traces(
        args.traces,
        args.output,
        form=args.format,
        redactor=setup.redactor,
        hash_user=pipeline_users.hash_with(key),
        display=str(args.traces),
    )
    print(f"{args.output}: {plural(done.records, 'record')}, {done.answers:,} with an answer")
    for what, count in done.left.items():
        print(f"left out: {count:,} x {what}")
    if not done.answers:
        print(
            "note: no answer is in these traces, so there is nothing to score; latency, tokens and cost are there"
        )
    return 0
