"""Incidents as text: lists, one incident, the status of all, and the skeleton of a post-mortem. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pytest_llmwatch import format as fmt
from pytest_llmwatch.incidents_catalog import category, policy
from pytest_llmwatch.incidents_life import OPEN, clock, moment, span, triage_text
from pytest_llmwatch.model import Incident

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~@!])")


def line(incident: Incident, now: datetime) -> str:
    """Return an incident on one line: severity, state, id, title, since when, overdue."""
    times = clock(incident, now)
    late = f"  overdue by {span(times.overdue)}: {times.escalate_to or 'escalate'}" if times.overdue else ""
    age = f"open {span(times.open_for)}" if incident.state in OPEN else f"took {span(times.to_resolve)}"
    return f"{incident.severity}  {incident.state:<12}  {incident.id}  {plain(incident.title)}  ({age}){late}"


def listing(incidents: Sequence[Incident], now: datetime, *, every: bool = False) -> str:
    """Return a list, open ones first, the worst and newest of each in front; at most 50 unless ``every``."""
    if not incidents:
        return "no incidents"
    order = sorted(incidents, key=lambda i: i.time or "", reverse=True)
    order.sort(key=lambda i: (i.state not in OPEN, i.severity))
    most = len(order) if every else policy()["bounds"]["shown"]
    lines = [line(i, now) for i in order[:most]]
    if len(order) > most:
        lines.append(f"and {len(order) - most:,} more (--all lists them)")
    return "\n".join(lines)


def status(incidents: Sequence[Incident], now: datetime) -> str:
    """Return where things stand: open by severity, times to acknowledge and to resolve, what is overdue."""
    current = [i for i in incidents if i.state in OPEN]
    levels = Counter(i.severity for i in current)
    by = ", ".join(f"{n} {name}" for name, n in sorted(levels.items()))
    lines = [f"{fmt.plural(len(current), 'open incident')}" + (f": {by}" if by else "")]
    times = [clock(i, now) for i in incidents]
    lines.append(f"time to acknowledge: {_spread([t.to_acknowledge for t in times])}")
    lines.append(f"time to resolve: {_spread([t.to_resolve for t in times])}")
    waiting = sum(i.state == "resolved" for i in incidents)
    lines.append(f"{fmt.plural(waiting, 'resolved incident')} without a review")
    late = [i for i in current if clock(i, now).overdue]
    if late:
        lines += [f"overdue ({len(late)}):", listing(late, now)]
    return "\n".join(lines)


def _spread(values: Sequence[float | None]) -> str:
    known = sorted(v for v in values if v is not None)
    if not known:
        return "none yet"
    middle = known[len(known) // 2]
    return f"median {span(middle)}, longest {span(known[-1])}, n {len(known)}"


def show(incident: Incident, now: datetime) -> str:
    """Return everything about an incident, for a terminal."""
    times = clock(incident, now)
    rows = [
        ("severity", f"{incident.severity}: {policy()['meaning'][incident.severity]}; goes to {_route(incident)}"),
        ("state", incident.state),
        ("what", incident.what),
        ("since", _since(incident)),
        ("rules", ", ".join(incident.rules[:10]) + (" …" if len(incident.rules) > 10 else "")),
        ("triage", triage_text(incident)),
        ("affected", _affected(incident)),
        ("time to acknowledge", span(times.to_acknowledge)),
        ("time to resolve", span(times.to_resolve)),
    ]
    if times.overdue is not None:
        rows.append(("overdue", f"by {span(times.overdue)}; next: {times.escalate_to or 'nobody is named'}"))
    if incident.earlier:
        rows.append(("came back after", incident.earlier))
    lines = [f"{incident.id}  {plain(incident.title)}"]
    lines += [f"  {name:<20} {plain(text)}" for name, text in rows if text]
    lines += _block("likely causes", list(incident.causes))
    lines += _block(
        "diagnosis", [f"{d.get('step')}: {d.get('answer') or 'not in the data'}" for d in incident.diagnosis]
    )
    lines += _block("do", list(incident.actions))
    lines += _block("worst calls", [_worst(w) for w in incident.worst[:5]])
    lines += _block("timeline", [_event(e) for e in incident.timeline])
    if incident.runbook.get("url"):
        lines.append(f"  runbook: {plain(str(incident.runbook['url']))}")
    return "\n".join(lines)


def post_mortem(incident: Incident, now: datetime) -> str:
    """Return a blameless post-mortem in Markdown: what the data knows filled in, the questions left open."""
    times = clock(incident, now)
    kind = category(incident.category)
    out = [
        f"# Post-mortem: {escape(incident.title)} ({incident.id})",
        "",
        "Blameless: it asks what made this possible, not who did it.",
        "",
        f"- Severity: {incident.severity}, {policy()['meaning'][incident.severity]}",
        f"- Category: {kind.words}",
        f"- State: {incident.state}",
        f"- What: {escape(incident.what)}",
        f"- Since: {escape(_since(incident))}",
        f"- Triage: {escape(triage_text(incident))}",
        f"- Affected: {escape(_affected(incident))}",
        f"- Time to acknowledge: {span(times.to_acknowledge)}",
        f"- Time to resolve: {span(times.to_resolve)}",
        "",
        "## Timeline",
        "",
        *(f"- {escape(_event(e))}" for e in incident.timeline),
    ]
    headings = policy()["review"]["headings"]
    answers: list[list[str]] = [_happened(incident), [], [], []]
    for title, known in zip(headings, answers, strict=False):
        out += ["", f"## {title}", "", *known]
        if not known:
            out.append("…")
    out += ["", "## Follow-ups", "", "| what | who | until |", "|---|---|---|", "| | | |"]
    return "\n".join(out) + "\n"


def _happened(incident: Incident) -> list[str]:
    out = [f"- {escape(c)}" for c in incident.causes]
    out += [
        f"- {escape(str(d['step']))}: {escape(str(d['answer']))}" for d in incident.diagnosis if d.get("answer")
    ]
    return out or ["…"]


def _block(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"  {title}"
        yield from (f"    - {plain(item)}" for item in items)


def _route(incident: Incident) -> str:
    route = str(incident.route)
    return f"{route} ({policy()['channels'].get(route, route)})"


def _since(incident: Incident) -> str:
    s: Mapping[str, object] = incident.since
    if not s:
        return ""
    commit = f", commit {str(s['commit'])[:12]}" if s.get("commit") else ""
    builds = s.get("builds")
    many = f"; {builds} builds" if isinstance(builds, int) and builds > 1 else ""
    least = " at least" if s.get("at_least") else ""
    return f"run {s.get('run_id')} of {str(s.get('time'))[:16].replace('T', ' ')}{commit}{many}{least}"


def _affected(incident: Incident) -> str:
    a = incident.affected
    if not a:
        return ""
    parts = [f"{a.get('calls', 0)} of {a.get('of_calls', 0)} calls"]
    for key in ("features", "teams", "models", "prompt_versions"):
        found = a.get(key)
        if isinstance(found, Mapping):
            parts.append(
                f"{key.replace('_', ' ')}: " + ", ".join(f"{k} ({n})" for k, n in list(found.items())[:4])
            )
    if a.get("users"):
        parts.append(f"{a['users']} users")
    return "; ".join(parts)


def _worst(w: Mapping[str, object]) -> str:
    why = w.get("error") or w.get("reason") or w.get("status")
    return f"{w.get('nodeid') or w.get('call_id')}: {why} ({w.get('link')})"


def _event(e: Mapping[str, object]) -> str:
    by = f" by {e['by']}" if e.get("by") else ""
    run = f" in run {e['run']}" if e.get("run") else ""
    text = f": {e['text']}" if e.get("text") else ""
    return f"{str(e.get('time'))[:19].replace('T', ' ')} {e.get('event')}{by}{run}{text}"


def plain(text: str) -> str:
    """Return foreign text on one line without control characters: it cannot move a cursor."""
    return " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())


def escape(text: str) -> str:
    """Return foreign text as inert Markdown on one line."""
    return _SPECIAL.sub(r"\\\1", plain(text))


def at(text: str) -> datetime:
    """Return a time that is known to be one."""
    found = moment(text)
    assert found is not None
    return found
