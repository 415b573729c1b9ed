"""Text of a format within an answer: alone, in a code fence, or nothing of the kind."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_llmwatch.model import Evidence, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.format import DRIFT, DRIFT_LABEL

MAX_CHARS = 1_000_000
"""Characters of an answer that the parsers of formats read; longer answers are not judged."""

_FENCE = re.compile(r"```[ \t]*([\w+#.-]{0,20})[^\n`]{0,200}\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that should be of the format; ``wrapping`` is None where it is the whole answer."""

    text: str
    start: int
    wrapping: str | None = None


def pieces(text: str, languages: tuple[str, ...]) -> list[Piece]:
    """Return what may be the text of a format: the whole answer, then fences of these languages or of none."""
    whole = text.strip()
    out = [Piece(whole, text.index(whole) if whole else 0)]
    for fence in _FENCE.finditer(text):
        if fence[1].lower() in (*languages, ""):
            out.append(Piece(fence[2], fence.start(2), "code fence"))
        if len(out) == 20:
            break
    return out


def judged(scorer: Base, piece: Piece, text: str, what: str, *, extract: bool) -> Score:
    """Return the score of a good piece: 1, or format drift where it is wrapped and not to be extracted."""
    if piece.wrapping is None:
        return scorer.result(1.0, f"The answer is {what}.")
    end = piece.start + len(piece.text)
    around = [(0, piece.start), (end, len(text))]
    evidence = [Evidence(DRIFT_LABEL, text[a:b], start=a, end=b) for a, b in around if text[a:b].strip()]
    if extract:
        return scorer.result(1.0, f"Holds {what}, extracted from a {piece.wrapping}.", evidence)
    return scorer.result(DRIFT, f"Holds {what}, but wrapped in a {piece.wrapping}.", evidence, label=DRIFT_LABEL)


def overlong(text: str) -> str | None:
    """Return why an answer is not judged: it is too long; None where it is not."""
    if len(text) <= MAX_CHARS:
        return None
    return f"Not judged: {len(text):,} characters, at most {MAX_CHARS:,} are."
