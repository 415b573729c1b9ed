"""Incidents of live records: ``gate RECORDS --window`` opens, follows and resolves them window by window.

The journal is read once and written once, whatever the number of windows; of the windows that show an incident
that is open already, the last one and those that make it worse are noted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import incidents, incidents_life
from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.incidents_group import broken
from pytest_llmwatch.model import Incident, Report, Run
from pytest_llmwatch.pipeline_incidents import JOURNAL, known, place, said

if TYPE_CHECKING:
    from pytest_llmwatch.budget import Budget
    from pytest_llmwatch.windows import Window

Judged = list[tuple["Window", Report]]


def attach(
    judged: Judged, budget: Budget, *, source: str, url: str | Path | None, root: Path, folder: Path, keep: bool
) -> tuple[Judged, tuple[str, ...]]:
    """Return the windows with their incidents, and notes; whatever fails is a note, and the windows stay.

    The records are a line of development of their own, as a branch is: what a build opened they do not resolve.
    A window that an earlier look told of (by the records' own clock) adds nothing.

    Args:
        judged: Windows, oldest first, and what the gate says of each.
        budget: For its ``[incidents]`` and ``[[runbook]]``.
        source: Name of the records.
        url: The store, None for the journal in ``folder``.
        root: What a relative path of the store is relative to.
        folder: The report's folder.
        keep: Whether the journal takes them.
    """
    if budget.incidents.open == "off" or all(r.verdict == "none" for _, r in judged):
        return judged, ()
    try:
        return _attached(judged, budget, source, place(url, root, folder), keep=keep)
    except Exception as error:  # an incident never breaks what it is about
        return judged, (f"incidents could not be worked out: {said(error)} [llmwatch:incident-failed]",)


def _attached(
    judged: Judged, budget: Budget, source: str, store: Any, *, keep: bool
) -> tuple[Judged, tuple[str, ...]]:
    branch = f"records {source}"
    notes: list[str] = []
    there: dict[str, Incident] = {}
    try:
        there = {i.id: i for i in known(store)[0] if i.branch == branch}
    except (LlmwatchError, OSError) as error:
        notes.append(f"earlier incidents are not known: {said(error)}")
    looked = _looked(there.values())
    entries: list[dict[str, Any]] = []
    out: Judged = []
    good: Run | None = None
    for window, given in judged:
        report = _dated(given, window, branch, source)
        if not broken(report.verdicts) and report.verdict == "pass":
            good = report.run
        if looked is None or window.end > looked:
            found = incidents.detect(
                report, overrides=budget.runbooks, past=incidents.Past(good), options=budget.incidents
            )
            now = [i for i in there.values() if i.state in incidents_life.OPEN] if not found else there.values()
            new, current = incidents_life.advance(report, found, tuple(now), _stamp(window.end))
            entries += new
            there |= {i.id: i for i in current}
        else:
            current = tuple(i for known_one in there.values() for i in _then(known_one, window.end))
        report = dataclasses.replace(report, incidents=current)
        out.append((window, report))
    entries = _fewer(entries)
    if keep and entries:
        try:
            store.append(JOURNAL, entries)
        except (LlmwatchError, OSError) as error:
            notes.append(f"the incidents are not in the journal: {said(error)} [llmwatch:incident-journal]")
    return out, (*notes, *_told(entries, there, keep=keep))


def _dated(report: Report, window: Window, branch: str, source: str) -> Report:
    """Return a window's report as a run of its own: its name is the same whenever the records are looked at."""
    name = f"{source} {window.start:%Y-%m-%dT%H:%M:%S}Z to {window.end:%H:%M:%S}Z"
    run = dataclasses.replace(
        report.run,
        run_id=name,
        time=_stamp(window.start),
        environment={**report.run.environment, "branch": branch},
    )
    return dataclasses.replace(report, run=run)


def _looked(there: Any) -> datetime | None:
    """Return the end of the newest window that an incident of these records tells of."""
    times = (
        incidents_life.moment(str(s.get("time"))) for i in there for s in i.timeline if s.get("run") is not None
    )
    return max((t for t in times if t is not None), default=None)


def _then(incident: Incident, at: datetime) -> Iterator[Incident]:
    """Yield an incident as it stood at a window that was looked at before; nothing where it was not there."""
    ends = (s.get("time") for s in incident.timeline if s.get("event") == "resolved")
    start, end = incidents_life.moment(incident.time), incidents_life.moment(str(next(ends, None)))
    if start is None or at < start or (end is not None and at > end):
        return
    yield incident if at == end else dataclasses.replace(incident, state="triaged")


def _fewer(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out all windows that only show an incident again, but the last one and those that made it worse."""
    last = {e["incident"]: n for n, e in enumerate(entries) if e["event"] == "seen"}
    worst: dict[str, str] = {}
    out = []
    for number, entry in enumerate(entries):
        name, level = entry["incident"], str((entry.get("data") or {}).get("severity", ""))
        if entry["event"] == "seen" and last[name] != number and level >= worst.get(name, ""):
            continue
        if level:
            worst[name] = min(level, worst.get(name, level))
        out.append(entry)
    return out


def _told(entries: Sequence[dict[str, Any]], there: dict[str, Incident], *, keep: bool) -> list[str]:
    opened = [there[e["incident"]] for e in entries if e["event"] == "detected"]
    lines = [f"incident {i.id} ({i.severity}, {i.state}): {i.title}, since {_minute(i.time)}" for i in opened[:10]]
    if len(opened) > 10:
        lines.append(f"and {len(opened) - 10:,} more incidents")
    if opened and not keep:
        lines.append("the incidents are only shown; --keep or --alerts on notes them in the journal")
    return lines


def _minute(time: str | None) -> str:
    return str(time)[:16].replace("T", " ")


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
