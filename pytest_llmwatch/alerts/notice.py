"""What an alert is about: a small record that a verdict, a group of verdicts or an incident maps onto. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pytest_llmwatch import format as fmt
from pytest_llmwatch.budget_types import Runbook
from pytest_llmwatch.incidents_catalog import category as known_category
from pytest_llmwatch.incidents_catalog import category_of, plain_rule
from pytest_llmwatch.incidents_catalog import runbook as runbook_of
from pytest_llmwatch.incidents_life import OPEN, clock, span
from pytest_llmwatch.model import JSON, Incident, Report, Verdict
from pytest_llmwatch.operations import action

SEVERITIES = ("SEV1", "SEV2", "SEV3", "SEV4")
OUTAGE_RATE = 0.5
"""Failed calls over calls from which on an error rate is an outage."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One broken rule: ``observed`` and ``limit`` unrounded, in ``unit``; None where there is no figure."""

    rule: str
    observed: float | None = None
    limit: float | None = None
    unit: str = "ratio"
    floor: bool = False

    def text(self) -> str:
        """Return ``latency.p95 12 s (limit 10 s)``."""
        seen = fmt.value(self.observed, self.unit)
        if self.limit is None:
            return f"{self.rule} {seen}"
        bound = "at least" if self.floor else "at most"
        return f"{self.rule} {seen} (limit {bound} {fmt.value(self.limit, self.unit)})"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people may have to hear of. ``key`` is the same in each build that shows the same cause.

    ``scopes`` holds slices such as ``feature:support``, empty for the whole run. ``since`` is ISO 8601 UTC, None
    for now. ``rules`` are the broken rules, which have to pass before it counts as recovered. ``incident`` is the
    id that ``llmwatch incidents`` takes, None where none was opened; ``earlier`` is the key of the one that it
    follows, which shares its cool-down.
    """

    key: str
    severity: str
    category: str
    layers: tuple[str, ...]
    title: str
    sentence: str
    rules: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    link: str | None = None
    runbook: str | None = None
    action: str | None = None
    since: str | None = None
    incident: str | None = None
    earlier: str | None = None


def category(rule: str) -> str:
    """Return the category of incident that a broken rule is a symptom of, in words.

    A rule about errors that no call explains is an outage.
    """
    found = category_of(rule)
    return "outage" if found.id == "quality" and plain_rule(rule).startswith("errors.") else found.words


def names(word: str) -> frozenset[str]:
    """Return the names of a category, in lower case: its id, title and words, or ``word`` where it is none."""
    with contextlib.suppress(KeyError):
        found = known_category(word)
        return frozenset(name.lower() for name in (found.id, found.title, found.words))
    return frozenset((word.lower(),))


def severity(verdict: Verdict) -> str:
    """Return SEV1 for an outage, SEV2 for a failed rule, SEV3 for a warning."""
    if verdict.verdict != "fail":
        return "SEV3"
    out = plain_rule(verdict.rule) == "errors.rate" and (verdict.observed or 0.0) >= OUTAGE_RATE
    return "SEV1" if out else "SEV2"


def notices(report: Report, runbooks: Sequence[Runbook] = (), link: str | None = None) -> tuple[Notice, ...]:
    """Return what ``report`` has to tell, worst first: its incidents, else its broken rules by category.

    Rules of one category are one notice, whatever slices they are about: they have one cause more often than not.
    What a partial run is the first to see is in no journal: its category names it, so that the next is the same.
    """
    if report.incidents:
        found = [of_incident(i, link) for i in report.incidents if i.state in OPEN]
        if report.run.partial:
            found = [_unkept(n, report) for n in found]
        return tuple(sorted(found, key=_order))
    groups: dict[str, list[Verdict]] = {}
    for verdict in report.verdicts:
        if verdict.verdict in ("fail", "warn") and verdict.waiver is None:
            groups.setdefault(category(verdict.rule), []).append(verdict)
    return tuple(sorted((_of_group(n, g, runbooks, link) for n, g in groups.items()), key=_order))


def of_verdict(verdict: Verdict, link: str | None = None, *, key: str, level: str) -> Notice:
    """Return the notice of one rule: of a condition ``when`` that holds, whatever the gate says of the rule."""
    return Notice(
        key=key,
        severity=level,
        category=category(verdict.rule),
        layers=(verdict.layer,),
        title=key.removeprefix("when:"),
        sentence=verdict.because,
        rules=(verdict.rule,),
        scopes=(verdict.scope,) if verdict.scope else (),
        figures=(_figure(verdict),),
        link=link,
        action=verdict.action or _action(verdict.rule),
    )


def of_incident(incident: Incident, link: str | None = None) -> Notice:
    """Return the notice of an incident; what it does not hold is left out."""
    book, since = incident.runbook, incident.since
    if link is not None and urlsplit(link).path.endswith(".html") and "#" not in link:
        link = f"{link}#{incident.id}"
    return Notice(
        key=f"incident:{incident.id}",
        severity=incident.severity,
        category=incident.category,
        layers=incident.layers,
        title=incident.title,
        sentence=incident.what or incident.title,
        rules=incident.rules,
        scopes=incident.scopes,
        figures=tuple(map(_told, incident.figures)),
        link=link,
        runbook=_text(book.get("url") or book.get("title")),
        action=next(iter(incident.actions), None),
        since=_text(since.get("time")) or incident.time,
        incident=incident.id,
        # a partial run may have told of it before, by its category
        earlier=f"incident:{incident.earlier}" if incident.earlier else f"category:{_words(incident.category)}",
    )


def over(report: Report) -> dict[str, str]:
    """Return what ``report`` says of incidents that ended with it: how, by the key of their notice."""
    out = {}
    for incident in report.incidents:
        if incident.state not in OPEN:
            steps = [s for s in incident.timeline if s.get("event") == "resolved"]
            took = span(clock(incident, datetime.now(UTC)).to_resolve)
            said = f"{steps[-1].get('text') or 'resolved'}" if steps else "resolved"
            out[f"incident:{incident.id}"] = f"{said}; it took {took}"
    return out


def _unkept(notice: Notice, report: Report) -> Notice:
    """Return the notice of a partial run: what it is the first to see is in no journal, and named by category."""
    here = next(i for i in report.incidents if i.id == notice.incident)
    if any(s.get("run") != report.run.run_id for s in here.timeline):
        return notice
    return replace(notice, key=f"category:{_words(notice.category)}", incident=None)


def _words(name: str) -> str:
    try:
        return known_category(name).words
    except KeyError:
        return name


def _told(row: Mapping[str, JSON]) -> Figure:
    observed, limit = row.get("observed"), row.get("limit")
    return Figure(
        str(row.get("rule", "")),
        observed if isinstance(observed, int | float) else None,
        limit if isinstance(limit, int | float) else None,
        str(row.get("unit") or "ratio"),
        row.get("direction") == "floor",
    )


def _text(value: JSON) -> str | None:
    return str(value) if value else None


def _of_group(name: str, group: list[Verdict], runbooks: Sequence[Runbook], link: str | None) -> Notice:
    group = sorted(group, key=lambda v: (severity(v), v.rule))
    worst = group[0]
    scopes = {v.scope or "" for v in group}
    book = runbook_of(known_category(name).id, [v.rule for v in group], runbooks)
    more = f" and {fmt.plural(len(group) - 1, 'more rule')}" if len(group) > 1 else ""
    return Notice(
        key=f"category:{name}",
        severity=min(severity(v) for v in group),
        category=name,
        layers=tuple(dict.fromkeys(v.layer for v in group)),
        title=f"{name}: {worst.rule}{more}",
        sentence=worst.because,
        rules=tuple(v.rule for v in group),
        scopes=() if "" in scopes else tuple(sorted(scopes)),
        figures=tuple(_figure(v) for v in group),
        link=link,
        runbook=book.url or book.title,
        action=worst.action or _action(worst.rule),
    )


def _figure(v: Verdict) -> Figure:
    limit = v.limit if v.verdict == "fail" or v.warn_limit is None else v.warn_limit
    return Figure(v.rule, v.observed if v.observed is not None else v.delta, limit, v.unit, v.direction == "floor")


def _action(rule: str) -> str | None:
    table, _, key = plain_rule(rule).partition(".")
    return action(table, key)


def _order(notice: Notice) -> tuple[str, str]:
    return notice.severity, notice.key
