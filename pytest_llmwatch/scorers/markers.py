"""Markers: hedges, absolutes and specific claims per sentence. Information, not hallucination detection."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.sentences import sentences

ABSOLUTES = (
    "always", "never", "definitely", "certainly", "all", "everyone knows", "it is a fact", "undoubtedly",
)  # fmt: skip
HEDGES = (
    "may", "might", "could", "possibly", "likely", "approximately", "it appears",
    "based on", "according to", "generally",
)  # fmt: skip


def _words(phrases: tuple[str, ...]) -> re.Pattern[str]:
    body = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    return re.compile(rf"(?<!\w)(?:{body})(?!\w)", re.IGNORECASE)


KINDS: tuple[tuple[str, float, re.Pattern[str]], ...] = (
    ("absolute", -0.3, _words(ABSOLUTES)),
    (
        "claim",
        -0.1,
        re.compile(
            r"(?<![\w.,$])(?:1\d{3}|20\d{2})(?![\w%]|[.,]\d)|(?<![\w.])\d+(?:[.,]\d+)*\s?%|\$\s?\d+(?:[.,]\d+)*"
        ),
    ),
    ("hedge", 0.1, _words(HEDGES)),
)
"""Kind of marker, its weight per sentence, and how it is found: words on word boundaries, four-digit years,
percentages, dollar amounts."""


@dataclass(frozen=True, slots=True)
class Markers(Base):
    """1 - .3 absolutes per sentence - .1 specific claims per sentence + .1 hedges per sentence, within [0, 1].

    The formula is widely published as a hallucination score. It does not detect hallucination (AUROC about .5 on
    labelled answers), so the score is informational: shown and trended, never in the composite, no default gate.
    """

    name = "markers"
    informational = True

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a sentence."""
        return any(c.isalnum() for c in output.text)

    def score(self, output: Output, case: Case) -> Score:
        """Count the markers; each is evidence."""
        n = len(sentences(output.text))
        if not n:
            return self.not_assessable("The answer has no sentence.")
        value, evidence, said = 1.0, [], []
        for kind, weight, expression in KINDS:
            found = [Evidence(kind, m[0], start=m.start(), end=m.end()) for m in expression.finditer(output.text)]
            value += weight * len(found) / n
            said.append(f"{len(found)} {kind}{'s' if len(found) != 1 else ''}")
            evidence += found
        return self.result(value, f"{', '.join(said)} in {n} sentence{'s' if n != 1 else ''}.", evidence)
