"""``llmwatch history``: the trend over stored runs, and the build that changed it."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import cli_prune
from pytest_llmwatch import format as fmt
from pytest_llmwatch.cli_load import add_store, store_of
from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.history import Build, Trend

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "history", help="the trend over stored runs, drift, and the build that changed it"
    )
    parser.add_argument("--metric", action="append", default=[], metavar="NAME", help="only this (repeatable)")
    add_store(parser)
    parser.add_argument("--last", type=int, metavar="N", help="only the newest N runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=cmd_history)
    cli_prune.add(parser.add_subparsers(title="commands", metavar="COMMAND"))


def cmd_history(args: argparse.Namespace) -> int:
    """Print a line per metric, those that got worse first."""
    from pathlib import Path

    from pytest_llmwatch import history
    from pytest_llmwatch.store.base import open_store
    from pytest_llmwatch.store.merge import is_part

    store = open_store(store_of(args), Path())
    builds = [history.build_of(d) for d in store.summaries() if not is_part(d.get("environment") or {})]
    builds = sorted(builds, key=lambda b: (b.time, b.run_id))[-args.last :] if args.last else builds
    if not builds:
        raise UsageError(f"{store.shown} holds no runs; keep them with --llm-store", slug="history-empty")
    known = {m for b in builds for m in b.values}
    unknown = [m for m in args.metric if m not in known]
    if unknown:
        raise UsageError(
            f"no stored run has a metric {unknown[0]!r}; they have: {', '.join(sorted(known))}",
            slug="history-metric",
        )
    found = history.trends(builds, args.metric)
    if args.json:
        print(json.dumps([_plain(asdict(t)) for t in found], indent=2, ensure_ascii=False))
        return 0
    print(f"{fmt.plural(len(builds), 'run')} in {store.shown}")
    for trend in sorted(found, key=lambda t: (t.alarm is None, t.worse is not True)):
        print(line(trend))
    if len(builds) < history.LEAST:
        print(f"drift is judged from {history.LEAST} runs on")
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def line(trend: Trend) -> str:
    """Return one metric's line: its curve, its newest value, and what is to be said of it."""
    from pytest_llmwatch.compare_samples import metric_named

    unit = metric_named(trend.metric).unit
    said = []
    if trend.alarm is not None:
        said.append(
            f"drifts for the worse since {_name(trend.since or trend.alarm)} (CUSUM, alarm {_name(trend.alarm)})"
        )
    if trend.changed is not None and trend.levels is not None:
        word = "worse" if trend.worse else "better"
        before, after = (fmt.value(x, unit) for x in trend.levels)
        said.append(f"{word} from {_name(trend.changed)} on: {before} → {after} (p={trend.p:.2g})")
    latest = fmt.value(trend.latest, unit)
    bars = curve(trend.values)
    return f"  {trend.metric:<18} {bars:<{_WIDTH}} {latest:>10}  {'; '.join(said) or 'steady'}"


def _name(build: Build) -> str:
    return f"{build.run_id}" + (f" ({build.commit})" if build.commit else "")


def curve(values: tuple[float, ...]) -> str:
    """Return the newest values as a line of bars; a build without a value is a blank."""
    shown = values[-_WIDTH:]
    known = [v for v in shown if not math.isnan(v)]
    if not known:
        return ""
    low, high = min(known), max(known)
    bars = _BARS if _unicode() else ".:-=+*#@"
    span = (high - low) or 1.0
    return "".join(
        " " if math.isnan(v) else bars[min(len(bars) - 1, int((v - low) / span * len(bars)))] for v in shown
    )


def _unicode() -> bool:
    try:
        _BARS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
