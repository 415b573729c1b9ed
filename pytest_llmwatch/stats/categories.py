"""Did the distribution of answers change? Within-case label permutation on categories, exact at any n.

As for scores, which of a case's repeats are called baseline is a matter of chance when nothing changed. Two
statistics are looked at in the same permutations: how far the shares of the categories moved over all cases (flips
in one direction, which one repeat a side can show, as McNemar's test does), and how far they moved within cases
(flips that cancel out, which takes repeats), each as total variation; combined by the smaller p value. Two-sided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_llmwatch.stats.labels import Labels
from pytest_llmwatch.stats.samples import Floats

DRAWS = 9_999
MOST = 24
"""Categories that are told apart over all cases: the most frequent ones, the rest is one."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What the permutations say.

    ``moved`` is the share of answers that changed category: the larger of the total variation between the two
    sides' distributions and of what the mean within-case variation exceeds chance by. ``upper`` is its one-sided
    95 % bound, from the spread of the permutations, and ``ci`` a two-sided interval. ``shares`` tells each
    category's share before and after, most moved first. ``attainable`` is the smallest p value of the design.
    """

    n: int
    moved: float
    ci: tuple[float, float]
    upper: float
    p: float
    attainable: float
    shares: tuple[tuple[str, float, float], ...]


def compare(cases: Sequence[tuple[Sequence[str], Sequence[str], str]], *, seed: int, draws: int = DRAWS) -> Shift:
    """Compare the categories of baseline and candidate.

    Args:
        cases: For each case the baseline's categories, the candidate's, and its cluster; none empty. Cases of one
            cluster with equal numbers of repeats are permuted together.
        seed: The same seed gives the same answer.
        draws: Permutations, the observed labelling included.

    Raises:
        ValueError: No case was given.
    """
    if not cases:
        raise ValueError("no case is common to both sides")
    names = _names(cases)
    rng = np.random.default_rng(seed)
    pooled = np.zeros((draws, len(names)))
    within = np.zeros(draws)
    held: dict[tuple[str, int, int], Labels] = {}
    for before, after, cluster in cases:
        size = (len(before), len(after))
        labels = held.get((cluster, *size)) or held.setdefault((cluster, *size), Labels(*size, draws, rng))
        y, _ = labels.contrast(_one_hot([*before, *after], names), size[0])
        pooled += y
        within += np.abs(y).sum(axis=1) / 2
    n = len(cases)
    first = np.round(np.abs(pooled).sum(axis=1) / 2 / n, 11)
    second = np.round(within / n, 11)
    both = np.minimum(_p_of_rows(first), _p_of_rows(second))
    excess = second - second.mean()
    moved = max(float(first[0]), float(excess[0]), 0.0)
    null = np.maximum(first[1:], excess[1:])
    reach, wide = (float(np.quantile(null, q)) if len(null) else 1.0 for q in (0.95, 0.975))
    possible = float(np.exp(-sum(np.log(len(x._masks)) for x in held.values()))) if held else 1.0
    return Shift(
        n=n,
        moved=moved,
        ci=(max(0.0, moved - wide), min(1.0, moved + wide)),
        upper=min(1.0, moved + reach),
        p=float((both <= both[0]).mean()),
        attainable=max(possible, 1 / draws),
        shares=_shares(cases),
    )


def _names(cases: Sequence[tuple[Sequence[str], Sequence[str], str]]) -> dict[str, int]:
    counts = Counter(x for before, after, _ in cases for x in (*before, *after))
    kept = [name for name, _ in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:MOST]]
    return {name: i for i, name in enumerate([*kept, ""])}


def _one_hot(values: Sequence[str], names: dict[str, int]) -> Floats:
    out = np.zeros((len(values), len(names)))
    for row, value in enumerate(values):
        out[row, names.get(value, names[""])] = 1.0
    return out


def _p_of_rows(statistic: Floats) -> Floats:
    total = len(statistic)
    return np.asarray((total - np.searchsorted(np.sort(statistic), statistic, side="left")) / total)


def _shares(cases: Sequence[tuple[Sequence[str], Sequence[str], str]]) -> tuple[tuple[str, float, float], ...]:
    sides: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for case in cases:
        for side, values in zip(sides, case[:2], strict=True):
            for value in values:
                side[value] += 1 / len(values) / len(cases)  # type: ignore[assignment]
    rows = [(name, float(sides[0][name]), float(sides[1][name])) for name in {*sides[0], *sides[1]}]
    return tuple(sorted(rows, key=lambda r: (-abs(r[2] - r[1]), r[0])))
