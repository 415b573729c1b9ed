"""The table "stages": where the time of a task goes, and which stage makes the slow ones slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch import format as fmt

_TOP = 12


@dataclass(frozen=True, slots=True)
class Stages:
    """Rows of texts, the stage that takes most of the slow tail first; ``left_out`` counts those beyond."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int


def stages(aggregates: Mapping[str, Any]) -> Stages | None:
    """Return the table of a run's totals, None where it has no stages."""
    given: Mapping[str, Mapping[str, Any]] | None = aggregates.get("stages")
    if not given:
        return None
    rows = tuple(
        (
            name,
            f"{s['n']:,}" + (f" ({s['errors']:,} failed)" if s["errors"] else ""),
            "–" if s["p50"] is None else fmt.value(s["p50"], "s"),
            "–" if s["p95"] is None else fmt.value(s["p95"], "s"),
            "–" if s["tail_share"] is None else f"{s['tail_share']:.0%}",
        )
        for name, s in list(given.items())[:_TOP]
    )
    return Stages(("Stage", "n", "p50", "p95", "share of the slow tail"), rows, len(given) - len(rows))
