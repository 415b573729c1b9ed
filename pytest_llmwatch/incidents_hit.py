"""Which calls a broken rule is about: what correlation, extent and evidence rest on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.incidents_catalog import plain_rule
from pytest_llmwatch.measure_slice import matches
from pytest_llmwatch.model import Call, CaseResult, Run, Verdict

_SERVER_ERROR = re.compile(r"(?<!\d)5\d\d(?!\d)")
_CONNECTION = ("connection", "connect", "dropped", "reset", "refused", "circuit")


def status_code(call: Call) -> int | None:
    """Return the last status code that a call met, None where it met none or nobody knows."""
    codes = [a.status_code for a in call.attempts if a.status_code is not None]
    if codes:
        return codes[-1]
    found = _SERVER_ERROR.search(f"{call.error_type or ''} {call.error or ''}") if call.failed else None
    return int(found[0]) if found else None


def down(call: Call) -> bool:
    """Whether a call failed because the other side was down: a 5xx, no connection, or a failure without a word."""
    if not call.failed or call.injected or call.status == "rate_limited":
        return False
    code = status_code(call)
    if code is not None and code >= 400:
        return code >= 500
    said = f"{call.error_type or ''} {call.error or ''}".lower().strip()
    return call.status == "error" and (not said or any(word in said for word in _CONNECTION))


def limited(call: Call) -> bool:
    """Whether a call met a 429."""
    return call.status == "rate_limited" or call.rate_limited_attempts > 0


def tool_trouble(call: Call) -> bool:
    """Whether a tool that a call asked for failed, or was called with arguments that do not fit."""
    return any(t.error or t.valid is False for t in call.tool_calls) or any(r.failed for r in call.tool_results)


def rejected(call: Call) -> bool:
    """Whether the user did not take the answer."""
    o = call.outcome
    negative = str(o.feedback or "").lower() in ("negative", "down", "thumbs_down", "-1", "bad")
    return bool(o.reask or o.corrected or o.escalated or o.abandoned or o.success is False or negative)


def cut(call: Call) -> bool:
    """Whether a filter of the provider cut or refused the answer."""
    return call.finish_reason in ("content_filter", "refusal", "safety", "SAFETY")


_TESTS: dict[str, Callable[[Call], bool]] = {
    "errors.rate": lambda c: c.failed,
    "errors.rate_limited": limited,
    "errors.timeouts": lambda c: c.status == "timeout",
    "errors.incomplete": lambda c: c.status == "incomplete",
    "errors.retries_per_call": lambda c: c.retries > 0,
    "agent.call_retry_rate": lambda c: c.retries > 0,
    "agent.tool_error_rate": tool_trouble,
    "agent.invalid_arguments": lambda c: any(t.valid is False for t in c.tool_calls),
    "agent.fallback_rate": lambda c: bool(c.fallback),
    "safety.guardrails": cut,
}


class Index:
    """A run, prepared for the question which calls a verdict is about.

    Args:
        run: The run; what judges asked is left out.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.calls: Mapping[str, Call] = {c.id: c for c in run.calls if not c.judging}
        self.result_of: dict[str, CaseResult] = {i: r for r in run.results for i in r.call_ids}
        self._scopes: dict[str | None, tuple[Call, ...]] = {None: tuple(self.calls.values())}

    def within(self, scope: str | None) -> tuple[Call, ...]:
        """Return the calls of a scope as a verdict names it, ``feature:support``."""
        if scope not in self._scopes:
            kind, _, value = str(scope).partition(":")
            wanted = Scope(kind, value)
            found = tuple(c for c in self.calls.values() if matches(wanted, c, self.result_of.get(c.id)))
            self._scopes[scope] = found
        return self._scopes[scope]

    def task(self, call_id: str) -> str:
        """Return a name for the task that a call belongs to, the same for all its calls."""
        result = self.result_of.get(call_id)
        if result is not None:
            return f"{result.nodeid}#{result.repeat}.{result.attempt}"
        call = self.calls.get(call_id)
        return (call.trace_id or call.nodeid or call.id) if call is not None else call_id

    @cached_property
    def _trouble_nodes(self) -> dict[str, set[str]]:
        """Tests with a failed tool, or with a retrieval that came back empty, by what their spans say."""
        tools = {s.nodeid for s in self.run.spans if s.tool is not None and (s.error or s.tool.error)}
        empty = {
            s.nodeid
            for s in self.run.spans
            if s.retrieval is not None and not s.retrieval.ids and not s.retrieval.documents
        }
        return {"tool": {n for n in tools if n}, "retrieval": {n for n in empty if n}}

    def hit(self, verdict: Verdict) -> frozenset[str]:
        """Return the ids of the calls that a broken rule is about, by default those that it names as worst."""
        name = plain_rule(verdict.rule)
        table, _, key = name.partition(".")
        calls = self.within(verdict.scope)
        named = frozenset(i for i in verdict.worst if i in self.calls)
        found: Iterable[str] = ()
        if name in _TESTS:
            found = (c.id for c in calls if _TESTS[name](c))
        elif name == "latency.max" or (table == "latency" and key.startswith("p")):
            top = _limit(verdict)
            found = (c.id for c in calls if top is not None and c.latency is not None and c.latency > top)
        elif table == "latency" and key.startswith("ttft"):
            top = _limit(verdict)
            found = (c.id for c in calls if top is not None and c.ttft is not None and c.ttft > top)
        elif table in ("quality", "drift", "safety"):
            found = self._scored(key, verdict, calls)
        elif table == "outcome":
            found = (c.id for c in calls if rejected(c))
        elif table == "retrieval":
            found = (c.id for c in calls if self._empty(c))
        elif table == "cost" and key in ("run_usd", "day_usd", "month_usd", "per_hour_usd", "rate"):
            found = (c.id for c in calls if c.cost.usd)
        # the worst calls need not be beyond the limit: they stand in where nothing else tells
        hit = frozenset(found) or named
        if table == "agent" and key.startswith(("tool", "task")):
            hit |= frozenset(c.id for c in calls if c.nodeid in self._trouble_nodes["tool"])
        return hit

    def empty_retrievals(self) -> frozenset[str]:
        """Return the ids of the calls whose retrieval, or whose test's, came back empty."""
        return frozenset(c.id for c in self.calls.values() if self._empty(c))

    def _empty(self, call: Call) -> bool:
        r = call.retrieval
        if r is not None:
            return not r.ids and not r.documents
        return call.nodeid in self._trouble_nodes["retrieval"]

    def _scored(self, key: str, verdict: Verdict, calls: Iterable[Call]) -> Iterable[str]:
        floor = _limit(verdict) if verdict.direction == "floor" else None
        name = {"parse_success": "json", "refusals": "refusal"}.get(key, key)
        for call in calls:
            result = self.result_of.get(call.id)
            if result is None:
                continue
            if key in ("pass_rate", "passed"):
                if not result.passed:
                    yield call.id
                continue
            score = result.score(name)
            if score is not None and score.value is not None and score.value < min(1.0, floor or 1.0):
                yield call.id


def _limit(verdict: Verdict) -> float | None:
    return verdict.limit if verdict.limit is not None else verdict.warn_limit
