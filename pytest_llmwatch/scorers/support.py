"""How far each sentence of an answer is supported by its source."""

from __future__ import annotations

import itertools
import re

from pytest_llmwatch.scorers import citations, contrary
from pytest_llmwatch.scorers.judged import Flaw, Sentence, Word
from pytest_llmwatch.scorers.sentences import sentences
from pytest_llmwatch.scorers.source import Source
from pytest_llmwatch.scorers.vocabulary import CAMEL, LEXICON, MONTH, OPPOSITES, Lexeme
from pytest_llmwatch.scorers.words import tokens

SPECIFIC = 3.0
"""Weight of a number or a name; an ordinary content word weighs 1, a word about the text itself 0."""

MAX_WORDS = 20_000
"""Words of an answer that are judged; the rest is left out, and the explanation says so."""

_ENUMERATION = re.compile(r"^[ \t]*(?:step[ \t]+)?(?:\(?\d{1,2}[.):]|[-*•])(?=\s)", re.IGNORECASE | re.MULTILINE)
_AFTER = frozenset(':"“(*>-[#')
"""A capital letter after one of these says nothing about a name."""
_MAY = re.compile(r".{0,6}?(?:(?<=\d[ .])|(?<=(?:st|nd|rd|th) )|(?<= of ))May\b|.{0,6}?\bMay,? \d")
"""The month, not the verb: a number before or after it."""
_NOTES = {
    "absent_number": "this number is not in the context",
    "absent_name": "this name is not in the context",
    "opposite": "the context says the opposite",
}
_WORDS = re.compile(r"\s?-?words?\b", re.IGNORECASE)


def judge(text: str, source: Source, asked: str = "") -> tuple[list[Sentence], bool]:
    """Return the sentences of ``text`` with their support in ``source``, and whether all of it was judged.

    Quotes of ``asked``, the question, are no quotes of the source.
    """
    # numbers of list items and of sources are no claims; blanks keep the offsets
    plain = _ENUMERATION.sub(_blank, text)
    if "[" in plain:
        plain = citations.NUMBERED.sub(_blank, plain)
    out: list[Sentence] = []
    budget = MAX_WORDS
    for start, end in sentences(plain):
        if budget <= 0:
            break
        sentence = _read(plain, start, end, source, budget)
        if sentence.keys:
            budget -= len(sentence.keys)
            _place(sentence, source)
            sentence.flawed += contrary.find(sentence, source, plain)
            out.append(sentence)
    _attach(citations.find(text, source, asked), out)
    return out, budget > 0


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _attach(found: list[Flaw], judged: list[Sentence]) -> None:
    """Give each flaw to the sentence in which it begins."""
    for flaw in found:
        for sentence in judged:
            if sentence.start <= flaw.start < sentence.end:
                sentence.flawed.append(flaw)
                break


def _read(text: str, start: int, end: int, source: Source, budget: int) -> Sentence:
    piece, places = text[start:end], source.places
    sentence = Sentence(start, end, piece)
    keys, words, supported = sentence.keys, sentence.words, 0
    for match in itertools.islice(tokens(piece), budget):
        token = match[0]
        found = LEXICON[token]
        if found.is_plain:
            # most words; the rest of the loop would do the same at twice the time
            key = found.key
            keys.append(key)
            if found.kind == "word":
                known = key in places
                supported += known
                at, behind = match.span()
                words.append(Word(start + at, start + behind, key, 1.0, known, known))
            continue
        at = match.start()
        if found.is_camel and found.key not in places:
            # a name such as OutdoorSeating that the source may have in parts
            for part in CAMEL.split(token):
                _add(sentence, part, LEXICON[part], at, source)
                at += len(part)
        elif found.kind != "number" or not _WORDS.match(piece, match.end()):
            # (a number before "words": "a summary in 100 words" speaks of itself)
            _add(sentence, token, found, at, source)
    sentence.supported += supported
    return sentence


def _add(sentence: Sentence, token: str, found: Lexeme, at: int, source: Source) -> None:
    key, kind, negates, is_title, _camel, _plain = found
    sentence.keys.append(key)
    start = sentence.start + at
    if negates:
        sentence.negations.append((len(sentence.keys) - 1, start, start + len(token)))
    if kind == "function" and not (token == MONTH and _MAY.match(sentence.text, max(0, at - 6))):
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
    word = Word(start, start + len(token), key, weight, known, known, flaw)
    sentence.words.append(word)
    if kind == "number":
        sentence.numbers.append((len(sentence.keys) - 1, word))


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
            sentence.flawed.append(Flaw(word.flaw, word.start, word.end, _NOTES[word.flaw]))
