"""How much data it takes: power, detectable drops, and plans, by the normal approximation of the mean's test.

z_(1-alpha) + z_power standard errors is the drop that a one-sided test at alpha finds with that power.
"""

from __future__ import annotations

import math

from scipy.special import ndtr, ndtri


def quantiles(alpha: float, power: float) -> float:
    """Return z_(1-alpha) + z_power."""
    return float(ndtri(1 - alpha) + ndtri(power))


def variance_factor(baseline_repeats: int, candidate_repeats: int) -> float:
    """Return the variance of a paired difference of means, relative to one repeat a side: (1/K_b + 1/K_c)/2."""
    return (1 / baseline_repeats + 1 / candidate_repeats) / 2


def cases_needed(
    sd: float,
    drop: float,
    *,
    alpha: float,
    power: float = 0.9,
    baseline_repeats: int = 1,
    candidate_repeats: int = 1,
) -> int:
    """Return the cases that a paired comparison needs to find ``drop``.

    Args:
        sd: Standard deviation of a case's paired difference at one repeat a side.
        drop: True mean drop, in the same unit.
        alpha: One-sided level.
        power: Chance to find it.
        baseline_repeats: K_b.
        candidate_repeats: K_c.

    Raises:
        ValueError: ``drop`` is not positive.
    """
    if drop <= 0:
        raise ValueError("a drop to be found must be positive")
    n = (quantiles(alpha, power) * sd / drop) ** 2 * variance_factor(baseline_repeats, candidate_repeats)
    # a permutation test needs enough labellings to reach alpha at all
    labellings = math.comb(baseline_repeats + candidate_repeats, candidate_repeats)
    return max(math.ceil(n), math.ceil(math.log(1 / alpha) / math.log(labellings) - 1e-9), 1)


def power_of(
    sd: float, drop: float, cases: int, *, alpha: float, baseline_repeats: int = 1, candidate_repeats: int = 1
) -> float:  # fmt: skip
    """Return the chance that ``cases`` cases show a true ``drop``."""
    if sd <= 0:
        return 1.0 if drop > 0 else alpha
    error = sd * math.sqrt(variance_factor(baseline_repeats, candidate_repeats) / cases)
    return float(ndtr(drop / error - ndtri(1 - alpha)))


def detectable(spread: float, *, alpha: float, power: float = 0.8) -> float:
    """Return the drop that is found with ``power``, where ``spread`` is the standard error of the mean drop."""
    return quantiles(alpha, power) * spread


def repeats_to_settle(
    spread: float, margin: float, *, baseline_repeats: int, candidate_repeats: int, power: float = 0.8
) -> int | None:
    """Return the repeats K_c at which an unchanged candidate is shown to be within ``margin`` (one-sided 95 %).

    ``spread`` is the standard error now. None where no number of repeats suffices, since the baseline's own
    repeats limit it: more cases, or a baseline of more repeats, are needed then.
    """
    if spread <= 0:
        return candidate_repeats
    now = variance_factor(baseline_repeats, candidate_repeats)
    wanted = now * (margin / (quantiles(0.05, power) * spread)) ** 2
    rest = 2 * wanted - 1 / baseline_repeats
    return math.ceil(1 / rest - 1e-9) if rest > 1e-6 else None
