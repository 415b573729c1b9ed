"""Group-sequential comparison by case: some cases, a look, then more of them; one repeat in the candidate.

Exact: the labellings of all looks are prefixes of the same rows, so how many rows a rule would have rejected by
then is counted, not approximated. Spending is that of Hwang, Shih and DeCani (1990), gamma -2; strata come in
equal shares in each look, since early looks must not see the easy cases only.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_llmwatch.stats import sequential
from pytest_llmwatch.stats.samples import Floats, Pair, measured

LOOKS = 5
DRAWS = 9999


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where a comparison by case ended.

    ``look`` counts from 1; None = no look rejected. ``cases`` were asked by then, ``of`` would have been asked in
    all. ``drop`` is the mean drop of the cases that were asked, positive = worse.
    """

    look: int | None
    cases: int
    of: int
    drop: float


def order(strata: Sequence[Hashable], *, seed: int, looks: int = LOOKS) -> list[list[int]]:
    """Return which cases each look adds: in random order, each stratum in about equal shares.

    Args:
        strata: Of each case, such as its first tag; shape (n,).
        seed: Fixes the order before anything is asked.
        looks: How many looks there are at most; fewer where there are fewer cases.
    """
    rng = np.random.default_rng(seed)
    groups: dict[Hashable, list[int]] = {}
    for i, stratum in enumerate(strata):
        groups.setdefault(stratum, []).append(i)
    places = np.empty(len(strata))
    for members in groups.values():
        shuffled = rng.permutation(members)
        # a random start, so that the first of small strata do not all come first
        places[shuffled] = (np.arange(len(shuffled)) + rng.random()) / len(shuffled)
    whole = np.argsort(places, kind="stable")
    return [[int(i) for i in part] for part in np.array_split(whole, looks) if len(part)]


def compare(
    pairs: Sequence[Pair],
    parts: Sequence[Sequence[int]],
    *,
    alpha: float,
    seed: int,
    draws: int = DRAWS,
    higher_is_worse: bool = False,
) -> Stopped:
    """Return the first look at which the candidate is worse at ``alpha`` over all looks.

    At each look the mean drop and the sum of squared drops so far are combined by minP, as in
    `permutation.compare`. Under "nothing changed" the chance of any rejection is at most alpha, for any
    distribution and number of cases.

    Args:
        pairs: Cases with K_b >= 1 and K_c = 1 repeats of one scorer; what one side lacks is left out.
        parts: From `order`: which cases each look adds. Cases of a cluster are permuted together, and counted from
            the look in which the last of them was asked.
        alpha: Level over all looks.
        seed: Of the labellings.
        draws: Labellings, the observed one counted.
        higher_is_worse: For times and costs.

    Raises:
        ValueError: A candidate has several repeats, or several scorers.
    """
    known = {i: kept for i, p in enumerate(pairs) if (kept := measured(p)) is not None}
    if any(p.candidate.shape != (1, 1) for p in known.values()):
        raise ValueError("looks by case take one repeat and one scorer in the candidate")
    at = {i: number for number, part in enumerate(parts) for i in part}
    complete: dict[str, int] = {}
    for i, p in known.items():
        complete[p.cluster] = max(complete.get(p.cluster, 0), at[i])
    rng = np.random.default_rng(seed)
    labels: dict[str, Floats] = {}
    mean, squares = np.zeros(draws), np.zeros(draws)
    weight, total = 0.0, sum(p.weight for p in known.values())
    columns: list[Floats] = []
    fractions: list[float] = []
    asked = 0
    for number, part in enumerate(parts):
        asked += len(part)
        for p in known.values():
            if complete[p.cluster] != number:
                continue
            drops = _drops(p, labels, rng, draws, higher_is_worse)
            mean += p.weight * drops
            squares += p.weight * np.maximum(drops, 0.0) ** 2
            weight += p.weight
        columns.append(-np.minimum(_p(mean), _p(squares)))
        fractions.append(weight / total if total else 1.0)
        if sequential.look(columns, fractions, alpha) is not None:
            return Stopped(number + 1, asked, len(pairs), float(mean[0] / weight))
    return Stopped(None, asked, len(pairs), float(mean[0] / weight) if weight else 0.0)


def _drops(
    p: Pair, labels: dict[str, Floats], rng: np.random.Generator, draws: int, higher_is_worse: bool
) -> Floats:
    """Return the drop of a case in each labelling: which of its K_b + 1 values is called the candidate's."""
    values = np.concatenate([p.baseline[:, 0], p.candidate[:, 0]])
    values = -values if higher_is_worse else values
    if p.cluster not in labels:
        labels[p.cluster] = rng.random(draws)
        labels[p.cluster][0] = np.nextafter(1.0, 0.0)  # the observed one: the last value is the candidate's
    chosen = values[(labels[p.cluster] * len(values)).astype(np.int64)]
    return np.asarray((values.sum() - chosen) / (len(values) - 1) - chosen)


def _p(statistic: Floats) -> Floats:
    """Return for each row the share of rows at least as large, ties within rounding together."""
    rounded = np.round(statistic, 10)
    return (len(rounded) - np.searchsorted(np.sort(rounded), rounded, side="left")) / len(rounded)


def expected(
    sd: float, drop: float, cases: int, *, alpha: float, factor: float = 1.0, looks: int = LOOKS, seed: int = 0
) -> tuple[float, float]:
    """Return power, and the share of cases asked on average, in the normal approximation.

    Args:
        sd: Standard deviation of a case's paired difference at one repeat a side.
        drop: True drop, 0 for none.
        cases: In all.
        alpha: Level over all looks.
        factor: `power.variance_factor` of (K_b, 1).
        looks: How many.
        seed: Of 20,000 simulated runs.
    """
    rng = np.random.default_rng(seed)
    shares = [len(part) / cases for part in np.array_split(np.arange(cases), looks) if len(part)]
    steps = np.array(shares)
    times = steps.cumsum()
    walk = (rng.normal(0, np.sqrt(steps), (20_000, len(steps)))).cumsum(axis=1)
    drift = drop * np.sqrt(cases) / (sd * np.sqrt(factor)) if sd > 0 else np.inf if drop > 0 else 0.0
    alive, used, red, seen = np.ones(len(walk), dtype=bool), 0.0, np.zeros(len(walk), dtype=bool), 0.0
    null = np.ones(len(walk), dtype=bool)
    moved = walk + drift * times if np.isfinite(drift) else np.full_like(walk, np.inf)
    for k, t in enumerate(times):
        seen += float(alive.mean()) * steps[k]
        allowed = sequential.spent(alpha, float(t), sequential.LOOKS_GAMMA) - used
        rest = np.sort(walk[null, k])[::-1]
        count = min(len(rest), max(1, round(allowed * len(walk))))
        bound = rest[count - 1]
        used += count / len(walk)
        null &= walk[:, k] < bound
        hit = alive & (moved[:, k] >= bound)
        red |= hit
        alive &= ~hit
    return float(red.mean()), seen
