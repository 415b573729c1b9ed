"""Words: splitting, stop words, stems with a bounded cache."""

from __future__ import annotations

import functools
import re
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
you're you've your yours yourself yourselves s t d ll m re ve
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English function words: they carry no content of their own."""


@functools.lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@functools.lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return the Snowball (Porter2) stem of a lower-case English word. Costs 0.1 ms the first time."""
    if len(word) < 4 or len(word) > 40 or not word.isalpha():
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
