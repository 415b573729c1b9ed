"""Markers against human labels of hallucination: the published formula is chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labels import SETS, read
from table import Row, auroc_row, timed

from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers import get


def marked(row: dict[str, Any]) -> float:
    """1 - the formula; 0 where there is no sentence."""
    value = get("markers").score(Output(row["output"]), Case("row")).value
    return 0.0 if value is None else 1 - value


def rows() -> Iterator[Row]:
    """Yield a row for each set with human labels of hallucination."""
    for name in (*SETS, "halueval_general"):
        answers = read(name)
        if answers:
            badness, rate = timed(marked, answers)
            labels = [int(float(r["hallucinated"])) for r in answers]
            perfect = sum(b == 0 for b in badness) / len(badness)
            yield auroc_row(
                name, "markers", answers, labels, badness, rate=rate, note=f"{perfect:.0%} score exactly 1"
            )
