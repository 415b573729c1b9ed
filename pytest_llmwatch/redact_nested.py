"""Texts inside texts: the strings of JSON that travels as text, files in data URLs, words in base64.

A pattern that looks at the outside sees ``\\u0073k-...`` or ``c2stcHJvai0...``; here the inside is given back,
with the way from a place in it to the place in the outer text. All of it is linear, and nothing raises.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# possessive, and content with open ends: one pass whatever is missing
_STRING = re.compile(r'"((?:[^"\\]++|\\(?:.|\Z))*+)(?:"|\Z)', re.DOTALL)
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.",
    re.DOTALL,
)
_TOKEN = re.compile(r'"(?:[^"\\]++|\\(?:.|\Z))*+("|\Z)|[{}\[\]]', re.DOTALL)
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
# a placeholder begins with a bracket too
_BEGIN = re.compile(r'\s{0,64}(?:\{\s{0,64}["}]|\[\s{0,64}(?:[\[{"\d\]-]|true|false|null))')
_COLON = re.compile(r"\s{0,20}:\s{0,20}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_INLINE = re.compile(r"data:[\w.+/;=-]{0,120};base64,[A-Za-z0-9+/=_-]*+")
_TEXT_FILE = re.compile(r"data:(?:text/|application/(?:json|xml|x-yaml|yaml|x-ndjson|csv|toml|sql))", re.I)
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{16,}+={0,2}")
_BACKSLASH = re.compile(r"\\[nrtux\"'/]")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_URL_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|\+")
_ENTITY = re.compile(r"&(?:quot|apos|amp|lt|gt|nbsp|#\d{1,6}|#[xX][0-9a-fA-F]{1,5});")
_LONGEST_ENCODED = 8192
_LONGEST_FILE = 2_000_000


@dataclass(frozen=True, slots=True)
class JsonString:
    """A string in JSON text: what it says, where its content stands, and the key that it is the value of."""

    text: str
    start: int
    end: int
    key: str | None
    inner: tuple[int, ...] = ()
    outer: tuple[int, ...] = ()

    @property
    def escaped(self) -> bool:
        """Whether it is written otherwise than it reads."""
        return bool(self.inner)

    def place(self, position: int) -> int:
        """Return where the character at ``position`` of the text begins in the outer text."""
        if not self.inner:
            return self.start + position
        at = bisect_right(self.inner, position) - 1
        return self.outer[at] + position - self.inner[at]


@dataclass(frozen=True, slots=True)
class View:
    """A text as it reads with escapes undone, and the way back: the outer position of each place in it."""

    text: str
    inner: tuple[int, ...]
    outer: tuple[int, ...]

    def place(self, position: int) -> int:
        """Return where the character at ``position`` of the text begins in the outer text."""
        at = bisect_right(self.inner, position) - 1
        return self.outer[at] + position - self.inner[at]


def views(s: str) -> Iterator[View]:
    """Yield ``s`` with its escapes undone: those of URLs, of HTML, and of JSON or Python amid other text."""
    if "\\" in s and not is_json(s) and _BACKSLASH.search(s):
        yield View(*_undone(s, _ESCAPE, _character))
    if "%" in s and _PERCENT.search(s):
        yield View(*_undone(s, _URL_ESCAPE, lambda e: " " if e == "+" else chr(int(e[1:], 16))))
    if "&" in s and _ENTITY.search(s):
        yield View(*_undone(s, _ENTITY, html.unescape))


def _undone(
    s: str, escape: re.Pattern[str], decode: Callable[[str], str]
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    parts: list[str] = []
    inner, outer = [0], [0]
    length = last = 0
    for match in escape.finditer(s):
        piece = s[last : match.start()]
        char = decode(match[0])
        parts += [piece, char]
        length += len(piece)
        inner += [length, length + len(char)]
        outer += [match.start(), match.end()]
        length += len(char)
        last = match.end()
    parts.append(s[last:])
    return "".join(parts), tuple(inner), tuple(outer)


def is_json(s: str) -> bool:
    """Whether ``s`` begins as a JSON object or array that holds strings; it may be cut off."""
    return _BEGIN.match(s) is not None and '"' in s


def strings(s: str) -> Iterator[JsonString]:
    """Yield the strings of JSON text in order; a string that is cut off ends with the text."""
    before: tuple[str, int] | None = None
    for match in _STRING.finditer(s):
        start, end = match.span(1)
        key = None
        if before is not None:
            gap = _COLON.fullmatch(s, before[1], match.start()) if match.start() - before[1] <= 41 else None
            key = before[0] if gap else None
        if "\\" in match[1]:
            text, inner, outer = _unescaped(s, start, end)
            yield JsonString(text, start, end, key, inner, outer)
        else:
            text = match[1]
            yield JsonString(text, start, end, key)
        before = (text if len(text) < 100 else "", match.end())


def _unescaped(s: str, start: int, end: int) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    parts: list[str] = []
    inner, outer = [0], [start]
    length, last = 0, start
    for match in _ESCAPE.finditer(s, start, end):
        at = match.start()
        piece = s[last:at]
        char = _character(match[0])
        parts += [piece, char]
        inner += [length + len(piece), length + len(piece) + 1]
        outer += [at, match.end()]
        length += len(piece) + 1
        last = match.end()
    parts.append(s[last:end])
    return "".join(parts), tuple(inner), tuple(outer)


def repaired(text: str) -> tuple[object, int] | None:
    """Return the value of JSON that was cut off, and how many characters at its end were not there.

    What cannot be completed, such as half a key, is left out. None where nothing helps.
    """
    for _ in range(4):
        closing = _closing(text)
        text = _HALF_ESCAPE.sub("", text) if closing.startswith('"') else text
        try:
            return json.loads(text + closing), len(closing)
        except (ValueError, RecursionError):
            text = text.rpartition(",")[0]
    return None


def _closing(text: str) -> str:
    """Return what closes the string, arrays and objects that ``text`` leaves open."""
    stack: list[str] = []
    for match in _TOKEN.finditer(text):
        mark = match[0]
        if mark in ("{", "["):
            stack.append("}" if mark == "{" else "]")
        elif mark in ("}", "]"):
            del stack[-1:]
        elif match[1] == "":
            stack.append('"')
    return "".join(reversed(stack))


def _character(escape: str) -> str:
    if len(escape) == 12:
        high, low = int(escape[2:6], 16), int(escape[8:12], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    if len(escape) in (4, 6):  # four: Python's own, in what a log or an exception shows
        return chr(int(escape[2:], 16))
    return _SIMPLE.get(escape[1], escape[1])


def around(found: Sequence[JsonString], start: int, end: int) -> list[JsonString]:
    """Return the string among ``found`` (in order) that holds ``start`` to ``end``, in a list; empty if none."""
    at = bisect_left(found, start + 1, key=lambda x: x.start) - 1
    return [found[at]] if at >= 0 and found[at].end >= end else []


def is_number(text: str) -> bool:
    """Whether ``text`` is a JSON number."""
    return _NUMBER.fullmatch(text) is not None


def is_inline_file(s: str) -> bool:
    """Whether ``s`` is a data URL in base64 and nothing else."""
    return s.startswith("data:") and _INLINE.fullmatch(s) is not None


def inline_text(s: str) -> str | None:
    """Return the text of a data URL whose type says that it is text; None for any other."""
    if not _TEXT_FILE.match(s) or len(s) > _LONGEST_FILE:
        return None
    return _decoded(s[s.index(",") + 1 :])


def encoded_texts(s: str, runs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, text) of the words in ``s`` that are base64 of readable ASCII text.

    Args:
        s: The text.
        runs: Where its long words stand.
    """
    for first, last in runs:
        for match in _ENCODED.finditer(s, first, last):
            if match.end() - match.start() <= _LONGEST_ENCODED:
                text = _decoded(match[0])
                if text is not None and text.isascii() and all(c.isprintable() or c in "\r\n\t" for c in text):
                    yield match.start(), match.end(), text


def _decoded(word: str) -> str | None:
    plain = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4)).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
