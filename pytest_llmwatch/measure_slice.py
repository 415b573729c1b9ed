"""The part of a run that a rule is about: its calls, its executions, its tasks."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.model import Call, CaseResult, Run, Span, UserOutcome

Key = tuple[str | None, str]
Place = tuple[str | None, str | None, int, int]
"""Where a record belongs: a test's execution, or a trace where no test is known."""

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
    """The calls, results and spans in a scope. ``calls`` are LLM calls, ``steps`` all recorded operations.

    Both are the application's; ``judged`` are the calls of scorers that asked a judge.
    """

    calls: tuple[Call, ...]
    steps: tuple[Call, ...]
    tasks: tuple[Task, ...]
    spans: tuple[Span, ...] = ()
    scope: Scope | None = None
    clusters: dict[str, str] = field(default_factory=dict)
    """Cluster by call id."""
    judged: tuple[Call, ...] = ()
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
        self._around = _Around(run.spans)
        steps = tuple(c for c in run.calls if not c.judging)
        judged = tuple(c for c in run.calls if c.judging)
        self._whole = Slice(_llm(steps), steps, tuple(_tasks(run, steps)), run.spans, judged=judged)
        self._whole.clusters.update((c.id, t.cluster) for t in self._whole.tasks for c in t.calls)
        self._made: dict[Scope | None, Slice] = {None: self._whole}

    def of(self, scope: Scope | None) -> Slice:
        """Return the part of the run in ``scope``; everything for None."""
        if scope is None:
            return self._whole
        if scope not in self._made:
            self._made[scope] = self._narrow(scope)
        return self._made[scope]

    def stages(self, call: Call) -> frozenset[str]:
        """Return the stages that a call is in: its label, and the spans around it."""
        return self._around.names(call.parent_id) | ({call.stage} if call.stage else set())

    def _narrow(self, scope: Scope) -> Slice:
        whole = self._whole
        if scope.kind == "stage":
            spans = tuple(s for s in whole.spans if self._around.has(s.id, scope.value))
            tasks = tuple(_in_stage(whole.tasks, scope, spans, self._around))
        else:
            tasks = tuple(_within(whole.tasks, scope))
            places = {place(t.result) for t in tasks if t.result is not None}
            spans = tuple(s for s in whole.spans if place(s) in places and _labelled(s, scope))
        kept = {c.id for t in tasks for c in t.calls}
        steps = tuple(c for c in whole.steps if c.id in kept)
        places = {place(t.result) for t in tasks if t.result is not None}
        judged = tuple(c for c in whole.judged if matches(scope, c) or (place(c) in places and _silent(c, scope)))
        return Slice(_llm(steps), steps, tasks, spans, scope, whole.clusters, judged)


def slice_of(run: Run, scope: Scope | None = None) -> Slice:
    """Return the part of ``run`` in ``scope``; everything for None. For many scopes use ``Slices``."""
    return Slices(run).of(scope)


def _llm(steps: tuple[Call, ...]) -> tuple[Call, ...]:
    return tuple(c for c in steps if c.operation not in _NOT_LLM)


def is_empty(run: Run) -> bool:
    """Whether nothing was captured: no call, no span, and nothing that a test told itself (a score, a metric)."""
    told = any(r.scores or r.metrics or r.user_outcome != UserOutcome() for r in run.results)
    return not run.calls and not run.spans and not told


def matches(scope: Scope, call: Call, result: CaseResult | None = None) -> bool:
    """Whether a call (of an execution) belongs to a scope; ``*`` in its value matches anything."""
    if scope.kind == "tag":
        return _any((*call.tags, *(result.tags if result is not None else ())), scope.value)
    if scope.kind == "marker":
        return _any(call.markers, scope.value)
    if scope.kind == "model":
        return _any((call.model, call.response_model), scope.value)
    return _any((getattr(call, scope.kind),), scope.value) or (
        scope.also is not None and getattr(call, scope.kind) == scope.also
    )


def place(record: Call | Span | CaseResult) -> Place:
    """Return the execution of a test that a record belongs to."""
    trace: str | None = None if record.nodeid is not None else getattr(record, "trace_id", None)
    return record.nodeid, trace, record.repeat, record.attempt


def same(given: str | None, wanted: str) -> bool:
    """Whether a scope's value names ``given``; ``*`` in it matches anything."""
    return _any((given,), wanted)


class _Around:
    """The names of a span and of all spans around it, by the span's id."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = {s.id: s for s in spans}
        self._names: dict[str, frozenset[str]] = {}

    def has(self, span_id: str | None, stage: str) -> bool:
        """Whether a span, or one around it, is of ``stage``."""
        return _any(self.names(span_id), stage)

    def names(self, span_id: str | None) -> frozenset[str]:
        """Return the names of a span and of all around it; none for no span."""
        return frozenset() if span_id is None else self._of(span_id)

    def _of(self, span_id: str) -> frozenset[str]:
        if span_id not in self._names:
            names, at, seen = set(), self._spans.get(span_id), set[str]()
            while at is not None and at.id not in seen:
                seen.add(at.id)
                names.add(at.name)
                at = self._spans.get(at.parent_id or "")
            self._names[span_id] = frozenset(names)
        return self._names[span_id]


def _in_stage(tasks: Iterable[Task], scope: Scope, spans: Iterable[Span], around: _Around) -> Iterator[Task]:
    places = {place(s) for s in spans}
    for task in tasks:
        calls = tuple(c for c in task.calls if matches(scope, c) or around.has(c.parent_id, scope.value))
        if calls or (task.result is not None and place(task.result) in places):
            yield Task(task.key, task.cluster, task.weight, calls, task.result)


def _silent(call: Call, scope: Scope) -> bool:
    """Whether a judge's call says nothing of its own about a scope, so that its test decides."""
    return scope.kind in ("tag", "marker", "stage") or getattr(call, scope.kind) is None


def _labelled(span: Span, scope: Scope) -> bool:
    """Whether a span of a test in scope belongs there too: it does not say that it is something else's."""
    own = span.labels.get(scope.kind)
    return own is None or _any((own,), scope.value) or own == scope.also


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


def _tasks(run: Run, steps: tuple[Call, ...]) -> Iterator[Task]:
    by_id = {c.id: c for c in steps}
    owned: set[str] = set()
    for result in run.results:
        calls = tuple(by_id[i] for i in result.call_ids if i in by_id)
        owned.update(c.id for c in calls)
        key = (result.set, result.case if result.case is not None else result.nodeid)
        cluster = result.cluster or f"{key[0] or ''}\0{key[1]}"
        yield Task(key, cluster, result.weight, calls, result)
    groups: dict[Key, list[Call]] = {}
    for call in steps:
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
