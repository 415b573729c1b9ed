"""How a build is judged: our rule, and those in use elsewhere, on the same scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from pytest_llmwatch.stats import permutation, sequential
from pytest_llmwatch.stats.samples import Pair

Floats = np.ndarray
Rule = Callable[[Floats, Floats, float, int], bool]

DRAWS = 999
MIN_EFFECT, POSSIBLE = 0.02, 0.10


def pairs(base: Floats, candidate: Floats) -> list[Pair]:
    return [Pair(b[:, None], c[:, None], str(i)) for i, (b, c) in enumerate(zip(base, candidate, strict=True))]


def ours(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    """Within-case permutation, mean and concentrated drops by minP."""
    return permutation.compare(pairs(base, candidate), seed=seed, draws=DRAWS)[0].p <= alpha


def mean_only(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    return permutation.compare(pairs(base, candidate), seed=seed, draws=DRAWS)[0].p_mean <= alpha


def mean_minus_5_percent(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    return candidate.mean() < 0.95 * base.mean()


def every_case_over_half(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    return bool((candidate.mean(axis=1) < 0.5).any())


def pass_rate_minus_5_points(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    return (candidate >= 0.5).mean() < (base[:, :1] >= 0.5).mean() - 0.05


def welch(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    test = stats.ttest_ind(base.mean(axis=1), candidate.mean(axis=1), equal_var=False, alternative="greater")
    return bool(test.pvalue <= alpha)


def paired_t(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    return bool(stats.ttest_rel(base.mean(axis=1), candidate.mean(axis=1), alternative="greater").pvalue <= alpha)


def wilcoxon(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    y = base.mean(axis=1) - candidate.mean(axis=1)
    return bool(y.any()) and bool(stats.wilcoxon(y, alternative="greater").pvalue <= alpha)


def wasserstein(base: Floats, candidate: Floats, alpha: float, seed: int) -> bool:
    """A distance of the two distributions over .05, as drift monitors have it."""
    return stats.wasserstein_distance(base.ravel(), candidate.ravel()) > 0.05


RULES: dict[str, Rule] = {
    "permutation minP (ours)": ours,
    "permutation, mean only": mean_only,
    "mean falls by 5 %": mean_minus_5_percent,
    "every case at least .5": every_case_over_half,
    "pass rate falls by 5 points": pass_rate_minus_5_points,
    "Welch's t": welch,
    "paired t": paired_t,
    "Wilcoxon": wilcoxon,
    "Wasserstein over .05": wasserstein,
}


def adaptive(
    base: Floats, draw: Callable[[], Floats], *, alpha: float, margin: float, rounds: int, seed: int
) -> tuple[str, int]:
    """Return the verdict of adaptive repeats, and how many rounds it took.

    The rule of ``--llm-repeats=auto``, a round being one more repeat of every case. A fail needs the round's own
    share of alpha and a drop of at least .02; a pass needs the one-sided 95 % bound of the drop inside ``margin``,
    and no drop that is possible (p up to .10) and large enough to matter.
    """
    columns: list[Floats] = []
    for done in range(1, rounds + 1):
        columns.append(draw())
        both = pairs(base, np.concatenate(columns, axis=1))
        found = permutation.compare(both, seed=seed + done, draws=5 * DRAWS)[0]
        proven = found.p <= sequential.level_of_round(alpha, done, rounds)
        large = found.drop >= MIN_EFFECT
        if proven:
            return "fail" if large else "small", done
        if found.upper < margin and not (found.p <= POSSIBLE and large):
            return "pass", done
    return "open", rounds
