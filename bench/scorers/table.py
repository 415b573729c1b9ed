"""The one table of bench/scorers: what a row is, how it is measured, shown and kept.

A family is a module ``family_NAME.py`` beside this one with a function ``rows() -> Iterable[Row]``. It yields a
row for each pair of set and scorer, and none where its data or its package is not there (which it prints).
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labels import auroc, auroc_at_length

BOOTSTRAPS = 500
KEPT = Path(__file__).with_name("measured.json")
"""The rows last measured, by family: a run of one family keeps the others' rows in the page."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one scorer on one set."""

    set: str
    """Name of the set; a task within it begins with ``- ``."""
    scorer: str
    n: int
    """Answers that were measured (those that were not assessable count as the best value)."""
    value: float
    low: float | None = None
    """Lower end of the 95 % interval, bootstrapped over source documents; None where there is none."""
    high: float | None = None
    measure: str = "AUROC"
    """What ``value`` is; for rates say of what (``recall, 0 false alarms in 637``)."""
    same_length: float | None = None
    """The AUROC over pairs of answers of one length only."""
    rate: float | None = None
    """Answers scored per second of processor time on one core, words and caches new; None = not measured."""
    note: str = ""


def intervalled(
    groups: Sequence[str], figure: Callable[[np.ndarray], float], *, n: int = BOOTSTRAPS
) -> tuple[float, float]:
    """Return the 95 % interval of ``figure(indices)``, bootstrapped over ``groups`` (source documents)."""
    rng = np.random.default_rng(0)
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(str(group), []).append(i)
    parts = [np.array(m) for m in members.values()]
    values = [
        figure(np.concatenate([parts[k] for k in rng.integers(0, len(parts), len(parts))])) for _ in range(n)
    ]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def auroc_row(
    name: str,
    scorer: str,
    rows: Sequence[dict[str, Any]],
    labels: Sequence[int],
    badness: Sequence[float],
    *,
    rate: float | None = None,
    lengths: Sequence[float] | None = None,
    note: str = "",
) -> Row:
    """Return a row with the AUROC of ``badness`` for ``labels`` (1 = bad); ``rows`` have the key ``group``."""
    y, bad = np.asarray(labels), np.asarray(badness, float)
    low, high = intervalled([str(r["group"]) for r in rows], lambda k: auroc(y[k], bad[k]))
    controlled = None if lengths is None else auroc_at_length(labels, badness, lengths)
    return Row(name, scorer, len(rows), auroc(y, bad), low, high, same_length=controlled, rate=rate, note=note)


def sample(rows: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Return the rows of as many source documents as make about ``n`` answers, together by document."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["group"]), []).append(row)
    names = sorted(groups)
    random.Random(0).shuffle(names)
    out: list[dict[str, Any]] = []
    for name in names:
        if len(out) >= n:
            break
        out += groups[name]
    return out[: 2 * n]


def timed(figure: Callable[[Any], float], items: Sequence[Any]) -> tuple[list[float], float]:
    """Return the figure of each item, and items per second of processor time."""
    began = time.process_time()
    values = [figure(item) for item in items]
    return values, len(items) / max(1e-9, time.process_time() - began)


HEAD = ("set", "scorer", "n", "measure", "value", "95 % interval", "same length", "answers/s", "note")


def cells(row: Row) -> tuple[str, ...]:
    """Return the row as text."""
    return (
        row.set,
        row.scorer,
        f"{row.n:,}",
        row.measure,
        _short(row.value),
        "" if row.low is None or row.high is None else f"{_short(row.low)} to {_short(row.high)}",
        "" if row.same_length is None else _short(row.same_length),
        "" if row.rate is None else f"{float(f'{row.rate:.2g}'):,.0f}",
        row.note,
    )


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def plain(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table for a page."""
    lines = [HEAD, tuple("---" for _ in HEAD), *map(cells, rows)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines)


def keep(measured: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Put the families just measured beside those measured before; return all."""
    known: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.is_file() else {}
    for family, rows in measured.items():
        if rows:
            known[family] = [dataclasses.asdict(row) for row in rows]
    text = json.dumps(known, indent=1, ensure_ascii=False)
    KEPT.write_text(text + "\n", "utf-8")
    return {family: [Row(**row) for row in rows] for family, rows in known.items()}


def ordered(families: Iterable[str]) -> list[str]:
    """Return names of families in the order of the page: groundedness and markers first, then by name."""
    first = ["groundedness", "markers"]
    return sorted(families, key=lambda f: (first.index(f) if f in first else len(first), f))
