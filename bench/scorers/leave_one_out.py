"""Groundedness with constants chosen without the set: python bench/scorers/leave_one_out.py [--write-docs]

Each set is measured with that combination of constants which has the best mean AUROC on the other sets (RAGTruth
counts as the mean of itself and its three tasks). The combinations are the product of `GRID`.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
from labels import SETS, TASKS, auroc, read, text  # noqa: E402

from pytest_llmwatch.scorers import grounding  # noqa: E402
from pytest_llmwatch.scorers.judged import WEIGHTS  # noqa: E402
from pytest_llmwatch.scorers.source import read as source_of  # noqa: E402
from pytest_llmwatch.scorers.support import judge  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "explanation" / "scores.md"
GRID: dict[str, tuple[Any, ...]] = {
    "flaws take": (0.5, 0.6, 0.7, 0.8),
    "weak sentences take": (0.2, 0.3, 0.4),
    "words, passage, wording": ((0.4, 0.4, 0.2), (0.3, 0.3, 0.4)),
    "absent_number": (1.0, 1.5),
    "absent_negation": (0.5, 1.0),
    "moved_number": (0.5, 1.0),
}
_CHANGED = ("absent_number", "absent_negation", "moved_number")
NOW = (
    grounding.ABSENT,
    grounding.WEAK,
    (grounding.WORDS, grounding.PASSAGE, grounding.WORDING),
    *(WEIGHTS[kind] for kind in _CHANGED),
)

Figures = dict[str, np.ndarray]


def measured(name: str) -> tuple[Figures, np.ndarray, np.ndarray]:
    """Return the parts of the score of each answer of a set, the labels and the tasks."""
    rows = read(name)
    found: list[dict[str, float]] = []
    for row in rows:
        source = source_of((text(row, "context"),))
        judged, _whole = judge(row["output"], source, text(row, "input"))
        values = {"words": 1.0, "passage": 1.0, "wording": 1.0, "weak": 0.0}
        flaws: Counter[str] = Counter()
        if source.words and any(s.words for s in judged):
            parts = grounding.parts(judged, source)
            values = {key: float(getattr(parts, key)) for key in values}
            flaws.update(flaw.kind for s in judged for flaw in s.flawed)
        found.append({**values, **{kind: float(flaws[kind]) for kind in WEIGHTS}})
    figures = {key: np.array([f[key] for f in found]) for key in (found[0] if found else ())}
    labels = np.array([int(r["hallucinated"]) for r in rows])
    return figures, labels, np.array([str(r.get("task")) for r in rows])


def score(f: Figures, constants: tuple[Any, ...]) -> np.ndarray:
    """Return the score with other constants."""
    absent, weak, (words, passage, wording), *weights = constants
    changed = dict(zip(_CHANGED, weights, strict=True))
    flaws = sum({**WEIGHTS, **changed}[kind] * f[kind] for kind in WEIGHTS)
    support = words * f["words"] + passage * f["passage"] + wording * f["wording"]
    return support * (1 - absent * (1 - np.exp(-flaws))) * (1 - weak * (1 - np.exp(-f["weak"] / 2)))


def main() -> int:
    """Measure and print; exit 0 also where data are absent, after saying so."""
    sets = {name: data for name in SETS if len((data := measured(name))[1])}
    if len(sets) < 2:
        return 0
    grid = list(itertools.product(*GRID.values()))
    cells: dict[tuple[Any, ...], dict[str, float]] = {}
    for constants in dict.fromkeys([*grid, NOW]):
        made = cells[constants] = {}
        for name, (figures, labels, tasks) in sets.items():
            values = -score(figures, constants)
            made[name] = auroc(labels, values)
            for task in TASKS.get(name, ()):
                made[f"- {task}"] = auroc(labels[tasks == task], values[tasks == task])
    lines = ["| set | chosen without it | as it is | what was chosen |", "| --- | --- | --- | --- |"]
    for name in sets:
        others = [other for other in sets if other != name]
        best = max(grid, key=lambda c: math.fsum(_mean(cells[c], other) for other in others))
        said = "; ".join(f"{k} {v}" for k, v in zip(GRID, best, strict=True))
        for cell in (name, *(f"- {task}" for task in TASKS.get(name, ()))):
            lines.append(f"| {cell} | {cells[best][cell]:.3f} | {cells[NOW][cell]:.3f} | {said} |")
            said = ""
    body = "\n".join(lines).replace("| 0.", "| .")
    print(body)
    if "--write-docs" in sys.argv[1:]:
        block = re.compile(r"(<!-- measured: leave-one-out -->\n)(.*?)(<!-- end -->)", re.DOTALL)
        PAGE.write_text(block.sub(lambda m: m[1] + body + "\n" + m[3], PAGE.read_text("utf-8")), "utf-8")
    return 0


def _mean(found: dict[str, float], name: str) -> float:
    parts = [name, *(f"- {task}" for task in TASKS.get(name, ()))]
    return math.fsum(found[part] for part in parts) / len(parts)


if __name__ == "__main__":
    raise SystemExit(main())
