"""The events of a stream, as bytes: where each stands and what it carries.

Server-sent events (WHATWG HTML, section 9.2), or the elements of one JSON array that grows.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.capture.values import loads

_ARRAY = re.compile(rb"\s*\[\s*\{")
_BREAK = re.compile(rb"\r\n\r\n|\n\n|\r\r")


_UNREAD = object()


@dataclass(slots=True)
class Event:
    """One event: its name, its data, and its byte range in the body (end behind the blank line).

    ``closed`` is false for a rest at the end of the body that no blank line ends.
    """

    name: str | None
    data: str
    start: int
    end: int
    closed: bool = True
    _value: Any = field(default=_UNREAD, repr=False, compare=False)

    @property
    def is_done(self) -> bool:
        """Whether this is the ``[DONE]`` that ends a Chat Completions stream."""
        return self.data.startswith("[DONE]")

    def json(self) -> Any:
        """Return the data as JSON, for readers only: others hold the same value.

        Raises:
            ValueError: The data is not JSON: a corrupt chunk.
        """
        if self._value is _UNREAD:
            self._value = loads(self.data)
        return self._value

    def fresh(self) -> Any:
        """Return the data as JSON that may be changed.

        Raises:
            ValueError: The data is not JSON.
        """
        return loads(self.data)


def is_array(body: bytes) -> bool:
    """Whether ``body`` begins as a JSON array of objects does."""
    return _ARRAY.match(body) is not None


@functools.lru_cache(maxsize=4)  # whether it ended, what it says, what is kept of it: all ask for the same
def events(body: bytes) -> tuple[Event, ...]:
    """Return the events of ``body`` that carry data, in order; comments and bare names are left out.

    The elements of a JSON array of objects are its events.
    """
    return tuple(_elements(body) if is_array(body) else _blocks(body))


def _blocks(body: bytes) -> list[Event]:
    out: list[Event] = []
    start = 0
    while start < len(body):
        match = _BREAK.search(body, start)
        stop, end = (match.start(), match.end()) if match else (len(body), len(body))
        event = _event(body[start:stop], start, end, closed=match is not None)
        if event is not None:
            out.append(event)
        start = end
    return out


_GAP = re.compile(rb"[\s,]*")
_STEP = re.compile(rb'[^"{}]*([{}]|"(?:[^"\\]|\\.)*+")', re.DOTALL)
"""Up to the next brace, or over a string: what tells where an object ends."""


def _elements(body: bytes) -> list[Event]:
    """Return the objects of a JSON array; the rest behind the last whole one is not closed."""
    out: list[Event] = []
    start = body.index(b"{")
    while start < len(body) and body[start : start + 1] != b"]":
        end, closed = _object_end(body, start)
        out.append(Event(None, body[start:end].decode("utf-8", errors="replace"), start, end, closed))
        gap = _GAP.match(body, end)
        start = gap.end() if gap else end
    return out


def _object_end(body: bytes, start: int) -> tuple[int, bool]:
    depth, place = 0, start
    while match := _STEP.match(body, place):
        place = match.end()
        depth += {b"{": 1, b"}": -1}.get(match[1], 0)
        if depth <= 0:
            return place, True
    return len(body), False


def _event(block: bytes, start: int, end: int, *, closed: bool) -> Event | None:
    name: str | None = None
    data: list[str] = []
    for line in block.decode("utf-8", errors="replace").splitlines():
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
    return Event(name, "\n".join(data), start, end, closed) if data else None
