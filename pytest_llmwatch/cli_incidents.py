"""``llmwatch incidents``: what is broken, who has it in hand, and how it ended."""

from __future__ import annotations

import argparse
import datetime
import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.store.base import Store

_STEPS = {
    "ack": ("acknowledged", "say that somebody has it in hand"),
    "mitigate": ("mitigating", "say that something is being done"),
    "resolve": ("resolved", "say that it is over (a clean build says so by itself)"),
    "review": ("reviewed", "say that it was reviewed"),
}


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    parent = commands.add_parser("incidents", help="what broke, who has it in hand, and how it ended")
    inner = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listed = inner.add_parser("list", help="open incidents first, the worst in front")
    listed.add_argument("--all", action="store_true", help="more than 50, and those of long ago")
    listed.add_argument("--open", action="store_true", help="only what is not resolved")
    listed.add_argument("--category", metavar="NAME", help="only this category")
    listed.add_argument("--json", action="store_true", help="print JSON")
    _where(listed)
    listed.set_defaults(run=cmd_list)

    show = inner.add_parser("show", help="everything about one incident")
    show.add_argument("id", metavar="ID")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.add_argument("--post-mortem", action="store_true", help="print the skeleton of a post-mortem in Markdown")
    _where(show)
    show.set_defaults(run=cmd_show)

    for name, (event, help_text) in _STEPS.items():
        step = inner.add_parser(name, help=help_text)
        step.add_argument("id", metavar="ID")
        step.add_argument("--by", metavar="NAME", help="who (default: the user of this machine)")
        step.add_argument("--note", metavar="TEXT", help="what is to be remembered")
        _where(step)
        step.set_defaults(run=cmd_step, event=event)

    status = inner.add_parser("status", help="counts, times to acknowledge and to resolve, what is overdue")
    _where(status)
    status.set_defaults(run=cmd_status)

    drill = inner.add_parser("drill", help="replay a recorded incident through the whole chain")
    drill.add_argument("category", metavar="CATEGORY", help="a category, or all")
    drill.add_argument("-o", "--output", type=Path, metavar="DIR", help="keep the reports there")
    drill.set_defaults(run=cmd_drill)


def _where(parser: argparse.ArgumentParser) -> None:
    from pytest_llmwatch.cli_load import add_store

    add_store(parser)
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="the report's folder, without a store (default: llmwatch-report)",
    )


def _store(args: argparse.Namespace) -> Store:
    """Return where incidents are: what is named, else ``.llmwatch``, else the report's folder."""
    from pytest_llmwatch import pipeline_incidents, pipeline_store
    from pytest_llmwatch.store.folder import JOURNALS

    url = args.store if args.report is not None else pipeline_store.chosen(args.store, None)
    if (
        url is None
        and args.report is None
        and (Path(pipeline_store.DEFAULT) / JOURNALS / f"{pipeline_incidents.JOURNAL}.jsonl").is_file()
    ):
        url = pipeline_store.DEFAULT
    return pipeline_incidents.place(url, Path(), args.report or Path("llmwatch-report"))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _stamp() -> str:
    return _now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cmd_list(args: argparse.Namespace) -> int:
    """Print the incidents."""
    from pytest_llmwatch import incidents_text, pipeline_incidents

    store = _store(args)
    found, bad = pipeline_incidents.known(store)
    shown = pipeline_incidents.open_ones(found) if args.open else list(found)
    if args.category:
        wanted = _category(args.category)
        shown = [i for i in shown if i.category == wanted]
    if args.json:
        print("[" + ",\n".join(pipeline_incidents.as_json(i).rstrip() for i in shown) + "]")
        return 0
    print(incidents_text.listing(shown, _now(), every=args.all))
    if bad:
        print(f"note: {bad} entries of the journal in {store.shown} cannot be read [llmwatch:incident-journal]")
    return 0


def _category(name: str) -> str:
    from pytest_llmwatch.incidents_catalog import categories, category

    try:
        return category(name).id
    except KeyError:
        known = ", ".join(c.id for c in categories())
        raise UsageError(
            f"{name!r} is no category of incidents; known are {known}", slug="incident-category"
        ) from None


def cmd_show(args: argparse.Namespace) -> int:
    """Print one incident."""
    from pytest_llmwatch import incidents_text, pipeline_incidents

    incident = pipeline_incidents.find(pipeline_incidents.known(_store(args))[0], args.id)
    if args.json:
        print(pipeline_incidents.as_json(incident), end="")
    elif args.post_mortem:
        print(incidents_text.post_mortem(incident, _now()), end="")
    else:
        print(incidents_text.show(incident, _now()))
    return 0


def cmd_step(args: argparse.Namespace) -> int:
    """Note a person's step, and print where the incident stands."""
    from pytest_llmwatch import incidents_text, pipeline_incidents

    by = args.by or _user()
    incident = pipeline_incidents.take_step(_store(args), args.id, args.event, by=by, text=args.note, now=_stamp())
    print(incidents_text.line(incident, _now()))
    if args.event == "resolved":
        print(f"next: llmwatch incidents show {incident.id} --post-mortem > post-mortem.md")
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def cmd_status(args: argparse.Namespace) -> int:
    """Print where things stand."""
    from pytest_llmwatch import incidents_text, pipeline_incidents

    print(incidents_text.status(pipeline_incidents.known(_store(args))[0], _now()))
    return 0


def cmd_drill(args: argparse.Namespace) -> int:
    """Replay recorded incidents; 1 where the chain did not do what it should."""
    from pytest_llmwatch import pipeline_drill
    from pytest_llmwatch.incidents_catalog import categories

    names = [c.id for c in categories()] if args.category == "all" else [_category(args.category)]
    failed = 0
    for name in names:
        done = pipeline_drill.drill(name, args.output / name if args.output else None)
        print(done.text)
        failed += not done.passed
    return 1 if failed else 0
