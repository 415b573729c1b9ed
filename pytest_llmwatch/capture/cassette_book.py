"""The recordings of one file by what they answer, and which of them were used in a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette_item import Interaction

Place = tuple[int, int]
Queues = dict[str, list[Interaction]]


class Book:
    """An index over recordings, made once for all executions that replay them.

    Args:
        items: The recordings, in order.
        form: Gives the canonical form of a recorded request.
    """

    def __init__(self, items: Iterable[Interaction], form: Callable[[Interaction], dict[str, Any]]) -> None:
        self.items = list(items)
        self._form = form
        self._places: dict[Place, Queues] = {}
        self._numbers: dict[int, str] = {}
        self._content: dict[Place, Queues] = {}
        self._loose: dict[Place, Queues] = {}
        for item in self.items:
            queue = self._places.setdefault(item.place, {}).setdefault(self.key(item), [])
            self._numbers[id(item)] = f"{item.place[0]}/{item.place[1]}/{item.key}/{len(queue)}"
            queue.append(item)

    def key(self, item: Interaction) -> str:
        """Return a recording's fingerprint: as recorded, else from its request."""
        if item.key is None:
            item.key = fp.fingerprint(self._form(item))
        return item.key

    def name(self, item: Interaction) -> str:
        """Return ``repeat/attempt/fingerprint/k``: which recording of the file it is."""
        return self._numbers[id(item)]

    def count(self, place: Place, key: str) -> int:
        """Return how many recordings of a request a place has."""
        return len(self._places.get(place, {}).get(key, ()))

    def place_for(self, repeat: int, attempt: int) -> Place:
        """Return the place to replay from: a rerun of a test replays what its first execution recorded."""
        return (repeat, attempt) if (repeat, attempt) in self._places else (repeat, 0)

    def queues(self, place: Place, form: dict[str, Any], key: str) -> Iterable[list[Interaction]]:
        """Yield recordings that answer a request, the surest first.

        By the fingerprint as recorded; then by what the stored requests say now, edited by hand or redacted by new
        patterns; then those of other programs that kept no body to compare.
        """
        here = self._places.get(place)
        if here is None:
            return
        if key in here:
            yield here[key]
        if place not in self._content:
            self._read(place)
        yield self._content[place].get(key, [])
        yield self._loose[place].get(_line(form), [])

    def _read(self, place: Place) -> None:
        content: Queues = defaultdict(list)
        loose: Queues = defaultdict(list)
        for queue in self._places[place].values():
            for item in queue:
                if item.content_key is None:
                    item.content_key = fp.fingerprint(self._form(item))
                content[item.content_key].append(item)
        for item in self.items:
            if item.place == place and item.is_foreign and not item.request_body:
                loose[_line(self._form(item))].append(item)
        self._content[place], self._loose[place] = content, loose


def _line(form: dict[str, Any]) -> str:
    return f"{form['method']} {form['path']}"


@dataclass(slots=True)
class Use:
    """What a run did with one cassette file.

    Args:
        played: Names of the recordings that it replayed or made; see `Book.name`.
        complete: Whether every execution that opened it came to its end, so that the rest is unused.
        places: (repeat, attempt) of the executions.
    """

    played: set[str] = field(default_factory=set)
    complete: bool = True
    places: set[Place] = field(default_factory=set)

    def add(self, other: Use) -> None:
        """Take in what another execution or process did."""
        self.played |= other.played
        self.places |= other.places
        self.complete = self.complete and other.complete
