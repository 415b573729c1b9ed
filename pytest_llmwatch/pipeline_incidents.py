"""Incidents of a run: what earlier builds say, the journal, and the files. Never in the way of the build.

It runs after the gate and changes no verdict and no exit code; what goes wrong here is a note of the report.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import incidents, incidents_life, incidents_text, pipeline_store
from pytest_llmwatch.codec import encode
from pytest_llmwatch.errors import LlmwatchError, UsageError
from pytest_llmwatch.format import plural
from pytest_llmwatch.incidents_catalog import policy, shipped_problem
from pytest_llmwatch.incidents_group import broken
from pytest_llmwatch.model import Incident, Report
from pytest_llmwatch.store.base import Store, open_store

if TYPE_CHECKING:
    from pytest_llmwatch.budget import Budget

JOURNAL = "incidents"
FOLDER = "incidents"
INDEX = "index.json"
_LARGEST = 20_000
"""Calls of the last good run up to which it is read for comparison."""


def place(url: str | Path | None, root: Path, report: Path) -> Store:
    """Return where incidents are kept: the store, else a folder in the report's.

    Raises:
        UsageError: The store is none that can be used.
    """
    return open_store(url, root) if url is not None else open_store(report / FOLDER, root)


def place_options(url: str | Path | None, root: Path, report: Path, usual: str) -> str:
    """Return the options with which ``llmwatch incidents`` in ``root`` finds what `attach` noted, "" for none.

    ``usual`` is the report's folder in which it looks by itself.
    """
    if url is None:
        folder = report.relative_to(root) if report.is_relative_to(root) else report
        # what an earlier run left in the default store is looked at first
        found = folder.as_posix() == usual and not (root / pipeline_store.DEFAULT).is_dir()
        return "" if found else f"--report {shlex.quote(folder.as_posix())}"
    named = str(url)
    if named.rstrip("/") == os.environ.get(pipeline_store.VARIABLE, pipeline_store.DEFAULT).rstrip("/"):
        return ""
    # a URL with a password is the user's to type
    return f"--store {shlex.quote(named)}" if "@" not in named else "--store URL"


def known(store: Store) -> tuple[tuple[Incident, ...], int]:
    """Return all incidents of a store, oldest first, and how many entries could not be read."""
    return incidents_life.fold(store.journal(JOURNAL))


def attach(
    report: Report,
    budget: Budget,
    *,
    url: str | Path | None,
    root: Path,
    folder: Path,
    keep: bool = True,
    now: str | None = None,
) -> Report:
    """Return ``report`` with its incidents; whatever fails is a note, and the report stays as it was.

    Args:
        report: A judged run, before it is stored.
        budget: For its ``[incidents]`` and ``[[runbook]]``.
        url: The store, None for none: then incidents live in the report's folder.
        root: What a relative path of the store is relative to.
        folder: The report's folder.
        keep: Whether the journal takes it; a partial run only shows what it found.
        now: ISO 8601 UTC; by default the clock's.
    """
    if report.verdict == "none" or budget.incidents.open == "off":
        return report
    time = now or datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        return _attached(report, budget, place(url, root, folder), keep=keep and not report.run.partial, now=time)
    except Exception as error:  # an incident must never break the build that it is about
        return _noted(report, f"incidents could not be worked out: {said(error)} [llmwatch:incident-failed]")


def _attached(report: Report, budget: Budget, store: Store, *, keep: bool, now: str) -> Report:
    notes: list[str] = []
    past: incidents.Past | None = None
    there: tuple[Incident, ...] = ()
    try:
        there, bad = known(store)
        if bad:
            notes.append(
                f"{plural(bad, 'entry', 'entries')} of the journal of incidents cannot be read and "
                f"{'is' if bad == 1 else 'are'} left out [llmwatch:incident-journal]"
            )
        past = history(report, store)
    except (LlmwatchError, OSError) as error:
        notes.append(f"earlier incidents are not known: {said(error)}")
    found = incidents.detect(report, overrides=budget.runbooks, past=past, options=budget.incidents)
    if found and (damaged := shipped_problem()):
        notes.append(f"the incidents have no runbooks: {damaged}")
    new, current = incidents_life.advance(report, found, there, now)
    if keep and new:
        try:
            store.append(JOURNAL, new)
        except (LlmwatchError, OSError) as error:
            notes.append(f"the incidents are not in the journal: {said(error)} [llmwatch:incident-journal]")
    most = policy()["bounds"]["shown"]
    if len(current) > most:
        notes.append(f"{len(current) - most:,} more incidents are in the journal: llmwatch incidents list")
    return _noted(dataclasses.replace(report, incidents=current[:most]), *notes)


def _noted(report: Report, *notes: str) -> Report:
    return dataclasses.replace(report, notes=(*report.notes, *notes)) if notes else report


def said(error: Exception) -> str:
    """Return what an error says, on one line, bounded."""
    text = error.message if isinstance(error, LlmwatchError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


# -- earlier builds ---------------------------------------------------------------------------------------


def history(report: Report, store: Store) -> incidents.Past:
    """Return what earlier builds of the branch say of the rules that are broken now."""
    rules = {v.rule for v in broken(report.verdicts)}
    if not rules:
        return incidents.Past()
    run = report.run
    ids = [k.id for k in store.runs() if k.id != run.run_id and k.time < run.time]
    branch = run.environment.get("branch")
    first: dict[str, dict[str, Any]] = {}
    searched, good = dict.fromkeys(rules, True), None
    for run_id in ids[::-1][: policy()["bounds"]["builds"]]:
        data = store.run_json(run_id)
        environment = data.get("environment") or {}
        if branch is not None and environment.get("branch") not in (None, branch):
            continue
        states = {v.get("rule"): v.get("verdict") for v in data.get("verdicts") or ()}
        for rule in rules:
            if not searched[rule] or rule not in states:
                continue
            if states[rule] in ("fail", "warn"):
                first[rule] = _build(data, first.get(rule, {}).get("builds", 1) + 1)
            elif states[rule] == "pass":
                searched[rule] = False
                first.get(rule, {}).pop("at_least", None)
        if good is None and not any(searched[rule] for rule in rules):
            good = data
            break
    calls = (good or {}).get("aggregates", {}).get("calls") if good else None
    loaded = store.load(str(good["run_id"])) if good and isinstance(calls, int) and calls <= _LARGEST else None
    return incidents.Past(loaded, first)


def _build(data: Mapping[str, Any], builds: int) -> dict[str, Any]:
    environment = data.get("environment") or {}
    out = {"run_id": data.get("run_id"), "time": data.get("time"), "builds": builds, "at_least": True}
    return out | ({"commit": environment["commit"]} if environment.get("commit") else {})


# -- files ------------------------------------------------------------------------------------------------


def write(report: Report, folder: Path, now: str | None = None) -> tuple[str, ...]:
    """Write ``incidents/ID.json`` of each incident, a post-mortem beside those that are resolved, and an index.

    Returns:
        Notes on what could not be written.
    """
    from pytest_llmwatch import atomic

    target = folder / FOLDER
    if not report.incidents and not target.is_dir():
        return ()
    moment = incidents_life.moment(now or report.run.time) or datetime.datetime.now(datetime.UTC)
    try:
        for old in target.glob("inc-*"):
            old.unlink()  # of an earlier run; the journal has them all
        for incident in report.incidents:
            atomic.write_text(target / f"{incident.id}.json", as_json(incident))
            if incident.state not in incidents_life.OPEN:
                atomic.write_text(target / f"{incident.id}.md", incidents_text.post_mortem(incident, moment))
        rows = [
            {k: getattr(i, k) for k in ("id", "severity", "state", "category", "title")} for i in report.incidents
        ]
        atomic.write_text(
            target / INDEX, json.dumps({"run_id": report.run.run_id, "incidents": rows}, indent=2) + "\n"
        )
    except OSError as error:
        return (f"the files of the incidents could not be written: {said(error)} [llmwatch:incident-files]",)
    return ()


def as_json(incident: Incident) -> str:
    """Return an incident as the text of its file."""
    from pytest_llmwatch.report.run_json import json_safe

    return json.dumps(json_safe(encode(incident)), indent=2, ensure_ascii=False) + "\n"


# -- steps of people --------------------------------------------------------------------------------------


def find(all_known: Sequence[Incident], name: str) -> Incident:
    """Return the incident with this id, or the only one whose id begins or ends so.

    Raises:
        UsageError: There is none, or several.
    """
    fits = [i for i in all_known if i.id == name] or [
        i for i in all_known if i.id.startswith(name) or i.id.endswith(f"-{name}")
    ]
    if len(fits) == 1:
        return fits[0]
    if fits:
        names = ", ".join(i.id for i in fits[:5])
        raise UsageError(
            f"{name!r} names {len(fits)} incidents: {names}; give more of the id", slug="incident-unknown"
        )
    newest = ", ".join(i.id for i in all_known[-3:]) or "none"
    raise UsageError(
        f"there is no incident {name!r}; the newest are: {newest} (`llmwatch incidents list --all` lists all)",
        slug="incident-unknown",
    )


def take_step(store: Store, name: str, event: str, *, by: str, text: str | None, now: str) -> Incident:
    """Add a person's step to the journal and return the incident as it stands then.

    Raises:
        UsageError: There is no such incident, or it is past that step.
        LlmwatchError: The store cannot be used.
    """
    there, _ = known(store)
    incident = find(there, name)
    entry = incidents_life.step(incident, event, now, by=_clean(by), text=_clean(text))
    try:
        store.append(JOURNAL, [entry])
    except OSError as error:
        raise UsageError(
            f"the journal of incidents in {store.shown} cannot be written ({said(error)}); nothing was changed",
            slug="incident-journal",
        ) from error
    return find(known(store)[0], incident.id)


def _clean(text: str | None) -> str | None:
    """Return a person's text with nothing in it that redaction hides."""
    if text is None:
        return None
    from pytest_llmwatch.redact import Redactor

    return Redactor((), pii=True).text(text)[:2000]


def open_ones(all_known: Iterable[Incident]) -> list[Incident]:
    """Return those that are not resolved."""
    return [i for i in all_known if i.state in incidents_life.OPEN]
