"""Metrics of ragas, those of `ragas.metrics.collections` and the older ones of `ragas.metrics`."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers.adapters.common import Adapter, arguments, expected_calls, wait_for


@dataclass(frozen=True, slots=True)
class Ragas(Adapter):
    """A metric of ragas, as it is: `metric` names its class (`BleuScore`, `ragas.metrics:CHRFScore`, `my:Own`).

    A name alone is looked for in `ragas.metrics.collections`. `options` are passed to the class. It sees input,
    answer, reference, context as retrieved contexts, ids of retrieved and expected documents, and tool calls; what
    else a sample holds (`reference_contexts`, `rubrics`) comes from the case's metadata. NaN, and what it misses
    in the case, make it `not_assessable`. Its telemetry is off.
    """

    name = "ragas"
    PACKAGE: ClassVar[str] = "ragas"
    HOME: ClassVar[str] = "ragas.metrics.collections"

    def quiet(self) -> None:
        """Turn off telemetry."""
        os.environ["RAGAS_DO_NOT_TRACK"] = "true"

    def imported(self) -> None:
        """Keep ragas from writing a user id to the home folder, which it does even where telemetry is off."""
        _without_user_id()

    def run(self, output: Output, case: Case) -> Score:
        """Score a sample of the kind that the metric takes."""
        metric = self.made
        sample = _sample(output, case)
        if hasattr(metric, "single_turn_ascore"):
            return self._single_turn(sample)
        if hasattr(metric, "multi_turn_ascore"):
            return self._multi_turn(sample, output, case)
        parameters = inspect.signature(metric.ascore).parameters.values()
        if "reference_tool_calls" in {p.name for p in parameters}:
            sample["user_input"] = _conversation(output, case)
        needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
        if missing := _missing(sample, needed):
            return self.not_assessable(missing)
        given = {p.name: sample[p.name] for p in parameters if p.name in sample}
        found = wait_for(lambda: metric.ascore(**given))
        return self.valued(getattr(found, "value", found), getattr(found, "reason", None))

    def _single_turn(self, sample: dict[str, Any]) -> Score:
        from ragas.dataset_schema import SingleTurnSample

        metric = self.made
        if missing := _missing(sample, _required(metric, "SINGLE_TURN")):
            return self.not_assessable(missing)
        fields = {k: v for k, v in sample.items() if k in SingleTurnSample.model_fields}
        return self.valued(wait_for(lambda: metric.single_turn_ascore(SingleTurnSample(**fields))))

    def _multi_turn(self, sample: dict[str, Any], output: Output, case: Case) -> Score:
        from ragas.dataset_schema import MultiTurnSample

        metric = self.made
        sample["user_input"] = _conversation(output, case)
        if missing := _missing(sample, _required(metric, "MULTI_TURN")):
            return self.not_assessable(missing)
        fields = {k: v for k, v in sample.items() if k in MultiTurnSample.model_fields}
        return self.valued(wait_for(lambda: metric.multi_turn_ascore(MultiTurnSample(**fields))))


@functools.cache
def _without_user_id() -> None:
    from ragas import _analytics

    kept = getattr(_analytics, "user_data_dir", None)
    if kept is None or not hasattr(_analytics, "get_userid"):
        return  # another version, which does without
    _analytics.user_data_dir = _no_folder
    try:
        _analytics.get_userid()  # falls back to a random id, and keeps it for the process
    finally:
        _analytics.user_data_dir = kept


def _no_folder(*_given: Any, **_named: Any) -> str:
    raise OSError("no folder for user ids")


def _sample(output: Output, case: Case) -> dict[str, Any]:
    """Return the fields of a sample that are known."""
    from ragas.messages import ToolCall

    known: dict[str, Any] = {
        **case.metadata,
        "user_input": case.input_text(),
        "response": output.text,
        "reference": case.reference,
        "retrieved_contexts": list(case.context) or None,
        "retrieved_context_ids": list(output.retrieved) or None,
    }
    if case.expected_documents is not None:
        known["reference_context_ids"] = list(case.expected_documents)
    if case.expected_tool_calls is not None:
        known["reference_tool_calls"] = [ToolCall(name=name, args=given) for name, given in expected_calls(case)]
    return {key: value for key, value in known.items() if value is not None}


def _conversation(output: Output, case: Case) -> list[Any]:
    from ragas.messages import AIMessage, HumanMessage, ToolCall

    calls = [ToolCall(name=c.name, args=arguments(c)) for c in output.tool_calls]
    return [HumanMessage(content=case.input_text() or ""), AIMessage(content=output.text, tool_calls=calls)]


def _required(metric: Any, kind: str) -> list[str]:
    wanted = metric.required_columns.get(kind, ())
    return [name for name in wanted if not name.endswith(":optional")]


def _missing(sample: dict[str, Any], needed: Iterable[str]) -> str:
    absent = sorted(name for name in needed if name not in sample)
    return f"The metric needs {', '.join(absent)}, which the case does not have." if absent else ""
