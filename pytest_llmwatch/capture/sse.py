"""Server-sent events, as bytes: where each event stands and what it carries (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_BREAK = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, its data, and its byte range in the body (end behind the blank line).

    ``closed`` is false for a rest at the end of the body that no blank line ends.
    """

    name: str | None
    data: str
    start: int
    end: int
    closed: bool = True

    @property
    def is_done(self) -> bool:
        """Whether this is the ``[DONE]`` that ends a Chat Completions stream."""
        return self.data.startswith("[DONE]")

    def json(self) -> Any:
        """Return the data as JSON.

        Raises:
            ValueError: The data is not JSON: a corrupt chunk.
        """
        import json

        return json.loads(self.data)


def events(body: bytes) -> list[Event]:
    """Return the events of ``body`` that carry data, in order; comments and bare names are left out."""
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
