"""Relevance: what experts called irrelevant, and answers to another question than the one asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labels import read, text
from table import Row, auroc_row, timed

from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers import get

Pair = tuple[str, str]


def ours(pair: Pair) -> float:
    """1 - relevance of an answer to a question; 0 where it is not assessable."""
    value = get("relevance").score(Output(pair[1]), Case("row", input=pair[0])).value
    return 0.0 if value is None else 1 - value


def overlap(pair: Pair) -> float:
    """1 - raw keyword overlap times 1.5, as commonly published."""
    asked = set(pair[0].lower().split())
    return 1 - min(1.0, 1.5 * len(asked & set(pair[1].lower().split())) / len(asked)) if asked else 0.0


def measured(name: str, answers: list[dict[str, Any]], pairs: list[Pair], labels: list[int]) -> Iterator[Row]:
    """Yield the row of our scorer and of the overlap that it replaces."""
    for scorer, figure in (("keyword overlap x 1.5", overlap), ("relevance", ours)):
        badness, rate = timed(figure, pairs)
        yield auroc_row(name, scorer, answers, labels, badness, rate=rate)


def rows() -> Iterator[Row]:
    """Yield the rows of HaluQuestQA (irrelevant by experts) and of wrong questions."""
    answers = [r for r in read("haluquestqa") if str(r.get("irrelevant")) not in ("None", "nan")]
    if answers:
        pairs = [(text(r, "input"), r["output"]) for r in answers]
        labels = [int(float(r["irrelevant"])) for r in answers]
        yield from measured("haluquestqa, irrelevant by experts", answers, pairs, labels)
    for name in ("haluquestqa", "ragtruth"):
        answers = [r for r in read(name) if name != "ragtruth" or r["task"] == "QA"]
        if answers:
            asked = [text(r, "input") for r in answers]
            other = asked[len(asked) // 2 :] + asked[: len(asked) // 2]
            pairs = [(q, r["output"]) for q, r in zip([*asked, *other], [*answers, *answers], strict=True)]
            labels = [0] * len(answers) + [1] * len(answers)
            yield from measured(f"{name}, another question", [*answers, *answers], pairs, labels)
