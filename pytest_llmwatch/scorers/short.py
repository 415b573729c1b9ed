"""Short output: an answer that says (almost) nothing, or much less than it did."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.compare import count_words
from pytest_llmwatch.scorers.options import option

BASELINE_KEY = "baseline_words"
"""Key of a case's ``metadata`` that holds how many words the answer had before."""


@dataclass(frozen=True, slots=True)
class ShortOutput(Base):
    """1 where the answer is long enough, else its words over the words wanted.

    The floor is the highest of ``min_words``, ``of_input`` times the input's words, ``of_reference`` times the
    reference's, and ``of_baseline`` times the words of earlier answers: ``baseline_words``, or the case's
    ``metadata.baseline_words``. Without an option: an empty answer is 0, any other 1.

    Raises:
        ValueError: A share below 0.
    """

    name = "short_output"

    min_words: int = option("count", 1)
    of_input: float | None = option("number")
    of_reference: float | None = option("number")
    of_baseline: float | None = option("number")
    baseline_words: float | None = option("number")

    def __post_init__(self) -> None:
        for key in ("of_input", "of_reference", "of_baseline", "baseline_words"):
            given = getattr(self, key)
            if given is not None and given < 0:
                raise ValueError(f"{key} must be >= 0 (got {given!r})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: how short is too short, only people know."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Count words; the floor that was highest is evidence."""
        floors = [(float(self.min_words), "min_words")]
        unknown = []
        for key, share, words in (
            ("input", self.of_input, _words(case.input_text())),
            ("reference", self.of_reference, _words(case.reference)),
            ("baseline", self.of_baseline, self._baseline(case)),
        ):
            if share is not None and words is None:
                unknown.append(key)
            elif share is not None and words is not None:
                floors.append((share * words, f"{share:g} of the {words:g} words of the {key}"))
        made = count_words(output.text)
        floor, why = max(floors)
        if unknown and made >= floor:
            return self.not_assessable(f"The answer has {made:,} words; the {unknown[0]} is not known.")
        evidence = [Evidence("length", str(made), where="item", note=f"at least {floor:g}: {why}")]
        if made >= floor:
            return self.result(1.0, f"{made:,} words, at least {floor:g} wanted ({why}).", evidence)
        return self.result(made / floor, f"Only {made:,} words, at least {floor:g} wanted ({why}).", evidence)

    def _baseline(self, case: Case) -> float | None:
        if self.baseline_words is not None:
            return self.baseline_words
        known = case.metadata.get(BASELINE_KEY)
        return float(known) if isinstance(known, int | float) and not isinstance(known, bool) else None


def _words(text: str | None) -> float | None:
    return None if text is None else float(count_words(text))
