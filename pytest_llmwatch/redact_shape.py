"""What a text is made of, told in a few passes of C: which patterns can find anything in it at all.

A regular expression takes 10 to 90 ns per character, a table of characters 1: most patterns need a long word,
seven digits or an unusual sign, and most texts have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_llmwatch.redact_base import word_windows

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
SHORTEST_RUN = 14
"""Characters of the shortest secret that is one word; base64 of anything worth hiding is longer."""


def _table(*classes: tuple[str, str]) -> bytes:
    """Return a table for ``bytes.translate``: the characters of each class become its sign, others a blank."""
    table = bytearray(b" " * 256)
    for characters, sign in classes:
        for character in characters:
            table[ord(character)] = ord(sign)
    return bytes(table)


_FORM = _table(
    (_LETTERS, "a"),
    (_LETTERS.upper(), "A"),
    (_DIGITS, "0"),
    ("_+/-", "-"),
    (".", "."),
    (":", ":"),
    ("~=", "="),
    ("@%\\&{", "@"),
)
_WORDS = _table(("aA0-", "a"), (":", ":"))
_RUNS = _table(("aA0-.=", "a"))
_BETWEEN = " ()./-"
_NUMBERS = _table((_DIGITS, "0"), (_BETWEEN, "-"))
_NUMBER = re.compile(rb"0-{0,2}(?:0-{0,2}){6}[0-]*")
_FOLDED = "\u017f\u212a\u0130\u0131"  # a long s, the sign for kelvin, the Turkish i's
_BEFORE, _AFTER = 72, 16  # a pattern may ask for a word before a number


class Shape:
    """What a text is made of.

    Attributes:
        plain: Whether all its digits are ASCII, and all letters that a pattern of any case takes for ASCII ones;
            where not, every question is answered with yes.
    """

    __slots__ = ("_ascii", "_form", "_s", "_words", "plain")

    def __init__(self, s: str) -> None:
        self._s = s
        self._ascii = s.encode("ascii", "replace")  # one byte for each character, so places stay
        self._form = self._ascii.translate(_FORM)
        self._words = self._form.translate(_WORDS)
        self.plain = s.isascii() or not any(c.isdecimal() or c in _FOLDED for c in set(s) if c > "\x7f")

    @property
    def suspicious(self) -> bool:
        """Whether any pattern can find anything in it: most of prose is done with here."""
        form, s = self._form, self._s
        if not self.plain or b"0" in form or b"@" in form or b"a" * 16 in self._words:
            return True
        return "PRIVATE KEY" in s or "asic" in s or "BASIC" in s

    def has(self, forms: Iterable[bytes]) -> bool:
        """Whether one of these sequences is in it.

        ``A`` is a capital, ``0`` a digit, ``.``, ``:`` and ``=`` are themselves; ``a`` is a letter of either case,
        a digit, or one of ``_+/-``.
        """
        if not self.plain:
            return True
        for form in forms:  # noqa: SIM110 (twice as fast, done for each pattern and each text that a run keeps)
            if form in (self._words if b"a" in form else self._form):
                return True
        return False

    def around(self, forms: Iterable[bytes], reach: tuple[int, int]) -> list[tuple[int, int]]:
        """Return where a pattern can match that reaches so far around such forms (no ``a`` among them)."""
        return word_windows(self._form, forms, reach) if self.plain else [(0, len(self._s))]

    def numbers(self) -> list[tuple[int, int, int]]:
        """Return where seven digits or more follow each other, with blanks and the like between them.

        Each is (start, end, digits), with room for what a pattern wants to see before and behind.
        """
        if not self.plain:
            return [(0, len(self._s), len(self._s))]
        found: list[tuple[int, int, int]] = []
        for match in _NUMBER.finditer(self._ascii.translate(_NUMBERS)):
            start, end = max(0, match.start() - _BEFORE), match.end() + _AFTER
            digits = match[0].count(b"0")
            if found and start <= found[-1][1]:
                start, digits = found[-1][0], max(digits, found.pop()[2])
            found.append((start, end, digits))
        return found

    def runs(self) -> list[tuple[int, int]]:
        """Return where long words stand: letters, digits and what keys, paths and base64 have between them."""
        if not self.plain:
            return [(0, len(self._s))]
        runs = self._form.translate(_RUNS)
        least = b"a" * SHORTEST_RUN
        found = []
        start = runs.find(least)
        while start >= 0:
            end = runs.find(b" ", start)
            found.append((start, len(runs) if end < 0 else end))
            start = -1 if end < 0 else runs.find(least, end)
        return found
