"""Evaluators of pydantic-evals."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers.adapters.common import Adapter, read, wait_for
from pytest_llmwatch.scorers.options import option


@dataclass(frozen=True, slots=True)
class PydanticEvals(Adapter):
    """An evaluator of pydantic-evals, as it is: `metric` names its class (`Contains`, or `my_evaluators:Own`).

    `options` are passed to the class. It sees inputs, answer, reference as expected output, and metadata; True is
    1, a text is a label without a value. `read: json` parses answer and reference where they are JSON. Where it
    returns several results, `result_name` names the one that counts. There is no duration and no span tree:
    `budget.toml` limits those.
    """

    name = "pydantic_evals"
    PACKAGE: ClassVar[str] = "pydantic-evals"
    HOME: ClassVar[str] = "pydantic_evals.evaluators"

    read: str = option(("text", "json"), "text")
    result_name: str | None = option("text")

    def run(self, output: Output, case: Case) -> Score:
        """Evaluate, and take the one result."""
        context = _context(output, case, self.read)
        returned = self.made.evaluate(context)
        if inspect.isawaitable(returned):
            pending = returned
            returned = wait_for(lambda: pending)
        if isinstance(returned, Mapping):
            if not returned:
                return self.not_assessable("The evaluator had nothing to say, as without an expected output.")
            returned = self._one(returned)
        reason = getattr(returned, "reason", None)
        value = getattr(returned, "value", returned)
        if isinstance(value, str):
            return self.valued(None, f"{value}: {reason}" if reason else value)
        return self.valued(value, reason)

    def _one(self, found: Mapping[str, Any]) -> Any:
        if self.result_name is None and len(found) == 1:
            return next(iter(found.values()))
        if self.result_name is not None and self.result_name in found:
            return found[self.result_name]
        raise ValueError(f"it returned {', '.join(map(str, found))}; name one of them by `result_name`")


def _context(output: Output, case: Case, how: str) -> Any:
    from pydantic_evals.evaluators import EvaluatorContext
    from pydantic_evals.otel import SpanTreeRecordingError

    return EvaluatorContext(
        name=case.id,
        inputs=case.input,
        metadata=dict(case.metadata) or None,
        expected_output=read(case.reference, how),
        output=read(output.text, how),
        duration=math.nan,  # not known here; 0 would pass every limit
        _span_tree=SpanTreeRecordingError("pytest-llmwatch records no OpenTelemetry spans for evaluators"),
        attributes={},
        metrics={},
    )
