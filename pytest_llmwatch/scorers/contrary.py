"""What a sentence says otherwise than its source: negations, data that say no, units, moved numbers."""

from __future__ import annotations

from bisect import bisect_left

from pytest_llmwatch.scorers.judged import Flaw, Sentence
from pytest_llmwatch.scorers.source import Source
from pytest_llmwatch.scorers.units import units
from pytest_llmwatch.scorers.vocabulary import DENIALS, SAID
from pytest_llmwatch.scorers.words import STOP_WORDS, canonical

_BEFORE, _AFTER = 10, 6
"""Words around a word of the source in which a negation speaks of it (data deny behind, prose before)."""
_REACH = 5
"""Words behind a negation among which its content words are."""
_ONLY = [canonical("only")]
_BESIDE = 5, 7
"""Words around a number in which what it counts should stand."""


def find(sentence: Sentence, source: Source, text: str) -> list[Flaw]:
    """Return what ``sentence`` of the answer ``text`` says otherwise; it has its passage already."""
    out: list[Flaw] = []
    if sentence.negations:
        out += _added(sentence, source)
    else:
        if source.denied:
            out += _denied(sentence, source)
        if source.nots and sentence.passage:
            out += _lost(sentence, source)
    if sentence.numbers:
        out += _numbers(sentence, source, text)
    return out


def _added(sentence: Sentence, source: Source) -> list[Flaw]:
    """Negations of what the source does not negate."""
    out, keys = [], sentence.keys
    for i, start, end in sentence.negations:
        behind = [key for key in keys[i + 1 : i + _REACH + 1] if key not in STOP_WORDS][:2]
        if any(key in SAID for key in behind) or keys[i + 1 : i + 2] == _ONLY:
            continue  # "the passage does not mention" is said of the text; "not only" negates nothing
        known = [key for key in behind if source.places.get(key)]
        if not source.denied.isdisjoint(behind):
            continue
        if known and not any(_is_denied(place, source) for key in known for place in source.places[key]):
            out.append(Flaw("absent_negation", start, end, "the context does not negate this"))
        elif not source.negates:
            out.append(Flaw("bare_negation", start, end, "the context negates nothing"))
    return out


def _is_denied(place: int, source: Source) -> bool:
    """Whether a negation stands around a word of the source."""
    at = bisect_left(source.denials, place - _BEFORE)
    return at < len(source.denials) and source.denials[at] < place + _AFTER


def _denied(sentence: Sentence, source: Source) -> list[Flaw]:
    """Words for which the data have only false, no or null."""
    if not DENIALS.isdisjoint(sentence.keys):
        return []
    return [
        Flaw("contrary_data", word.start, word.end, "the data say false, no or nothing to this")
        for word in sentence.words
        if word.key in source.denied and word.weight
    ]


def _lost(sentence: Sentence, source: Source) -> list[Flaw]:
    """Words between which the passage negates and the sentence does not; one flaw at most."""
    first, last = sentence.passage or (0, -1)
    at = bisect_left(source.nots, first)
    words = {word.key: (i, word) for i, word in enumerate(sentence.words)}
    while at < len(source.nots) and source.nots[at] <= last:
        place = source.nots[at]
        behind = [key for key in source.words[place + 1 : min(last, place + 4) + 1] if key not in STOP_WORDS]
        before = [key for key in source.words[max(first, place - 4) : place] if key not in STOP_WORDS]
        if behind and before and behind[0] in words and before[-1] in words:
            i, word = words[behind[0]]
            if words[before[-1]][0] == i - 1 and DENIALS.isdisjoint(sentence.keys):
                return [Flaw("lost_negation", word.start, word.end, "the context negates this")]
        at += 1
    return []


def _numbers(sentence: Sentence, source: Source, text: str) -> list[Flaw]:
    """Numbers that the source has, with another unit or of something else."""
    out, keys, places = [], sentence.keys, source.places
    for i, word in sentence.numbers:
        where = places.get(word.key)
        if not where:
            continue
        other = _other_unit(units(text, word.start), where, source)
        if other:
            out.append(Flaw("absent_unit", word.start, word.end, f"the context has {other} with this number"))
            continue
        counted = keys[i + 1] if i + 1 < len(keys) else ""
        if not places.get(counted) or counted in STOP_WORDS or counted[:1].isdigit() or counted in SAID:
            continue
        if i and keys[i - 1] in SAID:
            continue  # "passage 2 explains"
        left, right = _BESIDE
        if not any(counted in source.words[max(0, place - left) : place + right] for place in where):
            note = f"in the context this number does not stand with {counted!r}"
            out.append(Flaw("moved_number", word.start, word.end, note))
    return out


def _other_unit(made: dict[str, str], where: list[int], source: Source) -> str | None:
    """Return the units that the source has with the number, if it always has some and never the answer's."""
    for kind, unit in made.items():
        others = set()
        for place in where:
            document, start, _end = source.origin[place]
            others.add(units(source.documents[document], start).get(kind, ""))
        if "" not in others and unit not in others:
            return ", ".join(sorted(others))
    return None
