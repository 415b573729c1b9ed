"""Traces as waterfalls: the steps of a task under each other, where each started and how long it took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import JSON, Call, Run, Span

_MOST, _MOST_OF_A_CALL = 40, 200
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Step:
    """A span or call: start and width in % of the trace, ``depth`` of its nesting. ``time`` says seconds."""

    name: str
    kind: str
    depth: int
    x: float
    width: float
    time: str
    failed: str | None
    call_id: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of one trace in order of start; ``left_out`` counts those that are not shown."""

    id: str
    name: str
    seconds: float
    steps: tuple[Step, ...]
    failed: int
    left_out: int

    @property
    def duration(self) -> str:
        """How long it took, for people."""
        return fmt.value(self.seconds, "s")


@dataclass(frozen=True, slots=True)
class _Node:
    id: str
    parent: str | None
    start: float
    seconds: float
    span: Span | None
    call: Call | None


class Traces:
    """The traces of a run, put together when they are asked for."""

    def __init__(self, run: Run) -> None:
        self._nodes: dict[str, list[_Node]] = defaultdict(list)
        for span in run.spans:
            self._add(span, span.id)
        traced = set(self._nodes)
        counts: dict[str, int] = defaultdict(int)
        for call in run.calls:
            counts[call.trace_id or ""] += 1
        for call in run.calls:
            if call.trace_id and (call.trace_id in traced or counts[call.trace_id] > 1):
                self._add(call, call.span_id or call.id)

    def _add(self, step: Span | Call, own: str) -> None:
        start = _seconds(step.time)
        if step.trace_id and start is not None:
            span, call = (step, None) if isinstance(step, Span) else (None, step)
            node = _Node(own, step.parent_id, start, step.latency or 0.0, span, call)
            self._nodes[step.trace_id].append(node)

    def of(self, trace: str | None, most: int = _MOST_OF_A_CALL, own: str | None = None) -> Trace | None:
        """Return a trace by its id, None where it has fewer than two steps.

        Of more than ``most`` steps the first stay, and of those after them the call ``own`` and what failed.
        """
        nodes = self._nodes.get(trace or "", [])
        if len(nodes) < 2 or trace is None:
            return None
        first = min(n.start for n in nodes)
        total = max(n.start + n.seconds for n in nodes) - first
        ordered = list(_walk(nodes))
        late = [(d, n) for d, n in ordered[most:] if _failed(n)][: most // 2]
        asked = [(d, n) for d, n in ordered[most:] if n.call is not None and n.call.id == own]
        late += [step for step in asked if step not in late]
        kept = [*ordered[: most - len(late)], *late]
        steps = tuple(_step(n, depth, first, total or 1.0) for depth, n in kept)
        head = ordered[0][1]
        name = next((n.span or n.call for _, n in ordered if (n.span or n.call)), None)
        case = (name.case or (name.nodeid or "").rsplit("::", 1)[-1]) if name is not None else ""
        return Trace(
            trace, case or _name(head), total, steps, sum(_failed(n) is not None for n in nodes),
            len(nodes) - len(kept),
        )  # fmt: skip

    def worst(self, wanted: Iterable[str | None]) -> list[Trace]:
        """Return the traces to show: those that ``wanted`` names, those with failures, then the slowest."""
        named = list(dict.fromkeys(t for t in wanted if t in self._nodes))
        failed = [t for t, nodes in self._nodes.items() if any(_failed(n) for n in nodes)]
        slow = sorted(self._nodes, key=lambda t: -max(n.seconds for n in self._nodes[t]))
        found: list[Trace] = []
        for trace in dict.fromkeys([*named[:_SHOWN], *failed[:2], *slow[:_SHOWN]]):
            if len(found) < _SHOWN and (made := self.of(trace, _MOST)) is not None:
                found.append(made)
        return found

    @property
    def count(self) -> int:
        """Traces of two steps or more."""
        return sum(len(nodes) > 1 for nodes in self._nodes.values())


def _walk(nodes: list[_Node]) -> Iterable[tuple[int, _Node]]:
    """Yield (depth, node) with children after their parent; a parent that is not there makes a root."""
    ids = {n.id for n in nodes}
    children: dict[str | None, list[_Node]] = defaultdict(list)
    for node in sorted(nodes, key=lambda n: (n.start, -n.seconds, n.id)):
        children[node.parent if node.parent in ids and node.parent != node.id else None].append(node)
    seen: set[int] = set()
    stack = [(0, n) for n in reversed(children[None])]
    while stack:
        depth, node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield depth, node
        stack += [(depth + 1, child) for child in reversed(children[node.id])]
    # a ring of parents has no root: its steps come last rather than not at all
    yield from ((0, n) for n in nodes if id(n) not in seen)


def _step(node: _Node, depth: int, first: float, total: float) -> Step:
    x = 100 * (node.start - first) / total
    width = max(0.4, 100 * node.seconds / total)
    kind = "call" if node.call is not None else (node.span.kind if node.span is not None else "")
    return Step(
        _name(node), kind, min(depth, 6), round(min(x, 99.6), 2), round(min(width, 100 - min(x, 99.6)), 2),
        fmt.value(node.seconds, "s"), _failed(node), node.call.id if node.call is not None else None, _note(node),
    )  # fmt: skip


def _name(node: _Node) -> str:
    if node.call is not None:
        return node.call.response_model or node.call.model or "call"
    return node.span.name if node.span is not None else ""


def _failed(node: _Node) -> str | None:
    if node.call is not None:
        return (node.call.error or node.call.status.replace("_", " "))[:300] if node.call.failed else None
    if node.span is None:
        return None
    tool = node.span.tool
    return (node.span.error or (tool.error if tool is not None else None) or "")[:300] or None


def _note(node: _Node) -> str:
    if node.call is not None:
        asked = ", ".join(t.name for t in node.call.tool_calls)
        return f"calls {asked}" if asked else ""
    if node.span is not None and node.span.retrieval is not None:
        r = node.span.retrieval
        return fmt.plural(len(r.ids or r.documents), "document") + (f" from {r.source}" if r.source else "")
    return ""


def plain(trace: Trace | None) -> Mapping[str, JSON] | None:
    """Return a trace for the page's script."""
    if trace is None:
        return None
    return {
        "time": trace.duration,
        "left": trace.left_out,
        "steps": [
            [s.name, s.kind, s.depth, s.x, s.width, s.time, s.failed, s.call_id, s.note] for s in trace.steps
        ],
    }


def _seconds(time: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None
