"""Which calls are behind a rule that did not hold: the rows that its link filters the table to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pytest_llmwatch.model import Call, CaseResult, Report, Verdict
from pytest_llmwatch.report.cases import scorer_of
from pytest_llmwatch.report.view import RuleRow

_MOST = 2000
_SCOPES: Mapping[str, Callable[[Call], object]] = {
    "feature": lambda c: c.feature,
    "team": lambda c: c.team,
    "user": lambda c: c.user,
    "model": lambda c: c.response_model or c.model,
    "prompt_version": lambda c: c.prompt_version,
    "environment": lambda c: c.environment,
}


_FIGURES: Mapping[str, Callable[[Call], float | None]] = {
    "latency": lambda c: c.latency,
    "ttft": lambda c: c.ttft,
    "cost_usd": lambda c: c.cost.usd,
    "input_tokens": lambda c: c.usage.input_tokens,
    "output_tokens": lambda c: c.usage.output_tokens,
    "tokens.max_output": lambda c: c.usage.output_tokens,
}


def by_rule(report: Report, rows: Sequence[RuleRow]) -> dict[str, list[int]]:
    """Return the rows of the calls behind each rule that broke or warns, at most 2,000 a rule.

    First the worst cases that the gate names, in its order; then in run order calls beyond a limit on latency,
    cost or tokens, failed calls of a rule on errors, calls of cases that did not pass, and calls whose score is
    under its own threshold or the rule's limit.
    """
    places = {c.id: i for i, c in enumerate(report.run.calls)}
    results = {call: r for r in report.run.results for call in r.call_ids}
    out: dict[str, list[int]] = {}
    for row in rows:
        if row.state not in ("broken", "warn", "waived"):
            continue
        found = dict.fromkeys(places[i] for i in row.verdict.worst if i in places)
        for place, call in enumerate(report.run.calls):
            if len(found) >= _MOST:
                break
            if _inside(row.verdict.scope, call) and _beyond(row.verdict, call, results.get(call.id)):
                found[place] = None
        if found:
            out[row.rule] = list(found)
    return out


def packed(rows: Sequence[int]) -> list[int]:
    """Return rows as differences, which compress to little."""
    return [row - before for before, row in zip([0, *rows], rows, strict=False)]


def _inside(scope: str | None, call: Call) -> bool:
    if scope is None:
        return True
    key, _, wanted = scope.partition(":")
    get = _SCOPES.get(key)
    return get is not None and str(get(call)) == wanted


def _beyond(v: Verdict, call: Call, result: CaseResult | None) -> bool:
    if call.judging:
        return False
    if v.metric in ("errors", "error") or ".errors." in f".{v.rule}":
        return call.failed
    limit = v.limit if v.limit is not None and v.tier != "warn" else v.warn_limit
    if v.metric in _FIGURES and v.delta is None:
        figure = _FIGURES[v.metric](call)
        # of a limit on the sum of a run no single call is the cause: the worst that the gate names stand for it
        return limit is not None and figure is not None and figure > limit
    if v.metric == "passed":
        return result is not None and not result.passed
    name = scorer_of(v)
    score = result.score(name) if result is not None and name is not None else None
    if score is None or score.value is None:
        return False
    floor = score.threshold if score.threshold is not None else limit if v.delta is None else None
    return floor is not None and score.value < floor
