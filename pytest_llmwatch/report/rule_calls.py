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


def by_rule(report: Report, rows: Sequence[RuleRow]) -> dict[str, list[int]]:
    """Return the rows of the calls behind each rule that broke or warns, at most 2,000 a rule, in run order.

    Beside the worst cases that the gate names: calls beyond a limit on latency, failed calls of a rule on errors,
    calls whose score is under its own threshold or the rule's limit.
    """
    places = {c.id: i for i, c in enumerate(report.run.calls)}
    results = {call: r for r in report.run.results for call in r.call_ids}
    out: dict[str, list[int]] = {}
    for row in rows:
        if row.state not in ("broken", "warn", "waived"):
            continue
        found = {places[i] for i in row.verdict.worst if i in places}
        for place, call in enumerate(report.run.calls):
            if len(found) >= _MOST:
                break
            if _inside(row.verdict.scope, call) and _beyond(row.verdict, call, results.get(call.id)):
                found.add(place)
        if found:
            out[row.rule] = sorted(found)
    return out


def packed(rows: Sequence[int]) -> list[int]:
    """Return ascending rows as differences, which compress to little."""
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
    if v.unit == "s" and limit is not None and v.delta is None:
        time = call.ttft if "ttft" in v.rule else call.latency
        return time is not None and time > limit
    name = scorer_of(v)
    score = result.score(name) if result is not None and name is not None else None
    if score is None or score.value is None:
        return False
    floor = score.threshold if score.threshold is not None else limit if v.delta is None else None
    return floor is not None and score.value < floor
