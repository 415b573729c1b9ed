"""``llmwatch export``: a stored run as metrics, spans or log lines, to a file or another system."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.cli_load import add_store, load, store_of
from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.budget_types import TelemetryOptions
    from pytest_llmwatch.model import Report

_TARGETS = ("prometheus", "otlp", "logs")
_UNSENT = 7


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("export", help="send or print a stored run as metrics, spans or log lines")
    parser.add_argument("ref", metavar="RUN|RECORDS", help="run.json, its folder, a store id, or RECORDS")
    parser.add_argument("--to", required=True, choices=_TARGETS, help="what: metrics, spans, or events")
    parser.add_argument(
        "--url", metavar="URL", help="Pushgateway or OTLP/HTTP endpoint; without one, text on standard output"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the text there")
    parser.add_argument("--budget", metavar="FILE", help="judge by this budget, and take its [telemetry]")
    parser.add_argument("--bodies", action="store_true", help="with spans: also what was asked and answered")
    parser.add_argument(
        "--share", type=float, metavar="SHARE", help="with logs: keep this share of what went well"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="give up sending after (default: 10)")
    add_store(parser)
    parser.set_defaults(run=cmd_export)


def cmd_export(args: argparse.Namespace) -> int:
    """Print, write or send the run."""
    from pytest_llmwatch import pipeline, pipeline_telemetry

    setup = pipeline.load_setup(Path(args.budget), args.budget) if args.budget else None
    options = _options(args, None if setup is None else setup.budget.telemetry)
    store = store_of(args, setup)
    run, notes = load(args.ref, [], setup, store=store)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if setup is not None:
        report = pipeline.judge(run, setup.budget)
    else:
        report = pipeline.stored_report(run, args.ref, store)
    if args.url is None:
        _text(report, args, options)
        return 0
    key = "otlp" if args.to == "otlp" else "pushgateway"
    options = dataclasses.replace(options, otlp=None, pushgateway=None, join=False)
    options = dataclasses.replace(options, **{key: args.url})
    pipeline_telemetry.check(options)
    sent = pipeline_telemetry.deliver(report, options)
    for one in sent:
        print(f"llmwatch: {one.text}", file=sys.stdout if one.problem is None else sys.stderr)
    return _UNSENT if any(s.problem is not None for s in sent) else 0


def _options(args: argparse.Namespace, given: TelemetryOptions | None) -> TelemetryOptions:
    from pytest_llmwatch.budget_types import TelemetryOptions

    options = given or TelemetryOptions()
    if args.share is not None and not 0 <= args.share <= 1:
        raise UsageError(f"--share must be between 0 and 1 (got {args.share:g})", slug="export-option")
    if args.timeout is not None and not 0 < args.timeout <= 600:
        raise UsageError(f"--timeout must be in (0, 600] seconds (got {args.timeout:g})", slug="export-option")
    if args.url is not None and (args.to == "logs" or args.output is not None):
        raise UsageError("--url takes metrics or spans, and no --output", slug="export-option")
    return dataclasses.replace(
        options,
        log_share=options.log_share if args.share is None else args.share,
        timeout=options.timeout if args.timeout is None else args.timeout,
        bodies=options.bodies or args.bodies,
    )


def _text(report: Report, args: argparse.Namespace, options: TelemetryOptions) -> None:
    from pytest_llmwatch import atomic, pipeline_telemetry

    text = pipeline_telemetry.text(report, args.to, options)
    if args.output is None:
        sys.stdout.write(text)
    else:
        atomic.write_text(args.output, text)
