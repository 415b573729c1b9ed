"""Labellings of repeats as baseline or candidate, and the sums of their contrasts over cases."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from pytest_llmwatch.stats.samples import Floats

ENUMERATED = 512
"""Labellings of one case up to this many are listed once and drawn by number; more are drawn one by one."""

_BLOCK_CELLS = 4_000_000


class Sums:
    """Weighted sums over cases, for each of P permutations and S scorers.

    ``mean`` of y, ``concentrated`` of max(y, 0)^2, ``held`` of the share of the true difference that a labelling
    holds. ``shift``, shape (P, S) or None, is added to every y.
    """

    def __init__(self, total: int, scorers: int) -> None:
        self.mean = np.zeros((total, scorers))
        self.concentrated = np.zeros((total, scorers))
        self.held = np.zeros((total, scorers))
        self.shift: Floats | None = None

    def add(self, weight: float, y: Floats, held: Floats) -> None:
        """Add one case's contrasts, shape (P, S)."""
        moved = y if self.shift is None else y + self.shift
        self.mean += weight * moved
        self.concentrated += weight * np.square(np.maximum(moved, 0.0))
        self.held += weight * held


class Labels:
    """Which repeats of a unit are called candidate, in every permutation; row 0 is the truth.

    Args:
        before: Repeats of the baseline, the first ones.
        after: Repeats of the candidate.
        total: Permutations.
        rng: Source of labellings.
    """

    def __init__(self, before: int, after: int, total: int, rng: np.random.Generator) -> None:
        size = before + after
        self._rows: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None
        if math.comb(size, after) <= ENUMERATED:
            self._masks, truth = listed(before, after)
            self._rows = rng.integers(len(self._masks), size=total)
            self._rows[0] = truth
        else:
            keys = rng.random((total, size))
            keys[0] = np.arange(size, 0, -1)
            self._masks = np.zeros((total, size))
            np.put_along_axis(self._masks, np.argpartition(keys, after - 1, axis=1)[:, :after], 1.0, axis=1)

    def contrast(self, values: Floats, before: int) -> tuple[Floats, Floats]:
        """Return y and the held share for each permutation, shape (P, S); 0 where a side has no value.

        Args:
            values: Shape (K, S), the baseline's repeats first, NaN = not measured.
            before: Repeats of the baseline.
        """
        known = (~np.isnan(values)).astype(np.float64)
        filled = np.where(known > 0, values, 0.0)
        truth = known.copy()
        truth[before:] = 0.0
        n_after = self._masks @ known
        n_before = known.sum(axis=0) - n_after
        usable = (n_after > 0) & (n_before > 0)
        n_after, n_before = np.maximum(n_after, 1.0), np.maximum(n_before, 1.0)

        def difference(x: Floats) -> Floats:
            after = self._masks @ x
            return np.asarray(np.where(usable, (x.sum(axis=0) - after) / n_before - after / n_after, 0.0))

        y, held = difference(filled), difference(truth)
        return (y, held) if self._rows is None else (y[self._rows], held[self._rows])


def listed(before: int, after: int) -> tuple[Floats, int]:
    """Return all labellings, shape (M, K) with 1 for candidate, and the number of the true one."""
    size = before + after
    chosen = list(combinations(range(size), after))
    masks = np.zeros((len(chosen), size))
    for row, members in enumerate(chosen):
        masks[row, list(members)] = 1.0
    return masks, chosen.index(tuple(range(before, size)))


def add_alike(sums: Sums, values: Floats, weights: Floats, before: int, rng: np.random.Generator) -> None:
    """Add cases with the same number of repeats and nothing missing, many at a time.

    Args:
        sums: Added to in place.
        values: Shape (n, K, S), the baseline's repeats first.
        weights: Shape (n,).
        before: Repeats of the baseline.
        rng: Source of labellings.
    """
    n, size, scorers = values.shape
    masks, truth = listed(before, size - before)
    m, total = len(masks), len(sums.mean)
    inside = masks @ values  # (n, M, S)
    y = (values.sum(axis=1, keepdims=True) - inside) / before - inside / (size - before)
    # of the labelled baseline's values so many are truly the baseline's, less the same share of the candidate's
    kept = (before - masks[:, :before].sum(axis=1)) / before - masks[:, :before].sum(axis=1) / (size - before)
    block = max(1, _BLOCK_CELLS // (total * m))
    for start in range(0, n, block):
        stop = min(n, start + block)
        rows = rng.integers(m, size=(total, stop - start))
        rows[0] = truth
        w = weights[start:stop]
        sums.held += (kept[rows] @ w)[:, None]
        part = w[:, None, None] * y[start:stop]
        if sums.shift is None:
            tables = np.concatenate([part, w[:, None, None] * np.square(np.maximum(y[start:stop], 0.0))], axis=2)
            both = np.zeros((total, 2 * scorers))
            for i in range(stop - start):
                both += tables[i].take(rows[:, i], axis=0)
            sums.mean += both[:, :scorers]
            sums.concentrated += both[:, scorers:]
        else:
            taken = y[start:stop][np.arange(stop - start), rows] + sums.shift[:, None, :]  # (P, cases, S)
            sums.mean += np.einsum("pcs,c->ps", taken, w)
            sums.concentrated += np.einsum("pcs,c->ps", np.square(np.maximum(taken, 0.0)), w)
