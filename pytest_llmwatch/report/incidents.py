"""Incidents on a page: what each medium shows of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmwatch.incidents_life import OPEN, triage_text
from pytest_llmwatch.model import Incident, Report

_STATES = {"SEV1": "broken", "SEV2": "broken", "SEV3": "warn", "SEV4": "warn"}
_LINK = re.compile(r"https?://[^\s<>\"'`]+")
_WORST, _ACTIONS = 3, 5


@dataclass(frozen=True, slots=True)
class Row:
    """One incident as a page shows it.

    ``calls`` are pairs of id and name, ``answers`` of a question and what the run says to it; ``rules`` are all of
    its rules, ``seen`` tells since when, ``extent`` how much it hits. ``open`` is False once it is resolved.
    """

    incident: Incident
    state: str
    open: bool
    anchor: str
    what: str
    seen: str
    extent: str
    causes: tuple[str, ...]
    answers: tuple[tuple[str, str], ...]
    escalation: tuple[str, ...]
    actions: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]
    url: str | None


def rows(report: Report) -> list[Row]:
    """Return a row per incident of the report, in its order."""
    shown = {c.id for c in report.run.calls}
    return [_row(i, shown, report.run.run_id) for i in report.incidents]


def anchors(found: Sequence[Row]) -> dict[str, str]:
    """Return the fragment of the open incident that a rule belongs to, the first of several, by rule."""
    out: dict[str, str] = {}
    for row in found:
        for rule in row.incident.rules if row.open else ():
            out.setdefault(rule, row.anchor)
    return out


def _row(incident: Incident, shown: set[str], run_id: str) -> Row:
    calls = [(str(w["call_id"]), str(w.get("case") or w.get("nodeid") or w["call_id"])) for w in incident.worst]
    url = str(incident.runbook.get("url") or "")
    is_open = incident.state in OPEN
    # the page is this run: its id and commit stand at the top already
    new = incident.since.get("run_id") == run_id
    return Row(
        incident,
        _STATES[incident.severity] if is_open else "holds",
        is_open,
        re.sub(r"[^A-Za-z0-9-]", "-", incident.id),
        _what(incident),
        "first seen in this run" if new else f"since {text}" if (text := since(incident)) else "",
        triage_text(incident),
        incident.causes,
        tuple((str(d.get("step", "")), str(d["answer"])) for d in incident.diagnosis if d.get("answer")),
        tuple(str(x) for x in incident.runbook.get("escalation") or ()),
        _distinct(incident.actions)[:_ACTIONS],
        tuple(c for c in calls if c[0] in shown)[:_WORST],
        url if _LINK.fullmatch(url) else None,
    )


def _what(incident: Incident) -> str:
    # "rule: rule 0.3 is under 0.5" of an incident that names the rule and quotes its sentence
    rule, colon, text = incident.what.partition(": ")
    return text if colon and text.startswith(f"{rule} ") else incident.what


def _distinct(actions: Iterable[str]) -> tuple[str, ...]:
    """Return the actions without those that another one says too, in more words."""
    kept: list[str] = []
    for action in dict.fromkeys(actions):
        words = action.rstrip(".").casefold()
        if any(words in other.casefold() for other in kept):
            continue
        # the longer text takes the place of the shorter: what is first stays first
        at = next((i for i, other in enumerate(kept) if other.rstrip(".").casefold() in words), len(kept))
        kept[at : at + 1] = [action]
    return tuple(kept)


def since(incident: Incident) -> str:
    """Return since which build an incident is there; empty where nobody knows."""
    found: Mapping[str, object] = incident.since
    if not found:
        return ""
    builds = found.get("builds")
    least = "at least " if found.get("at_least") else ""
    many = f", {least}{builds} builds" if isinstance(builds, int) and builds > 1 else ""
    commit = f" (commit {str(found['commit'])[:12]})" if found.get("commit") else ""
    return f"run {found.get('run_id')}{commit}{many}"


def lines(report: Report) -> Iterator[tuple[str, str]]:
    """Yield severity and text of a line per incident, for a terminal or a list."""
    for incident in report.incidents:
        again = f", came back after {incident.earlier}" if incident.earlier else ""
        yield incident.severity, f"{incident.title} ({incident.state}, {incident.id}{again})"
