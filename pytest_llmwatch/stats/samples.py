"""Paired repeats of golden cases, in the shape that the permutation tests take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

Repeats = Sequence[Sequence[float | None]]
"""Values of one case: a row per repeat, a column per scorer. None or NaN = not measured."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One case measured before and after.

    ``baseline`` has shape (K_b, S) and ``candidate`` (K_c, S): repeats by scorers, NaN where a repeat has no
    value. ``cluster`` names what moves together with the case; ``weight`` counts it in means.
    """

    baseline: Floats
    candidate: Floats
    cluster: str
    weight: float = 1.0


def pair(baseline: Repeats, candidate: Repeats, *, cluster: str, weight: float = 1.0) -> Pair:
    """Return a case's repeats as arrays.

    Raises:
        ValueError: A side has no repeat, rows differ in length, or a value is infinite.
    """
    before, after = _rows(baseline), _rows(candidate)
    if before.shape[1] != after.shape[1]:
        raise ValueError(f"baseline has {before.shape[1]} scorers and candidate {after.shape[1]}")
    return Pair(before, after, cluster, weight)


def _rows(rows: Repeats) -> Floats:
    table = np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError("a case needs at least one repeat and one scorer on each side")
    if np.isinf(table).any():
        raise ValueError("a value is infinite")
    return table


def measured(p: Pair) -> Pair | None:
    """Return the pair without repeats that measured nothing at all, None if a side has none left."""
    before = p.baseline[~np.isnan(p.baseline).all(axis=1)]
    after = p.candidate[~np.isnan(p.candidate).all(axis=1)]
    if not len(before) or not len(after):
        return None
    return Pair(before, after, p.cluster, p.weight)


def drops(pairs: Sequence[Pair], higher_is_worse: bool = False) -> Floats:
    """Return y, shape (n, S): mean of the baseline minus mean of the candidate; positive = worse.

    NaN where a case has no value on one side. ``higher_is_worse`` turns the sign (latency, cost, tokens).
    """
    sign = -1.0 if higher_is_worse else 1.0
    rows = [sign * (mean_of(p.baseline) - mean_of(p.candidate)) for p in pairs]
    return np.array(rows, dtype=np.float64).reshape(len(pairs), -1)


def mean_of(values: Floats) -> Floats:
    """Return the mean of each column without NaN; NaN where there is nothing."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(counts > 0, sums / counts, np.nan), dtype=np.float64)


def logs(pairs: Sequence[Pair], *, winsor: float = 0.05) -> list[Pair]:
    """Return the pairs with the logarithm of their values, winsorised, for paired ratios of times and costs.

    Values that are not positive become NaN. Residuals from the case's median are clipped at the ``winsor`` and
    1 - ``winsor`` quantiles of all residuals, both sides together, so that the clipping is blind to the labels and
    the permutation test stays exact.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        tables = [np.log(np.where(_both(p) > 0, _both(p), np.nan)) for p in pairs]
    centres = [_median(t) for t in tables]
    residuals = [t - c for t, c in zip(tables, centres, strict=True)]
    if residuals and winsor > 0:
        whole = np.concatenate(residuals)
        bounds = [_bounds(whole[:, s], winsor) for s in range(whole.shape[1])]
        low = np.array([b[0] for b in bounds])
        high = np.array([b[1] for b in bounds])
        residuals = [np.clip(r, low, high) for r in residuals]
    out = []
    for p, r, c in zip(pairs, residuals, centres, strict=True):
        table, k = r + c, len(p.baseline)
        out.append(Pair(table[:k], table[k:], p.cluster, p.weight))
    return out


def _both(p: Pair) -> Floats:
    return np.concatenate([p.baseline, p.candidate])


def _median(table: Floats) -> Floats:
    out = np.full(table.shape[1], np.nan)
    for s in range(table.shape[1]):
        known = table[:, s][~np.isnan(table[:, s])]
        if len(known):
            out[s] = np.median(known)
    return out


def _bounds(column: Floats, winsor: float) -> tuple[float, float]:
    known = column[~np.isnan(column)]
    if not len(known):
        return -np.inf, np.inf
    low, high = np.quantile(known, [winsor, 1 - winsor])
    return float(low), float(high)
