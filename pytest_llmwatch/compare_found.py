"""What the statistics say of one metric, before it becomes a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_llmwatch.compare_samples import Metric
from pytest_llmwatch.measure_slice import Key


@dataclass(frozen=True, slots=True)
class Found:
    """What the statistics say of one metric, in the metric's own direction of worse: positive = worse.

    ``low``, ``high`` and ``upper`` bound ``drop``; for ratios all are relative (0.35 = +35 %).
    """

    metric: Metric
    n: int
    drop: float
    low: float
    high: float
    upper: float
    p: float
    p_adjusted: float
    spread: float
    attainable: float
    units: int
    paired: bool
    baseline: float | None
    candidate: float | None
    missing: float
    worst: tuple[tuple[Key, float, float], ...] = ()
    """Cases that moved most for the worse, with both sides' means."""
    repeats: tuple[int, int] = (1, 1)
    told: str = ""
    """What moved, in words, where numbers of cases do not say it."""
    unmoved: bool = False
    """Whether no case's mean moved at all."""
