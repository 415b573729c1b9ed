"""A rule's figure: one number from a run, with what the gate and the bootstrap need beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_llmwatch.measure_slice import Key

MAX_WORST = 20

Shape = Literal["ratio", "sum", "max", "min", "other"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One contribution to a figure: sums of ``above`` over sums of ``below``, or sums, or extremes of ``above``.

    Units of one cluster are resampled together.
    """

    cluster: str
    above: float
    below: float = 1.0


@dataclass(frozen=True, slots=True)
class Figure:
    """What a run says for one rule.

    Args:
        value: The unrounded figure, None where there is none.
        n: Observations behind it; ``noun`` says of what.
        reason: ``not_measured`` or ``unenforceable`` where the figure cannot stand, else None.
        why: One clause that explains ``reason``, or what was left out.
        k: Events among ``n``, for rates.
        values: The raw observations, for tests of quantiles.
        known: For an unenforceable ceiling, what the known part alone amounts to (a lower bound).
        missing: Share of observations lost to errors (not to "not assessable"); over .1 nothing is said.
        worst: Call ids, worst first.
    """

    value: float | None
    n: int = 0
    noun: str = "call"
    reason: str | None = None
    why: str = ""
    k: int | None = None
    values: tuple[float, ...] = ()
    known: float | None = None
    missing: float = 0.0
    worst: tuple[str, ...] = ()
    n_cases: int | None = None
    shape: Shape = "other"
    units: tuple[Unit, ...] = ()


def not_measured(why: str) -> Figure:
    """Return the figure of a rule for which the run holds no data."""
    return Figure(None, reason="not_measured", why=why)


@dataclass(frozen=True, slots=True)
class Observation:
    """One value of one execution of a case."""

    key: Key
    cluster: str
    weight: float
    value: float
    call_id: str | None = None


def case_mean(observations: Sequence[Observation]) -> tuple[float | None, tuple[Unit, ...]]:
    """Return the weighted mean over cases of case means over repeats, and its units (one per case).

    None where there is no observation or all weights are 0.
    """
    cases: dict[Key, list[Observation]] = {}
    for item in observations:
        cases.setdefault(item.key, []).append(item)
    units = []
    for rows in cases.values():
        weight = rows[0].weight
        centre = math.fsum(r.value for r in rows) / len(rows)
        units.append(Unit(rows[0].cluster, weight * centre, weight))
    total = math.fsum(u.below for u in units)
    if total <= 0:
        return None, tuple(units)
    return math.fsum(u.above for u in units) / total, tuple(units)


def mean_figure(
    observations: Sequence[Observation],
    *,
    floor: bool,
    noun: str = "case",
    why: str = "",
    missing: float = 0.0,
) -> Figure:
    """Return the figure of a mean over cases of case means; the caller has made sure there are observations."""
    value, units = case_mean(observations)
    if value is None:
        return not_measured("all case weights are 0")
    bad = sorted(observations, key=lambda o: o.value if floor else -o.value)
    return Figure(
        value,
        n=len(units) if noun == "case" else len(observations),
        noun=noun,
        why=why,
        missing=missing,
        worst=worst_ids(o.call_id for o in bad if (o.value < 1 if floor else o.value > 0)),
        n_cases=len(units),
        shape="ratio",
        units=units,
    )


def share_figure(
    observations: Sequence[Observation],
    *,
    floor: bool = False,
    noun: str = "call",
    why: str = "",
    events: bool = True,
) -> Figure:
    """Return the plain mean over all observations: for shares whose values are 0 or 1, events over trials.

    Args:
        observations: At least one.
        floor: Whether small values are the bad ones.
        noun: What an observation is.
        why: What was left out.
        events: Whether the values are 0 or 1, so that the sentence can say "3 of 10".
    """
    total = math.fsum(o.value for o in observations)
    bad = sorted(observations, key=lambda o: o.value if floor else -o.value)
    return Figure(
        total / len(observations),
        n=len(observations),
        noun=noun,
        k=round(total) if events else None,
        why=why,
        worst=worst_ids(o.call_id for o in bad if not events or (o.value < 1 if floor else o.value > 0)),
        shape="ratio",
        units=tuple(Unit(o.cluster, o.value) for o in observations),
    )


def worst_ids(ids: Iterable[str | None]) -> tuple[str, ...]:
    """Return at most 20 different call ids, in the given order."""
    return tuple(dict.fromkeys(i for i in ids if i is not None))[:MAX_WORST]
