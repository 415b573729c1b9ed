"""``llmwatch baseline record|accept|show|check``."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.cli_load import add_store, load, rename_map, store_of
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.format import plural

if TYPE_CHECKING:
    from pytest_llmwatch.model import Baseline, Run

_ROOT = Path("golden_sets")


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    parent = commands.add_parser("baseline", help="record, accept, show or check frozen references")
    sub = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)

    record = sub.add_parser("record", help="make a baseline from runs, one run per recording session")
    record.add_argument("runs", nargs="*", default=["latest"], metavar="RUN|RECORDS", help="default: latest")
    record.set_defaults(run=cmd_record)
    accept = sub.add_parser("accept", help="replace a baseline; the run must not be worse than its anchor")
    accept.add_argument("runs", nargs="*", default=["latest"], metavar="RUN|RECORDS", help="default: latest")
    accept.add_argument("--new-anchor", action="store_true", help="take a deliberate loss; stays visible")
    accept.set_defaults(run=cmd_accept)
    for parser in (record, accept):
        parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the file")
        parser.add_argument("--set", dest="set_name", metavar="NAME", help="one golden set (default: all)")
        parser.add_argument("--golden", type=Path, default=_ROOT, metavar="DIR", help="folder of golden sets")
        parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there (one set)")
        parser.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="rename a RECORDS key")
        parser.add_argument("--alpha", type=float, default=0.01, metavar="A", help="of the self-check")
        add_store(parser)

    show = sub.add_parser("show", help="print what baselines hold")
    check = sub.add_parser("check", help="validate baselines, and how often each would cry wolf")
    for parser in (show, check):
        parser.add_argument("paths", nargs="*", type=Path, default=[_ROOT], metavar="PATH")
        parser.add_argument("--alpha", type=float, default=0.01, metavar="A", help="of the self-check")
    show.set_defaults(run=cmd_show)
    check.set_defaults(run=cmd_check)


def _runs(args: argparse.Namespace) -> list[Run]:
    rename_map(args.map)
    runs = []
    for ref in args.runs:
        run, notes = load(ref, args.map, store=store_of(args))
        runs.append(run)
        for note in notes:
            print(f"note: {note}")
    return runs


def _target(args: argparse.Namespace, base: Baseline) -> Path:
    from pytest_llmwatch import pipeline_baseline

    if args.output is not None:
        return Path(args.output)
    return pipeline_baseline.path_of(base.set, args.golden)


def cmd_record(args: argparse.Namespace) -> int:
    """Write a baseline for each golden set of the runs; never over another one."""
    from pytest_llmwatch import baseline_file, pipeline_baseline

    made = pipeline_baseline.from_runs(_runs(args), args.set_name, reason=args.reason or None)
    if args.output is not None and len(made) > 1:
        raise UsageError("--output takes one set; name it with --set", slug="baseline-set")
    for base in made:
        path = _target(args, base)
        if path.exists():
            raise UsageError(
                f"{path} exists; replace it with `llmwatch baseline accept --reason ...`", slug="baseline-exists"
            )
    for base in made:
        path = _target(args, base)
        checked = pipeline_baseline.checked(base, alpha=args.alpha)
        baseline_file.save(checked, path)
        print(f"wrote {path}: {_summary(checked)}")
        _advise(checked, args.alpha)
    return 0


def cmd_accept(args: argparse.Namespace) -> int:
    """Replace baselines where the run is not worse than their anchor; 1 if any was not accepted."""
    from pytest_llmwatch import baseline_file, pipeline_baseline
    from pytest_llmwatch.compare import Options

    runs = _runs(args)
    refused = 0
    found = pipeline_baseline.from_runs(runs, args.set_name)
    for candidate in found:
        path = _target(args, candidate)
        base = baseline_file.load(path)
        options = Options(alpha=args.alpha)
        end = pipeline_baseline.accept(base, runs, options, reason=args.reason, new_anchor=args.new_anchor)
        print(f"{path}: {end.because}")
        for verdict in end.outcome.verdicts:
            if verdict.verdict != "pass":
                print(f"  {verdict.verdict:<12} {verdict.because}")
        if end.baseline is None:
            refused += 1
        else:
            baseline_file.save(end.baseline, path)
            _advise(end.baseline, args.alpha)
    return 1 if refused else 0


def cmd_show(args: argparse.Namespace) -> int:
    """Print a summary of each baseline with its metrics' means."""
    from pytest_llmwatch.compare_samples import TIMES

    for path, base in _all(args.paths):
        print(f"{path}: {_summary(base)}")
        made = base.made_with
        print(f"  made with {_words(made.get('models'))}, prompt {_words(made.get('prompt_versions'))}")
        for metric in sorted({m for c in base.cases.values() for m in c.values}):
            rows = [[v for v in c.values.get(metric, ()) if v is not None] for c in base.cases.values()]
            known = [row for row in rows if row]
            if metric in TIMES:
                centre, word = statistics.median(v for row in known for v in row), "median"
            else:
                centre, word = statistics.fmean(statistics.fmean(row) for row in known), "mean"
            print(f"  {metric:<20} {word} {centre:.4g} over {plural(len(known), 'case')}")
        for entry in base.accepted:
            loss = " (a deliberate loss)" if entry.get("new_anchor") else ""
            print(f"  {entry.get('time')}: replaced {entry.get('replaced')}{loss}: {entry.get('reason')}")
    return 0


def cmd_check(args: argparse.Namespace) -> int:
    """Validate every baseline and run its self-check again."""
    from pytest_llmwatch import pipeline_baseline

    for path, base in _all(args.paths):
        print(f"{path}: valid, {_summary(base)}")
        _advise(pipeline_baseline.checked(base, alpha=args.alpha), args.alpha)
    return 0


def _all(paths: list[Path]) -> list[tuple[Path, Baseline]]:
    from pytest_llmwatch import baseline_file

    files = [f for p in paths for f in (sorted(p.glob(f"**/{baseline_file.NAME}")) if p.is_dir() else [p])]
    if not files:
        raise UsageError(
            f"no {baseline_file.NAME} below {', '.join(map(str, paths))}; `llmwatch baseline record` makes one",
            slug="baseline-missing",
        )
    return [(f, baseline_file.load(f)) for f in files]


def _summary(base: Baseline) -> str:
    from pytest_llmwatch.baseline import repeats

    sessions = plural(max(1, len(base.sessions)), "session")
    return (
        f"baseline {base.id} of {plural(len(base.cases), 'case')}, {plural(repeats(base), 'repeat')}, {sessions}"
    )


def _words(values: Any) -> str:
    return ", ".join(map(str, values)) if values else "unknown"


def _advise(base: Baseline, alpha: float) -> None:
    from pytest_llmwatch import baseline as frozen

    rate = base.self_check.get("false_alarms")
    if rate is not None:
        builds = base.self_check.get("builds")
        print(f"  self-check: {rate:.1%} of {builds} unchanged builds would be red (allowed: {alpha:.1%})")
    if frozen.repeats(base) < frozen.FEW_REPEATS:
        print(
            f"  note: {plural(frozen.repeats(base), 'repeat')} a case make a lucky or unlucky baseline likely; "
            "record five: pytest golden_sets --llm-repeats=5"
        )
    if len(base.sessions) < frozen.FEW_SESSIONS:
        print(
            f"  note: {plural(len(base.sessions), 'session')}: drift of live times only warns below "
            f"{frozen.FEW_SESSIONS}; give one run per session"
        )
