"""Tool results that got lost or belong to nothing, read from what later requests of a task told the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_llmwatch.model import Call, ToolResult

Event = tuple[bool, str]
"""Whether it is an error, and the request that shows it."""


def lost(calls: Sequence[Call]) -> list[Event]:
    """Return an event per tool call whose conversation went on: lost where the next request has no result for it.

    Where the provider keeps the history (``previous_response_id``), the tool calls of that response are held
    against the request's results. A tool call after which nothing was asked is not here: nothing tells.

    Args:
        calls: All calls of one task, in the order in which they started.
    """
    first: dict[tuple[str | None, int], Event] = {}
    for i, call in enumerate(calls):
        for key, bad in _told(call, _before(call, calls[:i])):
            first.setdefault(key, (bad, call.id))
    return list(first.values())


def _told(call: Call, kept: Sequence[str]) -> Iterator[tuple[tuple[str | None, int], bool]]:
    counts: Counter[str | None] = Counter()
    answers = Counter(r.id for r in call.tool_results if r.content is not None and not r.asked)
    for result in call.tool_results:
        if result.asked:
            yield (result.id, counts[result.id]), result.content is None
            counts[result.id] += 1
    for name in kept:
        if not counts[name]:
            yield (name, 0), answers[name] == 0


def _before(call: Call, earlier: Sequence[Call]) -> list[str]:
    """Ids of the tool calls of the response that this request continues by its id."""
    previous = call.parameters.get("previous_response_id")
    if previous is None:
        return []
    return [t.id for c in earlier if c.request_id == previous for t in c.tool_calls if t.id is not None]


def answered(calls: Sequence[Call]) -> list[Event]:
    """Return an event per tool result sent: mismatched where no call has its id, or where it is the second one.

    Args:
        calls: As for `lost`.
    """
    first: dict[tuple[str | None, int, bool], Event] = {}
    known: Counter[str] = Counter()
    for call in calls:
        in_history = {r.id for r in call.tool_results if r.asked}
        counts: Counter[str | None] = Counter()
        for result in call.tool_results:
            if result.content is None:
                continue
            bad = not result.asked and _stray(result, known, in_history, counts)
            first.setdefault((result.id, counts[result.id], bad), (bad, call.id))
            counts[result.id] += 1
        known.update(t.id for t in call.tool_calls if t.id is not None)
    return list(first.values())


def _stray(
    result: ToolResult, known: Counter[str], in_history: set[str | None], counts: Counter[str | None]
) -> bool:
    """Whether a result that the request's own messages do not ask for belongs to nothing."""
    if result.id is None or result.id in in_history:
        return True
    return counts[result.id] >= known[result.id]
