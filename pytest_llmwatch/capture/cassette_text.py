"""A cassette's text cut into its recordings, so that a large file is parsed only where it is played."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

LAZY_FROM = 20
"""Recordings from which on a file that we wrote is parsed piece by piece; smaller ones are checked as a whole."""

_START = "- request:\n"
_MARGIN = re.compile(r"^[^ \n].*$", re.M)
_HEAD = ("version: 1", "interactions:")
_EXTRA = "\n    x-llmwatch:\n"
_STATUS = re.compile(r"\n    status:\n      code: (\d{3})\n")
_FIELD = re.compile(r"^      ([a-z_]+):(?: (\S.*))?$", re.M)
_ERROR = re.compile(r"^        type: (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Glance:
    """What is known of a recording before it is parsed."""

    fingerprint: str
    repeat: int
    attempt: int
    schema_version: int
    state: str
    status: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Pieces:
    """A file's text: before the recordings, each of them, after them; and the line each starts at."""

    recordings: tuple[str, ...]
    lines: tuple[int, ...]
    tail: str


def split(text: str, header: str) -> Pieces | None:
    """Return the pieces of a file that was written with ``header``, None if it does not look as written.

    Nothing of a recording stands at the margin but its first line, so the margin tells where each begins.
    """
    if not text.startswith(header):
        return None
    marks = list(_MARGIN.finditer(text, len(header)))
    names = tuple(m.group() for m in marks[:2])
    if names != _HEAD:
        return None
    starts = []
    end = len(text)
    for mark in marks[2:]:
        if mark.group() == _START[:-1] and end == len(text):
            starts.append(mark.start())
        elif mark.group() == "metadata:" and end == len(text):
            end = mark.start()
        else:
            return None
    if not starts or text[marks[1].end() : starts[0]] != "\n":
        return None
    bounds = [*starts, end]
    pieces = tuple(text[a:b] for a, b in itertools.pairwise(bounds))
    lines, line = [], text.count("\n", 0, starts[0]) + 1
    for piece in pieces:
        lines.append(line)
        line += piece.count("\n")
    return Pieces(pieces, tuple(lines), text[end:])


def glance(piece: str) -> Glance | None:
    """Return what a recording's text says of itself, None if it must be parsed to know."""
    at = piece.rfind(_EXTRA)
    status = _STATUS.search(piece)
    if at < 0 or status is None:
        return None
    extra = piece[at + len(_EXTRA) :]
    fields = {m.group(1): m.group(2) for m in _FIELD.finditer(extra)}
    try:
        error = None
        if fields["error"] is None:
            found = _ERROR.search(extra)
            error = found.group(1) if found else ""
        elif fields["error"] != "null":
            return None
        mark = fields["fingerprint"].strip("'\"")
        return Glance(
            fingerprint=mark,
            repeat=int(fields["repeat"]),
            attempt=int(fields["attempt"]),
            schema_version=int(fields["schema_version"]),
            state=fields["state"],
            status=int(status.group(1)),
            error=error,
        )
    except (KeyError, ValueError, AttributeError, TypeError):
        return None


def join(header: str, recordings: Iterable[str], tail: str = "") -> str:
    """Return the text of a whole file."""
    body = "".join(recordings)
    head = f"{header}version: 1\ninteractions:"
    return f"{head}\n{body}{tail}" if body else f"{head} []\n{tail}"
