"""Incidents on a page: what each medium shows of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_llmwatch.incidents_life import OPEN, triage_text
from pytest_llmwatch.model import Incident, Report

_STATES = {"SEV1": "broken", "SEV2": "broken", "SEV3": "warn", "SEV4": "warn"}
_LINK = re.compile(r"https?://[^\s<>\"'`]+")
_WORST, _ACTIONS = 3, 5


@dataclass(frozen=True, slots=True)
class Row:
    """One incident as a page shows it. ``calls`` are pairs of id and name, ``facts`` of name and text."""

    incident: Incident
    state: str
    facts: tuple[tuple[str, str], ...]
    actions: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]
    url: str | None


def rows(report: Report) -> list[Row]:
    """Return a row per incident of the report, in its order."""
    shown = {c.id for c in report.run.calls}
    return [_row(i, shown) for i in report.incidents]


def _row(incident: Incident, shown: set[str]) -> Row:
    answered = [f"{d['step']}: {d['answer']}" for d in incident.diagnosis if d.get("answer")]
    facts = [
        ("what", incident.what),
        ("since", since(incident)),
        ("triage", triage_text(incident)),
        ("likely causes", "; ".join(incident.causes)),
        ("the data says", "; ".join(answered)),
        ("escalation", " → ".join(str(x) for x in incident.runbook.get("escalation") or ())),
    ]
    calls = [(str(w["call_id"]), str(w.get("case") or w.get("nodeid") or w["call_id"])) for w in incident.worst]
    url = str(incident.runbook.get("url") or "")
    return Row(
        incident,
        _STATES[incident.severity] if incident.state in OPEN else "holds",
        tuple((name, text) for name, text in facts if text),
        incident.actions[:_ACTIONS],
        tuple(c for c in calls if c[0] in shown)[:_WORST],
        url if _LINK.fullmatch(url) else None,
    )


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
