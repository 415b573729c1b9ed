"""The other scorers against labels: python bench/scorers/others.py"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from labels import SETS, auroc, read, text

from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers import get
from pytest_llmwatch.scorers.consistency import similarities

Row = dict[str, Any]


def value(name: str, output: str, **case: Any) -> float | None:
    """Return a scorer's value."""
    return get(name).score(Output(output), Case("row", **case)).value


def ranked(name: str, label: str, figure: Callable[[Row], float | None], rows: list[Row]) -> None:
    """Print the AUROC of 1 - figure for ``label``."""
    pairs = [(int(float(r[label])), figure(r)) for r in rows if str(r.get(label)) not in ("None", "nan")]
    kept = [(y, v) for y, v in pairs if v is not None]
    if kept:
        ones = sum(v == 1 for _y, v in kept) / len(kept)
        figures = auroc([y for y, _ in kept], [1 - v for _, v in kept])
        print(f"{name:44}{len(kept):>6} of {len(rows):<6}AUROC {figures:.3f}   {ones:.0%} score exactly 1")


def markers() -> None:
    """The published formula against human labels of hallucination."""
    for name in (*SETS, "halueval_general"):
        ranked(f"markers, {name}", "hallucinated", lambda r: value("markers", r["output"]), read(name))


def overlap(row: Row) -> float | None:
    """Raw keyword overlap times 1.5, as commonly published."""
    asked = set(text(row, "input").lower().split())
    return min(1.0, 1.5 * len(asked & set(row["output"].lower().split())) / len(asked)) if asked else None


def shuffled() -> None:
    """Relevance of an answer to its own question against another's (ragtruth QA, haluquestqa)."""
    for name in ("ragtruth", "haluquestqa"):
        rows = [r for r in read(name) if name != "ragtruth" or r["task"] == "QA"]
        if not rows:
            continue
        questions = [text(r, "input") for r in rows]
        other = questions[len(rows) // 2 :] + questions[: len(rows) // 2]
        labels = [0] * len(rows) + [1] * len(rows)
        for label, figure in {
            "relevance": lambda q, r: value("relevance", r["output"], input=q) or 0.0,
            "keyword overlap x 1.5": lambda q, r: overlap({**r, "input": q}) or 0.0,
        }.items():
            asked = zip([*questions, *other], [*rows, *rows], strict=True)
            values = [figure(q, r) for q, r in asked]
            print(f"{label + ', wrong question, ' + name:44}{len(rows):>6}           AUROC ", end="")
            print(f"{auroc(labels, [1 - v for v in values]):.3f}")


def relevance() -> None:
    """Relevance against experts' spans of irrelevance."""
    rows = read("haluquestqa")
    ranked(
        "relevance, haluquestqa irrelevant",
        "irrelevant",
        lambda r: value("relevance", r["output"], input=text(r, "input")),
        rows,
    )
    ranked("keyword overlap x 1.5, same", "irrelevant", overlap, rows)


def flags() -> None:
    """Recall and false alarms of the detectors."""
    for name, scorer, label, figure in (
        ("injection", "injection", "injection", lambda r: value("injection", "", input=text(r, "input"))),
        ("pii_presidio", "pii", "has_pii", lambda r: value("pii", r["output"])),
    ):
        rows = read(name)
        if rows:
            flagged = np.array([figure(r) == 0 for r in rows])
            y = np.array([int(r[label]) for r in rows])
            print(
                f"{scorer:44}{len(rows):>6}           recall {flagged[y == 1].mean():.3f}, "
                f"false alarms {int(flagged[y == 0].sum())} of {int((y == 0).sum())}"
            )
    rows = [r for r in read("llmdrift") if r["task"] == "sensitive"]
    if rows:
        refused = np.array([value("refusal", r["output"]) == 0 for r in rows])
        answered = np.array([float(r["score"]) for r in rows])
        print(
            f"{'refusal, llmdrift sensitive':44}{len(rows):>6}           "
            f"recall {refused[answered == 0].mean():.3f}, "
            f"false alarms {int(refused[answered == 1].sum())} of {int((answered == 1).sum())}"
        )


def consistency() -> None:
    """Correlation of the similarity with people's judgement (STS, 0 to 5)."""
    rows = read("sts")
    if rows:
        ours = [similarities([text(r, "input"), r["output"]])[0] for r in rows]
        people = [float(r["score"]) for r in rows]
        print(f"{'consistency, sts':44}{len(rows):>6}           Pearson {np.corrcoef(ours, people)[0, 1]:.3f}")


def main() -> int:
    """Measure everything; what is absent is said and skipped."""
    markers()
    relevance()
    shuffled()
    flags()
    consistency()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
