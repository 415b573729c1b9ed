"""events.jsonl: one JSON line per life-cycle event, for log aggregators.

Fields carry our names (``pytest_llmwatch.semconv`` maps them to OpenTelemetry). No prompt, no output, no
context and no tool argument is ever written; error texts are those of the redacted ``Call``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from pytest_llmwatch.model import JSON, Call, CaseResult, Report, Run, Score, Verdict

_MAX_MESSAGE = 500


def render(source: Report | Run) -> Iterator[str]:
    """Yield the events of a run as JSON lines without their newline, in stable order.

    The order is: ``run.started``; per call ``call.started`` and ``call.completed`` or ``call.failed``; per test
    its ``score`` events; ``problem``; per rule ``rule``; ``run.completed``. A bare ``Run`` has no ``rule``
    events. Fields that are not known are left out.
    """
    run = source.run if isinstance(source, Report) else source
    common = {"schema_version": run.schema_version, "run_id": run.run_id}
    for event in _events(run, source if isinstance(source, Report) else None):
        yield json.dumps(_clean(common | event), ensure_ascii=True, allow_nan=False)


def _events(run: Run, report: Report | None) -> Iterator[dict[str, JSON]]:
    yield {"event": "run.started", "level": "info", "time": run.time, "calls": len(run.calls)}
    for call in run.calls:
        yield _started(call)
        yield _finished(call)
    for result in run.results:
        for score in result.scores:
            yield _score(score, result)
    for problem in run.problems:
        yield {
            "event": "problem", "level": "warning", "kind": problem.kind, "message": problem.message,
            "nodeid": problem.nodeid,
        }  # fmt: skip
    for verdict in report.verdicts if report else ():
        yield _rule(verdict)
    yield _completed(run, report)


def _started(call: Call) -> dict[str, JSON]:
    return {
        "event": "call.started", "level": "info", "time": call.time, **_identity(call),
        "input_chars": call.input_chars, "stream": call.stream,
    }  # fmt: skip


def _finished(call: Call) -> dict[str, JSON]:
    usage = call.usage
    return {
        "event": "call.failed" if call.failed else "call.completed",
        "level": "error" if call.failed else "info",
        "time": _end(call),
        **_identity(call),
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
        "tools": [{"name": t.name, "valid": t.valid, "failed": t.error is not None} for t in call.tool_calls]
        or None,
        "retrieved": len(call.retrieval.ids or call.retrieval.documents) if call.retrieval else None,
        "metrics": dict(call.metrics) or None,
    }  # fmt: skip


def _identity(call: Call) -> dict[str, JSON]:
    return {
        "call_id": call.id, "nodeid": call.nodeid, "set": call.set, "case": call.case, "repeat": call.repeat,
        "attempt": call.attempt, "trace_id": call.trace_id, "span_id": call.span_id,
        "parent_id": call.parent_id, "provider": call.provider, "operation": call.operation,
        "model": call.model, "prompt_name": call.prompt_name, "prompt_version": call.prompt_version,
        "feature": call.feature, "team": call.team, "user": call.user, "tenant": call.tenant,
        "environment": call.environment, "session": call.session, "stage": call.stage,
        "capture_mode": call.capture_mode, "role": call.role,
    }  # fmt: skip


def _score(score: Score, result: CaseResult) -> dict[str, JSON]:
    low = score.passed is False
    return {
        "event": "score", "level": "warning" if low or score.label == "error" else "info",
        "name": score.name, "value": score.value, "label": score.label, "version": score.version,
        "threshold": score.threshold, "passed": score.passed, "nodeid": result.nodeid, "set": result.set,
        "case": result.case, "repeat": result.repeat, "attempt": result.attempt,
        "call_ids": list(result.call_ids) or None,
    }  # fmt: skip


def _rule(verdict: Verdict) -> dict[str, JSON]:
    level = {"fail": "error", "pass": "info"}.get(verdict.verdict, "warning")
    return {
        "event": "rule", "level": level, "rule": verdict.rule, "verdict": verdict.verdict,
        "layer": verdict.layer, "kind": verdict.kind, "reason": verdict.reason, "unit": verdict.unit,
        "observed": verdict.observed, "limit": verdict.limit, "warn_limit": verdict.warn_limit,
        "n": verdict.n, "p": verdict.p, "scope": verdict.scope, "because": verdict.because,
        "worst": list(verdict.worst) or None,
    }  # fmt: skip


def _completed(run: Run, report: Report | None) -> dict[str, JSON]:
    failed = sum(1 for call in run.calls if call.failed)
    event: dict[str, JSON] = {
        "event": "run.completed", "level": "info", "time": _shift(run.time, run.duration),
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
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if v is not None and _clean(v) is not None}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and len(value) > _MAX_MESSAGE:
        return value[:_MAX_MESSAGE] + "…"
    return value
