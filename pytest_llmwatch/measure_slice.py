"""The part of a run that a rule is about: its calls, its executions, its tasks."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.model import Call, CaseResult, Run, Span

Key = tuple[str | None, str]

_NOT_LLM = frozenset({"tool", "retrieval", "agent"})
_NO_ANSWER = frozenset({"error", "timeout", "rate_limited"})


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that a user wanted done: an execution of a test with its calls, or calls without one.

    ``key`` is the case, ``cluster`` what moves together with it.
    """

    key: Key
    cluster: str
    weight: float
    calls: tuple[Call, ...]
    result: CaseResult | None = None

    @property
    def first_attempt(self) -> bool:
        """Whether this is not a rerun: quality counts first attempts only."""
        if self.result is not None:
            return self.result.attempt == 0
        return all(c.attempt == 0 for c in self.calls)

    @property
    def unanswered(self) -> bool:
        """Whether nothing came back to judge: an error, not quality 0."""
        if self.result is not None and (self.result.problem or self.result.outcome in ("error", "not_run")):
            return True
        llm = [c for c in self.calls if c.operation not in _NOT_LLM]
        return bool(llm) and all(c.status in _NO_ANSWER for c in llm)


@dataclass(frozen=True, slots=True)
class Slice:
    """The calls, results and spans in a scope. ``calls`` are LLM calls, ``steps`` all recorded operations."""

    calls: tuple[Call, ...]
    steps: tuple[Call, ...]
    tasks: tuple[Task, ...]
    spans: tuple[Span, ...] = ()
    scope: Scope | None = None
    clusters: dict[str, str] = field(default_factory=dict)
    """Cluster by call id."""
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What several rules of this slice compute alike."""

    @property
    def empty(self) -> bool:
        """Whether nothing in the run belongs here."""
        return not self.steps and not self.tasks

    def cluster(self, call: Call) -> str:
        """Return what moves together with this call: its case's cluster, its case, or itself."""
        return self.clusters.get(call.id, call.id)


class Slices:
    """The slices of one run, each made once; the tasks of the whole run serve all of them."""

    def __init__(self, run: Run) -> None:
        self._whole = Slice(_llm(run.calls), run.calls, tuple(_tasks(run)), run.spans)
        self._whole.clusters.update((c.id, t.cluster) for t in self._whole.tasks for c in t.calls)
        self._made: dict[Scope | None, Slice] = {None: self._whole}

    def of(self, scope: Scope | None) -> Slice:
        """Return the part of the run in ``scope``; everything for None."""
        if scope is None:
            return self._whole
        if scope not in self._made:
            self._made[scope] = self._narrow(scope)
        return self._made[scope]

    def _narrow(self, scope: Scope) -> Slice:
        whole = self._whole
        tasks = tuple(_within(whole.tasks, scope))
        kept = {c.id for t in tasks for c in t.calls}
        steps = tuple(c for c in whole.steps if c.id in kept)
        nodes = {t.result.nodeid for t in tasks if t.result is not None}
        spans = tuple(s for s in whole.spans if s.nodeid in nodes)
        return Slice(_llm(steps), steps, tasks, spans, scope, whole.clusters)


def slice_of(run: Run, scope: Scope | None = None) -> Slice:
    """Return the part of ``run`` in ``scope``; everything for None. For many scopes use ``Slices``."""
    return Slices(run).of(scope)


def _llm(steps: tuple[Call, ...]) -> tuple[Call, ...]:
    return tuple(c for c in steps if c.operation not in _NOT_LLM)


def is_empty(run: Run) -> bool:
    """Whether nothing was captured: no call, and no score of an answer that a test brought itself."""
    return not run.calls and not any(r.scores for r in run.results)


def matches(scope: Scope, call: Call, result: CaseResult | None = None) -> bool:
    """Whether a call (of an execution) belongs to a scope; ``*`` in its value matches anything."""
    if scope.kind == "tag":
        return _any((*call.tags, *(result.tags if result is not None else ())), scope.value)
    if scope.kind == "marker":
        return _any(call.markers, scope.value)
    if scope.kind == "model":
        return _any((call.model, call.response_model), scope.value)
    return _any((getattr(call, scope.kind),), scope.value)


def _any(given: Iterable[str | None], wanted: str) -> bool:
    if "*" in wanted:
        return any(g is not None and fnmatch.fnmatchcase(g, wanted) for g in given)
    return wanted in given


def _within(tasks: Iterable[Task], scope: Scope) -> Iterator[Task]:
    for task in tasks:
        calls = tuple(c for c in task.calls if matches(scope, c, task.result))
        tagged = scope.kind == "tag" and task.result is not None and _any(task.result.tags, scope.value)
        if calls or tagged:
            yield Task(task.key, task.cluster, task.weight, calls, task.result)


def _tasks(run: Run) -> Iterator[Task]:
    by_id = {c.id: c for c in run.calls}
    owned: set[str] = set()
    for result in run.results:
        calls = tuple(by_id[i] for i in result.call_ids if i in by_id)
        owned.update(c.id for c in calls)
        key = (result.set, result.case if result.case is not None else result.nodeid)
        cluster = result.cluster or f"{key[0] or ''}\0{key[1]}"
        yield Task(key, cluster, result.weight, calls, result)
    groups: dict[Key, list[Call]] = {}
    for call in run.calls:
        if call.id not in owned:
            groups.setdefault(_group(call), []).append(call)
    for members in groups.values():
        first = members[0]
        name = first.case or first.nodeid or first.trace_id or first.id
        yield Task((first.set, name), f"{first.set or ''}\0{name}", 1.0, tuple(members))


def _group(call: Call) -> Key:
    if call.nodeid is not None:
        return "node", f"{call.nodeid}\0{call.repeat}\0{call.attempt}"
    if call.trace_id is not None:
        return "trace", call.trace_id
    return "call", call.id


def quantile(values: Iterable[float], q: float) -> float | None:
    """Return the q-quantile by linear interpolation (Hyndman and Fan's type 7, numpy's default); None if empty."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = (len(ordered) - 1) * q
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    part = place - low
    if part == 0 or ordered[low] == ordered[high]:
        return ordered[low]
    return ordered[low] + (ordered[high] - ordered[low]) * part


def mean(values: Iterable[float]) -> float | None:
    """Return the mean, summed without rounding errors; None if empty."""
    items = list(values)
    return math.fsum(items) / len(items) if items else None
