"""Consistency: do repeats of the same case say the same."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, CaseResult, Evidence, Output, Score
from pytest_llmwatch.scorers.base import NEGATED, Base
from pytest_llmwatch.scorers.likeness import likeness


@dataclass(frozen=True, slots=True)
class Consistency(Base):
    """Mean likeness of an answer to the answers of the case's other repeats.

    Two answers are alike by the share of each other's words: function words weigh .1, words of every text .3,
    numbers 2, others 1, and a word that is missing counts as its likeness in letters to the nearest one.

    One answer alone says nothing: the score is ``unscored`` until the end of the run, and ``not_assessable``
    where there was only one. ``llmwatch score`` compares records of a case that follow each other.
    """

    name = "consistency"
    version = "2"

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
    """Return for each text its mean likeness to the others, in [0, 1]; equal texts are 1. See `likeness`."""
    n = len(texts)
    if n < 2:
        return [1.0] * n
    return [min(1.0, (sum(row) - 1.0) / (n - 1)) for row in likeness(texts)]


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
            scores = tuple(fill(s, value, len(indices)) if waits(s) else s for s in out[i].scores)
            out[i] = dataclasses.replace(out[i], scores=scores)
    return tuple(out)


def waits(score: Score) -> bool:
    """Whether ``score`` is of this scorer and waits for the other repeats."""
    return score.label == "unscored" and score.explanation.removeprefix(NEGATED).startswith(
        "Compared with the other repeats"
    )


def _waiting(result: CaseResult) -> bool:
    return any(waits(score) for score in result.scores)


def fill(
    score: Score, value: float | None, n: int, alone: str = "Only one repeat: nothing to compare with."
) -> Score:
    """Return a score that `waits` with ``value``, its mean likeness to the others of ``n`` repeats.

    Without a value, or others, it is ``not_assessable``, for the reason ``alone``.
    """
    if value is None or n < 2:
        return dataclasses.replace(score, label="not_assessable", explanation=alone)
    negated = score.explanation.startswith(NEGATED)
    said = f"Mean similarity {value:.2f} to the {n - 1} other repeat{'s' if n > 2 else ''}."
    return dataclasses.replace(
        score,
        value=1 - value if negated else value,
        label=None,
        explanation=NEGATED + said if negated else said,
        evidence=(Evidence("repeats", str(n), where="item"),),
    )
