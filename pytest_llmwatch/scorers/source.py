"""What an answer is held against: the context, indexed by word."""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_llmwatch.scorers.denied import denied_spans
from pytest_llmwatch.scorers.vocabulary import CAMEL, DENIALS, LEXICON, NEGATIONS
from pytest_llmwatch.scorers.words import clock, tokens

PASSAGE = 40
"""Words of context within which one sentence should find its support."""

_MAX_PLACES = 64
"""Occurrences of one word that are looked at: a word that is everywhere says nothing about where."""
_MAX_WORDING = 50_000
"""Words of context that wording is compared with."""
_PREFIX = 5
_EDGE = re.compile(r"[.!?\n]")
_MAX_EDGE = 160


@dataclass(slots=True)
class Source:
    """The context's words in order, and where each occurs. Built by `read`, not changed afterwards."""

    documents: tuple[str, ...]
    words: list[str] = field(default_factory=list)
    origin: list[tuple[int, int, int]] = field(default_factory=list)
    """(document, start, end) of each word."""
    places: dict[str, list[int]] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    """Word -> bit set of its positions, for the longest common subsequence."""
    clocks: set[str] = field(default_factory=set)
    """Other ways to write the context's times of day (20:00 is also 8)."""
    prefixes: set[str] = field(default_factory=set)
    nots: list[int] = field(default_factory=list)
    """Positions of words that negate, in order."""
    denials: list[int] = field(default_factory=list)
    """Those, and of words that deny by their sense (lacks, fails, false)."""
    denied: set[str] = field(default_factory=set)
    """Words that stand only in names of data whose value is false, no, none or null."""

    @property
    def negates(self) -> bool:
        """Whether anything is negated at all."""
        return bool(self.nots)

    def knows(self, key: str, *, number: bool = False) -> bool:
        """Whether the word occurs anywhere."""
        return key in self.places or (number and key in self.clocks)

    def resembles(self, key: str) -> bool:
        """Whether a word with the same beginning occurs (Korean, Korea)."""
        return key[:_PREFIX] in self.prefixes

    def passage(self, keys: Sequence[str]) -> tuple[int, int] | None:
        """Return the first and last position of the `PASSAGE` words that hold most of ``keys``; None for none."""
        places = self.places
        events = sorted([(place, i) for i, key in enumerate(keys) for place in places.get(key, ())])
        counts = [0] * len(keys)
        distinct = best = low = 0
        found: tuple[int, int] | None = None
        for place, i in events:
            counts[i] += 1
            distinct += counts[i] == 1
            # drop what is too far away, and what occurs again further on
            while events[low][0] <= place - PASSAGE or counts[events[low][1]] > 1:
                old = events[low][1]
                counts[old] -= 1
                distinct -= counts[old] == 0
                low += 1
            if distinct > best:
                best, found = distinct, (events[low][0], place)
        return found

    def common(self, keys: Sequence[str]) -> int:
        """Return the length of the longest common subsequence of ``keys`` and the context.

        Bit-parallel (Hyyrö, 2004, "Bit-parallel LCS-length computation revisited"): one addition of long
        integers a word.
        """
        size = min(len(self.words), _MAX_WORDING)
        mask = row = (1 << size) - 1
        for key in keys:
            bits = self.bits.get(key)
            if bits:
                hit = row & bits
                row = ((row + hit) | (row - hit)) & mask
        return size - row.bit_count()

    def span(self, first: int, last: int) -> tuple[int, int, int]:
        """Return (document, start, end) of the text from word ``first`` to ``last``, widened to sentences."""
        document, start, _end = self.origin[first]
        last_end = self.origin[last][2]  # no passage reaches into another document
        text = self.documents[document]
        before = [m.end() for m in _EDGE.finditer(text, max(0, start - _MAX_EDGE), start)]
        after = _EDGE.search(text, last_end, last_end + _MAX_EDGE)
        start = before[-1] if before else (0 if start <= _MAX_EDGE else start)
        end = after.end() if after else (len(text) if len(text) - last_end <= _MAX_EDGE else last_end)
        piece = text[start:end]
        return document, start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


@functools.lru_cache(maxsize=16)
def read(documents: tuple[str, ...]) -> Source:
    """Index ``documents``. Kept for the next answers to the same case."""
    source = Source(documents)
    joined: dict[str, int] = {}
    for number, text in enumerate(documents):
        if source.words:
            # no passage reaches from one document into the next
            source.words += [""] * PASSAGE
            source.origin += [(number - 1, 0, 0)] * PASSAGE
        words, origin, has_times = source.words, source.origin, ":" in text
        for match in tokens(text):
            word, (start, end) = match[0], match.span()
            if has_times and ":" in word:
                source.clocks |= _times(word)
            found = LEXICON[word]
            if not found.is_camel:
                words.append(found.key)
                origin.append((number, start, end))
            else:
                joined[found.key] = joined.get(found.key, 0) + 1
                source.words += (LEXICON[part].key for part in CAMEL.split(word))
                source.origin += [(number, start, end)] * (len(source.words) - len(source.origin))
    _index(source, joined)
    _deny(source, joined)
    return source


def _index(source: Source, joined: Mapping[str, int]) -> None:
    places, bits = source.places, source.bits
    for i, key in enumerate(source.words):
        if not key:
            continue
        known = places.get(key)
        if known is None:
            places[key] = [i]
        elif len(known) < _MAX_PLACES:
            known.append(i)
    for key, known in places.items():
        if len(known) < _MAX_PLACES and known[-1] < _MAX_WORDING:
            bits[key] = sum(1 << i for i in known)
    negated = [key for key in NEGATIONS if key in places]
    if any("n't" in text or "n’t" in text for text in source.documents):
        negated += [key for key in places if key.endswith("n't")]
    source.nots = sorted(i for key in negated for i in places[key])
    denying = [i for key in DENIALS - NEGATIONS if key in places for i in places[key]]
    source.denials = sorted([*source.nots, *denying])
    for key in joined:
        places.setdefault(key, [])
    source.prefixes = {key[:_PREFIX] for key in places if len(key) >= _PREFIX and key.isalpha()}


def _deny(source: Source, joined: Mapping[str, int]) -> None:
    """Note the words of names that only have denying values."""
    denied: Counter[str] = Counter()
    for number, text in enumerate(source.documents):
        for start, end in denied_spans(text):
            denied.update(LEXICON[m[0]].key for m in tokens(text[start:end]) if LEXICON[m[0]].is_camel)
            at = bisect_left(source.origin, (number, start, 0))
            while at < len(source.origin) and source.origin[at] < (number, end, 0):
                denied[source.words[at]] += 1
                at += 1
    for key, n in denied.items():
        if n < _MAX_PLACES and n >= (joined.get(key) or len(source.places[key])) and key:
            source.denied.add(key)


def _times(word: str) -> set[str]:
    """Return how a time of day may be written: 20:30 also as 8:30."""
    hour, _, minute = word.partition(":")
    if not (hour.isdigit() and minute[:2].isdigit() and len(hour) <= 2 and int(hour) < 25):
        return set()
    return {clock(word), clock(f"{int(hour) % 12 or 12}:{minute}")}
