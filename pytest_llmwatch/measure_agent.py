"""Figures of ``[agent]``: steps, tool calls and what became of them, fallbacks, caches, success.

Shares are events over tool calls, results or calls, all of them alike; figures of tasks are means over cases of
means over repeats. First attempts only. Every figure is "not measured" where the run holds nothing to measure
it by.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.measure_agent_results import answered, lost
from pytest_llmwatch.measure_agent_steps import AgentTask, ToolStep, agent_tasks
from pytest_llmwatch.measure_calls import succeeded
from pytest_llmwatch.measure_figure import Figure, Observation, mean_figure, not_measured, share_figure, worst_ids
from pytest_llmwatch.measure_slice import Slice, quantile
from pytest_llmwatch.model import Call

LOOP_LENGTH = 3
"""The same tool with the same arguments this often in one task is a loop."""

Tasks = Sequence[AgentTask]


def agent(limit: Limit, part: Slice) -> Figure:
    """Return the figure of an ``[agent]`` rule."""
    tasks = agent_tasks(part)
    if limit.key == "repeated_side_effects":
        return _repeated_side_effects(tasks, limit.names)
    return _FIGURES[limit.key](tasks)


def observe(task: AgentTask, value: float, call_id: str | None) -> Observation:
    """Return one value of a task, with the call that a reader should look at."""
    return Observation(task.key, task.cluster, task.weight, value, call_id)


# tasks -----------------------------------------------------------------------------------------------------


def _steps_per_task(tasks: Tasks) -> Figure:
    return _over_tasks(tasks, lambda t: float(len(t.calls)))


def _max_steps(tasks: Tasks) -> Figure:
    ordered = sorted((t for t in tasks if t.calls), key=lambda t: -len(t.calls))
    if not ordered:
        return not_measured("no task made a model call")
    most = len(ordered[0].calls)
    return Figure(
        float(most), n=len(ordered), noun="task", worst=worst_ids(t.last_id for t in ordered), shape="max"
    )


def _tool_calls_per_task(tasks: Tasks) -> Figure:
    return _over_tasks(tasks, lambda t: float(len(t.tools)))


def _loops(tasks: Tasks) -> Figure:
    def loops(task: AgentTask) -> float:
        seen = Counter(tool.what for tool in task.tools)
        return float(any(count >= LOOP_LENGTH for count in seen.values()))

    return _over_tasks(tasks, loops)


def _over_tasks(tasks: Tasks, value: Callable[[AgentTask], float]) -> Figure:
    rows = [observe(t, value(t), t.last_id) for t in tasks if t.calls or t.tools]
    return mean_figure(rows, floor=False, noun="task") if rows else not_measured("no task made a model call")


def _repeated_side_effects(tasks: Tasks, names: Sequence[str]) -> Figure:
    rows = []
    for task in tasks:
        writes = [s for s in task.tools if s.side_effect or any(fnmatch.fnmatchcase(s.name, n) for n in names)]
        if not writes:
            continue
        seen: dict[tuple[str, str], ToolStep] = {}
        again = [s for s in writes if seen.setdefault(s.what, s) is not s]
        rows.append(observe(task, float(bool(again)), again[-1].call_id if again else None))
    if rows:
        return mean_figure(rows, floor=False, noun="task")
    if names:
        return not_measured(f"no task called a tool with side effects ({', '.join(names)})")
    return not_measured("no tool is known to have side effects; name them in [agent] side_effects")


def _task_success(tasks: Tasks) -> Figure:
    rows = []
    for task in tasks:
        result = next((r for r in task.results if r.case is not None), next(iter(task.results), None))
        known = succeeded(task.steps, result)
        if known is not None:
            rows.append(observe(task, float(known), task.last_id))
    return mean_figure(rows, floor=True, noun="task") if rows else not_measured("no task has an outcome")


# tool calls ------------------------------------------------------------------------------------------------


def _tool_error_rate(tasks: Tasks) -> Figure:
    return _over_tools(tasks, lambda _, s: s.failed, "no tool call carries a result or an error")


def _invalid_arguments(tasks: Tasks) -> Figure:
    return _over_tools(
        tasks,
        lambda _, s: None if s.valid is None else not s.valid,
        "no tool call was checked for valid arguments",
    )


def _unauthorised_tools(tasks: Tasks) -> Figure:
    return _over_tools(
        tasks,
        lambda _, s: None if s.offered is None else not s.offered,
        "no call with tool calls says which tools it was offered",
    )


def _wrong_tools(tasks: Tasks) -> Figure:
    def wrong(task: AgentTask, step: ToolStep) -> bool | None:
        expected = task.expected_tools
        return None if expected is None else step.name not in expected

    return _over_tools(tasks, wrong, "no tool call belongs to a case with expected_tool_calls")


def _tool_retry_rate(tasks: Tasks) -> Figure:
    rows = []
    known = False
    for task in tasks:
        state: dict[str, bool | None] = {}
        for step in task.tools:
            bad = step.failed or step.valid is False
            known = known or step.failed is not None or step.valid is not None
            rows.append(observe(task, float(bool(state.get(step.name))), step.call_id))
            state[step.name] = bad
    if not rows:
        return not_measured("no tool was called")
    if not known:
        return not_measured("no tool call tells whether it failed")
    return share_figure(rows, noun="tool call")


def _over_tools(tasks: Tasks, value: Callable[[AgentTask, ToolStep], bool | None], nothing: str) -> Figure:
    rows, left_out = [], 0
    for task in tasks:
        for step in task.tools:
            found = value(task, step)
            if found is None:
                left_out += 1
            else:
                rows.append(observe(task, float(found), step.call_id))
    if not rows:
        return not_measured(nothing if left_out else "no tool was called")
    why = f"{left_out:,} more not known" if left_out else ""
    return share_figure(rows, noun="tool call", why=why)


def _lost_tool_results(tasks: Tasks) -> Figure:
    rows = [observe(t, float(bad), call_id) for t in tasks for bad, call_id in lost(t.steps)]
    return _told(rows, "tool call")


def _mismatched_tool_results(tasks: Tasks) -> Figure:
    rows = [observe(t, float(bad), call_id) for t in tasks for bad, call_id in answered(t.steps)]
    return _told(rows, "tool result")


def _told(rows: Sequence[Observation], noun: str) -> Figure:
    if rows:
        return share_figure(rows, noun=noun)
    return not_measured("no request that goes on after a tool call was captured")


# calls -----------------------------------------------------------------------------------------------------


def _fallback_rate(tasks: Tasks) -> Figure:
    return _over_calls(tasks, lambda c: c.fallback, "no call says whether it was a fallback")


def _call_retry_rate(tasks: Tasks) -> Figure:
    return _over_calls(tasks, lambda c: c.retries > 0 if c.attempts else None, "no call tells its attempts")


def _over_calls(tasks: Tasks, value: Callable[[Call], bool | None], nothing: str) -> Figure:
    rows = [observe(t, float(v), c.id) for t in tasks for c in t.llm if (v := value(c)) is not None]
    return share_figure(rows) if rows else not_measured(nothing)


def _cache_hit_rate(tasks: Tasks) -> Figure:
    rows = [observe(t, float(hit), call_id) for t in tasks for hit, call_id in _cache_answers(t)]
    if not rows:
        return not_measured("no call reports cached tokens, and no tag or span says cache hit or miss")
    return share_figure(rows, floor=True)


def _cache_answers(task: AgentTask) -> Iterator[tuple[bool, str | None]]:
    for call in task.steps:
        told = {t.partition("=")[2].lower() for t in call.tags if t.startswith("cache=")} & {"hit", "miss"}
        if told:
            yield "hit" in told, call.id
        elif call.cache_hit is not None:
            yield call.cache_hit, call.id
    for span in task.spans:
        hit = span.attributes.get("cache_hit")
        if isinstance(hit, bool):
            yield hit, task.last_id


# time ------------------------------------------------------------------------------------------------------


def step_times(task: AgentTask) -> list[tuple[float, str]]:
    """Return (seconds, call id) of each step: a model call and the tools that it asked for.

    Tools that ran side by side count once where their time stamps are known. A step whose call has no latency
    is left out; a tool without one adds nothing.
    """
    out = []
    for turn, call in enumerate(task.calls):
        if call.latency is not None:
            out.append((call.latency + _tool_time([s for s in task.tools if s.turn == turn]), call.id))
    return out


def _tool_time(steps: Sequence[ToolStep]) -> float:
    timed = [(s.time, s.latency) for s in steps if s.latency is not None]
    intervals = sorted((start, start + length) for start, length in timed if start is not None)
    if len(intervals) < len(timed):
        return sum(length for _, length in timed)
    total, end = 0.0, float("-inf")
    for start, stop in intervals:
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _step_time(tasks: Tasks) -> Figure:
    rows = [observe(t, length, call_id) for t in tasks for length, call_id in step_times(t)]
    if not rows:
        return not_measured("no model call carries a latency")
    return share_figure(rows, noun="step", events=False)


def _step_time_p95(tasks: Tasks) -> Figure:
    rows = sorted((r for t in tasks for r in step_times(t)), reverse=True)
    if not rows:
        return not_measured("no model call carries a latency")
    value = quantile((length for length, _ in rows), 0.95)
    return Figure(value, n=len(rows), noun="step", worst=worst_ids(i for _, i in rows))


_FIGURES: dict[str, Callable[[Tasks], Figure]] = {
    "steps_per_task": _steps_per_task,
    "max_steps": _max_steps,
    "tool_calls_per_task": _tool_calls_per_task,
    "tool_error_rate": _tool_error_rate,
    "invalid_arguments": _invalid_arguments,
    "unauthorised_tools": _unauthorised_tools,
    "wrong_tools": _wrong_tools,
    "loops": _loops,
    "tool_retry_rate": _tool_retry_rate,
    "call_retry_rate": _call_retry_rate,
    "lost_tool_results": _lost_tool_results,
    "mismatched_tool_results": _mismatched_tool_results,
    "step_time": _step_time,
    "step_time_p95": _step_time_p95,
    "fallback_rate": _fallback_rate,
    "cache_hit_rate": _cache_hit_rate,
    "task_success": _task_success,
}
