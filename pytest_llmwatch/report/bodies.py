"""What a call said, ready to show: texts cut and marked with evidence, scores with their reasons.

The same plain values feed the static page and the chunks that its script decodes, so that evidence is placed
once, on code points (a browser counts UTF-16 units).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import JSON, Call, Evidence, Score
from pytest_llmwatch.report.cases import Worst
from pytest_llmwatch.report.text import Cut, locate, window

_GOOD = {"support", "mentioned", "found", "matched"}
_INFO = {"hedge", "absolute", "claim", "marker", "info"}
_MAX_EVIDENCE = 40
_MAX_DOCUMENTS = 8


def evidence_class(kind: str) -> str:
    """Return ``good`` (supports the answer), ``info`` or ``bad`` (speaks against it)."""
    return "good" if kind in _GOOD else "info" if kind in _INFO else "bad"


def body(case: Worst, size: int) -> dict[str, JSON]:
    """Return texts, scores and evidence of a case; each text at most ``size`` characters.

    A text is ``{"p": [[text, [evidence numbers]]...], "b": cut before, "a": cut after}``.
    """
    scores = case.result.scores if case.result else ()
    items = _evidence(scores)
    evidence = [item for _, item in items]
    output = case.output
    return {
        "input": _text(case.input, [], size),
        "output": _text(output, locate(output or "", evidence), size),
        "context": [
            _text(document, locate(document, evidence, "context", index), size)
            for index, document in enumerate(case.context[:_MAX_DOCUMENTS])
        ],
        "documents": len(case.context),
        "reference": _text(case.reference, [], size),
        "scores": [_score(score) for score in scores],
        "evidence": [
            {"score": name, "kind": e.kind.replace("_", " "), "class": evidence_class(e.kind), "where": e.where,
             "text": e.text[:300], "note": e.note[:300] if e.note else None}
            for name, e in items
        ],
    }  # fmt: skip


def _evidence(scores: Sequence[Score]) -> list[tuple[str, Evidence]]:
    # what speaks against the answer comes first, so that a cap drops the rest
    items = [(s.name, e) for s in scores for e in s.evidence]
    order = {"bad": 0, "good": 1, "info": 2}
    items.sort(key=lambda item: order[evidence_class(item[1].kind)])
    return items[:_MAX_EVIDENCE]


def _text(text: str | None, spans: Sequence[tuple[int, int, int]], size: int) -> JSON:
    if text is None:
        return None
    return _cut(window(text, spans, size))


def _cut(cut: Cut) -> dict[str, JSON]:
    pieces = [[p.text, list(p.marks)] if p.marks else [p.text] for p in cut.pieces]
    return {"p": pieces, "b": cut.before, "a": cut.after}


def _score(score: Score) -> dict[str, JSON]:
    return {
        "name": score.name,
        "value": None if score.value is None else fmt.value(score.value, "ratio", score.threshold),
        "bar": None if score.value is None else round(100 * min(1.0, max(0.0, score.value)), 1),
        "label": (score.label or "unscored").replace("_", " ") if score.value is None else None,
        "limit": None if score.threshold is None else fmt.value(score.threshold, "ratio", score.threshold),
        "below": score.passed is False,
        "why": score.explanation[:600],
        "info": score.informational,
    }


def facts(call: Call) -> list[list[str]]:
    """Return what is known of a call beyond the table's columns, as (label, text) pairs."""
    pairs: list[tuple[str, Any]] = [
        ("made by", call.judging and "a judge"),
        ("asked for", call.model if call.model != call.response_model else None),
        ("provider", call.provider), ("operation", call.operation), ("request id", call.request_id),
        ("finish reason", call.finish_reason), ("error", call.error), ("streamed", call.stream and "yes"),
        ("reasoning tokens", call.usage.reasoning_tokens), ("tokens are", call.usage.estimated and "estimated"),
        ("price from", call.cost.source and f"{call.cost.source} {call.cost.date or ''}".strip()),
        ("attempts", _attempts(call)), ("waited in queue", call.queue_wait and fmt.value(call.queue_wait, "s")),
        ("cache hit", _yes(call.cache_hit)), ("fallback", _yes(call.fallback)),
        ("fits the schema", _yes(call.valid_schema)), ("policy ok", _yes(call.policy_ok)),
        ("prompt", call.prompt_name), ("parameters", _mapping(call.parameters)), ("user (hashed)", call.user),
        ("tenant", call.tenant), ("environment", call.environment), ("session", call.session),
        ("stage", call.stage), ("tags", ", ".join(call.tags)), ("trace", call.trace_id),
        ("metrics", _mapping(call.metrics)),
        ("retrieved", call.retrieval and f"{len(call.retrieval.ids or call.retrieval.documents)} documents"),
        *(("tool call", _tool(call, i)) for i in range(len(call.tool_calls))),
    ]  # fmt: skip
    return [[label, str(text)[:1000]] for label, text in pairs if text not in (None, "", False)]


def _attempts(call: Call) -> str | None:
    if len(call.attempts) < 2:
        return None
    parts = []
    for attempt in call.attempts:
        end = str(attempt.status_code or attempt.error_type or "?")
        parts.append(end if attempt.latency is None else f"{end} in {fmt.value(attempt.latency, 's')}")
    return ", ".join(parts)


def _tool(call: Call, index: int) -> str:
    tool = call.tool_calls[index]
    end = f" failed: {tool.error}" if tool.error else f" → {tool.result}" if tool.result else ""
    wrong = " (arguments are not valid)" if tool.valid is False else ""
    return f"{tool.name}({tool.arguments}){wrong}{end}"


def _mapping(values: Mapping[str, JSON]) -> str:
    return ", ".join(f"{k}={v}" for k, v in sorted(values.items()))


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"
