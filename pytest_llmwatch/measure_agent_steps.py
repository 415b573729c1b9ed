"""One view of what agents did, whatever it was recorded from: calls, spans, or RECORDS of tools and retrievals.

A task is one thing that a user wanted done. Its model calls ask for tools; what became of each is read, in this
order, from the tool's own span or record, from what the next request told the model, from the call's record.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_llmwatch.measure_slice import Key, Slice, Task
from pytest_llmwatch.measure_time import seconds
from pytest_llmwatch.messages import tells_failure
from pytest_llmwatch.model import Call, CaseResult, Retrieval, Span, ToolCall, ToolResult

_NOT_MODEL = frozenset({"tool", "retrieval", "agent", "embeddings"})
_HEDGE = 0.005
"""Seconds by which a second call may start before the first has ended and still be its fallback."""


@dataclass(frozen=True, slots=True)
class ToolStep:
    """One tool call of a task.

    ``call_id`` is the model call that asked for it; where the application called the tool by itself, the id of
    the tool's own record, or of the task's last call for a span. ``failed``, ``valid`` and ``offered`` are None
    where nothing tells. ``turn`` is the place of the asking call among the task's model calls, None without one.
    """

    name: str
    arguments: str
    call_id: str | None
    turn: int | None
    valid: bool | None = None
    offered: bool | None = None
    failed: bool | None = None
    latency: float | None = None
    time: float | None = None
    side_effect: bool = False

    @property
    def what(self) -> tuple[str, str]:
        """The tool and its arguments, the same for equal JSON however it is written."""
        return self.name, canonical(self.arguments)


@dataclass(frozen=True, slots=True)
class RetrievalStep:
    """One retrieval of a task; ``call_id`` as for `ToolStep`. ``sources`` counts its documents by source."""

    retrieval: Retrieval
    call_id: str | None
    sources: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Documents returned."""
        return max(len(self.retrieval.ids), len(self.retrieval.documents))


@dataclass(frozen=True, slots=True)
class AgentTask:
    """A task with its model calls in order, its tool calls and its retrievals."""

    key: Key
    cluster: str
    weight: float
    calls: tuple[Call, ...]
    """Model calls: no embeddings, no records of tools, retrievals or agents."""
    llm: tuple[Call, ...]
    """LLM calls, embeddings too."""
    tools: tuple[ToolStep, ...]
    retrievals: tuple[RetrievalStep, ...]
    steps: tuple[Call, ...] = ()
    """Every record of the task."""
    spans: tuple[Span, ...] = ()
    results: tuple[CaseResult, ...] = ()
    unanswered: bool = False

    @property
    def last_id(self) -> str | None:
        """Id of the task's last call, for lists of the worst."""
        return self.steps[-1].id if self.steps else next((i for r in self.results for i in r.call_ids), None)

    @property
    def expected_tools(self) -> tuple[str, ...] | None:
        """Tools that the golden case expects, None where no case says."""
        return next((r.expected_tools for r in self.results if r.expected_tools is not None), None)

    @property
    def expected_documents(self) -> tuple[str, ...]:
        """Golden documents of the case, empty where none are named."""
        return next((r.expected_documents for r in self.results if r.expected_documents), ())


def canonical(arguments: str) -> str:
    """Return JSON text in one spelling (sorted keys, no blanks); other text stripped."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return arguments.strip()


def is_object(arguments: str) -> bool:
    """Whether the arguments are a JSON object; no arguments at all count as an empty one."""
    try:
        return isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        return False


def with_fallbacks(calls: Sequence[Call]) -> tuple[Call, ...]:
    """Return a task's calls with ``fallback`` told where it was unknown.

    A call is a fallback if an earlier one of the task failed, had the same operation and input, went to another
    model or server, and was over before this one started (where times are known: two calls at once are a race).

    Args:
        calls: All calls of one task, in the order in which they started.
    """
    out = []
    failed: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        known = call.operation not in ("tool", "retrieval", "agent") and call.input is not None and call.model
        if not known:
            out.append(call)
            continue
        same = failed[call.operation, call.input or ""]
        found = call.fallback
        if found is None:
            found = any(_elsewhere(before, call) and _after(before, call) for before in same)
        out.append(call if found is call.fallback else replace(call, fallback=found))
        if call.failed:
            same.append(call)
    return tuple(out)


def _elsewhere(one: Call, other: Call) -> bool:
    return (one.model, one.server_address, one.server_port) != (
        other.model,
        other.server_address,
        other.server_port,
    )


def _after(before: Call, call: Call) -> bool:
    if before.injected or call.injected:
        return True  # a fault happens now, also in a replay of what was recorded long ago: order is all there is
    start, first = seconds(call.time), seconds(before.time)
    if start is None or first is None or before.latency is None:
        return True
    return start >= first + before.latency - _HEDGE


def with_results(calls: Sequence[Call]) -> tuple[Call, ...]:
    """Return a task's calls with the result of each tool call filled in from what the next request told.

    What a tool call already carries stays. ``error`` is filled where the vendor's format marks the result as
    an error.

    Args:
        calls: All calls of one task, in the order in which they started.
    """
    if not any(c.tool_results for c in calls):
        return tuple(calls)
    answers = [{r.id: r for r in c.tool_results if r.id is not None and r.content is not None} for c in calls]
    out = []
    for i, call in enumerate(calls):
        told = tuple(_filled(t, answers[i + 1 :]) for t in call.tool_calls)
        out.append(call if told == call.tool_calls else replace(call, tool_calls=told))
    return tuple(out)


def _filled(tool: ToolCall, later: Sequence[Mapping[str, ToolResult]]) -> ToolCall:
    if tool.result is not None or tool.id is None:
        return tool
    told = next((answers[tool.id] for answers in later if tool.id in answers), None)
    if told is None:
        return tool
    error = tool.error if tool.error is not None or not told.failed else (told.content or "error")
    return replace(tool, result=told.content, error=error)


def agent_tasks(part: Slice) -> list[AgentTask]:
    """Return the first attempts of a slice's tasks; records that share a trace make one task."""
    if "agent_tasks" not in part.memo:
        part.memo["agent_tasks"] = _agent_tasks(part)
    found: list[AgentTask] = part.memo["agent_tasks"]
    return found


def _agent_tasks(part: Slice) -> list[AgentTask]:
    spans: dict[tuple[str | None, int, int], list[Span]] = defaultdict(list)
    for span in part.spans:
        spans[span.nodeid, span.repeat, span.attempt].append(span)
    return [
        _agent_task(group, spans.get(_place(group), []))
        for group in _groups(part.tasks)
        if all(t.first_attempt for t in group)
    ]


def _place(group: Sequence[Task]) -> tuple[str | None, int, int]:
    result = group[0].result
    if result is not None:
        return result.nodeid, result.repeat, result.attempt
    call = group[0].calls[0]
    return call.nodeid, call.repeat, call.attempt


def _groups(tasks: Iterable[Task]) -> Iterable[list[Task]]:
    groups: dict[object, list[Task]] = {}
    for i, task in enumerate(tasks):
        trace = _foreign_trace(task)
        groups.setdefault(i if trace is None else trace, []).append(task)
    return groups.values()


def _foreign_trace(task: Task) -> str | None:
    """The trace of a record that no test of ours made: there each line is an execution of its own."""
    traces = {c.trace_id for c in task.calls}
    if any(c.nodeid is not None for c in task.calls) or len(traces) != 1:
        return None
    return traces.pop()


def _agent_task(group: Sequence[Task], spans: Sequence[Span]) -> AgentTask:
    first = next((t for t in group if t.result is not None and t.result.case is not None), group[0])
    steps: Sequence[Call] = [c for t in group for c in t.calls]
    if len(group) > 1 and all(seconds(c.time) is not None for c in steps):
        steps = sorted(steps, key=lambda c: seconds(c.time) or 0.0)
    if any(c.nodeid is not None or c.trace_id is not None for c in steps):
        steps = with_fallbacks(steps)
    steps = with_results(steps)
    calls = tuple(c for c in steps if c.operation not in _NOT_MODEL)
    last = steps[-1].id if steps else None
    return AgentTask(
        key=first.key,
        cluster=first.cluster,
        weight=first.weight,
        calls=calls,
        llm=tuple(c for c in steps if c.operation not in ("tool", "retrieval", "agent")),
        tools=_tools(calls, _executions(steps, spans, last)),
        retrievals=retrievals_of(steps, spans, last),
        steps=tuple(steps),
        spans=tuple(spans),
        results=tuple(t.result for t in group if t.result is not None),
        unanswered=all(t.unanswered for t in group),
    )


@dataclass(frozen=True, slots=True)
class _Execution:
    """A tool that really ran: from its span, or from a record with operation ``tool``."""

    tool: ToolCall
    call_id: str | None
    failed: bool
    latency: float | None
    time: float | None
    side_effect: bool


def _executions(steps: Sequence[Call], spans: Sequence[Span], last: str | None) -> list[_Execution]:
    out = []
    for span in spans:
        if span.kind == "tool":
            tool = span.tool or ToolCall(span.name)
            result = tool.result
            failed = span.error is not None or tool.error is not None
            out.append(
                _Execution(
                    tool,
                    last,
                    failed or (result is not None and tells_failure(result)),
                    tool.latency if span.latency is None else span.latency,
                    seconds(span.time),
                    span.attributes.get("side_effect") is True,
                )
            )
    for call in steps:
        if call.operation == "tool":
            tool = call.tool_calls[0] if call.tool_calls else ToolCall(_tool_name(call), call.input or "")
            result = call.output if tool.result is None else tool.result
            failed = call.failed or call.error is not None or tool.error is not None
            out.append(
                _Execution(
                    tool,
                    call.id,
                    failed or (result is not None and tells_failure(result)),
                    tool.latency if call.latency is None else call.latency,
                    seconds(call.time),
                    bool({"side_effect", "side_effect=true", "side_effect=True"} & set(call.tags)),
                )
            )
    return out


def _tool_name(call: Call) -> str:
    named = (t.partition("=")[2] for t in call.tags if t.startswith("tool="))
    return next(named, None) or call.stage or call.prompt_name or "tool"


def _tools(calls: Sequence[Call], ran: list[_Execution]) -> tuple[ToolStep, ...]:
    asked = [(turn, call, tool) for turn, call in enumerate(calls) for tool in call.tool_calls]
    found = _matched([tool for _, _, tool in asked], ran)
    steps = [_step(tool, call, turn, ran[m] if (m := found.get(i)) is not None else None)
             for i, (turn, call, tool) in enumerate(asked)]  # fmt: skip
    matched = set(found.values())
    alone = [e for i, e in enumerate(ran) if i not in matched]
    steps += [
        ToolStep(
            e.tool.name,
            e.tool.arguments,
            e.call_id,
            None,
            valid=e.tool.valid,
            failed=e.failed,
            latency=e.latency,
            time=e.time,
            side_effect=e.side_effect,
        )
        for e in alone
    ]
    return tuple(steps)


def _matched(asked: Sequence[ToolCall], ran: Sequence[_Execution]) -> dict[int, int]:
    """Return which execution belongs to which tool call: by id, else by name and arguments, else by name."""
    found: dict[int, int] = {}
    free = dict.fromkeys(range(len(ran)))
    signs = (
        lambda t: ("id", t.id) if t.id else None,
        lambda t: (t.name, canonical(t.arguments)) if t.arguments.strip() else None,
        lambda t: (t.name,),
    )
    for sign in signs:
        places: dict[object, list[int]] = defaultdict(list)
        for j in free:
            places[sign(ran[j].tool)].append(j)
        for i, tool in enumerate(asked):
            if i not in found and (key := sign(tool)) is not None and places.get(key):
                found[i] = places[key].pop(0)
                free.pop(found[i])
    return found


def _step(tool: ToolCall, call: Call, turn: int, ran: _Execution | None) -> ToolStep:
    offered = _offered(call)
    unknown = offered is not None and tool.name not in offered
    valid = tool.valid
    if unknown or (valid is None and tool.arguments.strip()):
        valid = is_object(tool.arguments)  # no schema to hold it against
    return ToolStep(
        tool.name,
        tool.arguments,
        call.id,
        turn,
        valid=valid,
        offered=None if offered is None else not unknown,
        failed=_failed(tool) if ran is None else ran.failed,
        latency=tool.latency if ran is None or ran.latency is None else ran.latency,
        time=None if ran is None else ran.time,
        side_effect=ran is not None and ran.side_effect,
    )


def _failed(tool: ToolCall) -> bool | None:
    # an error beside invalid arguments is the finding of the check, not of the tool
    if tool.error is not None and tool.valid is not False:
        return True
    return None if tool.result is None else tells_failure(tool.result)


def _offered(call: Call) -> frozenset[str] | None:
    given = call.parameters.get("tools")
    if not isinstance(given, list | tuple):
        return None
    names = set()
    for item in given:
        if isinstance(item, Mapping):
            function = item.get("function")
            names.add(function.get("name") if isinstance(function, Mapping) else item.get("name"))
        else:
            names.add(item)
    return frozenset(n for n in names if isinstance(n, str))


def retrievals_of(steps: Sequence[Call], spans: Sequence[Span], last: str | None) -> tuple[RetrievalStep, ...]:
    """Return each retrieval once: a call with what a span, a record or an earlier call retrieved is a copy."""
    own = [
        _retrieval_step(s.retrieval, last, s.attributes.get("sources")) for s in spans if s.retrieval is not None
    ]
    found = [c for c in steps if c.operation == "retrieval"]
    own += [_retrieval_step(c.retrieval, c.id) for c in found if c.retrieval is not None]
    seen = {_same(s.retrieval) for s in own}
    for call in steps:
        if call.retrieval is not None and call.operation != "retrieval" and _same(call.retrieval) not in seen:
            seen.add(_same(call.retrieval))
            own.append(_retrieval_step(call.retrieval, call.id))
    return tuple(own)


def _retrieval_step(retrieval: Retrieval, call_id: str | None, sources: object = None) -> RetrievalStep:
    step = RetrievalStep(retrieval, call_id)
    given = sources if isinstance(sources, Mapping) else {retrieval.source: step.count} if retrieval.source else {}
    return replace(step, sources={str(k): n for k, n in given.items() if isinstance(n, int)})


def _same(retrieval: Retrieval) -> tuple[object, ...]:
    return retrieval.ids, retrieval.documents
