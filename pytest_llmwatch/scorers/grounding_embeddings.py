"""Groundedness by words and by the meaning of words: the core score with cosines of token embeddings."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import MAX_EVIDENCE, Base
from pytest_llmwatch.scorers.grounding import Groundedness, documents
from pytest_llmwatch.scorers.minilm import Matrix, encoder
from pytest_llmwatch.scorers.words import STOP_WORDS

MEANING = 0.35
"""Weight of the cosines in the geometric mean; the core score has the rest."""
LOW, HIGH = 0.3, 0.9
"""Mean cosines that count as 0 and as 1: unrelated texts have about .35, copies 1."""
_FAR = 0.5
"""A word whose best cosine is below is listed."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class GroundednessEmbeddings(Base):
    """`groundedness`, corrected by the mean over the answer's words of the best cosine to a word of the context.

    A geometric mean in which the cosines weigh .35.

    The vectors are those that all-MiniLM-L6-v2 gives each token within its text, so that a synonym is near and the
    same word in another sense is not. Cosine sees neither negation nor changed numbers; the core score does. The
    first 8,192 tokens of answer and context are read.

    Raises:
        UsageError: The extra ``embeddings`` is not installed.
    """

    name = "groundedness_embeddings"

    def __post_init__(self) -> None:
        encoder(self.name)

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: it is asked for by name."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Score as `groundedness`, then by meaning; the farthest words are evidence too."""
        core = Groundedness().score(output, case)
        if core.value is None:
            return replace(core, name=self.name, version=self.version)
        source = _vectors("\n\n".join(documents(case)))
        vectors, spans = encoder(self.name).tokens(output.text)
        if not len(source) or not len(vectors):
            return self.not_assessable("The answer or the context has no words.")
        best = _best(vectors, source)
        chosen = [i for i, (start, end) in enumerate(spans) if _tells(output.text[start:end])] or range(len(spans))
        cosines = [best[i] for i in chosen]
        mean = sum(cosines) / len(cosines)
        meaning = min(1.0, max(0.0, (mean - LOW) / (HIGH - LOW)))
        value = core.value ** (1 - MEANING) * meaning**MEANING
        far = sorted((best[i], spans[i]) for i in chosen if best[i] < _FAR)
        evidence = list(core.evidence[: MAX_EVIDENCE - min(10, len(far))])
        evidence += [
            Evidence("far", output.text[start:end], start=start, end=end, note=f"best cosine {cosine:.2f}")
            for cosine, (start, end) in far[:10]
        ]
        said = f"Mean cosine of words {mean:.2f}; by words {core.value:.2f}. {core.explanation}"
        return self.result(value, said, evidence)


def _tells(token: str) -> bool:
    return token.lower() not in STOP_WORDS and _WORD.fullmatch(token) is not None


def _best(vectors: Matrix, source: Matrix) -> list[float]:
    """Return the best cosine of each vector; in slices, so that long texts take little memory."""
    out: list[float] = []
    for low in range(0, len(vectors), 512):
        out += (vectors[low : low + 512] @ source.T).max(axis=1).tolist()
    return out


@functools.lru_cache(maxsize=8)
def _vectors(text: str) -> Matrix:
    """Return the vectors of a context, kept for the next answers to the same case."""
    return encoder().tokens(text)[0]
