"""What a scorer is, and how any function becomes one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pytest_llmwatch.model import Case, Evidence, Output, Score

NEGATED = "Not: "
"""How the explanation of a negated score begins."""

MAX_EVIDENCE = 50
"""Evidence items that one score carries at most; the explanation counts all."""


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores one answer.

    ``name`` and ``version`` identify what was measured: a version changes whenever the same answer could get
    another value. An ``informational`` score is shown and trended, and never part of a composite.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def informational(self) -> bool: ...

    def applies(self, output: Output, case: Case) -> bool:
        """Whether the scorer has something to say here; decides what runs when nobody named scorers."""
        ...

    def score(self, output: Output, case: Case) -> Score:
        """Score ``output``: a value in [0, 1], or None and a label saying why."""
        ...


class Base:
    """Names and the building of scores, shared by the built-in scorers."""

    __slots__ = ()

    name = ""
    version = "1"
    informational = False

    def result(
        self,
        value: float,
        explanation: str,
        evidence: Sequence[Evidence] = (),
        *,
        label: str | None = None,
        coverage: float | None = None,
    ) -> Score:
        """Return a score with a value, its evidence cut to `MAX_EVIDENCE` items."""
        return Score(
            self.name,
            min(1.0, max(0.0, value)),
            label=label,
            explanation=explanation,
            evidence=tuple(evidence[:MAX_EVIDENCE]),
            version=self.version,
            informational=self.informational,
            coverage=coverage,
        )

    def not_assessable(self, why: str, *, coverage: float | None = None) -> Score:
        """Return a score without a value: the scorer knows nothing about this answer."""
        return Score(
            self.name,
            None,
            label="not_assessable",
            explanation=why,
            version=self.version,
            informational=self.informational,
            coverage=coverage,
        )


@dataclass(frozen=True, slots=True)
class FunctionScorer:
    """A function ``(output, case, **options) -> float | bool | Score`` as a scorer. It always applies."""

    name: str
    function: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: str = "1"
    informational: bool = False

    def applies(self, output: Output, case: Case) -> bool:
        """Return True: a function cannot say beforehand."""
        return True

    def score(self, output: Output, case: Case) -> Score:
        """Call the function; see `as_score` for what it may return.

        Raises:
            TypeError: It returned something else.
            ValueError: The number is outside [0, 1].
        """
        return as_score(self.function(output, case, **self.options), self.name, self.version)


def as_score(value: Any, name: str, version: str = "1") -> Score:
    """Turn what a scorer returned into a Score: True is 1, None is ``unscored``.

    Raises:
        TypeError: Neither a number, a bool, None nor a Score.
        ValueError: Not in [0, 1] (1 is best), or not a number at all.
    """
    if isinstance(value, Score):
        if value.value is not None:
            _check_range(value.value)
        elif value.label is None:
            raise ValueError("a Score without a value must have a label saying why")
        return value
    if value is None:
        return Score(name, None, label="unscored", explanation="The scorer returned None.", version=version)
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that it was never awaited
        raise TypeError("a scorer must be a plain function, not async")
    if not isinstance(value, int | float):
        # numpy's numbers are not all subclasses of float
        if not hasattr(value, "__float__"):
            raise TypeError(f"a scorer must return a float, a bool, None or a Score (got {type(value).__name__})")
        value = float(value)
    _check_range(value)
    return Score(name, float(value), explanation=f"{name} = {float(value):.3g}", version=version)


def _check_range(value: float) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("a score must be a number in [0, 1] (got NaN); return None where there is none")
    if not 0 <= value <= 1:
        raise ValueError(f"a score must be in [0, 1], 1 is best (got {value:g})")
