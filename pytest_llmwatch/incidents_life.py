"""The life of an incident: detected, triaged, acknowledged, mitigating, resolved, reviewed. Pure.

What is kept is a journal: entries that are only ever added, so that jobs and people who write at once lose
nothing, in whatever order their entries arrive. An entry holds ``id`` (unique: the same step told twice counts
once), ``incident``, ``time``, ``event``, and where known ``by``, ``text``, ``run``, ``data`` (the incident).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pytest_llmwatch.codec import encode
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.incidents_group import INFRASTRUCTURE
from pytest_llmwatch.model import Incident, Report, Verdict

STATES = ("detected", "triaged", "acknowledged", "mitigating", "resolved", "reviewed")
OPEN = frozenset(STATES[:4])
Entry = Mapping[str, Any]
_KINDS: Mapping[str, Any] = {
    f.name: list if "tuple" in str(f.type) else Mapping if "Mapping" in str(f.type) else str
    for f in dataclasses.fields(Incident)
}
_NEEDED = frozenset({"id", "severity", "category", "title", "rules"})
_SEVERITIES = frozenset({"SEV1", "SEV2", "SEV3", "SEV4"})
_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


@dataclass(frozen=True, slots=True)
class Clock:
    """What the times of an incident say; in seconds, None where it did not happen.

    ``overdue`` is how long it is open beyond the runbook's expected minutes (None: it is not), ``level`` the
    escalation level that it has reached (0-based; it goes up by one with each further span of those minutes)
    and ``escalate_to`` who that is.
    """

    to_acknowledge: float | None = None
    to_resolve: float | None = None
    open_for: float | None = None
    overdue: float | None = None
    level: int = 0
    escalate_to: str | None = None


def entry(
    incident: str,
    event: str,
    time: str,
    *,
    by: str | None = None,
    text: str | None = None,
    run: str | None = None,
    data: Incident | None = None,
) -> dict[str, Any]:
    """Return a journal entry; its id follows from what it says."""
    out: dict[str, Any] = {"incident": incident, "event": event, "time": time, "by": by, "text": text, "run": run}
    known = {k: v for k, v in out.items() if v is not None}
    # what a build says of an incident it says once, however often the build is judged again
    parts = [incident, event, run] if run else [incident, event, time, by or "", text or ""]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:20]
    return {"id": digest, **known, **({"data": encode(data)} if data is not None else {})}


def fold(entries: Iterable[Entry]) -> tuple[tuple[Incident, ...], int]:
    """Return the incidents that a journal tells of, oldest first, and how many entries could not be used."""
    steps: dict[str, dict[str, Entry]] = {}
    bad = 0
    for given in entries:
        if not all(isinstance(given.get(k), str) for k in ("id", "incident", "event", "time")):
            bad += 1
            continue
        steps.setdefault(given["incident"], {}).setdefault(given["id"], given)
    out = []
    for found in steps.values():
        incident = _told(sorted(found.values(), key=_order))
        if incident is None:
            bad += len(found)
        else:
            out.append(incident)
    return tuple(sorted(out, key=lambda i: (i.time or "", i.id))), bad


def _order(step: Entry) -> tuple[str, int, str]:
    event = step["event"]
    return step["time"], STATES.index(event) if event in STATES else len(STATES), step["id"]


def _told(steps: Sequence[Entry]) -> Incident | None:
    first = next((s for s in steps if s["event"] == "detected" and isinstance(s.get("data"), Mapping)), None)
    if first is None:
        return None
    incident = read(first["data"])
    if incident is None:
        return None
    state = "detected"
    for step in steps:
        event = step["event"]
        if event == "seen" and isinstance(step.get("data"), Mapping):
            incident = _seen(incident, step["data"])
        if event in STATES and STATES.index(event) > STATES.index(state):
            state = event
        elif event == "reopened":
            state = "detected"
    timeline = tuple({k: s[k] for k in ("time", "event", "by", "text", "run") if s.get(k)} for s in steps)
    return dataclasses.replace(incident, state=state, timeline=timeline)


def read(data: Mapping[str, Any]) -> Incident | None:
    """Return an incident from its JSON, None where it is none; unknown keys are left out.

    A journal may hold ten thousand: this does without the general decoder, which takes a millisecond for each.
    """
    kept = {k: v for k, v in data.items() if k in _KINDS and isinstance(v, _KINDS[k])}
    if not kept.keys() >= _NEEDED or kept["severity"] not in _SEVERITIES:
        return None
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
    return Incident(**fields)


def _seen(known: Incident, data: Mapping[str, Any]) -> Incident:
    """Return an incident as a later build shows it: id, beginning and the highest severity stay."""
    new = read(data)
    if new is None:
        return known
    return dataclasses.replace(
        new,
        id=known.id,
        time=known.time,
        since=known.since,
        severity=min(known.severity, new.severity),
        route=known.route if known.severity <= new.severity else new.route,
        rules=tuple(dict.fromkeys((*new.rules, *known.rules))),
        earlier=known.earlier,
    )


def advance(
    report: Report, found: Sequence[Incident], known: Sequence[Incident], now: str
) -> tuple[list[dict[str, Any]], tuple[Incident, ...]]:
    """Return what a build adds to the journal, and its incidents as they stand then, worst first.

    An incident that the build shows again goes on; an open one whose rules all hold now is resolved by it; one
    that comes back after it was resolved is a new one that names the earlier.
    """
    run = report.run
    branch = run.environment.get("branch")
    mine = [i for i in known if i.branch is None or branch is None or i.branch == str(branch)]
    current = [i for i in mine if i.state in OPEN]
    new: list[dict[str, Any]] = []
    touched: list[str] = []
    taken: set[str] = set()
    for incident in found:
        same = _match(incident, [i for i in current if i.id not in taken])
        if same is None:
            before = _match(incident, [i for i in mine if i.state not in OPEN][::-1])
            here = dataclasses.replace(incident, time=now, earlier=before.id if before else None)
            new.append(entry(here.id, "detected", now, run=run.run_id, data=here))
            if here.triage.get("share") is not None:
                new.append(entry(here.id, "triaged", now, run=run.run_id, by="llmwatch", text=triage_text(here)))
            touched.append(here.id)
            continue
        taken.add(same.id)
        touched.append(same.id)
        if run.run_id != same.run_id:
            new.append(entry(same.id, "seen", now, run=run.run_id, data=incident))
    for gone in current:
        if gone.id not in taken and gone.run_id != run.run_id and clean(gone, report):
            text = f"every rule holds in run {run.run_id}"
            new.append(entry(gone.id, "resolved", now, run=run.run_id, by="llmwatch", text=text))
            touched.append(gone.id)
    steps = [*_entries(i for i in mine if i.id in touched), *new]
    told = {i.id: i for i in fold(steps)[0]}
    mended = tuple(told[i] for i in dict.fromkeys(touched) if i in told)
    return new, tuple(sorted(mended, key=lambda i: (i.state not in OPEN, i.severity, i.category, i.rules, i.id)))


def _entries(known: Iterable[Incident]) -> list[dict[str, Any]]:
    """Return journal entries that tell again what is known, for `fold`."""
    out = []
    for incident in known:
        for s in incident.timeline:
            data = incident if s["event"] == "detected" else None
            texts = {k: s.get(k) for k in ("by", "text", "run")}
            out.append(entry(incident.id, s["event"], s["time"], **texts, data=data))
    return out


def _match(incident: Incident, known: Iterable[Incident]) -> Incident | None:
    """Return the known incident that is the same trouble: a rule in common, or the category and the scope."""
    rules = set(incident.rules)
    best, most = None, 0
    for other in known:
        common = len(rules & set(other.rules))
        alike = other.category == incident.category and other.scopes == incident.scopes
        score = 2 * common + alike
        if score > most:
            best, most = other, score
    return best


def clean(incident: Incident, report: Report) -> bool:
    """Whether a whole run shows that every rule of an incident holds; what was not measured shows nothing."""
    run = report.run
    if run.partial or report.verdict in ("none", "error"):
        return False
    verdicts: dict[str, Verdict] = {v.rule: v for v in report.verdicts}
    for rule in incident.rules:
        if rule == INFRASTRUCTURE:
            if not run.calls or any(p.kind == INFRASTRUCTURE for p in run.problems):
                return False
            continue
        verdict = verdicts.get(rule)
        if verdict is None or verdict.verdict != "pass" or (verdict.observed is None and verdict.delta is None):
            return False
    return True


def step(incident: Incident, event: str, now: str, *, by: str | None, text: str | None) -> dict[str, Any]:
    """Return the entry of a person's step.

    Raises:
        UsageError: The incident is past that step.
    """
    if event in STATES and STATES.index(event) <= STATES.index(incident.state):
        raise UsageError(
            f"{incident.id} is {incident.state} already, so it cannot become {event}; "
            f"the order is {', '.join(STATES)}",
            slug="incident-state",
        )
    if event == "reviewed" and incident.state != "resolved":
        raise UsageError(
            f"{incident.id} is {incident.state}: a review follows the end; "
            f"first `llmwatch incidents resolve {incident.id}`",
            slug="incident-state",
        )
    return entry(incident.id, event, now, by=by, text=text)


def clock(incident: Incident, now: datetime) -> Clock:
    """Return what the times of an incident say at ``now``."""
    start = moment(incident.time)
    if start is None:
        return Clock()
    at = {event: _first(incident, (event,)) for event in ("resolved", "reviewed")}
    handled = _first(incident, ("acknowledged", "mitigating", "resolved"), people=True)
    end = at["resolved"] or at["reviewed"]
    end = end if incident.state not in OPEN else None
    open_for = ((end or now) - start).total_seconds()
    chain = [str(x) for x in incident.runbook.get("escalation") or ()]
    expected = incident.runbook.get("minutes")
    late, level = None, 0
    if end is None and isinstance(expected, int | float) and expected > 0 and open_for > expected * 60:
        late = open_for - expected * 60
        level = min(int(open_for // (expected * 60)), max(0, len(chain) - 1))
    return Clock(
        to_acknowledge=(handled - start).total_seconds() if handled else None,
        to_resolve=open_for if end is not None else None,
        open_for=open_for,
        overdue=late,
        level=level,
        escalate_to=chain[level] if chain else None,
    )


def _first(incident: Incident, events: Sequence[str], *, people: bool = False) -> datetime | None:
    times = [
        moment(str(s.get("time")))
        for s in incident.timeline
        if s.get("event") in events and not (people and s.get("by") == "llmwatch")
    ]
    return min((t for t in times if t is not None), default=None)


def moment(text: str | None) -> datetime | None:
    """Return an ISO 8601 time as UTC, None if it is none."""
    try:
        at = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def span(seconds: float | None) -> str:
    """Return a length of time for people: ``42 s``, ``3.5 min``, ``2.0 h``, ``1.2 d``; a dash for None."""
    if seconds is None:
        return "–"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def triage_text(incident: Incident) -> str:
    """Return the triage block as one line."""
    t = incident.triage
    share = t.get("share")
    parts = [
        str(t["extent"]) if t.get("extent") else "",
        f"{share:.1%} of the calls" if isinstance(share, int | float) else "",
        str(t["pattern"]) if t.get("pattern") else "",
        f"features {', '.join(map(str, t['features'][:3]))}" if t.get("features") else "",
        f"{t['users']} users" if t.get("users") else "",
        f"suspected layer: {t['layer']}" if t.get("layer") else "",
    ]
    return ", ".join(p for p in parts if p)
