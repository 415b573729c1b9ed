"""Find a fact in a text as a person would: whole words, whatever the case, the spacing, or the Unicode form."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

_SAME = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
    }
)
# scripts that are written without spaces: a "whole word" cannot be told there
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_DIGITS = re.compile(r"\d{4,}")


@dataclass(frozen=True, slots=True)
class Normal:
    """A text made comparable; ``origin[i]`` is where its i-th character stood (None: in the same place)."""

    text: str
    origin: tuple[int, ...] | None
    length: int

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the place in the original text."""
        if self.origin is None:
            return start, end
        last = self.origin[end - 1] + 1
        while end < len(self.origin) and self.origin[end] == self.origin[end - 1]:
            end += 1
        return self.origin[start], max(last, self.origin[end] if end < len(self.origin) else self.length)


@functools.lru_cache(maxsize=65_536)
def _fold(char: str) -> str:
    return unicodedata.normalize("NFKD", char.translate(_SAME)).casefold().translate(_SAME)


def normalise(text: str) -> Normal:
    """Fold case and Unicode forms: composed and decomposed letters, quotes, dashes, widths. Accents count."""
    if text.isascii():
        return Normal(text.lower().replace("`", "'"), None, len(text))
    pieces, origin = [], []
    for i, char in enumerate(text):
        folded = char.lower() if char < "\x80" and char != "`" else _fold(char)
        pieces.append(folded)
        origin.extend([i] * len(folded))
    return Normal("".join(pieces), tuple(origin), len(text))


@functools.lru_cache(maxsize=4096)
def pattern(fact: str) -> re.Pattern[str] | None:
    """Return the pattern that finds ``fact`` in a normalised text; None for an empty fact.

    Whole words only; a number is not found within a longer one (``4.9`` is not in ``14.9`` or ``4.95``), and
    ``12000`` is also found as ``12,000``.
    """
    words = normalise(fact).text.split()
    if not words:
        return None
    body = r"\s+".join(_thousands(re.escape(word)) for word in words)
    first, last = words[0][0], words[-1][-1]
    before = after = ""
    if first.isalnum() and not _UNSPACED.match(first):
        before = r"(?<!\w)"
        if first.isdigit():
            leading = re.match(r"\d+", words[0])
            assert leading is not None
            before += r"(?<!\d[.])" + (r"(?<!\d,)" if len(leading[0]) == 3 else "")
    if (last.isalnum() or unicodedata.combining(last)) and not _UNSPACED.match(last):
        after = r"(?![\w\u0300-\u036f])"
        if last.isdigit():
            after += r"(?!\.\d)(?!,\d{3}(?!\d))"
    return re.compile(before + body + after)


def _thousands(escaped: str) -> str:
    def spaced(found: re.Match[str]) -> str:
        digits = found[0]
        head = len(digits) % 3 or 3
        groups = [digits[:head], *(digits[i : i + 3] for i in range(head, len(digits), 3))]
        return ",?".join(groups)

    return _DIGITS.sub(spaced, escaped)


def alternatives(fact: str | list[str] | tuple[str, ...]) -> list[str]:
    r"""Return the ways to say a fact: the items of a list, or the parts between ``|`` (``\|`` is a plain bar)."""
    given = [fact] if isinstance(fact, str) else list(fact)
    parts = [part for one in given for part in re.split(r"(?<!\\)\|", one)]
    return [part.replace("\\|", "|").strip() for part in parts if part.strip()]


def find(fact: str | list[str] | tuple[str, ...], text: Normal) -> tuple[int, int] | None:
    """Return where the first alternative of ``fact`` that occurs stands in the original text, or None."""
    for one in alternatives(fact):
        compiled = pattern(one)
        found = compiled.search(text.text) if compiled else None
        if found:
            return text.span(*found.span())
    return None
