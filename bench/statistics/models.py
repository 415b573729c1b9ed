"""Three models of scores, and what can happen to them: the simulated data of the statistics' benchmark.

``judge``: noisy, on a scale of fifths (standard deviation of a paired difference at one repeat about .31);
``binary``: pass or fail (.40); ``stable``: a deterministic scorer on a nearly deterministic answer (.10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Floats = np.ndarray

MODELS = ("judge", "binary", "stable")


@dataclass(frozen=True)
class World:
    """Golden cases with a true level each; ``drop`` makes a candidate's levels."""

    model: str
    levels: Floats

    @classmethod
    def make(cls, model: str, cases: int, rng: np.random.Generator) -> World:
        shape = (3.0, 0.5) if model == "binary" else (6.0, 2.0)  # of pass rates: E[p (1 - p)] about .08
        return cls(model, rng.beta(*shape, cases))

    def draw(self, repeats: int, rng: np.random.Generator, levels: Floats | None = None) -> Floats:
        """Return scores, shape (cases, repeats)."""
        level = (self.levels if levels is None else levels)[:, None]
        shape = (len(self.levels), repeats)
        if self.model == "binary":
            return (rng.random(shape) < level).astype(float)
        if self.model == "stable":
            return level + rng.normal(0, 0.0707, shape)
        return np.round((level + rng.normal(0, 0.21, shape)) * 5) / 5

    def dropped(self, drop: float, *, concentrated: bool, rng: np.random.Generator) -> Floats:
        """Return levels with a mean drop: by the same for all cases, or by ten times that for a tenth of them."""
        levels = self.levels.copy()
        if not concentrated:
            return np.clip(levels - drop, 0, None) if self.model == "binary" else levels - drop
        broken = rng.permutation(len(levels))[: max(1, round(len(levels) / 10))]
        size = drop * len(levels) / len(broken)
        levels[broken] = (
            np.clip(levels[broken] - size, 0, None) if self.model == "binary" else levels[broken] - size
        )
        return levels
