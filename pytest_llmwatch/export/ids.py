"""Ids of traces and spans as other systems read them: the same in logs and spans of one run, new in every run."""

from __future__ import annotations

import hashlib
import re

from pytest_llmwatch.model import Call, CaseResult, Run, Span

_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN = re.compile(r"(?!0{16})[0-9a-f]{16}")


def digest(*parts: object, length: int) -> str:
    """Return ``length`` hexadecimal digits that stand for ``parts``."""
    text = "\0".join(str(p) for p in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def outer(record: Call | Span) -> tuple[str, str] | None:
    """Return trace and span of the application's own span around a call, None without one."""
    own = record.outer if isinstance(record, Call) else None
    trace, _, span = (own or "").partition("-")
    return (trace, span) if _TRACE.fullmatch(trace) and _SPAN.fullmatch(span) else None


def logged(run: Run, call: Call) -> tuple[str | None, str | None]:
    """Return trace and parent of a call as its span has them, as far as the call alone tells."""
    around = outer(call)
    if around is not None and call.parent_id is None:
        return around
    return trace_id(run, call), None if call.parent_id is None else span_id(run, call, call.parent_id)


def trace_id(run: Run, record: Call | Span) -> str | None:
    """Return the id of the trace that ``record`` belongs to: 32 digits, None where it belongs to none.

    A test has one id in all runs, so that runs can be compared; a backend of traces would take them for one trace.
    """
    own = record.trace_id
    if own is None:
        return None
    if record.nodeid is None and _TRACE.fullmatch(own):
        return own  # of somebody else's trace: keep it findable
    return digest("trace", run.run_id, own, length=32)


def span_id(run: Run, record: Call | Span, own: str) -> str:
    """Return an id of ours (``own``: of ``record``, or of its parent) as 16 digits.

    A call of a test has one id in all runs, and backends take each id once; those of others stay as they are.
    """
    if record.nodeid is None and _SPAN.fullmatch(own):
        return own
    return digest("span", run.run_id, own, length=16)


def test_trace(run: Run, result: CaseResult) -> str:
    """Return the id of the trace of one execution of a test that is in nobody's trace yet."""
    return digest("test", run.run_id, result.nodeid, result.repeat, result.attempt, length=32)


def test_span(run: Run, result: CaseResult) -> str:
    """Return the id of the span that stands for one execution of a test."""
    return digest("test-span", run.run_id, result.nodeid, result.repeat, result.attempt, length=16)
