"""Figures of stages: the spans of one name, or the calls that were labelled with one where there are no spans.

A stage's own time is its duration less that of the spans inside it, so that the shares of a task's stages add up
to at most 1 where nothing runs at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_figure import Figure, Unit, not_measured, worst_ids
from pytest_llmwatch.measure_slice import Place, Slice, place, quantile, same
from pytest_llmwatch.measure_time import seconds
from pytest_llmwatch.model import Call, Run, Span

SLOW_TAIL = 0.05
"""The share of tasks, slowest first, that the tail is made of: one task at least."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a run.

    ``n`` counts its spans (or calls), reruns included, ``errors`` those that an exception left. ``p50`` and
    ``p95`` are seconds, None where no time is known. ``tail_share`` is the share of the time of the slowest tasks
    that was the stage's own, None where no task has times.
    """

    name: str
    n: int
    errors: int
    p50: float | None
    p95: float | None
    tail_share: float | None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span or a labelled call of a task."""

    stage: str
    latency: float | None
    own: float
    failed: bool


def stages(run: Run) -> tuple[Stage, ...]:
    """Return the stages of ``run``, those that take most of the slow tail first."""
    tasks = [t for t in _tasks(run) if t[1]]
    pieces: dict[str, list[_Piece]] = defaultdict(list)
    for _, found in tasks:
        for piece in found:
            pieces[piece.stage].append(piece)
    timed = sorted((t for t in tasks if t[0]), key=lambda t: -t[0])
    slow = timed[: max(1, math.ceil(len(timed) * SLOW_TAIL - 1e-9))]
    total = math.fsum(seconds_ for seconds_, _ in slow)
    own: dict[str, float] = defaultdict(float)
    for _, found in slow:
        for piece in found:
            own[piece.stage] += piece.own
    made = []
    for name, found in pieces.items():
        times = [p.latency for p in found if p.latency is not None]
        made.append(
            Stage(
                name,
                len(found),
                sum(p.failed for p in found),
                quantile(times, 0.5),
                quantile(times, 0.95),
                own[name] / total if total else None,
            )
        )
    return tuple(sorted(made, key=lambda s: (-(s.tail_share or 0.0), -s.n, s.name)))


def _tasks(run: Run) -> list[tuple[float, list[_Piece]]]:
    """Return seconds and pieces of each execution of a test (or of each trace, where no test is known)."""
    spans: dict[Place, list[Span]] = defaultdict(list)
    calls: dict[Place, list[Call]] = defaultdict(list)
    for span in run.spans:
        spans[place(span)].append(span)
    for call in run.calls:
        if not call.judging:
            calls[place(call)].append(call)
    return [_task(spans.get(p, ()), calls.get(p, ())) for p in dict.fromkeys((*spans, *calls))]


def _task(spans: Sequence[Span], calls: Sequence[Call]) -> tuple[float, list[_Piece]]:
    known = {s.id: s for s in spans}
    inside: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        if span.parent_id in known:
            inside[span.parent_id or ""].append(span)
    pieces = [
        _Piece(s.name, s.latency, max(0.0, (s.latency or 0.0) - _length(inside[s.id])), s.error is not None)
        for s in spans
    ]
    for call in calls:
        parent = known.get(call.parent_id or "")
        if call.stage is not None and (parent is None or parent.name != call.stage):
            pieces.append(_Piece(call.stage, call.latency, call.latency or 0.0, call.failed))
    roots: list[Span | Call] = [s for s in spans if s.parent_id not in known]
    roots += [c for c in calls if c.parent_id not in known]
    return _length(roots), pieces


def _length(things: Iterable[Span | Call]) -> float:
    """Return the seconds that some spans and calls took together: at once counts once, where times tell."""
    timed = [(seconds(t.time), t.latency) for t in things if t.latency is not None]
    if any(start is None for start, _ in timed):
        return math.fsum(latency or 0.0 for _, latency in timed)
    total, reached = 0.0, -math.inf
    for start, latency in sorted((s or 0.0, latency or 0.0) for s, latency in timed):
        total += max(0.0, start + latency - max(start, reached))
        reached = max(reached, start + latency)
    return total


# the rules of a stage --------------------------------------------------------------------------------------


def latency(limit: Limit, part: Slice) -> Figure | None:
    """Return the figure of a ``[latency]`` rule over the spans of a stage; None where calls alone tell.

    Every finished span counts but one that an error cut short, unless the error is a timeout.
    """
    if part.scope is None or part.scope.kind != "stage" or limit.key not in ("p50", "p95", "p99", "max"):
        return None
    stage = [s for s in part.spans if same(s.name, part.scope.value)]
    if not stage:
        return None
    rows = [(s.latency, s) for s in stage if s.latency is not None and _counts(s)]
    if not rows:
        return not_measured(f"no span of stage {part.scope.value} has a time")
    left_out = sum(1 for s in stage if _counts(s)) - len(rows)
    why = f"{plural(left_out, 'span')} without a recorded time left out" if left_out else ""
    clusters = {place(t.result): t.cluster for t in part.tasks if t.result is not None}
    units = tuple(Unit(clusters.get(place(s), s.nodeid or s.id), v) for v, s in rows)
    inside = _calls_inside(part)
    worst = worst_ids(inside.get(s.id) for _, s in sorted(rows, key=lambda r: -r[0]))
    values = tuple(v for v, _ in rows)
    if limit.key == "max":
        return Figure(max(values), n=len(rows), noun="span", worst=worst, why=why, shape="max", units=units)
    q = int(limit.key[1:]) / 100
    return Figure(quantile(values, q), n=len(rows), noun="span", values=values, worst=worst, why=why, units=units)


def _counts(span: Span) -> bool:
    return span.error is None or "timeout" in span.error.lower()


def _calls_inside(part: Slice) -> dict[str, str]:
    """Return the slowest call inside each span, by the span's id."""
    parents = {s.id: s.parent_id for s in part.spans}
    found: dict[str, str] = {}
    for call in sorted(part.steps, key=lambda c: -(c.latency or 0.0)):
        at = call.parent_id
        while at is not None and at in parents:
            found.setdefault(at, call.id)
            at = parents[at]
    return found
