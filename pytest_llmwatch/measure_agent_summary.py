"""What agents and retrievals of a run did, in totals for the report: by tool, and by source of documents."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from pytest_llmwatch.measure_agent import LOOP_LENGTH
from pytest_llmwatch.measure_agent_steps import AgentTask, RetrievalStep, ToolStep, agent_tasks
from pytest_llmwatch.measure_slice import Slice, quantile

MOST = 50
"""Tools and sources that are named, most used first."""


def summary(part: Slice) -> dict[str, Any] | None:
    """Return totals of tools and retrievals over first attempts, None where the run has neither.

    ``failed``, ``invalid`` and ``not_offered`` count what is known; ``unknown`` tool calls carry no result.
    """
    used = any(c.tool_calls or c.retrieval is not None or c.operation in ("tool", "agent") for c in part.steps)
    if not used and not any(s.kind in ("tool", "retrieval", "agent") for s in part.spans):
        return None
    tasks = agent_tasks(part)
    tools = [step for task in tasks for step in task.tools]
    found = [step for task in tasks for step in task.retrievals]
    with_calls = [t for t in tasks if t.calls]
    return {
        "tasks": len(with_calls),
        "steps": sum(len(t.calls) for t in with_calls),
        "tool_calls": len(tools),
        "loops": sum(map(_loops, tasks)),
        "fallbacks": sum(c.fallback is True for t in tasks for c in t.llm),
        "tools": _tools(tools),
        "retrieval": _retrieval(found) if found else None,
    }


def _loops(task: AgentTask) -> bool:
    return any(count >= LOOP_LENGTH for count in Counter(s.what for s in task.tools).values())


def _tools(steps: Iterable[ToolStep]) -> list[dict[str, Any]]:
    groups: dict[str, list[ToolStep]] = defaultdict(list)
    for step in steps:
        groups[step.name].append(step)
    out = []
    for name, members in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))[:MOST]:
        times = [s.latency for s in members if s.latency is not None]
        out.append(
            {
                "name": name,
                "calls": len(members),
                "failed": sum(s.failed is True for s in members),
                "unknown": sum(s.failed is None for s in members),
                "invalid": sum(s.valid is False for s in members),
                "not_offered": sum(s.offered is False for s in members),
                "p50": quantile(times, 0.5),
                "p95": quantile(times, 0.95),
            }
        )
    return out


def _retrieval(found: Sequence[RetrievalStep]) -> dict[str, Any]:
    sources: Counter[str] = Counter()
    for step in found:
        sources.update(step.sources)
    return {
        "n": len(found),
        "empty": sum(step.count == 0 for step in found),
        "documents": math.fsum(step.count for step in found) / len(found),
        "top_k": sorted({step.retrieval.top_k for step in found if step.retrieval.top_k is not None}),
        "sources": dict(sources.most_common(MOST)),
    }
