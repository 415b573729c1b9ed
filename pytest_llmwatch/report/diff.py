"""Two texts, word by word: what went, what came, what stayed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "gone", "new"]

_WORD = re.compile(r"\w+(?:[.,:'’]\w+)*|\s+|[^\w\s]")
_MOST = 700  # words of each side: the matcher is quadratic
_ALIKE = 0.25
_GAP = 320  # characters of unchanged text beyond which its middle is left out


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text that stayed, went or came. ``left_out`` counts characters cut from its middle."""

    kind: Kind
    text: str
    left_out: int = 0
    after: str = ""


def words(before: str, after: str) -> tuple[Part, ...] | None:
    """Return ``after`` as a change of ``before``, None where they have too little in common to be read so.

    Args:
        before: The older text.
        after: The newer text.
    """
    if before == after:
        return (Part("same", after),) if after else ()
    old, new = _WORD.findall(before), _WORD.findall(after)
    cut = len(old) > _MOST or len(new) > _MOST
    old, new = old[:_MOST], new[:_MOST]
    matcher = SequenceMatcher(lambda word: word.isspace(), old, new, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return None
    raw: list[tuple[Kind, str]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            raw.append(("same", "".join(new[c:d])))
            continue
        raw += [("gone", "".join(old[a:b]))] if b > a else []
        raw += [("new", "".join(new[c:d]))] if d > c else []
    joined = _joined(raw)
    parts = [_shortened(kind, text) for kind, text in joined]
    return (*parts, Part("same", " … the rest is not compared")) if cut else tuple(parts)


def _joined(raw: list[tuple[Kind, str]]) -> list[tuple[Kind, str]]:
    """Join changes that only blanks part: a changed phrase reads as one, not as a patchwork of words."""
    out: list[tuple[Kind, str]] = []
    gone = new = ""
    for at, (kind, text) in enumerate(raw):
        if kind == "gone":
            gone += text
        elif kind == "new":
            new += text
        elif text.isspace() and (gone or new) and at + 1 < len(raw):
            gone, new = gone + text, new + text
        else:
            out += _flush(gone, new)
            gone = new = ""
            out.append((kind, text))
    return [*out, *_flush(gone, new)]


def _flush(gone: str, new: str) -> list[tuple[Kind, str]]:
    return [*([("gone", gone)] if gone.strip() else []), *([("new", new)] if new else [])]  # type: ignore[list-item]


def _shortened(kind: Kind, text: str) -> Part:
    if kind != "same" or len(text) <= _GAP:
        return Part(kind, text)
    half = _GAP // 2
    return Part(kind, text[:half], len(text) - 2 * half, text[-half:])
