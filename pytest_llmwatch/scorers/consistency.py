"""Consistency: do repeats of the same case say the same."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, CaseResult, Evidence, Output, Score
from pytest_llmwatch.scorers.base import NEGATED, Base
from pytest_llmwatch.scorers.words import WORD

_SIZES = (2, 3, 4, 5)
_MAX_CHARS = 4_000
"""Characters of an answer that are compared: beyond that repeats have long shown whether they agree."""


@dataclass(frozen=True, slots=True)
class Consistency(Base):
    """Mean similarity of an answer to the answers of the case's other repeats (character 2- to 5-grams, cosine).

    One answer alone says nothing: the score is ``unscored`` until `over_repeats` has seen all of them, and
    ``not_assessable`` where there was only one.
    """

    name = "consistency"

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: it takes repeats, which only a run has."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Return a score without a value, to be filled by `over_repeats`."""
        return Score(
            self.name,
            None,
            label="unscored",
            explanation="Compared with the other repeats at the end of the run.",
            version=self.version,
        )


def similarities(texts: Sequence[str]) -> list[float]:
    """Return for each text its mean cosine similarity to the others, in [0, 1].

    Character 2- to 5-grams within words (punctuation and case left out), counted as 1 + ln n. Equal texts have
    similarity 1. No idf: a handful of repeats is no corpus, and idf over them would belittle what they share.
    """
    vectors = [_vector(text) for text in texts]
    n = len(texts)
    out = []
    for i, vector in enumerate(vectors):
        total = 0.0
        for j, other in enumerate(vectors):
            if i != j:
                total += 1.0 if texts[i] == texts[j] else _dot(vector, other)
        out.append(min(1.0, total / (n - 1)) if n > 1 else 1.0)
    return out


def _vector(text: str) -> dict[str, float]:
    grams: Counter[str] = Counter()
    for word in WORD.findall(text[:_MAX_CHARS].lower()):
        padded = f" {word} "
        for size in _SIZES:
            grams.update(padded[i : i + size] for i in range(max(1, len(padded) - size + 1)))
    vector = {gram: 1 + math.log(n) for gram, n in grams.items()}
    norm = math.sqrt(sum(v * v for v in vector.values())) or 1.0
    return {gram: v / norm for gram, v in vector.items()}


def _dot(a: dict[str, float], b: dict[str, float]) -> float:
    if len(b) < len(a):
        a, b = b, a
    return sum(v * b[gram] for gram, v in a.items() if gram in b)


def over_repeats(results: Sequence[CaseResult]) -> tuple[CaseResult, ...]:
    """Fill the ``consistency`` scores of a run, where golden sets asked for them. Pure; keeps the order.

    The first execution (attempt 0) of each repeat is compared with the case's other repeats. Labels and
    thresholds are kept, and so is ``negate``.
    """
    groups: dict[tuple[str | None, str | None], list[int]] = defaultdict(list)
    for i, result in enumerate(results):
        if result.attempt == 0 and result.output is not None and result.case is not None and _waiting(result):
            groups[(result.set, result.case)].append(i)
    out = list(results)
    for indices in groups.values():
        values = similarities([results[i].output or "" for i in indices])
        for i, value in zip(indices, values, strict=True):
            out[i] = dataclasses.replace(
                out[i], scores=tuple(_filled(s, value, len(indices)) for s in out[i].scores)
            )
    return tuple(out)


def _is_waiting(score: Score) -> bool:
    return score.label == "unscored" and score.explanation.removeprefix(NEGATED).startswith(
        "Compared with the other repeats"
    )


def _waiting(result: CaseResult) -> bool:
    return any(_is_waiting(score) for score in result.scores)


def _filled(score: Score, value: float, n: int) -> Score:
    if not _is_waiting(score):
        return score
    if n < 2:
        return dataclasses.replace(
            score, label="not_assessable", explanation="Only one repeat: nothing to compare with."
        )
    negated = score.explanation.startswith(NEGATED)
    said = f"Mean similarity {value:.2f} to the {n - 1} other repeat{'s' if n > 2 else ''}."
    return dataclasses.replace(
        score,
        value=1 - value if negated else value,
        label=None,
        explanation=NEGATED + said if negated else said,
        evidence=(Evidence("repeats", str(n), where="item"),),
    )
