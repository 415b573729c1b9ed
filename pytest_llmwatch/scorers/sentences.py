"""Where sentences begin and end."""

from __future__ import annotations

import re

# the look-behind and the possessive quantifiers keep a text of nothing but full stops linear
_BOUNDARY = re.compile(r"(?<![.!?…])[.!?…]++[\"')\]”’»*_]*+(?=\s)|[。！？]+|\n+")
_TITLES = "mr mrs ms dr prof sr jr st rev gen col lt sgt capt gov sen rep hon"
_OTHER = "vs etc inc ltd co corp no nos vol fig eq al e.g i.e a.m p.m u.s u.k u.n ph.d approx dept est"
_MONTHS = "jan feb mar apr jun jul aug sep sept oct nov dec"
_ABBREVIATIONS = frozenset(f"{_TITLES} {_OTHER} {_MONTHS}".split())
_LAST_WORD = re.compile(r"[\w.]{1,12}$")


def sentences(text: str, *, lines: bool = True) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence, outer white space left out.

    Args:
        text: Any text.
        lines: Whether a line end ends a sentence too, as in lists; otherwise only an empty line does.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        mark = boundary[0]
        if mark[0] == "\n":
            if not lines and len(mark) < 2:
                continue
        elif mark == "." and _is_abbreviation(text, boundary.start(), boundary.end()):
            continue
        _add(spans, text, start, boundary.end())
        start = boundary.end()
    _add(spans, text, start, len(text))
    return spans


def _is_abbreviation(text: str, dot: int, end: int) -> bool:
    found = _LAST_WORD.search(text[max(0, dot - 14) : dot])
    if found is None:
        return False
    word = found[0].lower()
    if len(word) == 1 and word.isalpha():
        return word != "i"  # an initial
    if word in _ABBREVIATIONS:
        # "... at 5 p.m. The shop ..." ends; "Dr. Smith" and "U.S. Army" do not
        return not (word in ("a.m", "p.m", "etc") and text[end : end + 2].strip()[:1].isupper())
    return False


def _add(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    # a piece without a letter or digit (a bullet, a rule) is no sentence
    if right > left and any(c.isalnum() for c in piece[left:right]):
        spans.append((start + left, start + right))
