"""How much the mean of a whole session varies beyond what its repeats explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_llmwatch.stats.samples import Floats

LEAST_SHARE = 0.6
"""Of the variance of the sessions' means, what at least counts as a difference between sessions.

The rest of it, as much as the repeats explain, is taken off. From few sessions that difference comes out too small
as often as too large, and too small turns unchanged builds red: without a floor 1.7 % (2,500 builds, error .26 %)
at alpha .01 with 5 sessions whose speed varies by log-sd .05; with it .9 %. Taking nothing off (1.0) gives .4 %,
at the price of power where sessions are alike. `bench/statistics` measures the level.
"""


@dataclass(frozen=True, slots=True)
class SessionEffect:
    """``sd`` between sessions, from ``sessions`` sessions; ``mean`` of all. `effect` says how it is estimated."""

    sd: float
    sessions: int
    mean: float


def effect(sessions: Sequence[Floats]) -> SessionEffect | None:
    """Return the spread between sessions of the mean over cases, or None with fewer than two.

    Args:
        sessions: One array per session, shape (n, K): cases by repeats, NaN = not measured; the same cases in the
            same order. Case means are compared, so that a case that is missing in one session moves nothing.

    The variance is the method of moments', but never less than `LEAST_SHARE` of that of the sessions' means.
    """
    if len(sessions) < 2:
        return None
    means, noises = [], []
    common = np.all([~np.isnan(_rows(s)) for s in sessions], axis=0)
    if not common.any():
        return None
    centre = np.mean([_rows(s)[common] for s in sessions], axis=0)
    for s in sessions:
        case_means = _rows(s)[common]
        deviations = case_means - centre
        means.append(float(case_means.mean()))
        # within a session cases deviate independently: the error of their mean
        noises.append(float(deviations.var(ddof=1)) / len(deviations) if len(deviations) > 1 else 0.0)
    # deviations are from the mean over sessions, which takes 1/S of their variance away
    within = float(np.mean(noises)) * len(sessions) / (len(sessions) - 1)
    spread = float(np.var(means, ddof=1))
    between = max(spread - within, LEAST_SHARE * spread)
    return SessionEffect(between**0.5, len(sessions), float(np.mean(means)))


def of_lists(sessions: Sequence[Sequence[Sequence[float]]]) -> SessionEffect | None:
    """Return `effect` of ragged lists: sessions by cases by repeats."""
    width = max((len(row) for table in sessions for row in table), default=0)
    if not width:
        return None
    return effect([np.array([[*row, *[np.nan] * (width - len(row))] for row in table]) for table in sessions])


def _rows(session: Floats) -> Floats:
    known = ~np.isnan(session)
    counts = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.where(known, session, 0.0).sum(axis=1)
        return np.asarray(np.where(counts > 0, sums / counts, np.nan), dtype=np.float64)
