"""Looking more than once without crying wolf: alpha spending, group-sequential looks, and an e-value.

Spending functions are those of Hwang, Shih and DeCani (1990). The permutation form is exact: all looks use prefix
sums of the same permutation rows, so the share of rows that would have been rejected is known, not approximated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pytest_llmwatch.stats.samples import Floats

ROUNDS_GAMMA = -1.0
LOOKS_GAMMA = -2.0
_LAMBDAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def spent(alpha: float, fraction: float, gamma: float) -> float:
    """Return the alpha that may be spent up to ``fraction`` t: alpha (1 - e^-gt)/(1 - e^-g), with g gamma."""
    t = min(max(fraction, 0.0), 1.0)
    if gamma == 0:
        return alpha * t
    return alpha * math.expm1(-gamma * t) / math.expm1(-gamma)


def level_of_round(alpha: float, index: int, rounds: int) -> float:
    """Return the level of round ``index`` (from 1) of ``rounds``: what it adds to the alpha spent.

    The levels of all rounds sum to alpha, so by the union bound any rejection at all has at most that chance when
    nothing changed, however the rounds depend on each other.
    """
    upto, before = index / rounds, (index - 1) / rounds
    return spent(alpha, upto, ROUNDS_GAMMA) - spent(alpha, before, ROUNDS_GAMMA)


def look(statistics: Sequence[Floats], fractions: Sequence[float], alpha: float) -> int | None:
    """Return the first look (from 0) at which the observed data are rejected, None where none rejects.

    Args:
        statistics: One array of shape (P,) per look so far, larger = worse; row 0 observed; rows are the same
            permutations in every look, extended by the cases that came since.
        fractions: Share of all cases in each look, rising to 1.
        alpha: Level over all looks.
    """
    total = len(statistics[0])
    alive = np.ones(total, dtype=bool)
    used = 0
    for i, (column, fraction) in enumerate(zip(statistics, fractions, strict=True)):
        allowed = math.floor(spent(alpha, fraction, LOOKS_GAMMA) * total + 1e-9) - used
        if allowed <= 0:
            continue
        rest = np.sort(column[alive])[::-1]
        # the largest set of the most extreme rows that fits, ties kept together
        bound = rest[min(allowed, len(rest)) - 1]
        if (rest >= bound).sum() > allowed:
            higher = rest[rest > bound]
            if not len(higher):
                continue
            bound = higher[-1]
        rejected = alive & (column >= bound)
        if rejected[0]:
            return i
        used += int(rejected.sum())
        alive &= ~rejected
    return None


def log_e_value(drops: Sequence[float]) -> float:
    """Return the logarithm of an e-value against "baseline and candidate are exchangeable", one repeat a side.

    E = mean over lambda of prod(1 + tanh(lambda y_i)): under exchangeability y_i is symmetric about 0, tanh is
    odd, so each factor has mean 1 whatever the distribution. E >= 1/alpha rejects at alpha at any time; logarithms
    of disjoint shards add.
    """
    y = np.asarray([d for d in drops if not math.isnan(d)], dtype=np.float64)
    if not len(y):
        return 0.0
    logs = np.array([np.log1p(np.tanh(np.minimum(lam * y, 18.0)).clip(-1 + 1e-15)).sum() for lam in _LAMBDAS])
    top = logs.max()
    return float(top + np.log(np.exp(logs - top).mean()))
