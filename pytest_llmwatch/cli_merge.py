"""``llmwatch merge``: the union of runs that jobs made apart."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_llmwatch.cli_load import add_store, store_of
from pytest_llmwatch.format import plural


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("merge", help="join the runs of several jobs into one, to be gated as one")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run.json, its folder, or a store id")
    parser.add_argument("-o", "--output", type=Path, default=Path("llmwatch-merged"), metavar="DIR")
    parser.add_argument("--allow-missing", action="store_true", help="take a union although a shard is missing")
    add_store(parser)
    parser.set_defaults(run=cmd_merge)


def cmd_merge(args: argparse.Namespace) -> int:
    """Write the merged run; it is judged by ``llmwatch gate``."""
    from pytest_llmwatch import pipeline_merge

    done = pipeline_merge.merge_runs(args.runs, store_of(args), args.output, allow_missing=args.allow_missing)
    print(
        f"{args.output}: {plural(len(args.runs), 'run')}, {plural(done.tests, 'test')}, "
        f"{plural(done.calls, 'call')}{' (partial)' if done.partial else ''}"
    )
    print(f"judge it: llmwatch gate {args.output} --budget budget.toml")
    return 0
