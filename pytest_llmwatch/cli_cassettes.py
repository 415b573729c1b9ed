"""``llmwatch cassettes``: what is wrong with recordings, and removing what nothing uses."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmwatch.capture.cassette_check import Finding

_REPORT = "llmwatch-report"


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    parent = commands.add_parser("cassettes", help="check recordings, and remove what no test uses")
    below = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = below.add_parser(
        "check", help="find unreadable, leaking, too large, unused recordings; 1 if any is bad"
    )
    prune = below.add_parser("prune", help="remove recordings that the last whole run did not use")
    for command in (check, prune):
        command.add_argument("paths", nargs="*", type=Path, default=[Path()], metavar="PATH")
        command.add_argument(
            "--run",
            dest="report",
            type=Path,
            default=Path(_REPORT),
            metavar="DIR",
            help=f"report of the run (default {_REPORT})",
        )
        command.add_argument("--budget", metavar="FILE", help="limits and patterns (default budget.toml)")
        command.add_argument("--json", action="store_true", help="print JSON")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    check.set_defaults(run=cmd_check)
    prune.set_defaults(run=cmd_prune)


def cmd_check(args: argparse.Namespace) -> int:
    """Print what is wrong; 1 if a cassette is unreadable or leaks a secret, else 0."""
    from pytest_llmwatch import pipeline_cassettes

    result = pipeline_cassettes.check(args.paths, args.report, args.budget)
    bad = any(f.kind in result.errors for f in result.findings)
    if args.json:
        print(_json(result.findings, files=result.files, run=result.run_id, partial=result.partial))
        return int(bad)
    for finding in result.findings:
        print(f"{'✗' if finding.kind in result.errors else '!'} {finding.path}: {finding.kind}: {finding.message}")
    counts = Counter(f.kind for f in result.findings)
    told = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "nothing found"
    print(f"{result.files} cassettes: {told}")
    if result.partial:
        print(f"unused recordings were not looked for: {result.partial}")
    return int(bad)


def cmd_prune(args: argparse.Namespace) -> int:
    """Remove orphaned files and unused recordings, printing each."""
    from pytest_llmwatch import pipeline_cassettes

    removed = pipeline_cassettes.prune(args.paths, args.report, args.budget, dry_run=args.dry_run)
    if args.json:
        print(_json(removed, dry_run=args.dry_run))
        return 0
    word = "would remove" if args.dry_run else "removed"
    for finding in removed:
        what = f"{len(finding.names)} of its recordings" if finding.names else "the file"
        print(f"{word} {finding.path}: {what} ({finding.message})")
    if not removed:
        print("nothing to remove", file=sys.stderr)
    return 0


def _json(findings: list[Finding], **more: Any) -> str:
    rows = [
        {"path": f.path.as_posix(), "kind": f.kind, "message": f.message, "recordings": list(f.names)}
        for f in findings
    ]
    return json.dumps({**more, "findings": rows}, indent=2, ensure_ascii=False)
