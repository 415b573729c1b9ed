"""Consistency: the likeness of two texts against what people say of them (STS, 0 to 5)."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from labels import read, text
from table import Row, intervalled, timed

from pytest_llmwatch.scorers.consistency import similarities
from pytest_llmwatch.scorers.words import WORD

Pair = tuple[str, str]


def ours(pair: Pair) -> float:
    """Likeness of two answers."""
    return similarities(pair)[0]


def matcher(pair: Pair) -> float:
    """The ratio of difflib's SequenceMatcher."""
    return difflib.SequenceMatcher(None, *pair).ratio()


def grams(text_: str) -> Counter[str]:
    """Count the character 2- to 5-grams within words."""
    padded = [f" {word} " for word in WORD.findall(text_.lower())]
    return Counter(w[i : i + n] for w in padded for n in (2, 3, 4, 5) for i in range(max(1, len(w) - n + 1)))


class Tfidf:
    """Cosine of character 2- to 5-grams, weighed by the idf of the set, which a run's repeats do not have."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.n = 2 * len(pairs)
        self.frequency = Counter(gram for pair in pairs for one in pair for gram in grams(one))

    def __call__(self, pair: Pair) -> float:
        """Return the cosine."""
        a, b = (
            {g: n * (1 + math.log((1 + self.n) / (1 + self.frequency[g]))) for g, n in grams(one).items()}
            for one in pair
        )
        norm = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values())) or 1.0
        return sum(v * b[g] for g, v in a.items() if g in b) / norm


def rows() -> Iterator[Row]:
    """Yield Pearson's correlation of each measure with people's judgement."""
    answers = read("sts")
    if not answers:
        return
    pairs = [(text(r, "input"), r["output"]) for r in answers]
    people = np.array([float(r["score"]) for r in answers])
    groups = [str(r["group"]) for r in answers]
    for name, figure, note in (
        ("difflib", matcher, ""),
        ("characters 2-5, idf of the set", Tfidf(pairs), "needs a corpus"),
        ("consistency", ours, ""),
    ):
        values, rate = timed(figure, pairs)
        found = np.array(values)

        def pearson(k: np.ndarray, found: np.ndarray = found) -> float:
            return float(np.corrcoef(found[k], people[k])[0, 1])

        low, high = intervalled(groups, pearson, n=200)
        value = pearson(np.arange(len(people)))
        yield Row("sts", name, len(pairs), value, low, high, measure="Pearson", rate=rate, note=note)
