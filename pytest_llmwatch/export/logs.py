"""events.jsonl: one flat JSON line per life-cycle event, for log aggregators.

Fields carry our names (``pytest_llmwatch.semconv`` maps them to OpenTelemetry). No prompt, no output, no
context and no tool argument is ever written; error texts are those of the redacted ``Call``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pytest_llmwatch.export import ids
from pytest_llmwatch.export.sampling import Sample
from pytest_llmwatch.model import (
    JSON,
    Attempt,
    Call,
    CaseResult,
    Incident,
    Report,
    Run,
    Score,
    Span,
    ToolCall,
    Verdict,
)

MAX_TEXT = 500
"""Characters that a field may have; more is cut."""
_STEPS = {"detected": "opened", "seen": "seen", "resolved": "resolved"}
JSON_SCORERS = ("json", "json_schema")
"""Scorers whose 0 says that the answer could not be parsed."""


def render(source: Report | Run, *, share: float = 1.0) -> Iterator[str]:
    """Yield the events of a run as JSON lines without their newline, in stable order; see `events`."""
    for event in events(source, share=share):
        yield json.dumps(event, ensure_ascii=True, allow_nan=False)


def events(source: Report | Run, *, share: float = 1.0) -> Iterator[dict[str, JSON]]:
    """Yield the events of a run, in stable order.

    The order is: ``run_started``; per call ``llm_request_started``, ``llm_request_rate_limited`` and
    ``llm_request_retry`` per attempt that met it, ``llm_request_completed`` or ``llm_request_failed``, then its
    ``llm_tool``, ``llm_retrieval`` and ``llm_metric``; per span of a tool or retrieval the same; per test
    ``llm_parse_failed``, ``llm_score`` and ``llm_metric``; ``problem``; per rule ``llm_gate``; per incident
    ``incident_opened``, ``incident_seen`` or ``incident_resolved``; ``run_completed``. A bare ``Run`` has neither
    ``llm_gate`` nor incidents. Fields that are not known are left out.

    Args:
        source: A report, or a run that nobody judged.
        share: Share of the tests whose events are kept, in [0, 1]; what failed is always kept.
    """
    run = source.run if isinstance(source, Report) else source
    report = source if isinstance(source, Report) else None
    common = {"schema_version": run.schema_version, "run_id": run.run_id}
    sample = Sample(run, share)
    for event in _events(run, report, sample):
        yield {k: v for k, v in ((k, _clean(v)) for k, v in (common | event).items()) if v is not None}


def _events(run: Run, report: Report | None, sample: Sample) -> Iterator[dict[str, JSON]]:
    yield {"event": "run_started", "level": "info", "time": run.time, "calls": len(run.calls)}
    for call in run.calls:
        if sample.keeps(call):
            note = sample.note(call)
            yield from ({**event, **note} for event in _of_call(run, call))
    for span in run.spans:
        if sample.keeps(span):
            note = sample.note(span)
            yield from ({**event, **note} for event in _of_span(run, span))
    for result in run.results:
        if sample.keeps(result):
            note = sample.note(result)
            yield from ({**event, **note} for event in _of_test(result))
    for problem in run.problems:
        yield {
            "event": "problem", "level": "warning", "kind": problem.kind, "message": problem.message,
            "nodeid": problem.nodeid,
        }  # fmt: skip
    for verdict in report.verdicts if report else ():
        yield _gate(verdict)
    for incident in report.incidents if report else ():
        yield from _incident(incident, run)
    yield _completed(run, report)


LIVE = frozenset({
    "llm_request_started", "llm_request_rate_limited", "llm_request_retry", "llm_request_completed",
    "llm_request_failed", "llm_tool", "llm_retrieval",
})  # fmt: skip
"""Events that are known when a call ends."""


def of_call(run_id: str, call: Call) -> Iterator[dict[str, JSON]]:
    """Yield the events of one call when it ends (`LIVE`), without its user: names are hashed with the run."""
    run = Run(run_id, call.time or "")
    common = {"schema_version": run.schema_version, "run_id": run_id}
    for event in _of_call(run, replace(call, user=None)):
        if event["event"] in LIVE:
            yield {k: v for k, v in ((k, _clean(v)) for k, v in (common | event).items()) if v is not None}


def _of_call(run: Run, call: Call) -> Iterator[dict[str, JSON]]:
    who = _identity(run, call)
    yield {
        "event": "llm_request_started", "level": "info", "time": call.time, **who,
        "input_chars": call.input_chars, "stream": call.stream,
    }  # fmt: skip
    for number, attempt in enumerate(call.attempts, 1):
        yield from _of_attempt(who, call, number, attempt)
    yield _finished(call, who)
    for tool in call.tool_calls:
        yield _tool(who, tool) | {"time": _end(call)}
    if call.retrieval is not None:
        found = call.retrieval
        yield _retrieval(who, len(found.ids or found.documents), found.top_k, found.source)
    for name, value in call.metrics.items():
        yield {"event": "llm_metric", "level": "info", **_short(who), "name": name, "value": value}


def _of_attempt(who: dict[str, JSON], call: Call, number: int, attempt: Attempt) -> Iterator[dict[str, JSON]]:
    told = {
        **_short(who), "http_attempt": number, "status_code": attempt.status_code,
        "error_type": attempt.error_type, "latency": attempt.latency,
        "retry_after": attempt.retry_after, "injected": attempt.injected or None,
    }  # fmt: skip
    if attempt.status_code == 429:
        yield {"event": "llm_request_rate_limited", "level": "warning", **told}
    if number < len(call.attempts):
        yield {"event": "llm_request_retry", "level": "warning", **told}


def _finished(call: Call, who: dict[str, JSON]) -> dict[str, JSON]:
    usage = call.usage
    return {
        "event": "llm_request_failed" if call.failed else "llm_request_completed",
        "level": "error" if call.failed else "info",
        "time": _end(call),
        **who,
        "status": call.status, "error_type": call.error_type, "error": call.error,
        "response_model": call.response_model, "request_id": call.request_id,
        "finish_reason": call.finish_reason, "latency": call.latency, "ttft": call.ttft,
        "tokens_per_second": call.tokens_per_second, "queue_wait": call.queue_wait,
        "attempts": len(call.attempts) or None, "retries": call.retries,
        "rate_limited_attempts": call.rate_limited_attempts,
        "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens, "reasoning_tokens": usage.reasoning_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "tokens_estimated": usage.estimated or None,
        "cost_usd": call.cost.usd, "price_source": call.cost.source, "price_date": call.cost.date,
        "output_chars": call.output_chars, "cache_hit": call.cache_hit, "fallback": call.fallback,
        "valid_schema": call.valid_schema, "policy_ok": call.policy_ok,
        "tool_calls": len(call.tool_calls) or None,
        "retrieved": len(call.retrieval.ids or call.retrieval.documents) if call.retrieval else None,
    }  # fmt: skip


def _identity(run: Run, call: Call) -> dict[str, JSON]:
    trace, parent = ids.logged(run, call)
    return {
        "call_id": call.id, "nodeid": call.nodeid, "set": call.set, "case": call.case, "repeat": call.repeat,
        "attempt": call.attempt, "trace_id": trace,
        "span_id": None if trace is None else ids.span_id(run, call, call.span_id or call.id),
        "parent_id": parent,
        "provider": call.provider, "operation": call.operation,
        "model": call.model, "prompt_name": call.prompt_name, "prompt_version": call.prompt_version,
        "feature": call.feature, "team": call.team, "user": call.user, "tenant": call.tenant,
        "environment": call.environment, "session": call.session, "stage": call.stage,
        "capture_mode": call.capture_mode, "role": call.role,
    }  # fmt: skip


_SHORT = ("call_id", "nodeid", "trace_id", "span_id", "provider", "model", "prompt_version", "feature", "team")


def _short(who: dict[str, JSON]) -> dict[str, JSON]:
    """Return who a lesser event of a call belongs to; the call's own events say the rest."""
    return {key: who.get(key) for key in _SHORT}


def _tool(who: dict[str, JSON], tool: ToolCall) -> dict[str, JSON]:
    failed = tool.error is not None or tool.valid is False
    return {
        "event": "llm_tool", "level": "warning" if failed else "info", **_short(who), "tool": tool.name,
        "tool_call_id": tool.id, "valid_arguments": tool.valid, "failed": failed, "error": tool.error,
        "latency": tool.latency,
    }  # fmt: skip


def _retrieval(who: dict[str, JSON], documents: int, top_k: int | None, source: str | None) -> dict[str, JSON]:
    return {
        "event": "llm_retrieval", "level": "info" if documents else "warning", **_short(who),
        "documents": documents, "top_k": top_k, "source": source,
    }  # fmt: skip


def _of_span(run: Run, span: Span) -> Iterator[dict[str, JSON]]:
    who: dict[str, JSON] = {
        "nodeid": span.nodeid, "trace_id": ids.trace_id(run, span), "span_id": ids.span_id(run, span, span.id),
        "feature": span.labels.get("feature"), "team": span.labels.get("team"),
        "prompt_version": span.labels.get("prompt_version"),
    }  # fmt: skip
    timed: dict[str, JSON] = {"time": span.time, "stage": span.name, "latency": span.latency, "error": span.error}
    if span.tool is not None:
        yield _tool(who, span.tool) | {k: v for k, v in timed.items() if v is not None}
    if span.retrieval is not None:
        found = span.retrieval
        yield _retrieval(who, len(found.ids or found.documents), found.top_k, found.source) | timed


def _of_test(result: CaseResult) -> Iterator[dict[str, JSON]]:
    who: dict[str, JSON] = {
        "nodeid": result.nodeid, "set": result.set, "case": result.case, "repeat": result.repeat,
        "attempt": result.attempt, "call_id": result.call_ids[-1] if result.call_ids else None,
    }  # fmt: skip
    for score in result.scores:
        if score.name in JSON_SCORERS and score.value == 0:
            # not why: an explanation may quote the answer
            yield {"event": "llm_parse_failed", "level": "warning", **who, "scorer": score.name}
        yield _score(score, who)
    for name, values in result.metrics.items():
        for value in values:
            yield {"event": "llm_metric", "level": "info", **who, "name": name, "value": value}


def _score(score: Score, who: dict[str, JSON]) -> dict[str, JSON]:
    low = score.passed is False
    return {
        "event": "llm_score", "level": "warning" if low or score.label == "error" else "info",
        "name": score.name, "value": score.value, "label": score.label, "version": score.version,
        "threshold": score.threshold, "passed": score.passed, **who,
    }  # fmt: skip


def _gate(verdict: Verdict) -> dict[str, JSON]:
    level = {"fail": "error", "pass": "info"}.get(verdict.verdict, "warning")
    return {
        "event": "llm_gate", "level": level, "rule": verdict.rule, "verdict": verdict.verdict,
        "layer": verdict.layer, "kind": verdict.kind, "reason": verdict.reason, "unit": verdict.unit,
        "observed": verdict.observed, "limit": verdict.limit, "warn_limit": verdict.warn_limit,
        "n": verdict.n, "p": verdict.p, "scope": verdict.scope, "because": verdict.because,
        "worst_call_id": verdict.worst[0] if verdict.worst else None,
    }  # fmt: skip


def _incident(incident: Incident, run: Run) -> Iterator[dict[str, JSON]]:
    """Yield what this run did to an incident: opened it, saw it again, resolved it."""
    for step in incident.timeline:
        if step.get("run") == run.run_id and step.get("event") in _STEPS:
            yield {
                "event": f"incident_{_STEPS[str(step['event'])]}",
                "level": "info" if step["event"] == "resolved" else "warning",
                "time": str(step.get("time")), "incident": incident.id, "severity": incident.severity,
                "category": incident.category, "rule": incident.rules[0] if incident.rules else None,
                "rules": len(incident.rules), "status": incident.state,
                "feature": next(iter(incident.affected.get("features") or ()), None),
            }  # fmt: skip


def _completed(run: Run, report: Report | None) -> dict[str, JSON]:
    failed = sum(1 for call in run.calls if call.failed)
    event: dict[str, JSON] = {
        "event": "run_completed", "level": "info", "time": _shift(run.time, run.duration),
        "duration": run.duration, "calls": len(run.calls), "failed": failed, "partial": run.partial,
        "partial_reason": run.partial_reason,
    }  # fmt: skip
    if report is not None:
        event["level"] = "info" if report.exit_code == 0 else "error"
        event |= {"verdict": report.verdict, "exit_code": report.exit_code, "sentence": report.sentence}
        event["cost_usd"] = report.aggregates.get("cost_usd")
    return event


def _end(call: Call) -> str | None:
    return _shift(call.time, call.latency)


def _shift(time: str | None, seconds: float | None) -> str | None:
    # an end that is not known is left out rather than made equal to the start
    if time is None or seconds is None or not math.isfinite(seconds):
        return None
    try:
        moment = datetime.fromisoformat(time) + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return value[:MAX_TEXT] + "…"
    return value
