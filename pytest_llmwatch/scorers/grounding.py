"""Groundedness: is what the answer says supported by the context. No model, no network, nothing trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import MAX_EVIDENCE, Base
from pytest_llmwatch.scorers.judged import Sentence
from pytest_llmwatch.scorers.source import Source, read
from pytest_llmwatch.scorers.support import MAX_WORDS, judge

WORDS, PASSAGE, WORDING = 0.3, 0.3, 0.4
"""Weights of word support, support within one passage, and wording."""
ABSENT = 0.7
"""What flaws can take away at most."""
WEAK = 0.4
"""What unsupported sentences can take away at most."""
_MAX_WORDING = 4_000


@dataclass(frozen=True, slots=True)
class Parts:
    """The figures a groundedness score is made of; shares in [0, 1]."""

    words: float
    passage: float
    wording: float
    flaws: float
    weak: int

    @property
    def value(self) -> float:
        """Return the score: a weighted mean of three kinds of support, lowered by flaws and weak sentences."""
        support = WORDS * self.words + PASSAGE * self.passage + WORDING * self.wording
        flawed = 1 - ABSENT * (1 - math.exp(-self.flaws))
        return support * flawed * (1 - WEAK * (1 - math.exp(-self.weak / 2)))


@dataclass(frozen=True, slots=True)
class Groundedness(Base):
    """Support of the answer by the context, or by the reference where there is no context.

    The page "Scorers" of the documentation gives the formula, what it was measured on, and what it cannot see:
    above all, whether words that are all there were put together into something that nobody said.
    """

    name = "groundedness"
    version = "2"

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a context or a reference."""
        return bool(documents(case))

    def score(self, output: Output, case: Case) -> Score:
        """Judge each sentence; the worst come first as evidence, with the passage that supports them best."""
        given = documents(case)
        if not given:
            return self.not_assessable("No context and no reference to compare with.")
        source = read(given)
        if not source.words:
            return self.not_assessable("The context has no words.")
        judged, whole = judge(output.text, source, case.input_text() or "")
        if not any(s.words for s in judged):
            return self.not_assessable("The answer has no content words.")
        found = parts(judged, source)
        has_context = any(map(str.strip, case.context))
        against = "" if has_context else " Compared with the reference: there is no context."
        cut = "" if whole else f" Only the first {MAX_WORDS:,} words were judged."
        evidence = _evidence(judged, source, output.text)
        if not has_context:
            evidence = [_of_reference(e) for e in evidence]
        return self.result(found.value, _explain(found, judged, output.text) + against + cut, evidence)


def documents(case: Case) -> tuple[str, ...]:
    """Return what an answer is held against: the context, the reference where there is none, or nothing."""
    if any(map(str.strip, case.context)):
        return case.context
    return (case.reference,) if case.reference and case.reference.strip() else ()


def parts(judged: Sequence[Sentence], source: Source) -> Parts:
    """Return the figures of an answer's sentences."""
    weight = known = 0.0
    near = n = 0
    for word in (w for s in judged for w in s.words):
        weight += word.weight
        known += word.weight * word.known
        near += word.near
        n += 1
    keys = [key for s in judged for key in s.keys][:_MAX_WORDING]
    return Parts(
        words=known / weight if weight else 1.0,
        passage=near / n,
        wording=source.common(keys) / len(keys),
        flaws=sum(s.flaws for s in judged),
        weak=sum(s.is_weak for s in judged),
    )


def _explain(found: Parts, judged: Sequence[Sentence], text: str) -> str:
    absent = list(dict.fromkeys(text[flaw.start : flaw.end] for s in judged for flaw in s.flawed))
    said = [
        f"Supported: {found.words:.0%} of words, {found.passage:.0%} within one passage, "
        f"{found.wording:.0%} of wording"
    ]
    if absent:
        said.append(f"absent or contrary: {', '.join(absent[:6])}{', …' if len(absent) > 6 else ''}")
    if found.weak:
        said.append(f"{found.weak} of {len(judged)} sentences mostly unsupported")
    return "; ".join(said) + "."


def _evidence(judged: Sequence[Sentence], source: Source, text: str) -> list[Evidence]:
    out: list[Evidence] = []
    for sentence in sorted(judged, key=_support):
        if len(out) >= MAX_EVIDENCE:
            break
        if sentence.share == 1 and not sentence.flaws:
            continue
        missing = [text[w.start : w.end] for w in sentence.words if not w.known]
        note = f"{sentence.supported} of {len(sentence.words)} content words in the context"
        if missing:
            note += f"; not: {', '.join(missing[:8])}{', …' if len(missing) > 8 else ''}"
        out.append(_span("unsupported", text, sentence.start, sentence.end, note))
        out += [_span(flaw.kind, text, flaw.start, flaw.end, flaw.note) for flaw in sentence.flawed]
        if sentence.passage:
            document, start, end = source.span(*sentence.passage)
            passage = source.documents[document][start:end]
            out.append(Evidence("support", passage, where="context", start=start, end=end, document=document))
    return out


def _of_reference(evidence: Evidence) -> Evidence:
    """Return evidence that does not claim a place in a context that is not there."""
    if evidence.where == "context":
        return Evidence(evidence.kind, evidence.text, where="item", note="in the reference")
    if evidence.note:
        return dataclasses.replace(evidence, note=evidence.note.replace("the context", "the reference"))
    return evidence


def _support(sentence: Sentence) -> float:
    """Return how well a sentence is supported, flaws counted: the order of evidence, worst first."""
    return sentence.share * (1 - ABSENT * (1 - math.exp(-sentence.flaws)))


def _span(kind: str, text: str, start: int, end: int, note: str) -> Evidence:
    return Evidence(kind, text[start:end], start=start, end=end, note=note)
