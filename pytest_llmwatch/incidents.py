"""From verdicts to incidents: one per cause, with severity, extent, evidence and what to do. Pure.

Nothing here changes a verdict. `detect` makes the incidents that one run shows; `incidents_life` joins them with
those that are open already.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pytest_llmwatch import format as fmt
from pytest_llmwatch.budget_types import IncidentPolicy
from pytest_llmwatch.budget_types import Runbook as Override
from pytest_llmwatch.incidents_catalog import Category, Runbook, policy, runbook
from pytest_llmwatch.incidents_causes import Facts, answer, causes, suspected
from pytest_llmwatch.incidents_group import INFRASTRUCTURE, Group, broken, groups
from pytest_llmwatch.incidents_hit import Index, down
from pytest_llmwatch.model import JSON, Call, Incident, Report, Run, Verdict

Severity = Literal["SEV1", "SEV2", "SEV3", "SEV4"]
_LABELS = ("feature", "team", "model", "prompt_version", "environment")
_TEXT = 300
"""Characters of a foreign text that an incident keeps."""


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier builds say. ``good`` is the last run before the trouble, ``bad`` first bad builds by rule.

    A first bad build has ``run_id time commit builds`` and ``at_least`` where the search ended before a good one.
    """

    good: Run | None = None
    bad: Mapping[str, Mapping[str, JSON]] | None = None


def detect(
    report: Report,
    *,
    overrides: Iterable[Override] = (),
    past: Past | None = None,
    options: IncidentPolicy | None = None,
    page: str = "report.html",
) -> tuple[Incident, ...]:
    """Return the incidents that a report shows, worst first; none where no rule is broken.

    Args:
        report: A judged run.
        overrides: The budget's ``[[runbook]]``.
        past: What earlier builds say, None where nothing is known.
        options: The budget's ``[incidents]``; None for what the package ships.
        page: Path of the HTML report, for links to calls.
    """
    past, options = past or Past(), options or IncidentPolicy()
    if options.open == "off":
        return ()
    index = Index(report.run)
    found = groups(report.run, broken(report.verdicts, warnings=options.open == "warn"), index)
    given = tuple(overrides)
    made = []
    for group in found:
        if group.category.id in options.ignore:
            continue
        facts = Facts(index, frozenset(group.hit), past.good)
        book = runbook(group.category.id, _rules(group), given, options.minutes)
        made.append(_incident(group, facts, report, past, book, _severity(group, facts, options), page))
    return tuple(sorted(made, key=lambda i: (i.severity, i.category, i.rules)))


def _rules(group: Group) -> tuple[str, ...]:
    verdicts = sorted(group.verdicts, key=lambda v: (v.verdict != "fail", v.rule))
    return tuple(v.rule for v in verdicts) or (INFRASTRUCTURE,)


def _incident(  # noqa: PLR0917
    group: Group, facts: Facts, report: Report, past: Past, book: Runbook, level: Severity, page: str
) -> Incident:
    run, kind, rules = report.run, group.category, _rules(group)
    place = {rule: n for n, rule in enumerate(rules)}
    verdicts = sorted(group.verdicts, key=lambda v: place[v.rule])
    branch = run.environment.get("branch")
    scopes = tuple(sorted({s for s in group.scopes if s}))
    title = _title(kind, scopes)
    stamp = "".join(ch for ch in run.time[:10] if ch.isdigit())
    name = hashlib.sha256("\0".join((run.run_id, kind.id, *rules)).encode("utf-8", "replace")).hexdigest()[:6]
    return Incident(
        id=f"inc-{stamp}-{name}",
        severity=level,
        category=kind.id,
        title=title,
        rules=rules,
        time=run.time,
        layers=tuple(dict.fromkeys(v.layer for v in verdicts)) or ("availability",),
        scopes=scopes,
        what=_what(verdicts, report),
        run_id=run.run_id,
        branch=str(branch) if branch else None,
        since=_since(rules, run, past),
        figures=tuple(_figure(v) for v in verdicts[: policy()["bounds"]["labels"]]),
        metrics=_metrics(report),
        affected=_affected(facts),
        worst=_worst(verdicts, facts, page),
        causes=causes(facts),
        actions=_actions(verdicts, kind, book),
        triage=_triage(facts, kind),
        diagnosis=tuple(
            {"step": s.text, "answer": answer(s.ask, facts) if s.ask else None} for s in book.diagnosis
        ),
        evidence=_evidence(facts),
        runbook=_runbook(book),
        route=policy()["routing"][level],
    )


def _title(kind: Category, scopes: Sequence[str]) -> str:
    if not scopes:
        return kind.title
    rest = f" and {len(scopes) - 3} more" if len(scopes) > 3 else ""
    return f"{kind.title}: {_cut(', '.join(scopes[:3]))}{rest}"


def _what(verdicts: Sequence[Verdict], report: Report) -> str:
    if not verdicts:
        messages = [p.message for p in report.run.problems if p.kind == INFRASTRUCTURE]
        return _cut(messages[0]) if messages else report.sentence
    first = verdicts[0]
    more = f", and {fmt.plural(len(verdicts) - 1, 'more rule')}" if len(verdicts) > 1 else ""
    lead = "" if first.because.startswith(first.rule) else f"{first.rule}: "
    return f"{lead}{_cut(first.because)}{more}"


def _severity(group: Group, facts: Facts, options: IncidentPolicy) -> Severity:
    """Return the severity by rule, raised by extent: share of calls, features, hashed users."""
    shipped: Mapping[str, Any] = policy()["severity"]
    table = {
        name: value if (own := getattr(options, name, None)) is None else own for name, value in shipped.items()
    }
    share = len(facts.hits) / len(facts.calls) if facts.calls else 0.0
    server = sum(down(c) for c in facts.calls) / len(facts.calls) if facts.calls else 0.0
    if any(v.verdict == "fail" for v in group.verdicts) or not group.verdicts:
        total = group.category.id == "outage" and (server > table["outage"] or not facts.calls)
        everyone = group.category.id == "outage" and share >= table["everyone"]
        return cast("Severity", min(table["fail"], table["fail_everyone"]) if total or everyone else table["fail"])
    if any(_critical(v) for v in group.verdicts):
        return cast("Severity", table["fail"])
    features = {c.feature for c in facts.hits if c.feature}
    users = {c.user for c in facts.hits if c.user}
    many = share >= table["many"] or len(features) >= table["features"] or len(users) >= table["users"]
    return cast("Severity", min(table["warn"], table["warn_many"]) if many or not facts.hits else table["warn"])


def _critical(verdict: Verdict) -> bool:
    """Whether a warning stands for the critical share of a cost budget, which opens a SEV2."""
    return verdict.reason == "critical"


def _since(rules: Sequence[str], run: Run, past: Past) -> Mapping[str, JSON]:
    """Return the first bad build: the earliest over the incident's rules, else this run."""
    known = [dict(past.bad[rule]) for rule in rules if past.bad and rule in past.bad]
    if known:
        return min(known, key=lambda b: str(b.get("time")))
    out: dict[str, JSON] = {"run_id": run.run_id, "time": run.time, "builds": 1}
    if commit := run.environment.get("commit"):
        out["commit"] = str(commit)
    return out


def _figure(v: Verdict) -> dict[str, JSON]:
    return {
        "rule": v.rule,
        "verdict": v.verdict,
        "layer": v.layer,
        "observed": v.observed if v.observed is not None else v.delta,
        "limit": v.limit if v.limit is not None else v.warn_limit,
        "unit": v.unit,
        "direction": v.direction,
        "because": _cut(v.because),
    }


def _metrics(report: Report) -> dict[str, JSON]:
    """Return the run's totals as they stood: numbers only, two levels deep."""
    out: dict[str, JSON] = {}
    for key, value in report.aggregates.items():
        if isinstance(value, Mapping):
            inner = {k: v for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}
            if inner:
                out[key] = inner
        elif isinstance(value, int | float) and not isinstance(value, bool):
            out[key] = value
    return out


def _affected(facts: Facts) -> dict[str, JSON]:
    most = policy()["bounds"]["labels"]
    out: dict[str, JSON] = {"calls": len(facts.hits), "of_calls": len(facts.calls)}
    for label in _LABELS:
        counts = Counter(_cut(str(v), 80) for c in facts.hits if (v := getattr(c, label)))
        if counts:
            out[f"{label}s"] = dict(counts.most_common(most))
            if len(counts) > most:
                out[f"{label}s_left_out"] = len(counts) - most
    users = {c.user for c in facts.hits if c.user}
    if users:
        out["users"] = len(users)
    return out


def _worst(verdicts: Sequence[Verdict], facts: Facts, page: str) -> tuple[dict[str, JSON], ...]:
    most = policy()["bounds"]["worst"]
    named = [i for v in verdicts for i in v.worst if i in facts.hit]
    order = [i for i in dict.fromkeys([*named, *sorted(facts.hit)]) if i in facts.index.calls]
    return tuple(_call(facts.index.calls[i], facts, page) for i in order[:most])


def _call(call: Call, facts: Facts, page: str) -> dict[str, JSON]:
    result = facts.index.result_of.get(call.id)
    out: dict[str, JSON] = {
        "call_id": call.id,
        "link": f"{page}#c-{call.id}",
        "nodeid": result.nodeid if result is not None else call.nodeid,
        "case": result.case if result is not None else call.case,
        "status": call.status,
        "latency": call.latency,
        "cost_usd": call.cost.usd,
        "request_id": call.request_id,
        "trace_id": call.trace_id,
        "reason": _cut(result.reason) if result is not None and result.reason else None,
        "error": _cut(call.error) if call.error else None,
    }
    return {k: v for k, v in out.items() if v is not None}


def _actions(verdicts: Sequence[Verdict], kind: Category, book: Runbook) -> tuple[str, ...]:
    by_rule = [v.action for v in verdicts if v.action]
    return tuple(dict.fromkeys([*by_rule, *book.mitigation, *kind.response]))


def _triage(facts: Facts, kind: Category) -> dict[str, JSON]:
    limits = policy()["triage"]
    n, hits = len(facts.calls), facts.hits
    share = len(hits) / n if n else None
    places = [place for place, c in enumerate(facts.calls) if c.id in facts.hit]
    reach = places[-1] - places[0] + 1 if places else 0
    steady = bool(places) and len(places) >= limits["continuous"] * reach and len(places) > 1
    features = sorted({c.feature for c in hits if c.feature})
    users = {c.user for c in hits if c.user}
    return {
        "share": share,
        "extent": None if share is None else "widespread" if share >= limits["widespread"] else "isolated",
        "pattern": None if not places else "continuous" if steady else "occasional",
        "features": [_cut(f, 80) for f in features[: policy()["bounds"]["labels"]]],
        "users": len(users) or None,
        "layer": suspected(facts, kind.layer),
    }


def _evidence(facts: Facts) -> dict[str, JSON]:
    """Return request ids, prompt versions, error patterns, the latency's course, and what tools said."""
    bounds = policy()["bounds"]
    hits = facts.hits
    errors = Counter(f"{c.error_type or c.status}: {_cut(c.error or '', 100)}" for c in hits if c.failed)
    tools = Counter(f"{t.name}: {_cut(t.error, 100)}" for c in facts.calls for t in c.tool_calls if t.error)
    tools.update(
        f"{s.tool.name}: {_cut(s.error or s.tool.error or '', 100)}"
        for s in facts.index.run.spans
        if s.tool is not None and (s.error or s.tool.error)
    )
    return {
        "call_ids": sorted(facts.hit)[: bounds["ids"]],
        "request_ids": [c.request_id for c in hits if c.request_id][: bounds["ids"]],
        "prompt_versions": sorted({_cut(c.prompt_version, 80) for c in hits if c.prompt_version})[
            : bounds["labels"]
        ],
        "errors": dict(errors.most_common(bounds["worst"])),
        "latency_trend": _trend([c.latency for c in facts.calls if c.latency is not None]),
        "tools": dict(tools.most_common(bounds["worst"])),
    }


def _trend(values: Sequence[float], parts: int = 6) -> list[JSON]:
    """Return the means of ``values`` in up to six parts, in order: whether it rises, falls or stays."""
    if not values:
        return []
    size = -(-len(values) // parts)
    chunks = (values[i : i + size] for i in range(0, len(values), size))
    return [round(sum(chunk) / len(chunk), 6) for chunk in chunks]


def _runbook(book: Runbook) -> dict[str, Any]:
    out: dict[str, Any] = {
        "title": book.title,
        "trigger": book.trigger,
        "mitigation": list(book.mitigation),
        "escalation": list(book.escalation),
        "minutes": book.minutes,
        "url": book.url,
    }
    return {k: v for k, v in out.items() if v not in (None, "", [])}


def _cut(text: str, limit: int = _TEXT) -> str:
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
