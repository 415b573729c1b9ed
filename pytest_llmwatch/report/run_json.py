"""run.json: the whole verdict of a run as JSON, without bodies.

The shape is documented in ``docs/reference/outputs.md``. Keys that a reader may rely on are always there,
null where unknown. Bodies (inputs, outputs) live in calls.jsonl.gz.
"""

from __future__ import annotations

import math
from typing import Any

from pytest_llmwatch.codec import encode
from pytest_llmwatch.model import JSON, CaseResult, Report, Score, UserOutcome, Verdict

_VERDICT_KEYS = (
    "rule", "metric", "verdict", "layer", "kind", "family", "tier", "unit", "direction", "observed", "limit",
    "warn_limit", "baseline", "candidate", "delta", "ci", "p", "p_adjusted", "n", "n_cases", "n_needed",
    "paired", "scope", "reason", "because", "action", "worst", "waiver", "line",
)  # fmt: skip


def render(report: Report) -> dict[str, JSON]:
    """Return run.json of ``report`` as JSON values: stable order, no NaN and no infinity (null instead)."""
    run = report.run
    out: dict[str, JSON] = {
        "schema_version": run.schema_version,
        "run_id": run.run_id,
        "time": run.time,
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "sentence": report.sentence,
        "partial": run.partial,
        "partial_reason": run.partial_reason,
        "duration": run.duration,
        "budget": report.budget,
        "presentation": encode(report.presentation),
        "environment": encode(run.environment),
        "aggregates": encode(report.aggregates),
        "alpha_by_family": encode(report.alpha_by_family),
        "verdicts": [_verdict(v) for v in report.verdicts],
        "cases": [_case(r) for r in run.results],
        "problems": [encode(p) for p in run.problems],
        "notes": list(report.notes),
        "spans": len(run.spans),
        "incidents": [encode(i) for i in report.incidents],
    }
    if run.concurrent:
        out["concurrent"] = [encode(b) for b in run.concurrent]
    safe: dict[str, JSON] = json_safe(out)
    return safe


def json_safe(value: Any) -> Any:
    """Return ``value`` with every NaN and infinity replaced by None and every lone surrogate escaped."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {json_safe(str(k)): json_safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(v) for v in value]
    return value


def _verdict(verdict: Verdict) -> dict[str, JSON]:
    out = {key: encode(getattr(verdict, key)) for key in _VERDICT_KEYS}
    out["worst"] = list(verdict.worst)
    return out


def _case(result: CaseResult) -> dict[str, JSON]:
    out: dict[str, JSON] = {
        "set": result.set,
        "case": result.case,
        "repeat": result.repeat,
        "attempt": result.attempt,
        "nodeid": result.nodeid,
        "outcome": result.outcome,
        "passed": result.passed,
        "reason": result.reason,
        "problem": result.problem,
        "scores": {s.name: _score(s) for s in result.scores},
        "call_ids": list(result.call_ids),
        "tags": list(result.tags),
        "weight": result.weight,
        "cluster": result.cluster,
        "duration": result.duration,
    }
    if result.metrics:
        out["metrics"] = {name: list(values) for name, values in result.metrics.items()}
    if result.user_outcome != UserOutcome():
        out["user_outcome"] = encode(result.user_outcome)
    if not result.call_ids:  # nobody else keeps what was scored
        bodies = {"input": result.input, "output": result.output, "reference": result.reference}
        out |= {key: text for key, text in bodies.items() if text is not None}
        if result.context:
            out["context"] = list(result.context)
    return out


def _score(score: Score) -> dict[str, JSON]:
    encoded: dict[str, JSON] = encode(score)
    del encoded["name"]
    return {"value": score.value, "label": score.label, "explanation": score.explanation, **encoded}
