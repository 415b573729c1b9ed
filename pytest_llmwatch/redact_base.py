"""What a pattern is: its expression, what tells that it is worth trying, and the check for look-alikes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import AnyStr


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of secret: the text to hide is group ``secret`` if the expression has one, else the match.

    ``check`` takes that text and refuses look-alikes; ``personal`` marks personal data, which can be switched off.
    The rest says where the expression need not be tried. ``numeric``: anywhere but around numbers of so many
    digits (7 or more, 0 = it matters not). ``needles``: without one of them in the text as it is, ``words`` (lower
    case) in any case; ``forms``: shapes of which it needs one (`redact_shape.Shape.has`). ``reach``: how far
    before such a word (or form, without words) a match can begin, and how far behind its beginning it can end. A
    ``run`` matches nothing but one long word (`redact_shape.Shape.runs`), a ``long`` one ends with such a word.
    """

    kind: str
    expression: re.Pattern[str]
    needles: tuple[str, ...] = ()
    check: Callable[[str], bool] | None = None
    personal: bool = False
    numeric: int = 0
    words: tuple[str, ...] = ()
    reach: tuple[int, int] | None = None
    run: bool = False
    forms: tuple[bytes, ...] = ()
    long: bool = False


def word_windows(s: AnyStr, words: Iterable[AnyStr], reach: tuple[int, int]) -> list[tuple[int, int]]:
    """Return where a pattern can match that reaches so far around its words or forms; ``s`` is in lower case."""
    places = []
    for word in words:
        at = s.find(word)
        while at >= 0:
            places.append(at)
            at = s.find(word, at + 1)
    windows: list[tuple[int, int]] = []
    for place in sorted(places):
        start, end = max(0, place - reach[0]), place + reach[1]
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return windows


def has_digit(text: str) -> bool:
    """Whether a digit is in ``text``: what is generated has one, words have none."""
    return any(c.isdigit() for c in text)


def make(
    kind: str,
    expression: str,
    *needles: str,
    check: Callable[[str], bool] | None = None,
    personal: bool = False,
    numeric: int = 0,
    words: tuple[str, ...] = (),
    reach: tuple[int, int] | None = None,
    run: bool = False,
    forms: tuple[bytes, ...] = (),
    long: bool = False,
    flags: int = 0,
) -> Pattern:
    """Return a pattern with its expression compiled."""
    return Pattern(
        kind, re.compile(expression, flags), needles, check, personal, numeric, words, reach, run, forms, long
    )


# a key may also follow an escape that is written out (\n, \u003d, %20): the letters of the escape are not its own
START = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\x[0-9A-Fa-f]{2})|(?<=%[0-9A-Fa-f]{2}))"
