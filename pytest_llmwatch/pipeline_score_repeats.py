"""Consistency of stored answers: records of one case that follow each other are its repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import JSON, Score
from pytest_llmwatch.scorers.consistency import fill, similarities, waits

MOST = 100
"""Repeats that are held and compared; the next one begins a group of its own, so that memory is flat."""
ALONE = (
    "No other record of this case or input stands beside it: consistency compares repeats that follow each other. "
    "Sort the file by case."
)
STEP = "Not the last call of its repeat: the answer of a repeat is its last call's."

Line = tuple[int, bytes]


@dataclass(slots=True)
class Scored:
    """A line that was scored. ``group`` None = it belongs to no repeats (no answer, a judge's call)."""

    number: int
    id: JSON
    text: str
    group: str | None
    sample: JSON
    scores: list[Score]


def compare(rows: Sequence[Scored]) -> None:
    """Fill the consistency scores of rows that follow each other with the same group, in place.

    Rows without a group stand between repeats without parting them. Of several calls of one repeat (the same
    ``sample``) the last is its answer.
    """
    open_: list[Scored] = []
    for row in rows:
        if row.group is None:
            _fill([row], [])
            continue
        if open_ and (open_[0].group != row.group or len(open_) >= MOST):
            _close(open_)
            open_ = []
        open_.append(row)
    _close(open_)


def _close(rows: list[Scored]) -> None:
    last = {i if row.sample is None else str(row.sample): row for i, row in enumerate(rows)}
    answers = list(last.values())
    _fill(answers, similarities([row.text for row in answers]))
    ours = {id(row) for row in answers}
    for row in rows:
        if id(row) not in ours:
            row.scores[:] = [fill(s, None, 1, STEP) if waits(s) else s for s in row.scores]


def _fill(rows: Sequence[Scored], values: Sequence[float]) -> None:
    alone = len(values) < 2
    for i, row in enumerate(rows):
        value = None if alone else values[i]
        row.scores[:] = [fill(s, value, len(rows), ALONE) if waits(s) else s for s in row.scores]


def together(
    lines: Iterable[Line], key: Callable[[Line], str | None], size: int, room: int
) -> Iterator[list[Line]]:
    """Yield lines in chunks whose borders part no repeats.

    Args:
        lines: Numbered lines.
        key: Group of a line; None = none. Lines without one stay with the group before them.
        size: Lines from which on a chunk ends with its group.
        room: Bytes from which on it does.
    """
    held: list[Line] = []
    group: str | None = None
    count = length = 0
    for line in lines:
        found = key(line)
        if found is not None:
            if found != group or count >= MOST:
                if len(held) >= size or length >= room:
                    yield held
                    held, length = [], 0
                group, count = found, 0
            count += 1
        held.append(line)
        length += len(line[1])
    if held:
        yield held
