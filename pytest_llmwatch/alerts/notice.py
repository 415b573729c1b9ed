"""What an alert is about: a small record that a verdict, a group of verdicts or an incident maps onto. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch import format as fmt
from pytest_llmwatch.budget_types import Runbook
from pytest_llmwatch.model import Report, Verdict
from pytest_llmwatch.operations import action

SEVERITIES = ("SEV1", "SEV2", "SEV3", "SEV4")
OUTAGE_RATE = 0.5
"""Failed calls over calls from which on an error rate is an outage."""

_CATEGORIES: tuple[tuple[str, str], ...] = (
    (r"errors\.rate_limited|throughput\.", "rate limits"),
    (r"quality\.(json|json_schema|parse_success|regex|length)\b", "output format"),
    (r"(quality|drift)\.groundedness|quality\.markers", "hallucination increase"),
    (r"latency\.|errors\.timeouts|drift\.(latency|ttft)", "latency spike"),
    (r"cost\.|tokens\.|drift\.(cost_usd|input_tokens|output_tokens)", "cost spike"),
    (r"agent\.", "tool failure"),
    (r"retrieval\.", "retrieval failure"),
    (r"safety\.", "guardrail or injection surge"),
    (r"outcome\.", "feedback drop"),
    (r"errors\.", "outage"),
)
OTHER = "quality degradation"


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
    for now. ``rules`` are the broken rules, which have to pass before it counts as recovered.
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


def category(rule: str) -> str:
    """Return the category of incident that a broken rule is a symptom of."""
    plain = _plain(rule)
    return next((name for pattern, name in _CATEGORIES if re.match(pattern, plain)), OTHER)


def severity(verdict: Verdict) -> str:
    """Return SEV1 for an outage, SEV2 for a failed rule, SEV3 for a warning."""
    if verdict.verdict != "fail":
        return "SEV3"
    out = _plain(verdict.rule) == "errors.rate" and (verdict.observed or 0.0) >= OUTAGE_RATE
    return "SEV1" if out else "SEV2"


def notices(report: Report, runbooks: Sequence[Runbook] = (), link: str | None = None) -> tuple[Notice, ...]:
    """Return what ``report`` has to tell, worst first: its incidents, else its broken rules by category.

    Rules of one category are one notice, whatever slices they are about: they have one cause more often than not.
    """
    if report.incidents:
        found = [of_incident(i, link) for i in report.incidents if i.state not in ("resolved", "reviewed")]
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


def of_incident(incident: Any, link: str | None = None) -> Notice:
    """Return the notice of an incident; what it does not hold is left out."""
    book: Mapping[str, Any] = getattr(incident, "runbook", None) or {}
    since: Mapping[str, Any] = getattr(incident, "since", None) or {}
    actions: Sequence[str] = getattr(incident, "actions", None) or ()
    figures: Iterable[Mapping[str, Any]] = getattr(incident, "figures", None) or ()
    return Notice(
        key=f"incident:{incident.id}",
        severity=incident.severity,
        category=incident.category,
        layers=tuple(getattr(incident, "layers", ())),
        title=incident.title,
        sentence=getattr(incident, "what", "") or incident.title,
        rules=tuple(incident.rules),
        scopes=tuple(getattr(incident, "scopes", ())),
        figures=tuple(
            Figure(
                str(f.get("rule", "")),
                f.get("observed"),
                f.get("limit"),
                str(f.get("unit") or "ratio"),
                f.get("direction") == "floor",
            )
            for f in figures
        ),
        link=link,
        runbook=book.get("url") or book.get("title"),
        action=next(iter(actions), None),
        since=since.get("time") or incident.time,
    )


def _of_group(name: str, group: list[Verdict], runbooks: Sequence[Runbook], link: str | None) -> Notice:
    group = sorted(group, key=lambda v: (severity(v), v.rule))
    worst = group[0]
    scopes = {v.scope or "" for v in group}
    book = next((b for b in runbooks if b.category == name or b.rule in {v.rule for v in group}), None)
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
        runbook=(book.url or book.title) if book else None,
        action=worst.action or _action(worst.rule),
    )


def _figure(v: Verdict) -> Figure:
    limit = v.limit if v.verdict == "fail" or v.warn_limit is None else v.warn_limit
    return Figure(v.rule, v.observed if v.observed is not None else v.delta, limit, v.unit, v.direction == "floor")


def _action(rule: str) -> str | None:
    table, _, key = _plain(rule).partition(".")
    return action(table, key)


def _plain(rule: str) -> str:
    """Return a rule without its scope: ``scope.feature:x.cost.run_usd`` is ``cost.run_usd``."""
    parts = rule.split(".")
    return ".".join(parts[-2:]) if parts[0] == "scope" else rule


def _order(notice: Notice) -> tuple[str, str]:
    return notice.severity, notice.key
