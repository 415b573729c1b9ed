"""Model output as something to show: control characters made visible, evidence marked, long text cut.

What a model wrote is hostile: it may hold terminal escapes, bidirectional overrides, invisible characters,
markup, or a megabyte on one line. Everything here works on code points, before any escaping for a medium.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Evidence

# C0 and C1 controls (but not tab and newline), bidirectional marks and overrides, zero-width and
# invisible operators, line separators, byte-order mark, tag characters, lone surrogates
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Return ``text`` with every control, bidirectional or invisible character written as ``<U+202E>``."""
    return CONTROL.sub(lambda m: f"<U+{ord(m[0]):04X}>", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 0) -> str:
    """Return ``text`` visible on one line, white space collapsed, cut to ``limit`` characters (0: whole)."""
    if limit:
        text = text[: limit * 4]  # enough even if most of it is white space
    line = " ".join(visible(text).split())
    return line if not limit or len(line) <= limit else line[: max(1, limit - 1)] + "…"


def control_name(char: str) -> str:
    """Return the Unicode name of a control character, for a tool tip."""
    return unicodedata.name(char, "control character")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text under the same evidence. ``marks`` are indices into the evidence list."""

    text: str
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """Text cut to a window: the pieces, and how many characters are missing before and after."""

    pieces: tuple[Piece, ...]
    before: int = 0
    after: int = 0


def locate(
    text: str, evidence: Sequence[Evidence], where: str = "output", document: int | None = None
) -> list[tuple[int, int, int]]:
    """Return (start, end, index into ``evidence``) of the evidence that lies in ``text``.

    Offsets that do not hold their own text any more (the text was redacted or is another one) are looked
    up by their text, and left out where that fails: a wrong mark is worse than none.
    """
    found = []
    for index, item in enumerate(evidence):
        if item.where != where or (document is not None and item.document not in (None, document)):
            continue
        start, end = item.start, item.end
        if start is None or end is None or text[start:end] != item.text:
            start = text.find(item.text) if item.text and len(item.text) > 1 else -1
            end = start + len(item.text)
        if 0 <= start < end <= len(text):
            found.append((start, end, index))
    return found


def mark(text: str, spans: Iterable[tuple[int, int, int]]) -> list[Piece]:
    """Cut ``text`` at the borders of ``spans``; overlapping spans share pieces."""
    spans = list(spans)
    borders = sorted({0, len(text), *(s for s, _, _ in spans), *(e for _, e, _ in spans)})
    pieces = []
    for start, end in itertools.pairwise(borders):
        marks = tuple(i for s, e, i in spans if s <= start and end <= e)
        pieces.append(Piece(text[start:end], marks))
    return pieces


def window(text: str, spans: Sequence[tuple[int, int, int]], size: int) -> Cut:
    """Return at most ``size`` characters of ``text`` that show the first evidence, marked."""
    if len(text) <= size:
        return Cut(tuple(mark(text, spans)))
    first = min((s for s, _, _ in spans), default=0)
    start = 0 if first < size * 3 // 4 else min(first - size // 4, len(text) - size)
    end = start + size
    inside = [(max(s, start) - start, min(e, end) - start, i) for s, e, i in spans if s < end and e > start]
    return Cut(tuple(mark(text[start:end], inside)), before=start, after=len(text) - end)
