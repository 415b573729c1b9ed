"""``llmwatch``: the command line. Each command is a small function; all work is done in the pipeline."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_llmwatch import (
    __version__,
    cli_alerts,
    cli_baseline,
    cli_cassettes,
    cli_compare,
    cli_export,
    cli_golden,
    cli_history,
    cli_import,
    cli_incidents,
    cli_judge,
    cli_merge,
    cli_plan,
    cli_report,
    cli_score,
    cli_windows,
)
from pytest_llmwatch.cli_load import add_store, load, store_of
from pytest_llmwatch.errors import InfrastructureError, LlmwatchError

OK, FAILED, USAGE, UNABLE = 0, 1, 4, 7
DEFAULT_REPORT = "llmwatch-report"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (0 pass, 1 fail, 4 usage, 7 the gate could not work)."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not hasattr(args, "run"):
        parser.print_help()
        return USAGE
    try:
        return int(args.run(args))
    except InfrastructureError as error:
        print(f"llmwatch: {error}", file=sys.stderr)
        return UNABLE
    except LlmwatchError as error:
        print(f"llmwatch: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # `llmwatch ... | head`: nobody reads on; a traceback would help nobody
        sys.stderr.close()
        return OK


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog="llmwatch", description="Quality, latency and cost gates for LLM applications.")
    parser.add_argument("--version", action="version", version=f"pytest-llmwatch {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    init = commands.add_parser("init", help="scaffold budget.toml, a golden set, a test and a CI job")
    init.add_argument(
        "--preset", choices=["starter", "operations"], default="starter", help="limits to start from"
    )
    init.add_argument("--dir", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    init.set_defaults(run=cmd_init)

    gate = commands.add_parser("gate", help="judge a stored run, or RECORDS, against a budget")
    gate.add_argument("run_or_records", metavar="RUN|RECORDS")
    gate.add_argument("--budget", required=True, metavar="FILE")
    gate.add_argument("--baseline", metavar="REF", help="baseline file or stored run (default: the budget's)")
    gate.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="rename a key of RECORDS")
    gate.add_argument("--window", metavar="LENGTH", help="judge sliding windows of RECORDS: 30s, 5m, 1h")
    gate.add_argument("--json", action="store_true", help="print run.json instead of the table")
    gate.add_argument("-o", "--output", type=Path, metavar="DIR", help="write the report's files there")
    gate.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML: rules and tests")
    add_store(gate, "; day and month budgets sum over it")
    gate.add_argument(
        "--keep", action="store_true", help="keep the judged run in the store, and its incidents in the journal"
    )
    gate.add_argument(
        "--alerts",
        choices=["on", "off", "dry"],
        help="send the budget's alerts (default: on in CI, dry elsewhere)",
    )
    gate.set_defaults(run=cmd_gate)

    cli_report.add(commands, DEFAULT_REPORT)
    cli_score.add(commands)
    cli_compare.add(commands)
    cli_baseline.add(commands)
    cli_cassettes.add(commands)
    cli_plan.add(commands)
    cli_history.add(commands)
    cli_merge.add(commands)
    cli_export.add(commands)
    cli_import.add(commands)
    cli_judge.add(commands)
    cli_incidents.add(commands)

    budget = commands.add_parser("budget", help="check, suggest, or print the schema of a budget")
    _budget_commands(budget)

    golden = commands.add_parser("golden", help="validate golden sets, add cases")
    golden_commands = golden.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = golden_commands.add_parser("check", help="validate golden sets, naming file and line")
    check.add_argument("paths", nargs="*", type=Path, default=[Path("golden_sets")], metavar="PATH")
    check.set_defaults(run=cmd_golden_check)
    cli_golden.add(golden_commands)

    doctor = commands.add_parser("doctor", help="show the environment, and what would be captured")
    doctor.add_argument("--budget", metavar="FILE")
    doctor.set_defaults(run=cmd_doctor)
    return parser


def _budget_commands(parent: argparse.ArgumentParser) -> None:
    commands = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = commands.add_parser("check", help="check a budget file; with --run, how often each fact would flake")
    check.add_argument("file", nargs="?", default="budget.toml", metavar="FILE")
    check.add_argument("--run", dest="stored", metavar="RUN", help="a stored run, e.g. llmwatch-report/run.json")
    check.set_defaults(run=cmd_budget_check)
    suggest = commands.add_parser("suggest", help="propose limits from what a run measured")
    suggest.add_argument("stored", nargs="?", default=f"{DEFAULT_REPORT}/run.json", metavar="RUN")
    suggest.add_argument("--run", dest="stored_option", metavar="RUN", help="the same")
    suggest.set_defaults(run=cmd_budget_suggest)
    schema = commands.add_parser("schema", help="print the JSON Schema of budget.toml")
    schema.set_defaults(run=cmd_budget_schema)


def cmd_init(args: argparse.Namespace) -> int:
    """Write what is missing; never overwrite."""
    from pytest_llmwatch import scaffold

    for path, written in scaffold.write(args.dir, preset=args.preset):
        print(f"{'wrote  ' if written else 'exists '} {path}")
    print(scaffold.NEXT)
    return OK


def cmd_gate(args: argparse.Namespace) -> int:
    """Judge a stored run or RECORDS."""
    from pytest_llmwatch import (
        pipeline,
        pipeline_baseline,
        pipeline_incidents,
        pipeline_page,
        pipeline_store,
        pipeline_users,
    )

    setup = pipeline.load_setup(Path(args.budget), args.budget, golden=[Path("golden_sets")])
    store = store_of(args, setup)
    run, notes = load(args.run_or_records, args.map, setup, store=store)
    found = pipeline_baseline.load(args.baseline, setup.budget, [Path("golden_sets")], base=Path(), store=store)
    if args.baseline:
        run = replace(run, concurrent=())
    teller = cli_alerts.Teller(setup.budget, store, args.alerts)
    if args.window:
        length = cli_windows.seconds(args.window)
        tell = functools.partial(teller.windows, source=Path(args.run_or_records).name, keep=args.keep)
        return cli_windows.gate(run, setup.budget, found, length, as_json=args.json, tell=tell)
    known = pipeline_store.chosen(args.store, setup.budget.store.url)
    hash_user = pipeline_users.hash_with(pipeline_users.key_in(pipeline_store.key_folder(store)))
    scopes = pipeline_store.scopes_of(setup.budget, hash_user)
    spent = pipeline_store.spent(known, Path(), run=run, scopes=scopes)
    report = pipeline.judge(run, setup.budget, baselines=found, spent=spent)
    report = pipeline_page.with_earlier(report, store, Path())
    folder = args.output or Path(DEFAULT_REPORT)
    keep = teller.notes_incidents(keep=args.keep)
    report = pipeline_incidents.attach(
        report, setup.budget, url=store if keep else known, root=Path(), folder=folder, keep=keep
    )
    if args.keep:
        pipeline_store.keep(report, store, Path())
    report = teller.run(report)
    at = pipeline_incidents.place_options(store, Path(), folder, DEFAULT_REPORT) if keep else None
    cli_report.show(
        report, args.output, as_json=args.json, junit=args.junit, notes=notes, tell=True, incidents_at=at
    )
    return report.exit_code


def cmd_budget_check(args: argparse.Namespace) -> int:
    """Check a budget; with a run, print each fact's flake rate and warn above alpha."""
    from pytest_llmwatch import pipeline

    setup = pipeline.load_setup(Path(args.file), args.file, golden=[Path("golden_sets")])
    budget = setup.budget
    tests = sum(1 for x in budget.limits if x.kind == "test")
    print(f"{args.file}: {len(budget.limits)} limits ({tests} tests, {len(budget.limits) - tests} facts), valid")
    if not args.stored:
        return OK
    run, _ = load(args.stored, [], setup)
    from pytest_llmwatch.gate_flake import flake_rates

    alpha = budget.gate.alpha
    bad = 0
    for rule, share in flake_rates(run, budget):
        over = share is not None and share > alpha
        bad += over
        text = "not measured in this run" if share is None else f"{share:7.2%} of unchanged builds turn red"
        print(f"  {'!' if over else ' '} {rule:<44} {text}")
    if bad:
        print(
            f"{bad} limits stand so near to what this run measured that they flake more often than alpha "
            f"({alpha:.2%}); `llmwatch budget suggest` proposes limits that do not"
        )
    return OK


def cmd_budget_suggest(args: argparse.Namespace) -> int:
    """Print proposed limits as TOML."""
    from pytest_llmwatch.budget_suggest import suggest

    run, _ = load(args.stored_option or args.stored, [])
    print(suggest(run), end="")
    return OK


def cmd_budget_schema(_: argparse.Namespace) -> int:
    """Print the published JSON Schema."""
    from pytest_llmwatch.budget import budget_schema

    print(json.dumps(budget_schema(), indent=2))
    return OK


def cmd_golden_check(args: argparse.Namespace) -> int:
    """Validate golden sets; every set is looked at, one line each."""
    from pytest_llmwatch import pipeline
    from pytest_llmwatch.errors import GoldenError
    from pytest_llmwatch.format import plural

    files: list[Path] = []
    for path in args.paths:
        found = [path] if path.name == "set.yaml" else sorted(path.rglob("set.yaml")) if path.is_dir() else []
        if not found:
            raise GoldenError(
                "holds no set.yaml; `llmwatch init` writes one", slug="golden-missing", file=str(path)
            )
        files.extend(found)
    wrong = 0
    for file in files:
        try:
            golden = pipeline.load_golden(file)
        except GoldenError as error:
            wrong += 1
            print(error)
            continue
        clusters = len({c.cluster for c in golden.cases if c.cluster})
        counts = (plural(len(golden.cases), "case"), plural(clusters, "cluster"), plural(golden.repeats, "repeat"))
        print(f"{golden.file}: {', '.join(counts)}, valid")
    return USAGE if wrong else OK


def cmd_doctor(args: argparse.Namespace) -> int:
    """Print versions, and what a run here would capture."""
    from pytest_llmwatch import doctor

    for line in doctor.lines(Path.cwd(), Path(args.budget) if args.budget else None):
        print(line)
    return OK


if __name__ == "__main__":
    sys.exit(main())
