"""Cosines of sentence embeddings: how alike a text and its reference or its question are in meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.compare import NO_REFERENCE, wanted
from pytest_llmwatch.scorers.minilm import encoder
from pytest_llmwatch.scorers.options import option

_BLIND = "cosine sees neither negation nor changed numbers"


@dataclass(frozen=True, slots=True)
class SimilarityEmbeddings(Base):
    """Cosine of the answer and the nearest reference by all-MiniLM-L6-v2; below 0 counts as 0.

    It sees paraphrases, and neither negation nor changed numbers: "is open" and "is not open" are nearly the same
    to it. Only the first 254 tokens of each text are read.

    Raises:
        UsageError: The extra ``embeddings`` is not installed.
    """

    name = "similarity_embeddings"

    value: str | Sequence[str] | None = option("texts")
    """Text to compare with, or several; None = the case's reference."""

    def __post_init__(self) -> None:
        encoder(self.name)

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: it is asked for by name."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Compare with each text; the nearest is evidence."""
        texts = [text for text in wanted(self.value, case) if text.strip()]
        if not texts:
            return self.not_assessable(NO_REFERENCE)
        if not output.text.strip():
            return self.result(0.0, "The answer is empty.")
        value, nearest = _nearest(self.name, output.text, texts)
        evidence = [Evidence("expected", nearest[:500], where="item")]
        return self.result(value, f"Cosine {value:.3f} to the reference ({_BLIND}).", evidence)


@dataclass(frozen=True, slots=True)
class RelevanceEmbeddings(Base):
    """Cosine of the answer and the input by all-MiniLM-L6-v2; below 0 counts as 0.

    It sees an answer in other words than the question's, which `relevance` does not; it cannot see whether the
    answer is right, negated, or about other numbers. Only the first 254 tokens of each text are read.

    Raises:
        UsageError: The extra ``embeddings`` is not installed.
    """

    name = "relevance_embeddings"

    def __post_init__(self) -> None:
        encoder(self.name)

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: it is asked for by name."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Compare the answer with the input."""
        asked = case.input_text()
        if not asked or not asked.strip():
            return self.not_assessable("The case has no input.")
        if not output.text.strip():
            return self.result(0.0, "The answer is empty.")
        value, _asked = _nearest(self.name, output.text, [asked])
        return self.result(value, f"Cosine {value:.3f} to the input ({_BLIND}).")


def _nearest(scorer: str, text: str, others: Sequence[str]) -> tuple[float, str]:
    vectors = encoder(scorer).texts([text, *others])
    cosines = vectors[1:] @ vectors[0]
    best = int(cosines.argmax())
    return min(1.0, max(0.0, float(cosines[best]))), others[best]
