"""Words in common with the reference: ROUGE, GLEU, METEOR, F1 and exact match of question answering.

ROUGE (Lin, 2004) is counted here and not by rouge-score, which has had no release since 2022 and brings nltk; its
figures are reproduced by the tests. The longest common subsequence is rapidfuzz's.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.compare import NO_REFERENCE, answer_words, wanted, words
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.words import stem

Grams = Counter[tuple[str, ...]]


def grams(items: Sequence[str], n: int) -> Grams:
    """Return the n-grams of ``items``, counted."""
    return Counter(zip(*(items[i:] for i in range(n)), strict=False))


def shares(common: int, made: int, asked: int) -> tuple[float, float, float]:
    """Return precision, recall and F1 of ``common`` items among ``made`` and ``asked``; 0 where there are none."""
    precision, recall = common / made if made else 0.0, common / asked if asked else 0.0
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


class OfReference(Base):
    """A scorer that compares words with a reference: the best of several references counts."""

    __slots__ = ()

    value: str | Sequence[str] | None

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a text was given."""
        return self.value is not None

    def score(self, output: Output, case: Case) -> Score:
        """Compare with each reference; the best one is evidence."""
        texts = [text for text in wanted(self.value, case) if self.items(text)]
        if not texts:
            return self.not_assessable(NO_REFERENCE)
        made = self.items(output.text)
        found = [(self.compare(made, self.items(text)), text) for text in texts]
        (value, said), best = max(found, key=lambda f: f[0][0])
        evidence = [] if value == 1 else [Evidence("expected", best[:500], where="item")]
        return self.result(value, said, evidence)

    def items(self, text: str) -> list[str]:
        """Return the words that are compared."""
        return words(text)

    def compare(self, made: list[str], asked: list[str]) -> tuple[float, str]:
        """Return the value for one reference, and a sentence."""
        return float(made == asked), f"{len(made):,} words against {len(asked):,}."


@dataclass(frozen=True, slots=True)
class Rouge(OfReference):
    """ROUGE: n-grams (``n`` 1, 2, ...) or the longest common subsequence (``L``) in common with the reference.

    ``measure``: ``f`` (F1, the default), ``precision`` (share of the answer's) or ``recall`` (share of the
    reference's).

    Raises:
        UsageError: ``L`` without rapidfuzz.
        ValueError: Another ``n``.
    """

    name = "rouge"

    value: str | Sequence[str] | None = option("texts")
    n: Any = option("any", "L")  # noqa: RUF009
    """Length of the n-grams, 1 to 9, or ``L``."""
    measure: str = option(("f", "precision", "recall"), "f")
    stem: bool = option("flag", False)
    """Compare word stems (English)."""

    def __post_init__(self) -> None:
        if str(self.n) not in (*"123456789", "L"):
            raise ValueError(f"n must be 1 to 9, or L (got {self.n!r})")
        if self.n == "L":
            load("rapidfuzz.distance", self.name)

    def items(self, text: str) -> list[str]:
        """Return the words, stemmed where asked for."""
        return words(text, stemmed=self.stem)

    def compare(self, made: list[str], asked: list[str]) -> tuple[float, str]:
        """Return the share asked for."""
        if self.n == "L":
            common = load("rapidfuzz.distance", self.name).LCSseq.similarity(made, asked)
            found = shares(common, len(made), len(asked))
        else:
            a, b = grams(made, int(self.n)), grams(asked, int(self.n))
            found = shares((a & b).total(), a.total(), b.total())
        precision, recall, f = found
        value = {"f": f, "precision": precision, "recall": recall}[self.measure]
        return value, f"ROUGE-{self.n}: precision {precision:.3f}, recall {recall:.3f}, F1 {f:.3f}."


@dataclass(frozen=True, slots=True)
class Gleu(OfReference):
    """Google-BLEU: the smaller of precision and recall of all 1- to 4-grams (Wu et al., 2016)."""

    name = "gleu"

    value: str | Sequence[str] | None = option("texts")

    def compare(self, made: list[str], asked: list[str]) -> tuple[float, str]:
        """Return min(precision, recall)."""
        a: Grams = Counter()
        b: Grams = Counter()
        for n in range(1, 5):
            a.update(grams(made, n))
            b.update(grams(asked, n))
        precision, recall, _f = shares((a & b).total(), a.total(), b.total())
        return min(precision, recall), f"1- to 4-grams: precision {precision:.3f}, recall {recall:.3f}."


@dataclass(frozen=True, slots=True)
class Meteor(OfReference):
    """METEOR without synonyms: words matched as they are, then by stem; recall weighs 9 to 1, order counts.

    F = 10PR / (R + 9P); times 1 - .5 (chunks / matches)^3 (Banerjee and Lavie, 2005). Synonyms would take WordNet,
    which is not here: paraphrases score lower than in the original.
    """

    name = "meteor"

    value: str | Sequence[str] | None = option("texts")

    def compare(self, made: list[str], asked: list[str]) -> tuple[float, str]:
        """Return the score of the aligned words."""
        pairs = _aligned(made, asked)
        if not pairs:
            return 0.0, "No word in common."
        precision, recall = len(pairs) / len(made), len(pairs) / len(asked)
        f = 10 * precision * recall / (recall + 9 * precision)
        chunks = 1 + sum(not (b[0] == a[0] + 1 and b[1] == a[1] + 1) for a, b in itertools.pairwise(pairs))
        value = f * (1 - 0.5 * (chunks / len(pairs)) ** 3)
        return value, f"{len(pairs):,} words matched in {chunks:,} pieces: F {f:.3f}."


def _aligned(made: list[str], asked: list[str]) -> list[tuple[int, int]]:
    """Return (place in ``made``, place in ``asked``) of equal words, then of equal stems, in order of ``made``.

    The next occurrence after the last match is preferred, which keeps pieces long.
    """
    pairs: list[tuple[int, int]] = []
    used_made: set[int] = set()
    used_asked: set[int] = set()
    for change in (str, stem):
        places: dict[str, list[int]] = {}
        for j in range(len(asked) - 1, -1, -1):
            if j not in used_asked:
                places.setdefault(change(asked[j]), []).append(j)
        for i, word in enumerate(made):
            free = places.get(change(word))
            if free and i not in used_made:
                j = free.pop()
                pairs.append((i, j))
                used_made.add(i)
                used_asked.add(j)
    return sorted(pairs)


@dataclass(frozen=True, slots=True)
class WordF1(OfReference):
    """F1 of the answer's words against the reference's, as in SQuAD: no case, punctuation, articles, order."""

    name = "word_f1"

    value: str | Sequence[str] | None = option("texts")
    measure: str = option(("f", "precision", "recall"), "f")

    def items(self, text: str) -> list[str]:
        """Return the words of an answer."""
        return answer_words(text)

    def compare(self, made: list[str], asked: list[str]) -> tuple[float, str]:
        """Return the share asked for."""
        common = (Counter(made) & Counter(asked)).total()
        precision, recall, f = shares(common, len(made), len(asked))
        value = {"f": f, "precision": precision, "recall": recall}[self.measure]
        return value, f"{common:,} words in common: precision {precision:.3f}, recall {recall:.3f}, F1 {f:.3f}."


@dataclass(frozen=True, slots=True)
class ExactMatch(OfReference):
    """Whether the answer is the reference but for case, punctuation, articles and spacing (SQuAD): 1 or 0."""

    name = "exact_match"

    value: str | Sequence[str] | None = option("texts")

    def items(self, text: str) -> list[str]:
        """Return the words of an answer."""
        return answer_words(text)

    def compare(self, made: list[str], asked: list[str]) -> tuple[float, str]:
        """Return whether all words are equal."""
        if made == asked:
            return 1.0, "The same words as the reference."
        return 0.0, f"{' '.join(made[:8])!r} instead of {' '.join(asked[:8])!r}."
