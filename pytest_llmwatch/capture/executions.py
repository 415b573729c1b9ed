"""Which execution of a tool belongs to which tool call of the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_llmwatch.model import Call, Span, ToolCall

_Place = tuple[int, int]
"""Place of a call in the test, and of the tool call in it."""


def with_executions(calls: Sequence[Call], spans: Iterable[Span]) -> list[Call]:
    """Return ``calls`` with result, error and latency of the tool calls that were executed under a span.

    An execution belongs to the tool call with its id; else to the first that has its name and its arguments, and
    no execution yet; one that was told no arguments, to the first of its name. A later execution of the same id is
    a retry, and what it gave is what the model was told.
    """
    asked = {(i, j): tool for i, call in enumerate(calls) for j, tool in enumerate(call.tool_calls)}
    done: dict[_Place, ToolCall] = {}
    for span in spans:
        if span.tool is not None and (place := _place(span.tool, asked, done)) is not None:
            ran = span.tool
            done[place] = replace(asked[place], result=ran.result, error=ran.error, latency=ran.latency)
    if not done:
        return list(calls)
    return [
        replace(call, tool_calls=tuple(done.get((i, j), tool) for j, tool in enumerate(call.tool_calls)))
        for i, call in enumerate(calls)
    ]


def _place(ran: ToolCall, asked: dict[_Place, ToolCall], done: dict[_Place, ToolCall]) -> _Place | None:
    if ran.id is not None:
        for place, tool in asked.items():
            if tool.id == ran.id:
                return place
    for place, tool in asked.items():
        if place in done or tool.name != ran.name:
            continue
        if not ran.arguments.strip() or _canonical(tool.arguments) == _canonical(ran.arguments):
            return place
    return None


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments.strip()
