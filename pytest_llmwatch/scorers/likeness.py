"""How alike two texts are in their words: without a corpus, the same on every machine."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.scorers.vocabulary import NEGATIONS
from pytest_llmwatch.scorers.words import LONGEST, STOP_WORDS, canonical, normal, stem, tokens

_MAX_CHARS = 4_000
"""Characters of an answer that are compared: beyond that repeats have long shown whether they agree."""

_FUNCTION, COMMON, _PLAIN, _NUMBER = 0.1, 0.3, 1.0, 2.0
"""Weights of a function word, of one that stands in every other text, of any other word, and of a number. They
stand for the idf that a handful of repeats cannot give."""

_NEAR = 0.9
"""What the likeness of two different words counts at most."""

_SIZE = 3
"""Characters of the n-grams that two different words are compared by; 2- to 4-grams gain .002, and cost five times
as much."""

_COMMON_WORDS = """
say said says one two three new year years time times day days people man men woman women make makes made making
take takes taken took go goes going went gone come comes came coming use used uses using work working works way
ways thing things first last many since state states country world group part place case week month company
government public number high old small large big long little great good well back still even now today see seen
find found know known think give given gives show shows showed shown tell told call called become became include
including includes another next early late different several around among within per cent percent according report
reported reports also need want look put set run running keep let begin began seem help turn start hold bring
happen write provide sit stand lose pay meet continue mean right left young national important area areas end side
home house name city system question person official officials member members issue point news leave play move
live believe open close near away something anything someone everyone nothing every always often while during
across toward towards although though therefore thus already almost quite rather four five six seven eight nine ten
hundred thousand million billion second third half monday tuesday wednesday thursday friday saturday sunday january
february march april june july august september october november december act action activity fact form kind type
order result level process problem reason line less least top
"""
_COMMON_STEMS = frozenset(stem(word) for word in _COMMON_WORDS.split())
_DECIDING = NEGATIONS | {"yes"}
"""Function words that turn an answer around: they weigh as much as any word."""


@dataclass(frozen=True, slots=True)
class Text:
    """The words of a text by the form they are compared under: how often, what each weighs, what it is made of."""

    counts: dict[str, float]
    total: float
    index: dict[str, list[tuple[str, float]]]
    """Character n-gram -> the words that have it, with its share of the word's length."""


@functools.lru_cache(maxsize=50_000)
def weight(word: str, key: str) -> float:
    """Return what a word weighs, given its normal form and the key it is compared under."""
    if word in _DECIDING:
        return _PLAIN
    if word in STOP_WORDS:
        return _FUNCTION
    if any(c.isdigit() for c in word):
        return _NUMBER
    return COMMON if is_common(word) or is_common(key) else _PLAIN


def is_common(stem_or_word: str) -> bool:
    """Whether a word stands in every other text: it says little of what a text is about."""
    return stem_or_word in _COMMON_STEMS


@functools.lru_cache(maxsize=50_000)
def _grams(word: str) -> tuple[tuple[str, float], ...]:
    """The n-grams of a word with its edges, as a vector of length 1."""
    padded = f" {word[:LONGEST]} "
    grams = Counter(padded[i : i + _SIZE] for i in range(max(1, len(padded) - _SIZE + 1)))
    length = math.sqrt(sum(n * n for n in grams.values()))
    return tuple((gram, n / length) for gram, n in grams.items())


def read(text: str) -> Text:
    """Return what `alike` needs to know of a text."""
    counts: dict[str, float] = defaultdict(float)
    index: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for found in tokens(text[:_MAX_CHARS]):
        word = normal(found[0])
        key = canonical(word)
        if key not in counts and not key[0].isdigit():
            for gram, share in _grams(key):
                index[gram].append((key, share))
        counts[key] += weight(word, key)
    return Text(dict(counts), sum(counts.values()), dict(index))


def alike(a: Text, b: Text) -> float:
    """Return how alike two texts are, in [0, 1]: the mean of what each has of the other's words, by weight.

    A word that the other text lacks counts as the cosine of its character n-grams to the nearest of the other's
    words, times .9; a number is there or not.
    """
    if not a.total or not b.total:
        return float(a.total == b.total)
    return min(1.0, (_covered(a, b) + _covered(b, a)) / 2)


def _covered(a: Text, b: Text) -> float:
    have = 0.0
    for key, weight in a.counts.items():
        if key in b.counts:
            have += weight
        elif not key[0].isdigit():
            have += weight * _NEAR * _nearest(key, b)
    return have / a.total


def _nearest(key: str, other: Text) -> float:
    found: dict[str, float] = defaultdict(float)
    for gram, share in _grams(key):
        for word, theirs in other.index.get(gram, ()):
            found[word] += share * theirs
    return max(found.values(), default=0.0)


def likeness(texts: Sequence[str]) -> list[list[float]]:
    """Return the likeness of each text to each; equal texts have 1."""
    read_once = {text: read(text) for text in set(texts)}
    known: dict[tuple[str, str], float] = {}
    out = [[1.0] * len(texts) for _ in texts]
    for i, left in enumerate(texts):
        for j in range(i):
            right = texts[j]
            if left != right:
                pair = (left, right) if left < right else (right, left)
                if pair not in known:
                    known[pair] = alike(read_once[left], read_once[right])
                out[i][j] = out[j][i] = known[pair]
    return out
