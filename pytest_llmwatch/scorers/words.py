"""Words: splitting, stop words, stems with a bounded cache."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*")
"""A word: letters and digits, an apostrophe within. Underscores separate, as in names of JSON keys."""

_STOP_WORDS = """
a about above after again against all also am an and any are aren't as at be because been before being below
between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each
either else etc ever few for from further get gets got had hadn't has hasn't have haven't having he he's her
here hers herself him himself his how how's however i i'd i'll i'm i've if in into is isn't it it's its itself
just let let's like may me might more most much must my myself no nor not of off on once one's only or other
our ours ourselves out over own please same shall she she's should shouldn't so some such than that that's the
their theirs them themselves then there there's these they they're they've this those through thus to too
under until up upon us very was wasn't we we're we've were weren't what what's when when's where where's
whether which while who who's whom whose why why's will with won't would wouldn't yes yet you you'd you'll
you're you've your yours yourself yourselves s t d ll m re ve don didn doesn isn wasn haven hasn wouldn couldn
shouldn aren weren won ain pm
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English function words (with the halves of split contractions, and am/pm): no content of their own."""

_UNSPACED_CLASS = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_SPACED = r"\d+(?:[.,:]\d+)+|[^\W_]+(?:['’][^\W\d_]+)*"
TOKEN = re.compile(_SPACED)
"""A word, or a number with its separators (1,250.5 and 11:30 are one token)."""
_TOKEN_UNSPACED = re.compile(
    rf"[{_UNSPACED_CLASS}]|\d+(?:[.,:]\d+)+|(?:(?![{_UNSPACED_CLASS}])[^\W_])+(?:['’][^\W\d_]+)*"
)
_UNSPACED = re.compile(f"[{_UNSPACED_CLASS}]")


def tokens(text: str) -> Iterator[re.Match[str]]:
    """Yield the tokens of ``text``; in scripts without spaces each character is one."""
    if not text.isascii() and _UNSPACED.search(text):
        return _TOKEN_UNSPACED.finditer(text)
    return TOKEN.finditer(text)


LONGEST = 40
"""Characters of a word that is looked at closely; longer ones are codes, links, or an attack."""


@functools.lru_cache(maxsize=1)
def _stemmer() -> Any:
    import Stemmer

    # `stem` keeps what it was asked
    return Stemmer.Stemmer("english", 0)


@functools.lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return the Snowball (Porter2) stem of a lower-case English word."""
    if len(word) < 4 or len(word) > LONGEST or not word.isalpha():
        return word
    return str(_stemmer().stemWord(word))


def normal(word: str) -> str:
    """Return ``word`` in lower case, without a possessive, with straight apostrophes."""
    word = word.lower()
    if "’" in word:
        word = word.replace("’", "'")
    return word[:-2] if word.endswith("'s") else word


def content_words(text: str) -> list[str]:
    """Return the words of ``text`` that are no stop words, normalised, in order."""
    return [word for word in map(normal, WORD.findall(text)) if word not in STOP_WORDS]


_UP_TO_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_NUMBER_WORDS = {word: str(i) for i, word in enumerate(_UP_TO_TWENTY.split())} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
    "first": "1", "second": "2", "third": "3", "fourth": "4", "fifth": "5",
}  # fmt: skip
_WITH_UNIT = re.compile(r"(\d+)(?:st|nd|rd|th|s|am|pm|k|m|bn|kg|km|mg|g|lb|cm|mm|ml|min|h|hr)")


def canonical(token: str) -> str:
    """Return the form under which a token is compared: stem, or number without separators, suffix and zeros.

    ``Restaurants`` -> ``restaur``, ``1,250.50`` -> ``1250.5``, ``20th`` -> ``20``, ``twenty`` -> ``20``,
    ``08:00`` -> ``8``.
    """
    return _canonical(token) if len(token) <= LONGEST else token.lower()


@functools.lru_cache(maxsize=100_000)
def _canonical(token: str) -> str:
    word = normal(token)
    if not word[:1].isdigit():
        return _NUMBER_WORDS.get(word) or stem(word)
    if ":" in word:
        return clock(word)
    word = word.replace(",", "")
    unit = _WITH_UNIT.fullmatch(word)
    if unit:
        word = unit[1]
    if "." in word:
        word = word.rstrip("0").rstrip(".")
    return word.lstrip("0") or "0"


def clock(word: str) -> str:
    """Return a time of day without padding: ``08:00`` -> ``8``, ``9:5`` -> ``9:50`` (as in 11:3 for half past)."""
    hour, _, minute = word.partition(":")
    hour = hour.lstrip("0") or "0"
    minute = minute[:2].ljust(2, "0")
    return hour if minute == "00" else f"{hour}:{minute}"
