"""Edit distance to the reference (rapidfuzz)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.compare import NO_REFERENCE, too_long, wanted
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.options import option

_METHODS = {
    "levenshtein": "Levenshtein",
    "damerau": "OSA",
    "indel": "Indel",
    "hamming": "Hamming",
    "jaro": "Jaro",
    "jaro_winkler": "JaroWinkler",
}


@dataclass(frozen=True, slots=True)
class EditDistance(Base):
    """Similarity by edit distance: 1 - distance / length of the longer text. 1 = equal, 0 = nothing in common.

    With ``max_distance`` 1 where at most so many edits are needed, else 0. Several references: the nearest counts.

    Raises:
        UsageError: rapidfuzz is not installed.
        ValueError: ``max_distance`` together with a method that counts no edits.
    """

    name = "levenshtein"

    value: str | Sequence[str] | None = option("texts")
    """Text to compare with, or several; None = the case's reference."""
    method: str = option(tuple(_METHODS), "levenshtein")
    ignore_case: bool = option("flag", False)
    max_distance: int | None = option("count")

    def __post_init__(self) -> None:
        load("rapidfuzz.distance", self.name)
        if self.max_distance is not None and self.method in ("jaro", "jaro_winkler"):
            raise ValueError(f"max_distance needs a method that counts edits (got method {self.method!r})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a text was given."""
        return self.value is not None

    def score(self, output: Output, case: Case) -> Score:
        """Compare with each text; the nearest is evidence."""
        texts = wanted(self.value, case)
        if not texts:
            return self.not_assessable(NO_REFERENCE)
        given = self._comparable(output.text)
        if why := too_long(given, *texts):
            return self.not_assessable(why)
        measure = getattr(load("rapidfuzz.distance", self.name), _METHODS[self.method])
        compared = [(measure.normalized_similarity(given, self._comparable(text)), text) for text in texts]
        value, nearest = max(compared, key=lambda found: found[0])
        evidence = [Evidence("expected", nearest[:500], where="item")]
        if self.max_distance is None:
            return self.result(value, f"Similarity {value:.3f} to the reference ({self.method}).", evidence)
        edits = min(measure.distance(given, self._comparable(text)) for text in texts)
        within = edits <= self.max_distance
        said = f"{edits:,} edits from the reference, at most {self.max_distance:,} wanted."
        return self.result(float(within), said, () if within else evidence)

    def _comparable(self, text: str) -> str:
        text = text.strip()
        return text.casefold() if self.ignore_case else text
