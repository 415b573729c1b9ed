"""How far each sentence of an answer is supported by its source."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_llmwatch.scorers.sentences import sentences
from pytest_llmwatch.scorers.source import CAMEL, Source
from pytest_llmwatch.scorers.vocabulary import OPPOSITES, lexeme
from pytest_llmwatch.scorers.words import tokens

SPECIFIC = 3.0
"""Weight of a number or a name; an ordinary content word weighs 1, a word about the text itself 0."""

MAX_WORDS = 20_000
"""Words of an answer that are judged; the rest is left out, and the explanation says so."""

_ENUMERATION = re.compile(r"^[ \t]*(?:step[ \t]+)?(?:\(?\d{1,2}[.):]|[-*•])(?=\s)", re.IGNORECASE | re.MULTILINE)
_AFTER = frozenset(':"“(*>-[#')
"""A capital letter after one of these says nothing about a name."""
_LONGEST = 40
"""Characters of a token that is looked at closely; longer ones are codes, links, or an attack."""
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
    words: list[Word] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """All its words, function words too, in order."""
    negations: list[tuple[int, int]] = field(default_factory=list)
    """Where it negates although the source never does."""
    passage: tuple[int, int] | None = None

    @property
    def supported(self) -> int:
        """Content words that occur in the source."""
        return sum(w.known for w in self.words)

    @property
    def share(self) -> float:
        """Share of content words that occur in the source."""
        return self.supported / len(self.words) if self.words else 1.0

    @property
    def is_weak(self) -> bool:
        """Whether half or more of at least three content words is nowhere in the source."""
        return len(self.words) >= 3 and self.share <= 0.5


def judge(text: str, source: Source) -> tuple[list[Sentence], bool]:
    """Return the sentences of ``text`` with their support in ``source``, and whether all of it was judged."""
    # numbers of list items are no claims; blanks keep the offsets
    plain = _ENUMERATION.sub(lambda m: " " * len(m[0]), text)
    out: list[Sentence] = []
    budget = MAX_WORDS
    for start, end in sentences(plain):
        if budget <= 0:
            return out, False
        sentence = Sentence(start, end)
        for token, at in _tokens(plain[start:end], source, budget):
            _add(sentence, token, at, plain, source)
        if sentence.keys:
            budget -= len(sentence.keys)
            _place(sentence, source)
            out.append(sentence)
    return out, budget > 0


def _tokens(piece: str, source: Source, budget: int) -> Iterator[tuple[str, int]]:
    """Yield (token, offset) of a sentence; a name such as OutdoorSeating that the source lacks in its parts."""
    for match in itertools.islice(tokens(piece), budget):
        token, at = match[0], match.start()
        if token[0].isdigit():
            if _WORDS.match(piece, match.end()):
                continue  # "a summary in 100 words" speaks of itself
        elif (
            len(token) <= _LONGEST
            and not token.islower()
            and CAMEL.search(token)
            and not source.knows(lexeme(token).key)
        ):
            for part in CAMEL.split(token):
                yield part, at
                at += len(part)
            continue
        yield token, at


def _add(sentence: Sentence, token: str, at: int, text: str, source: Source) -> None:
    found = lexeme(token)
    key = found.key
    sentence.keys.append(key)
    start = sentence.start + at
    if found.negates and not source.negates:
        sentence.negations.append((start, start + len(token)))
    if found.kind == "function":
        return
    known = key in source.places
    weight, flaw = 1.0, None
    if found.kind == "number":
        weight = SPECIFIC
        known = known or key in source.clocks
        if not known:
            flaw = "absent_number"
    elif found.kind == "discourse":
        weight = 0.0
    elif at >= 3 and token[0].isupper() and text[sentence.start : start].rstrip()[-1:] not in _AFTER:
        if known:
            weight = SPECIFIC
        elif not source.resembles(key):
            weight, flaw = SPECIFIC, "absent_name"
    sentence.words.append(Word(start, start + len(token), key, weight, known, known, flaw))


def _place(sentence: Sentence, source: Source) -> None:
    """Find the sentence's best passage, which of its words stand there, and which say the opposite of it."""
    words = sentence.words
    distinct = dict.fromkeys(w.key for w in words)
    sentence.passage = found = source.passage(list(distinct))
    if found is None:
        for word in words:
            # a time of day is known without a place
            word.near = word.known and word.key not in source.places
        return
    first, last = found
    here = set(source.words[first : last + 1])
    for word in words:
        if word.known:
            word.near = word.key in here or word.key not in source.places
        elif word.key in OPPOSITES:
            around = source.words[max(0, first - 5) : last + 6]
            if not OPPOSITES[word.key].isdisjoint(w for w in around if w not in distinct):
                word.flaw = "opposite"
