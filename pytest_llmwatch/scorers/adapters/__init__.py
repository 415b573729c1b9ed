"""Metrics of other tools as scorers, as they are: deepeval, ragas, autoevals, pydantic-evals.

One module a tool; it imports the tool when a scorer is made, and nothing before.
"""

from __future__ import annotations

import inspect
from typing import Any

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import ScorerSpec

TOOLS: dict[str, str] = {
    "deepeval": "deepeval",
    "ragas": "ragas",
    "autoevals": "autoevals",
    "pydantic_evals": "pydantic_evals",
}
"""Package that a metric's class stands in, or comes from -> scorer that runs it."""


def adapt(
    metric: Any,
    *,
    label: str | None = None,
    threshold: float | None = None,
    weight: float | None = None,
    required: bool = False,
    negate: bool = False,
) -> ScorerSpec:
    """Return what asks for ``metric``, for ``scorers=[...]`` of a test.

    Args:
        metric: A metric of deepeval, ragas, autoevals or pydantic-evals, a subclass of one, or its class.
        label: Name of the score; None = the metric's class.
        threshold: Limit in [0, 1]; the metric's own limit is not looked at.
        weight: In a composite; None = 1.
        required: Whether missing the limit fails the test.
        negate: Whether 1 - value counts.

    Raises:
        UsageError: It is no metric of these tools (``scorer-adapter``).
    """
    cls = metric if inspect.isclass(metric) else type(metric)
    roots = [base.__module__.partition(".")[0] for base in cls.__mro__]
    tool = next((TOOLS[root] for root in roots if root in TOOLS), None)
    if tool is None:
        raise UsageError(
            f"adapt takes a metric of {', '.join(TOOLS)} (got {cls.__module__}.{cls.__qualname__})",
            slug="scorer-adapter",
        )
    return ScorerSpec(
        tool,
        {"metric": metric},
        label=label or cls.__name__,
        threshold=threshold,
        weight=weight,
        required=required,
        negate=negate,
    )
