"""How far each sentence of an answer is supported by its source."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from pytest_llmwatch.scorers.sentences import sentences
from pytest_llmwatch.scorers.source import Source
from pytest_llmwatch.scorers.vocabulary import CAMEL, LEXICON, OPPOSITES, Lexeme
from pytest_llmwatch.scorers.words import tokens

SPECIFIC = 3.0
"""Weight of a number or a name; an ordinary content word weighs 1, a word about the text itself 0."""

MAX_WORDS = 20_000
"""Words of an answer that are judged; the rest is left out, and the explanation says so."""

_ENUMERATION = re.compile(r"^[ \t]*(?:step[ \t]+)?(?:\(?\d{1,2}[.):]|[-*•])(?=\s)", re.IGNORECASE | re.MULTILINE)
_AFTER = frozenset(':"“(*>-[#')
"""A capital letter after one of these says nothing about a name."""
_WORDS = re.compile(r"\s?-?words?\b", re.IGNORECASE)


@dataclass(slots=True)
class Word:
    """A content word of the answer, and what became of it."""

    start: int
    end: int
    key: str
    weight: float
    """How much it counts in word support."""
    known: bool
    near: bool = True
    """Whether the sentence's best passage holds it."""
    flaw: str | None = None
    """``absent_number``, ``absent_name`` or ``opposite``."""


@dataclass(slots=True)
class Sentence:
    """A sentence of the answer, judged."""

    start: int
    end: int
    text: str
    words: list[Word] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """All its words, function words too, in order."""
    supported: int = 0
    """Content words that occur in the source."""
    flawed: list[Word] = field(default_factory=list)
    negations: list[tuple[int, int]] = field(default_factory=list)
    """Where it negates although the source never does."""
    passage: tuple[int, int] | None = None

    @property
    def share(self) -> float:
        """Share of content words that occur in the source."""
        return self.supported / len(self.words) if self.words else 1.0

    @property
    def flaws(self) -> float:
        """Absent numbers and names, opposites, and half of each negation."""
        return len(self.flawed) + 0.5 * len(self.negations)

    @property
    def is_weak(self) -> bool:
        """Whether half or more of at least three content words is nowhere in the source."""
        return len(self.words) >= 3 and 2 * self.supported <= len(self.words)


def judge(text: str, source: Source) -> tuple[list[Sentence], bool]:
    """Return the sentences of ``text`` with their support in ``source``, and whether all of it was judged."""
    # numbers of list items are no claims; blanks keep the offsets
    plain = _ENUMERATION.sub(lambda m: " " * len(m[0]), text)
    out: list[Sentence] = []
    budget = MAX_WORDS
    for start, end in sentences(plain):
        if budget <= 0:
            return out, False
        sentence = _read(plain, start, end, source, budget)
        if sentence.keys:
            budget -= len(sentence.keys)
            _place(sentence, source)
            out.append(sentence)
    return out, budget > 0


def _read(text: str, start: int, end: int, source: Source, budget: int) -> Sentence:
    piece, places = text[start:end], source.places
    sentence = Sentence(start, end, piece)
    for match in itertools.islice(tokens(piece), budget):
        token, at = match[0], match.start()
        found = LEXICON[token]
        if found.is_camel and found.key not in places:
            # a name such as OutdoorSeating that the source may have in parts
            for part in CAMEL.split(token):
                _add(sentence, part, LEXICON[part], at, source)
                at += len(part)
        elif found.kind != "number" or not _WORDS.match(piece, match.end()):
            # (a number before "words": "a summary in 100 words" speaks of itself)
            _add(sentence, token, found, at, source)
    return sentence


def _add(sentence: Sentence, token: str, found: Lexeme, at: int, source: Source) -> None:
    key, kind, negates, is_title, _camel = found
    sentence.keys.append(key)
    start = sentence.start + at
    if negates and not source.negates:
        sentence.negations.append((start, start + len(token)))
    if kind == "function":
        return
    known = key in source.places
    weight, flaw = 1.0, None
    if kind == "number":
        weight = SPECIFIC
        known = known or key in source.clocks
        if not known:
            flaw = "absent_number"
    elif kind == "discourse":
        weight = 0.0
    elif is_title and at >= 3 and sentence.text[:at].rstrip()[-1:] not in _AFTER:
        if known:
            weight = SPECIFIC
        elif not source.resembles(key):
            weight, flaw = SPECIFIC, "absent_name"
    sentence.supported += known
    sentence.words.append(Word(start, start + len(token), key, weight, known, known, flaw))


def _place(sentence: Sentence, source: Source) -> None:
    """Find the sentence's best passage, which of its words stand there, and which say the opposite of it."""
    words = sentence.words
    distinct = dict.fromkeys([w.key for w in words])
    sentence.passage = found = source.passage(list(distinct))
    first, last = found or (0, -1)
    here = set(source.words[first : last + 1])
    for word in words:
        if word.known:
            # a time of day is known without a place
            word.near = word.key in here or word.key not in source.places
        elif found and word.key in OPPOSITES:
            around = source.words[max(0, first - 5) : last + 6]
            if not OPPOSITES[word.key].isdisjoint(w for w in around if w not in distinct):
                word.flaw = "opposite"
        if word.flaw:
            sentence.flawed.append(word)
