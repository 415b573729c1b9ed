"""Groundedness against human labels, beside what it is to be compared with."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from labels import SETS, TASKS, read, text
from table import Row, auroc_row, sample, timed

from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers import get
from pytest_llmwatch.scorers.words import content_words, stem

Figure = Callable[[dict[str, Any]], float]
_PLAIN = re.compile(r"\w+")


def length(row: dict[str, Any]) -> float:
    """Words of the answer."""
    return len(_PLAIN.findall(row["output"]))


def unsupported_words(row: dict[str, Any]) -> float:
    """Share of the answer's content words whose stem is not in the context."""
    known = {stem(w) for w in content_words(text(row, "context"))}
    words = [stem(w) for w in content_words(row["output"])]
    return sum(w not in known for w in words) / len(words) if words else 0.0


def scorer(name: str) -> Figure:
    """Return 1 - a scorer of ours; 0 where it is not assessable."""
    found = get(name)

    def figure(row: dict[str, Any]) -> float:
        case = Case("row", input=text(row, "input"), context=(text(row, "context"),))
        value = found.score(Output(row["output"]), case).value
        return 0.0 if value is None else 1 - value

    return figure


def rouge() -> Figure | None:
    """1 - ROUGE-L precision, by the package rouge-score."""
    if importlib.util.find_spec("rouge_score") is None:
        print("SKIPPED rouge-score: not installed")
        return None
    made = importlib.import_module("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    return lambda row: 1 - made.score(text(row, "context"), row["output"])["rougeL"].precision


def autoevals() -> Figure | None:
    """1 - Levenshtein of autoevals, its deterministic metric for texts."""
    if importlib.util.find_spec("autoevals") is None:
        print("SKIPPED autoevals: not installed")
        return None
    made = importlib.import_module("autoevals").Levenshtein()
    return lambda row: 1 - float(made.eval(output=row["output"], expected=text(row, "context")).score)


PEER_ANSWERS = 250
"""Answers of each set that peers are measured on: they take up to a hundred times as long."""


def rows() -> Iterator[Row]:
    """Yield a row for each set, each task of RAGTruth, and each figure; then the peers', on a sample."""
    known: dict[str, Figure] = {
        "length alone": length,
        "unsupported words": unsupported_words,
        "groundedness": scorer("groundedness"),
    }
    peers = {"rouge-score ROUGE-L": rouge(), "autoevals Levenshtein": autoevals()}
    for name in SETS:
        answers = read(name)
        if answers:
            yield from _rows(name, answers, known)
            some = sample(answers, PEER_ANSWERS)
            for label, peer in peers.items():
                if peer is not None:
                    yield from _rows(name, some, {label: peer}, tasks=False)


def _rows(
    name: str, answers: list[dict[str, Any]], known: dict[str, Figure], *, tasks: bool = True
) -> Iterator[Row]:
    labels = np.array([int(r["hallucinated"]) for r in answers])
    lengths = np.array([length(r) for r in answers])
    parts = [(name, np.arange(len(answers)))]
    for task in TASKS.get(name, ()) if tasks else ():
        parts.append((f"- {task}", np.array([i for i, r in enumerate(answers) if r["task"] == task])))
    measured = {label: timed(figure, answers) for label, figure in known.items()}
    for part, chosen in parts:
        for label, (badness, rate) in measured.items():
            yield auroc_row(
                part,
                label,
                [answers[i] for i in chosen],
                labels[chosen],
                np.array(badness)[chosen],
                rate=rate if part == name else None,
                lengths=None if label == "length alone" else lengths[chosen],
            )
