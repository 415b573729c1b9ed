"""Did scores get worse? Within-case label permutation, one-sided, paired by case, exact at any n.

Under "nothing changed" the K_b + K_c repeats of a case are exchangeable: which of them are called baseline is a
matter of chance. Two statistics are looked at inside the same permutations, since a drop may be spread over all
cases or concentrated in a few: T1 = mean of y_i, and T2 = sum of max(y_i, 0)^2, with y_i = mean baseline - mean
candidate of case i. They are combined by the smaller p value (minP), and scorers are adjusted by Westfall and
Young's step-down minP (Resampling-Based Multiple Testing, 1993, algorithm 2.8). Cases of one cluster are permuted
together. ``scipy.stats.permutation_test(permutation_type="samples")`` covers only one repeat a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_llmwatch.stats.labels import ENUMERATED, Labels, Sums, add_alike
from pytest_llmwatch.stats.samples import Floats, Pair, drops, measured

LEAST_DRAWS = 9_999
_DIGITS = 11
"""Statistics are rounded to so many decimals: equal sums of floats in another order must stay equal."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the permutations say of one scorer.

    ``drop`` is the weighted mean of y over the ``n`` cases that both sides measured; positive = worse. ``ci``
    is its two-sided 95 % interval and ``upper`` the one-sided 95 % upper bound, both by inverting the test of a
    shift. ``p`` combines the two statistics, ``p_adjusted`` also all scorers. ``spread`` is the standard
    deviation of the drop when nothing changed. ``attainable`` is the smallest p value of the design, with its
    ``units``: cases, or clusters of them.
    """

    n: int
    drop: float
    ci: tuple[float, float]
    upper: float
    p: float
    p_adjusted: float
    p_mean: float
    p_concentrated: float
    spread: float
    attainable: float
    units: int = 0


@dataclass(frozen=True, slots=True)
class Draws:
    """The statistics of all permutations: shape (P, S), the observed labelling in row 0.

    ``mean`` is T1, ``concentrated`` T2, ``weight`` the share of the true difference that a labelling still holds
    (1 in row 0), which tells how T1 would move if the candidate were shifted.
    """

    mean: Floats
    concentrated: Floats
    weight: Floats
    n: tuple[int, ...]
    units: tuple[int, ...]
    attainable: tuple[float, ...]


def compare(
    pairs: Sequence[Pair],
    *,
    seed: int,
    draws: int | None = None,
    higher_is_worse: bool = False,
    session: Sequence[float] = (),
    sessions: int = 0,
) -> list[Comparison]:
    """Compare candidate and baseline for every scorer (column); one result per scorer, in order.

    Args:
        pairs: Cases with at least one repeat on both sides.
        seed: The same seed gives the same answer; derive it from the baseline's id, so that a report rendered
            again never flips a verdict.
        draws: Permutations, the observed labelling included; None = 9,999, or 1,000 per statistic if more.
        higher_is_worse: For latency, cost and tokens.
        session: For each scorer the standard deviation of the means between sessions, beyond what repeats explain;
            it widens the null distribution. 0 where labels are exchangeable across sessions (deterministic
            replays); empty = 0 for all.
        sessions: Sessions that ``session`` was estimated from; its t distribution has one degree of freedom less.

    Raises:
        ValueError: No pair was given.
    """
    if not pairs:
        raise ValueError("no case is common to both sides")
    shift = session_shift(session, sessions) if sessions >= 2 and any(session) else None
    return judge(permute(pairs, seed=seed, draws=draws, higher_is_worse=higher_is_worse, shift=shift))


def session_shift(session: Sequence[float], sessions: int) -> Callable[[np.random.Generator, int], Floats]:
    """Return draws, shape (P, S), of how far a new session's means lie from those of the sessions before.

    With effects normal of standard deviation tau, a new session differs from the mean of S others by a normal of
    variance tau^2 (1 + 1/S); with tau estimated, by tau sqrt(1 + 1/S) times t with S - 1 degrees of freedom: the
    usual prediction interval.
    """
    scale = np.asarray(session, dtype=np.float64) * math.sqrt(1 + 1 / sessions)
    return lambda rng, total: scale * rng.standard_t(sessions - 1, size=(total, len(scale)))


def judge(found: Draws) -> list[Comparison]:
    """Return p values, adjusted p values and intervals from the statistics of all permutations."""
    total = len(found.mean)
    first = _p_of_rows(found.mean)
    second = _p_of_rows(found.concentrated)
    both = np.minimum(first, second)
    p = (both <= both[0]).mean(axis=0)
    adjusted = _step_down(both)
    out = []
    for s in range(both.shape[1]):
        low, high, upper = _interval(found.mean[:, s], found.weight[:, s])
        out.append(
            Comparison(
                n=found.n[s],
                drop=float(found.mean[0, s]),
                ci=(low, high),
                upper=upper,
                p=float(p[s]),
                p_adjusted=float(adjusted[s]),
                p_mean=float(first[0, s]),
                p_concentrated=float(second[0, s]),
                spread=float(found.mean[1:, s].std()) if total > 1 else math.nan,
                attainable=max(found.attainable[s], 1 / total),
                units=found.units[s],
            )
        )
    return out


def permute(
    pairs: Sequence[Pair],
    *,
    seed: int,
    draws: int | None = None,
    higher_is_worse: bool = False,
    shift: Callable[[np.random.Generator, int], Floats] | None = None,
) -> Draws:
    """Draw labellings and return the statistics of each; all scorers see the same labellings.

    ``shift`` draws what is added to every y of a permutation (not to the observed one): a session's effect.

    Raises:
        ValueError: No pair has a value on both sides.
    """
    pairs = [kept for p in pairs if (kept := measured(p)) is not None]
    if not pairs:
        raise ValueError("no case is measured on both sides")
    observed = drops(pairs, higher_is_worse)
    scorers = observed.shape[1]
    total = draws or max(LEAST_DRAWS, 1000 * 2 * scorers)
    rng = np.random.default_rng(seed)
    weights = np.array([p.weight for p in pairs])
    known = ~np.isnan(observed)
    norm = np.maximum((weights[:, None] * known).sum(axis=0), 1e-300)
    sums = Sums(total, scorers)
    if shift is not None:
        moved = shift(np.random.default_rng([seed, 1]), total)
        moved[0] = 0.0
        sums.shift = moved
    units = _units(pairs)
    logs_of_counts = np.zeros(scorers)
    counted = np.zeros(scorers, dtype=np.int64)
    alike: dict[tuple[int, int], list[Pair]] = {}
    for places in units:
        members = [pairs[i] for i in places]
        before = min(len(p.baseline) for p in members)
        after = min(len(p.candidate) for p in members)
        compared = known[places].any(axis=0)
        counted += compared
        logs_of_counts += compared * math.log(math.comb(before + after, after))
        whole = not any(np.isnan(p.baseline).any() or np.isnan(p.candidate).any() for p in members)
        if len(members) == 1 and whole and math.comb(before + after, after) <= ENUMERATED:
            alike.setdefault((before, after), []).append(members[0])
        else:
            labels = Labels(before, after, total, rng)
            for p in members:
                sums.add(p.weight, *labels.contrast(_values(p, before, after, higher_is_worse), before))
    for (before, after), members in alike.items():
        values = np.stack([_values(p, before, after, higher_is_worse) for p in members])
        add_alike(sums, values, np.array([p.weight for p in members]), before, rng)
    return Draws(
        mean=np.round(sums.mean / norm, _DIGITS),
        concentrated=np.round(sums.concentrated / norm, _DIGITS),
        weight=sums.held / norm,
        n=tuple(int(k) for k in known.sum(axis=0)),
        units=tuple(int(k) for k in counted),
        attainable=tuple(float(x) for x in np.exp(-logs_of_counts)),
    )


def _values(p: Pair, before: int, after: int, higher_is_worse: bool) -> Floats:
    values = np.concatenate([p.baseline[:before], p.candidate[:after]])
    return -values if higher_is_worse else values


def attainable_p(shapes: Sequence[tuple[int, int]]) -> float:
    """Return the smallest p value of units with (K_b, K_c) repeats: one over the number of labellings."""
    log = sum(math.log(math.comb(b + c, c)) for b, c in shapes)
    return math.exp(-log)


def _units(pairs: Sequence[Pair]) -> list[list[int]]:
    clusters: dict[str, list[int]] = {}
    for i, p in enumerate(pairs):
        clusters.setdefault(p.cluster, []).append(i)
    return list(clusters.values())


def _p_of_rows(statistic: Floats) -> Floats:
    """Return for each row the share of rows whose statistic is at least as large, column by column."""
    total = len(statistic)
    out = np.empty_like(statistic)
    for s in range(statistic.shape[1]):
        column = statistic[:, s]
        out[:, s] = (total - np.searchsorted(np.sort(column), column, side="left")) / total
    return out


def _step_down(both: Floats) -> Floats:
    """Return step-down minP adjusted p values from the scorers' p values of all permutations."""
    order = np.argsort(both[0], kind="stable")
    smallest = np.minimum.accumulate(both[:, order[::-1]], axis=1)[:, ::-1]
    raw = (smallest <= both[0, order]).mean(axis=0)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(raw)
    return adjusted


def _interval(mean: Floats, weight: Floats) -> tuple[float, float, float]:
    """Return the 95 % interval of the drop and its one-sided 95 % upper bound, by inverting the test of a shift.

    If the candidate's values are shifted by delta, T1 of a permutation moves by delta times the share of the
    true difference that it holds. It is then at least the observed one exactly where
    delta >= (T1_0 - T1_p)/(1 - w_p): the bounds are order statistics of that ratio.
    """
    moved = weight < 1 - 1e-9
    total = len(mean)
    ratios = np.sort((mean[0] - mean[moved]) / (1 - weight[moved]))
    fixed = total - len(ratios)  # the observed labelling counts for every delta
    if not len(ratios):
        return -math.inf, math.inf, math.inf

    def low(tail: float) -> float:
        # least delta with p > tail
        rank = math.floor(tail * total) - fixed
        return float(ratios[rank]) if rank >= 0 else -math.inf

    def high(tail: float) -> float:
        rank = math.floor(tail * total) - fixed
        return float(ratios[len(ratios) - 1 - rank]) if rank >= 0 else math.inf

    return low(0.025), high(0.025), high(0.05)
