"""``llmwatch history runs|prune``: what a store holds, and what it gives up."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.cli_load import add_store, store_of
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.format import plural

if TYPE_CHECKING:
    from pytest_llmwatch.pipeline import Setup
    from pytest_llmwatch.store.base import Kept
    from pytest_llmwatch.store.retention import Limits

_SHOWN = 20
_FLAGS = (
    ("--keep-runs", "keep_runs", 1, "the newest N runs"),
    ("--keep-days", "keep_days", 0, "runs of the last N days"),
    ("--max-bytes", "max_bytes", 1, "the newest runs that fit into N bytes"),
    ("--keep-bodies-days", "keep_bodies_days", 0, "texts (asked, answered) of the last N days; figures stay"),
    (
        "--keep-bodies-bytes",
        "keep_bodies_bytes",
        0,
        "texts of the newest runs that fit into N bytes; figures stay",
    ),
)


def add(commands: Any) -> None:
    """Add the commands below ``history``."""
    runs = commands.add_parser("runs", help="list the runs of a store")
    add_store(runs)
    runs.set_defaults(run=cmd_runs)
    prune = commands.add_parser("prune", help="remove old runs, or their texts, from a store")
    for flag, _, _, text in _FLAGS:
        prune.add_argument(flag, type=int, metavar="N", help=f"keep {text}")
    prune.add_argument("--budget", metavar="FILE", help="take limits and store from its [store]")
    prune.add_argument("--spare", action="append", default=[], metavar="RUN", help="leave this run as it is")
    prune.add_argument("--dry-run", action="store_true", help="print what would go, remove nothing")
    add_store(prune)
    prune.set_defaults(run=cmd_prune)


def cmd_runs(args: argparse.Namespace) -> int:
    """Print a line per run, oldest first."""
    from pytest_llmwatch.store.base import open_store

    store = open_store(store_of(args), Path())
    kept = store.runs()
    for run in kept:
        print(_line(run))
    print(f"{plural(len(kept), 'run')}, {_size(sum(run.size for run in kept))}, in {store.shown}")
    return 0


def cmd_prune(args: argparse.Namespace) -> int:
    """Remove what the limits do not keep, printing each; the newest run always stays."""
    from pytest_llmwatch import pipeline
    from pytest_llmwatch.store import retention
    from pytest_llmwatch.store.base import open_store

    setup = pipeline.load_setup(Path(args.budget), args.budget) if args.budget else None
    limits = _limits(args, setup)
    store = open_store(store_of(args, setup), Path())
    spare = frozenset(store.find(ref) for ref in args.spare)
    found = retention.plan(store.runs(), limits, datetime.datetime.now(datetime.UTC), spare=spare)
    _tell("remove", found.remove)
    _tell("texts of", found.strip)
    freed = _size(sum(run.size for run in found.remove))
    gone = f"{plural(len(found.remove), 'run')} ({freed}), texts of {plural(len(found.strip), 'run')}"
    if args.dry_run:
        print(f"would remove {gone} from {store.shown}")
        return 0
    store.remove([run.id for run in found.remove])
    for run in found.strip:
        store.strip(run.id)
    print(f"removed {gone} from {store.shown}")
    return 0


def _limits(args: argparse.Namespace, setup: Setup | None) -> Limits:
    from pytest_llmwatch.store.retention import Limits

    values: dict[str, int | None] = {}
    for flag, name, low, _ in _FLAGS:
        given = getattr(args, name)
        if given is not None and given < low:
            raise UsageError(f"{flag} must be at least {low} (got {given})", slug="prune-option")
        values[name] = given
    if all(v is None for v in values.values()) and setup is not None:
        values = {name: getattr(setup.budget.store, name) for name in values}
    limits = Limits(
        values["keep_days"],
        values["keep_runs"],
        values["max_bytes"],
        body_days=values["keep_bodies_days"],
        body_size=values["keep_bodies_bytes"],
    )
    if limits.none:
        raise UsageError(
            "nothing says what to keep: give --keep-runs, --keep-days, --max-bytes, --keep-bodies-days or "
            "--keep-bodies-bytes, or a budget whose [store] does",
            slug="prune-option",
        )
    return limits


def _tell(word: str, runs: tuple[Kept, ...]) -> None:
    for run in runs[:_SHOWN]:
        print(f"  {word:<8} {_line(run).strip()}")
    if len(runs) > _SHOWN:
        print(f"  and {len(runs) - _SHOWN} more")


def _line(run: Kept) -> str:
    return f"  {run.id:<28} {run.time:<24} {_size(run.size):>9}" + ("" if run.bodies else "  without texts")


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
