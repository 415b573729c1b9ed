"""Labelled public answers: read the development data, and measure how well a figure ranks them.

The data are other people's and not part of the repository. They are looked for in ``$LLMWATCH_DATA``, else in
``../shared/data`` beside the repository.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

SETS = ("ragtruth", "begin", "q2_wow", "factscore_atomic", "summedits")
TASKS = {"ragtruth": ("QA", "Summary", "Data2txt")}


def folder() -> Path:
    """Return where the data should be."""
    given = os.environ.get("LLMWATCH_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"


def read(name: str) -> list[dict[str, Any]]:
    """Return the rows of a set; empty where it is not there, which is printed."""
    path = folder() / f"{name}.jsonl.gz"
    if not path.is_file():
        print(f"SKIPPED {name}: no {path.name} in $LLMWATCH_DATA or ../shared/data; nothing was measured on it.")
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def text(row: dict[str, Any], key: str) -> str:
    """Return a field as text; the files write a missing one as NaN or "None"."""
    value = row.get(key)
    return value if isinstance(value, str) and value != "None" else ""


def auroc(labels: Sequence[int], badness: Sequence[float]) -> float:
    """Return the chance that a bad answer (label 1) ranks above a good one; ties count half."""
    y, ranks = np.asarray(labels), rankdata(badness)
    bad = int(y.sum())
    good = len(y) - bad
    return float((ranks[y == 1].sum() - bad * (bad + 1) / 2) / (bad * good)) if bad and good else float("nan")


def auroc_at_length(labels: Sequence[int], badness: Sequence[float], lengths: Sequence[float]) -> float:
    """Return the AUROC over pairs of answers of the same length only (tenths of the set by length)."""
    y, v, n = map(np.asarray, (labels, badness, lengths))
    tenth = np.searchsorted(np.quantile(n, np.linspace(0.1, 0.9, 9)), n)
    total = pairs = 0.0
    for k in range(10):
        here = tenth == k
        weight = float(y[here].sum() * (1 - y[here]).sum())
        if weight:
            total += weight * auroc(y[here], v[here])
            pairs += weight
    return total / pairs


def interval(
    rows: Sequence[dict[str, Any]], labels: Sequence[int], a: Sequence[float], b: Sequence[float], n: int = 300
) -> tuple[float, float]:
    """Return the 95 % interval of AUROC(a) - AUROC(b), bootstrapped over source documents (``group``)."""
    rng = np.random.default_rng(0)
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(str(row["group"]), []).append(i)
    members = [np.array(g) for g in groups.values()]
    y, left, right = np.asarray(labels), np.asarray(a), np.asarray(b)
    deltas = []
    for _ in range(n):
        chosen = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        deltas.append(auroc(y[chosen], left[chosen]) - auroc(y[chosen], right[chosen]))
    low, high = np.nanquantile(deltas, [0.025, 0.975])
    return float(low), float(high)
