"""Is a quantile within its budget? Exact, for any distribution, from counts and order statistics.

The q-quantile exceeds a limit exactly if more than 1 - q of all values do, so the test of a quantile is a
binomial test of the number of values above the limit (Conover, Practical Nonparametric Statistics, 3.2),
equal to ``scipy.stats.quantile_test``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import bdtr, bdtrik

from pytest_llmwatch.stats import rates


@dataclass(frozen=True, slots=True)
class QuantileTest:
    """What n values say of a quantile against a ceiling.

    ``above`` is the number of values over it; ``p`` is the one-sided evidence that the quantile exceeds it;
    ``p_inside`` the one-sided evidence that it does not (at most .05: the 95 % upper bound is inside).
    """

    n: int
    above: int
    p: float
    p_inside: float


def against_ceiling(values: Sequence[float], q: float, ceiling: float) -> QuantileTest:
    """Test the ``q``-quantile of ``values`` against ``ceiling``."""
    n = len(values)
    above = sum(1 for v in values if v > ceiling)
    return QuantileTest(
        n,
        above,
        rates.binomial_greater(above, n, 1 - q),
        rates.binomial_at_most(above, n, 1 - q) if n else 1.0,
    )


def interval(values: Sequence[float], q: float, level: float = 0.95) -> tuple[float | None, float | None]:
    """Return the two-sided interval of a quantile from order statistics; None for an end that n cannot give."""
    ordered = sorted(values)
    tail = (1 - level) / 2
    return _lower(ordered, q, tail), _upper(ordered, q, tail)


def upper_bound(values: Sequence[float], q: float, level: float = 0.95) -> float | None:
    """Return the one-sided upper bound of a quantile; None where n is too small (under 59 for p95)."""
    return _upper(sorted(values), q, 1 - level)


def n_minimum(q: float, level: float = 0.95) -> int:
    """Return the least n that can bound a quantile from above: 5, 59, 299 for p50, p95, p99."""
    found = rates.n_to_pass(0.0, 1 - q, level=level)
    assert found is not None
    return found


def _upper(ordered: Sequence[float], q: float, tail: float) -> float | None:
    """The least order statistic x_(r) with P(x_(r) >= quantile) = P(X <= r - 1) >= 1 - tail."""
    n = len(ordered)
    rank = _least(n, q, 1 - tail)
    return ordered[rank] if rank is not None and rank < n else None


def _lower(ordered: Sequence[float], q: float, tail: float) -> float | None:
    """The greatest order statistic x_(r) with P(x_(r) <= quantile) = P(X >= r) >= 1 - tail."""
    n = len(ordered)
    # P(X <= r - 1) <= tail: the greatest such r - 1 is one less than the least k with P(X <= k) > tail
    rank = _least(n, q, tail, strict=True)
    return ordered[rank - 1] if rank is not None and rank >= 1 else None


def _least(n: int, q: float, mass: float, *, strict: bool = False) -> int | None:
    """Return the least k in 0..n with P(X <= k) >= mass (> mass if strict), X ~ Binomial(n, q)."""
    if n == 0:
        return None
    guess = bdtrik(mass, n, q)
    k = max(0, int(guess) - 2) if not math.isnan(guess) else 0  # NaN at the edges
    while k <= n:
        reached = float(bdtr(k, n, q))
        if reached > mass or (reached >= mass and not strict):
            return k
        k += 1
    return None
