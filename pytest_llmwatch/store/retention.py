"""What a store gives up in time: whole runs by number, age and size, texts by age and size. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pytest_llmwatch.model import JSON, Call, CaseResult, Retrieval, Run, Score, Span, ToolCall, ToolResult
from pytest_llmwatch.records import to_records
from pytest_llmwatch.store.base import Kept

REMOVED = "(removed)"
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept; None = no limit. A run is kept as long as every limit allows it.

    ``days`` and ``body_days`` are ages by the run's own time, ``runs`` a number, ``size`` bytes in all;
    ``body_size`` is bytes of the runs that have their texts.
    """

    days: int | None = None
    runs: int | None = None
    size: int | None = None
    body_days: int | None = None
    body_size: int | None = None

    @property
    def none(self) -> bool:
        """Whether nothing is limited."""
        return self == Limits()


@dataclass(frozen=True, slots=True)
class Plan:
    """Which runs go, and of which only the texts."""

    remove: tuple[Kept, ...] = ()
    strip: tuple[Kept, ...] = ()


def plan(kept: Sequence[Kept], limits: Limits, now: datetime, *, spare: frozenset[str] = frozenset()) -> Plan:
    """Return what goes under ``limits``. The newest run stays, and so does a run in ``spare``.

    Args:
        kept: The runs of the store.
        limits: What is kept.
        now: With a time zone.
        spare: Ids of runs that stay as they are.
    """
    newest_first = sorted(kept, key=lambda run: (run.time, run.id), reverse=True)
    remove: list[Kept] = []
    size = count = 0
    for run in newest_first:
        over = (
            _older(run, limits.days, now)
            or (limits.runs is not None and count >= limits.runs)
            or (limits.size is not None and size + run.size > limits.size)
        )
        if over and run is not newest_first[0] and run.id not in spare:
            remove.append(run)
            continue
        size += run.size
        count += 1
    gone = {run.id for run in remove}
    strip: list[Kept] = []
    size = 0
    for run in newest_first:
        if not run.bodies or run.id in gone:
            continue
        over = limits.body_size is not None and size + run.size > limits.body_size
        if run.id not in spare and (over or _older(run, limits.body_days, now)):
            strip.append(run)
        else:
            size += run.size
    return Plan(tuple(reversed(remove)), tuple(reversed(strip)))


def _older(run: Kept, days: int | None, now: datetime) -> bool:
    if days is None:
        return False
    try:
        at = datetime.fromisoformat(run.time.replace("Z", "+00:00"))
    except ValueError:
        return False  # of a run without a time nobody knows its age
    return now - (at if at.tzinfo else at.replace(tzinfo=UTC)) > timedelta(days=days)


def without_texts(
    run_json: Mapping[str, Any], run: Run
) -> tuple[dict[str, Any], Iterator[dict[str, JSON]], tuple[Span, ...]]:
    """Return run.json, lines of calls and spans without what anybody asked, answered, retrieved or said.

    Figures, scores, names, models, tags and node ids stay.
    """
    bare = dataclasses.replace(
        run, calls=tuple(map(_call, run.calls)), results=tuple(map(_result, run.results)), spans=()
    )
    data = dict(run_json)
    data["cases"] = [_case(case) for case in run_json.get("cases", ())]
    data["problems"] = [
        {**problem, "message": REMOVED} if problem.get("nodeid") else problem
        for problem in run_json.get("problems", ())
    ]
    return data, to_records(bare), tuple(map(_span, run.spans))


def _case(case: Mapping[str, Any]) -> dict[str, Any]:
    out = {k: v for k, v in case.items() if k not in ("input", "output", "reference", "context", "user_outcome")}
    out["reason"] = None if case.get("reason") is None else REMOVED
    out["scores"] = {
        name: {**score, "explanation": "", "evidence": []} if isinstance(score, Mapping) else score
        for name, score in (case.get("scores") or {}).items()
    }
    outcome = case.get("user_outcome")
    if isinstance(outcome, Mapping):
        out["user_outcome"] = {**outcome, "feedback": _word(outcome.get("feedback"))}
    return out


def _call(call: Call) -> Call:
    return dataclasses.replace(
        call,
        input=None,
        output=None,
        context=(),
        reference=None,
        error=_gone(call.error),
        parameters={k: v for k, v in call.parameters.items() if isinstance(v, int | float | bool)},
        tool_calls=tuple(map(_tool, call.tool_calls)),
        tool_results=tuple(_tool_result(r) for r in call.tool_results),
        retrieval=_retrieval(call.retrieval),
        outcome=dataclasses.replace(call.outcome, feedback=_word(call.outcome.feedback)),
    )


def _tool(tool: ToolCall) -> ToolCall:
    return dataclasses.replace(tool, arguments="", result=_gone(tool.result), error=_gone(tool.error))


def _gone(text: str | None) -> str | None:
    return None if text is None else REMOVED


def _tool_result(result: ToolResult) -> ToolResult:
    return dataclasses.replace(result, content=_gone(result.content))


def _retrieval(retrieval: Retrieval | None) -> Retrieval | None:
    if retrieval is None:
        return None
    return dataclasses.replace(
        retrieval,
        query=None,
        ids=tuple(_word(name) or "" for name in retrieval.ids),
        documents=tuple("" for _ in retrieval.documents),
    )


def _word(text: str | None) -> str | None:
    """Return a name, None for a text: users write to us in sentences, and some logs give documents for ids."""
    return text if text is not None and len(text) <= LONGEST_NAME and not any(map(str.isspace, text)) else None


def _result(result: CaseResult) -> CaseResult:
    return dataclasses.replace(
        result,
        input=None,
        output=None,
        context=(),
        reference=None,
        reason=_gone(result.reason),
        scores=tuple(map(_score, result.scores)),
        expected_documents=None,
        user_outcome=dataclasses.replace(result.user_outcome, feedback=_word(result.user_outcome.feedback)),
    )


def _score(score: Score) -> Score:
    return dataclasses.replace(score, explanation="", evidence=())


def _span(span: Span) -> Span:
    return dataclasses.replace(
        span,
        attributes={},
        error=_gone(span.error),
        retrieval=_retrieval(span.retrieval),
        tool=None if span.tool is None else _tool(span.tool),
    )
