"""Perplexity: how unsure the model was of its own words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option

KEY = "logprobs"
"""Key of a case's ``metadata`` that holds the log probabilities of the answer's tokens."""


@dataclass(frozen=True, slots=True)
class Perplexity(Base):
    """2 / (1 + perplexity), so 1 where the model was sure of each token.

    With ``max``: 1 up to that perplexity, then ``max`` / perplexity.

    Perplexity is exp(-mean log probability). The log probabilities are the case's ``metadata.logprobs``: numbers,
    or OpenAI's objects with ``logprob``. Without them it is not assessable; few providers return them.
    """

    name = "perplexity"

    max: float | None = option("number")

    def __post_init__(self) -> None:
        if self.max is not None and self.max < 1:
            raise ValueError(f"max must be at least 1, the least perplexity there is (got {self.max!r})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: it is asked for by name."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Average the log probabilities."""
        values = _values(case.metadata.get(KEY))
        if not values:
            return self.not_assessable(f"The log probabilities are not known (metadata.{KEY}).")
        # beyond e^700 no float holds it, and nobody asks
        perplexity = math.exp(min(700.0, -sum(values) / len(values)))
        evidence = [Evidence("perplexity", f"{perplexity:.6g}", where="item")]
        value = 2 / (1 + perplexity) if self.max is None else min(1.0, self.max / perplexity)
        return self.result(value, f"Perplexity {perplexity:.4g} over {len(values):,} tokens.", evidence)


def _values(given: Any) -> list[float]:
    if isinstance(given, Mapping):
        given = given.get("content")
    found = []
    for item in given if isinstance(given, list | tuple) else ():
        one = item.get("logprob") if isinstance(item, Mapping) else item
        if isinstance(one, int | float) and not isinstance(one, bool) and -1e6 < one <= 0:
            found.append(float(one))
    return found
