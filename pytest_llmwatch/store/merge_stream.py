"""The union of many large runs with a little of each in memory: a merge of sorted lines.

The rules are those of `store.merge`: what is the same twice counts once, what differs is refused. A run's calls,
cases and spans stand in the order of their tests, so the same thing in two runs meets in the stream.
"""

from __future__ import annotations

import gzip
import heapq
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import Run
from pytest_llmwatch.records import dump_line
from pytest_llmwatch.store import files

Item = dict[str, Any]
Key = tuple[Any, ...]
Lines = Callable[[str], Iterable[str]]

_WITH_RESULT = ("result", "passed", "scores", "cluster", "schema", "expected_tool_calls")
"""Keys that only the last call of a test carries."""


class Entry(NamedTuple):
    """One line: where it stands, what it holds, its text."""

    place: Key
    item: Item
    line: str


@dataclass(frozen=True, slots=True)
class Source:
    """One run to be merged: its name for people, its run.json, and the lines of ``calls`` or ``spans``."""

    shown: str
    data: Callable[[], Mapping[str, Any]]
    lines: Lines


def head_of(source: Source, spool: Path) -> Run:
    """Return a run without calls, spans and cases; its cases go to ``spool``, a line each.

    Raises:
        RecordsError: The run cannot be read, or is not in our order.
    """
    data = dict(source.data())
    cases = data.get("cases") or ()
    with gzip.open(spool, "wt", encoding="utf-8", compresslevel=1) as out:
        out.writelines(dump_line(case) for case in cases)
    return files.run_of({**data, "cases": ()}, (), (), source.shown)


def calls(sources: Sequence[Source]) -> Iterator[Entry]:
    """Yield the lines of calls.jsonl.gz of the union, in its order.

    Raises:
        RecordsError: Two runs disagree about a call, or a run is damaged or not in order.
    """
    streams = [_parsed(s.lines("calls"), s.shown, _call_place) for s in sources]
    for group in _groups(streams):
        yield from _distinct(group, "call", ("time", "id"), _same_call)


def spans(sources: Sequence[Source]) -> Iterator[Entry]:
    """Yield the lines of spans.jsonl.gz of the union, in its order; see `calls`."""
    streams = [_parsed(s.lines("spans"), s.shown, _call_place) for s in sources]
    for group in _groups(streams):
        yield from _distinct(group, "span", ("id",), _same)


def cases(spools: Sequence[Path], shown: Sequence[str]) -> Iterator[Entry]:
    """Yield the cases of run.json of the union, in its order; see `calls`."""
    with ExitStack() as stack:
        opened: list[IO[str]] = [stack.enter_context(gzip.open(p, "rt", encoding="utf-8")) for p in spools]
        streams = [_parsed(file, name, _case_place) for file, name in zip(opened, shown, strict=True)]
        for group in _groups(streams):
            yield from _distinct(group, "execution", (), _same)


def _parsed(lines: Iterable[str], shown: str, place: Callable[[Item], Key]) -> Iterator[Entry]:
    last: Key | None = None
    try:
        for number, line in enumerate(lines, start=1):
            item = json.loads(line)
            here = place(item)
            if last is not None and here < last:
                raise RecordsError(
                    f"is not in the order of its tests (line {number}); a run that we wrote is",
                    slug="run-corrupt",
                    file=shown,
                )
            last = here
            yield Entry(here, item, line if line.endswith("\n") else line + "\n")
    except (ValueError, AttributeError, TypeError, KeyError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordsError(f"is not a run as we write it ({error})", slug="run-corrupt", file=shown) from error


def _call_place(item: Item) -> Key:
    repeat = item.get("sample", item.get("repeat", 0))
    return item.get("nodeid") or "", repeat, item.get("attempt", 0), item.get("index", 0)


def _case_place(item: Item) -> Key:
    return item["nodeid"], item.get("repeat", 0), item.get("attempt", 0)


def _groups(streams: Sequence[Iterator[Entry]]) -> Iterator[list[Entry]]:
    """Yield together what stands at one place, however many runs hold it."""
    merged = heapq.merge(*streams, key=lambda entry: entry.place)
    return (list(group) for _, group in itertools.groupby(merged, key=lambda entry: entry.place))


def _distinct(
    group: list[Entry], noun: str, order: tuple[str, ...], same: Callable[[Entry, Entry], Entry | None]
) -> Iterator[Entry]:
    known: dict[Any, Entry] = {}
    for entry in group:
        name = entry.item.get("id") if order else entry.item["nodeid"]
        before = known.setdefault(name, entry)
        if before is not entry:
            one = same(before, entry)
            if one is None:
                where = entry.item.get("nodeid")
                of = f" of {where}" if where and where != name else ""
                raise RecordsError(
                    f"two runs disagree about {noun} {name}{of}: they ran the same test and saw different things; "
                    "give each job tests of its own",
                    slug="merge-conflict",
                )
            known[name] = one
    yield from sorted(known.values(), key=lambda entry: tuple(entry.item.get(key) or "" for key in order))


def _same(one: Entry, other: Entry) -> Entry | None:
    return one if one.item == other.item else None


def _same_call(one: Entry, other: Entry) -> Entry | None:
    if one.item == other.item:
        return one
    bare = [{k: v for k, v in e.item.items() if k not in _WITH_RESULT} for e in (one, other)]
    with_result = [e for e in (one, other) if "result" in e.item]
    if bare[0] != bare[1] or len(with_result) == 2:
        return None
    return with_result[0] if with_result else one
