"""Measures of machine translation, by sacrebleu: BLEU, chrF, TER."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.compare import NO_REFERENCE, clean, too_long, wanted
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.options import option

_TOKENIZERS = ("13a", "char", "intl", "zh", "none")


@dataclass(frozen=True, slots=True)
class Bleu(Base):
    """Sentence BLEU of sacrebleu (1- to 4-grams, exponential smoothing, effective order), as 0 to 1.

    All references count together, as BLEU has it. ``tokenize``: ``13a`` (default), ``intl``, ``zh``, ``char``.

    Raises:
        UsageError: sacrebleu is not installed.
    """

    name = "bleu"

    value: str | Sequence[str] | None = option("texts")
    tokenize: str = option(_TOKENIZERS, "13a")
    ignore_case: bool = option("flag", False)

    def __post_init__(self) -> None:
        load("sacrebleu.metrics", self.name)

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a text was given."""
        return self.value is not None

    def score(self, output: Output, case: Case) -> Score:
        """Compare with all references."""
        texts = [text for text in wanted(self.value, case) if text.strip()]
        if not texts:
            return self.not_assessable(NO_REFERENCE)
        if why := too_long(output.text, *texts):
            return self.not_assessable(why)
        found = self._metric().sentence_score(clean(output.text), [clean(text) for text in texts])
        value = found.score / 100
        evidence = [] if value >= 1 else [Evidence("expected", text[:500], where="item") for text in texts]
        return self.result(value, f"{self.name} {value:.3f} against {len(texts)} reference(s).", evidence)

    def _metric(self) -> Any:
        bleu = load("sacrebleu.metrics", self.name).BLEU
        return bleu(lowercase=self.ignore_case, tokenize=self.tokenize, effective_order=True)


@dataclass(frozen=True, slots=True)
class Chrf(Bleu):
    """chrF of sacrebleu: F-score of character 1- to 6-grams, recall weighted 2 to 1; ``words`` 2 is chrF++.

    The best single reference counts. Works for scripts without spaces and for rich inflection.

    Raises:
        UsageError: sacrebleu is not installed.
    """

    name = "chrf"

    words: int = option("count", 0)
    """Longest word n-gram that counts too: 0 is chrF, 2 is chrF++."""

    def _metric(self) -> Any:
        chrf = load("sacrebleu.metrics", self.name).CHRF
        return chrf(lowercase=self.ignore_case, word_order=self.words)
