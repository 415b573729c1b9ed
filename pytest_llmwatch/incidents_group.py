"""Correlation: broken rules that have one cause are one incident. Pure, and linear in rules and calls.

Rules of one category belong together unless their scopes have nothing in common. Groups of two categories belong
together where one explains the other (``explains`` in the categories' file) and they hit the same tasks, or where
a rule about the whole run leaves nothing to compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pytest_llmwatch.incidents_catalog import Category, categories, category, category_of, plain_rule, policy
from pytest_llmwatch.incidents_hit import Index, cut, down, limited
from pytest_llmwatch.model import Run, Verdict

INFRASTRUCTURE = "infrastructure"
"""The rule of an incident that no rule of the budget could show: nothing could be measured."""
_NOT_BROKEN = frozenset({"waived", "not_measured", "unenforceable", "no_match", "too_few", "infrastructure"})


@dataclass(slots=True)
class Group:
    """Rules with one cause. ``hit`` are calls, ``tasks`` their tasks."""

    category: Category
    verdicts: list[Verdict] = field(default_factory=list)
    hit: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    scopes: set[str | None] = field(default_factory=set)

    def take(self, other: Group) -> None:
        """Take in another group: the category stays."""
        self.verdicts += other.verdicts
        self.hit |= other.hit
        self.tasks |= other.tasks
        self.scopes |= other.scopes


def broken(verdicts: Iterable[Verdict], *, warnings: bool = True) -> list[Verdict]:
    """Return the verdicts that open an incident: failures, and warnings where the policy says so."""
    grades = ("fail", "warn") if warnings else ("fail",)
    return [v for v in verdicts if v.verdict in grades and v.reason not in _NOT_BROKEN]


def groups(run: Run, verdicts: Sequence[Verdict], index: Index) -> list[Group]:
    """Return one group per cause, those of the categories that come first in front."""
    alone = [_group(v, index) for v in verdicts]
    by_category: dict[str, list[Group]] = {}
    for found in alone:
        by_category.setdefault(found.category.id, []).append(found)
    merged = {name: _within(found) for name, found in by_category.items()}
    out: list[Group] = []
    for kind in categories():
        for found in merged.get(kind.id, ()):
            cause = _cause_of(found, out)
            if cause is not None:
                cause.take(found)
            else:
                out.append(found)
    if not any(g.category.id == "outage" for g in out) and _unmeasured(run):
        out.insert(0, Group(category("outage"), [], {c.id for c in run.calls if down(c)}, set(), {None}))
    return out


def _unmeasured(run: Run) -> bool:
    return any(p.kind == INFRASTRUCTURE for p in run.problems)


def _group(verdict: Verdict, index: Index) -> Group:
    hit = index.hit(verdict)
    return Group(
        _category(verdict, hit, index), [verdict], set(hit), {index.task(i) for i in hit}, {verdict.scope}
    )


def _category(verdict: Verdict, hit: frozenset[str], index: Index) -> Category:
    """Return what a rule speaks of; a rule about errors says what the errors say."""
    name = plain_rule(verdict.rule)
    kind = category_of(verdict.rule)
    if (
        name == "quality.pass_rate"
        or name.startswith("agent.fallback")
        or kind.id in ("rate_limits", "latency_spike")
    ):
        return _said(hit, index, kind)
    if name in ("errors.rate", "errors.incomplete", "drift.error", "judge.error_rate"):
        return _said(hit, index, kind)
    return kind


def _said(hit: frozenset[str], index: Index, otherwise: Category) -> Category:
    """Return the category that most of the failed calls among ``hit`` speak for."""
    failed = [c for i in hit if (c := index.calls[i]).failed or limited(c) or cut(c)]
    if len(failed) < 0.5 * len(hit) or not failed:
        return otherwise
    kinds: Counter[str] = Counter()
    for call in failed:
        if down(call):
            kinds["outage"] += 1
        elif limited(call):
            kinds["rate_limits"] += 1
        elif call.status == "timeout":
            kinds["latency_spike"] += 1
        elif cut(call):
            kinds["guardrail_surge"] += 1
    if not kinds:
        return otherwise
    name, n = kinds.most_common(1)[0]
    return category(name) if n >= 0.5 * len(failed) else otherwise


def _within(found: list[Group]) -> list[Group]:
    """Join the groups of one category: a rule without a scope is about all calls, so it joins them all."""
    if any(None in g.scopes for g in found):
        first, *rest = found
        for other in rest:
            first.take(other)
        return [first]
    out: list[Group] = []
    owner: dict[str, Group] = {}
    for group in found:
        keys = {f"scope {s}" for s in group.scopes} | {f"task {t}" for t in group.tasks}
        known = next((owner[k] for k in sorted(keys) if k in owner), None)
        if known is None:
            out.append(known := group)
        else:
            known.take(group)
        for key in keys:
            owner.setdefault(key, known)
    return out


def _cause_of(symptom: Group, known: Sequence[Group]) -> Group | None:
    """Return the group that explains ``symptom``, None where it stands for itself."""
    overlap = policy()["correlation"]["overlap"]
    for cause in known:
        if symptom.category.id not in cause.category.explains:
            continue
        if not symptom.tasks or not cause.tasks:
            if None in symptom.scopes | cause.scopes or symptom.scopes & cause.scopes:
                return cause
            continue
        if len(symptom.tasks & cause.tasks) >= overlap * min(len(symptom.tasks), len(cause.tasks)):
            return cause
    return None
