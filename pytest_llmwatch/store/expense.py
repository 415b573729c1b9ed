"""What a run spent, as stores note it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Facets = Mapping[str, Any]
"""By kind of scope: pairs of all values that calls have together, and US dollars (``[["a", "b"], 0.5]``)."""


@dataclass(frozen=True, slots=True)
class Expense:
    """What a run noted: its id, the day (``2026-01-31``), US dollars, and how they divide; None = nobody knows."""

    run: str | None
    day: str
    usd: float
    by: Facets | None = None
