"""Scorers: (output, case) -> Score in [0, 1], 1 is best, or no value and a label saying why.

The public face of the family. A scorer's own module is imported when the scorer is first used.
"""

from __future__ import annotations

from pytest_llmwatch.scorers.base import FunctionScorer, Scorer
from pytest_llmwatch.scorers.consistency import over_repeats
from pytest_llmwatch.scorers.registry import get, names, register, validate
from pytest_llmwatch.scorers.run import score

__all__ = ["FunctionScorer", "Scorer", "get", "names", "over_repeats", "register", "score", "validate"]
