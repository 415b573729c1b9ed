"""Metrics of deepeval."""

from __future__ import annotations

import copy
import inspect
import os
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers.adapters.common import Adapter, arguments, expected_calls


@dataclass(frozen=True, slots=True)
class DeepEval(Adapter):
    """A metric of deepeval, as it is: `metric` names its class (`ExactMatchMetric`, or `my_metrics:Own`).

    `options` are passed to the class. It sees input, answer, reference as expected output, context as context and
    retrieval context, and tool calls. Its telemetry, `.env` loading, spinner and own threshold are left out; what
    it misses in the case makes it `not_assessable`.
    """

    name = "deepeval"
    PACKAGE: ClassVar[str] = "deepeval"
    HOME: ClassVar[str] = "deepeval.metrics"

    def quiet(self) -> None:
        """Turn off telemetry, and, unless the user wants it, the loading of `.env` into the environment."""
        os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] = "1"
        os.environ.setdefault("DEEPEVAL_DISABLE_DOTENV", "1")

    def run(self, output: Output, case: Case) -> Score:
        """Measure a copy of the metric, which keeps its result in itself."""
        from deepeval.errors import MissingTestCaseParamsError

        metric = copy.copy(self.made)
        if getattr(metric, "async_mode", False):
            metric.async_mode = False  # or it patches the event loop
        hidden = {"_show_indicator": False} if "_show_indicator" in _parameters(metric.measure) else {}
        try:
            returned = metric.measure(_test_case(output, case), **hidden)
        except MissingTestCaseParamsError as error:
            return self.not_assessable(" ".join(str(error).split()))
        if getattr(metric, "error", None):
            raise RuntimeError(str(metric.error))
        if getattr(metric, "skipped", False):
            return self.valued(None, "The metric skipped the case.")
        value = getattr(metric, "score", None)
        return self.valued(returned if value is None else value, getattr(metric, "reason", None))


def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _test_case(output: Output, case: Case) -> Any:
    from deepeval.test_case import LLMTestCase, ToolCall

    context = list(case.context) or None
    expected = None
    if case.expected_tool_calls is not None:
        expected = [ToolCall(name=name, input_parameters=given) for name, given in expected_calls(case)]
    return LLMTestCase(
        input=case.input_text() or "",
        actual_output=output.text,
        expected_output=case.reference,
        context=context,
        retrieval_context=context,
        metadata=dict(case.metadata) or None,
        tools_called=[
            ToolCall(name=c.name, input_parameters=arguments(c), output=c.result) for c in output.tool_calls
        ],
        expected_tools=expected,
    )
