"""What changed since the last good build, and the questions of a runbook, answered by the data. Pure.

Every answer is a sentence with figures, or None where the run does not hold what the question asks for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmwatch import format as fmt
from pytest_llmwatch.incidents_catalog import policy
from pytest_llmwatch.incidents_hit import Index, cut, down, limited, status_code, tool_trouble
from pytest_llmwatch.measure_slice import mean, quantile
from pytest_llmwatch.model import Call, Run

JUMP = 1.2
"""A mean that is so many times that of the last good build is told as risen."""
_CUT_REASONS = ("length", "max_tokens", "incomplete")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer is made from: the run, the calls that are hit, the last good run (None: unknown)."""

    index: Index
    hit: frozenset[str]
    before: Run | None = None

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls of the run but those of judges."""
        return tuple(self.index.calls.values())

    @property
    def hits(self) -> tuple[Call, ...]:
        """The calls that are hit."""
        return tuple(c for c in self.calls if c.id in self.hit)

    @property
    def earlier(self) -> tuple[Call, ...]:
        """The calls of the last good run."""
        return tuple(c for c in self.before.calls if not c.judging) if self.before is not None else ()


def causes(facts: Facts) -> tuple[str, ...]:
    """Return what the data makes likely, most telling first."""
    asked: tuple[Callable[[Facts], str | None], ...] = (
        prompt_changed, model_changed, provider_down, _tool, _retrieval, _rate, _tokens_risen, _retried,
        _one_model, _one_feature, _cut_off,
    )  # fmt: skip
    return tuple(text for ask in asked if (text := ask(facts)) is not None)


def prompt_changed(facts: Facts) -> str | None:
    """Return what prompt versions are new since the last good build, or hold all of the trouble."""
    now, then = _values(facts.calls, "prompt_version"), _values(facts.earlier, "prompt_version")
    new = sorted(now - then)
    if then and new:
        return f"the prompt version changed: {_names(sorted(then))} → {_names(sorted(now))}"
    return None if then else _lift(facts, "prompt_version", "prompt version")


def model_changed(facts: Facts) -> str | None:
    """Return which models answer now that did not answer the same requests before."""
    now, then = _answered(facts.calls), _answered(facts.earlier)
    for asked in sorted(now.keys() & then.keys()):
        if new := sorted(now[asked] - then[asked]):
            return f"{asked} is now answered by {_names(new)}, before by {_names(sorted(then[asked]))}"
    asked_now, asked_then = _values(facts.calls, "model"), _values(facts.earlier, "model")
    if asked_then and asked_now - asked_then:
        return f"the model changed: {_names(sorted(asked_then))} → {_names(sorted(asked_now))}"
    return None


def provider_down(facts: Facts) -> str | None:
    """Return how many calls met a 5xx or no connection."""
    n = sum(down(c) for c in facts.calls)
    if not n:
        return None
    codes = Counter(str(status_code(c) or "no connection") for c in facts.calls if down(c))
    return f"{_of(n, facts.calls)} met a server that was down ({_counts(codes)})"


def _tool(facts: Facts) -> str | None:
    failing = _failing_tools(facts)
    if not failing:
        return None
    name, n = failing.most_common(1)[0]
    return f"the tool {name} failed {n} of {fmt.plural(sum(failing.values()), 'failed tool call')}"


def _failing_tools(facts: Facts) -> Counter[str]:
    found = Counter(t.name for c in facts.calls for t in c.tool_calls if t.error or t.valid is False)
    found.update(s.tool.name for s in facts.index.run.spans if s.tool is not None and (s.error or s.tool.error))
    by_id = {t.id: t.name for c in facts.calls for t in c.tool_calls if t.id}
    if not found:
        found.update(by_id.get(r.id or "", "?") for c in facts.calls for r in c.tool_results if r.failed)
    return found


def _retrieval(facts: Facts) -> str | None:
    empty = facts.index.empty_retrievals()
    return f"{_of(len(empty), facts.calls)} got nothing from their retrieval" if empty else None


def _rate(facts: Facts) -> str | None:
    n = sum(limited(c) for c in facts.calls)
    return f"{_of(n, facts.calls)} met a 429" if n else None


def _tokens_risen(facts: Facts) -> str | None:
    told = []
    for kind in ("input", "output"):
        now, then = _tokens(facts.calls, kind), _tokens(facts.earlier, kind)
        if now is not None and then and now > JUMP * then:
            told.append(f"{kind} tokens a call rose from {then:,.0f} to {now:,.0f}")
    return " and ".join(told) or None


def _retried(facts: Facts) -> str | None:
    now, then = (mean([c.retries for c in calls]) for calls in (facts.calls, facts.earlier))
    if not now or now <= JUMP * (then or 0.0) or now < 0.05:
        return None
    return f"{now:.2f} retries a call" + (f", before {then:.2f}" if then is not None else "")


def _one_model(facts: Facts) -> str | None:
    return _lift(facts, "model", "model")


def _one_feature(facts: Facts) -> str | None:
    return _lift(facts, "feature", "feature")


def _cut_off(facts: Facts) -> str | None:
    n = sum(c.finish_reason in _CUT_REASONS for c in facts.hits)
    return f"{_of(n, facts.hits)} of those that are hit were cut off by the output limit" if n else None


def _lift(facts: Facts, key: str, word: str) -> str | None:
    """Return the value that nearly all hit calls share and most others do not."""
    hits = Counter(str(getattr(c, key)) for c in facts.hits if getattr(c, key))
    others = [c for c in facts.calls if c.id not in facts.hit]
    if not hits or not others:
        return None
    name, n = hits.most_common(1)[0]
    elsewhere = sum(str(getattr(c, key)) == name for c in others)
    if n < 0.8 * len(facts.hits) or elsewhere > 0.5 * len(others):
        return None
    return f"{word} {_short(name)} has {n} of the {len(facts.hits)} calls that are hit, {elsewhere} of the others"


# -- the questions of the runbooks ------------------------------------------------------------------------


def answer(ask: str, facts: Facts) -> str | None:
    """Return the answer to a question that a runbook names, None where the data holds none."""
    return _ASKS[ask](facts) if ask in _ASKS else None


def _quota(facts: Facts) -> str | None:
    for call in reversed(facts.calls):
        if call.rate_limits:
            return "newest headers: " + ", ".join(
                f"{k} {_short(v)}" for k, v in sorted(call.rate_limits.items())[:6]
            )
    return None


def _limiter(facts: Facts) -> str | None:
    waits = [c.queue_wait for c in facts.calls if c.queue_wait]
    if not waits:
        return "no call waited for the limiter: nothing slows the requests down" if facts.calls else None
    return f"{_of(len(waits), facts.calls)} waited for the limiter, at most {fmt.value(max(waits), 's')}"


def _feature(facts: Facts) -> str | None:
    return _shares(Counter(c.feature for c in facts.hits if c.feature), "call")


def _model(facts: Facts) -> str | None:
    where = Counter(f"{c.model or '?'}{f' at {c.server_address}' if c.server_address else ''}" for c in facts.hits)
    return _shares(where, "call")


def _cost_feature(facts: Facts) -> str | None:
    spent: Counter[str] = Counter()
    for call in facts.calls:
        if call.cost.usd:
            spent[call.feature or "no feature"] += call.cost.usd  # type: ignore[assignment]
    total = sum(spent.values())
    if not total:
        return None
    return ", ".join(f"{_short(k)} {v / total:.0%} ({fmt.value(v, 'usd')})" for k, v in spent.most_common(3))


def _retries(facts: Facts) -> str | None:
    if not facts.calls:
        return None
    n = sum(c.retries > 0 for c in facts.calls)
    most = max(c.retries for c in facts.calls)
    return f"{_of(n, facts.calls)} were sent again, one of them {most} times" if n else "no call was sent again"


def _token_answer(facts: Facts) -> str | None:
    parts = []
    for kind in ("input", "output"):
        now, then = _tokens(facts.calls, kind), _tokens(facts.earlier, kind)
        if now is not None:
            parts.append(
                f"{now:,.0f} {kind} tokens a call" + (f" (before {then:,.0f})" if then is not None else "")
            )
    return ", ".join(parts) or None


def _users(facts: Facts) -> str | None:
    users = Counter(c.user for c in facts.hits if c.user)
    if not users:
        return None
    top = users.most_common(1)[0][1]
    return f"{fmt.plural(len(users), 'user')}; the busiest has {top / users.total():.0%} of the calls that are hit"


def _loops(facts: Facts) -> str | None:
    tasks = Counter(facts.index.task(c.id) for c in facts.calls)
    same = Counter((facts.index.task(c.id), t.name, t.arguments) for c in facts.calls for t in c.tool_calls)
    loops = {task for (task, _, _), n in same.items() if n >= 3}
    if not tasks:
        return None
    text = f"{fmt.plural(len(loops), 'task')} call one tool three times alike"
    return f"{text}; at most {max(tasks.values())} calls a task"


def _errors(facts: Facts) -> str | None:
    failed = [c for c in facts.calls if c.failed]
    if not failed:
        return "no call failed" if facts.calls else None
    kinds = Counter(str(status_code(c) or c.error_type or c.status) for c in failed)
    return f"{_of(len(failed), facts.calls)} failed: {_counts(kinds)}"


def _spans(facts: Facts) -> str | None:
    spent: dict[str, list[float]] = {}
    for span in facts.index.run.spans:
        if span.latency is not None:
            spent.setdefault(span.name, []).append(span.latency)
    if not spent:
        return None
    name, times = max(spent.items(), key=lambda item: quantile(item[1], 0.95) or 0.0)
    return f"the step {_short(name)} is slowest: p95 {fmt.value(quantile(times, 0.95), 's')} over {len(times)}"


def _worst(facts: Facts) -> str | None:
    reasons = Counter(
        _short(
            r.reason or next((s.explanation for s in r.scores if s.value is not None and s.value < 0.5), ""), 100
        )
        for c in facts.hits
        if (r := facts.index.result_of.get(c.id)) is not None
    )
    reasons.pop("", None)
    return (
        _counts(reasons)
        if reasons
        else (f"{fmt.plural(len(facts.hit), 'call')}, see below" if facts.hit else None)
    )


def _finish(facts: Facts) -> str | None:
    kinds = Counter(c.finish_reason for c in facts.hits if c.finish_reason)
    filtered = sum(cut(c) for c in facts.calls)
    if not kinds:
        return None
    return f"finish reasons: {_counts(kinds)}" + (
        f"; {_of(filtered, facts.calls)} cut by a filter" if filtered else ""
    )


def _tools(facts: Facts) -> str | None:
    failing = _failing_tools(facts)
    said = [t.error for c in facts.calls for t in c.tool_calls if t.error]
    said += [s.error for s in facts.index.run.spans if s.tool is not None and s.error]
    if not failing:
        return None
    return f"failed: {_counts(failing)}" + (f"; for example: {_short(said[0], 120)}" if said else "")


def _arguments(facts: Facts) -> str | None:
    checked = [t for c in facts.calls for t in c.tool_calls if t.valid is not None]
    bad = Counter(t.name for t in checked if t.valid is False)
    if not checked:
        return None
    return f"{bad.total()} of {fmt.plural(len(checked), 'tool call')} do not fit" + (
        f": {_counts(bad)}" if bad else ""
    )


def _retrieval_answer(facts: Facts) -> str | None:
    found = [s.retrieval for s in facts.index.run.spans if s.retrieval is not None]
    found += [c.retrieval for c in facts.calls if c.retrieval is not None]
    if not found:
        return None
    empty = Counter(r.source or "no source named" for r in found if not r.ids and not r.documents)
    text = f"{empty.total()} of {fmt.plural(len(found), 'retrieval')} came back empty"
    return text + (f": {_counts(empty)}" if empty else "")


def _grounding(facts: Facts) -> str | None:
    values = [s.value for r in facts.index.run.results for s in r.scores if s.name == "groundedness"]
    known = [v for v in values if v is not None]
    return f"mean groundedness {fmt.value(mean(known), 'ratio')} over {len(known)}" if known else None


def _fallback(facts: Facts) -> str | None:
    known = [c for c in facts.calls if c.fallback is not None]
    return f"{_of(sum(bool(c.fallback) for c in known), known)} went to a fallback" if known else None


def _prompt(facts: Facts) -> str | None:
    versions = _values(facts.calls, "prompt_version")
    if not versions:
        return None
    return prompt_changed(facts) or f"unchanged: {_names(sorted(versions))}"


def _response_model(facts: Facts) -> str | None:
    if not facts.earlier:
        return None
    return model_changed(facts) or "the same models answer as in the last good build"


_ASKS: Mapping[str, Callable[[Facts], str | None]] = {
    "quota": _quota, "feature": _feature, "retries": _retries, "limiter": _limiter, "worst": _worst,
    "response_model": _response_model, "prompt": _prompt, "tokens": _token_answer, "cost_feature": _cost_feature,
    "users": _users, "loops": _loops, "errors": _errors, "spans": _spans, "finish": _finish, "tools": _tools,
    "arguments": _arguments, "retrieval": _retrieval_answer, "model": _model, "fallback": _fallback,
    "grounding": _grounding,
}  # fmt: skip


# -- figures ----------------------------------------------------------------------------------------------


def suspected(facts: Facts, default: str) -> str:
    """Return the layer that the data points at: infrastructure, tool, retrieval, prompt, model, or ``default``."""
    n = max(1, len(facts.hits))
    if sum(down(c) or limited(c) or c.status == "timeout" for c in facts.hits) >= 0.5 * n:
        return "infrastructure"
    if sum(tool_trouble(c) for c in facts.hits) >= 0.5 * n or (default == "tool" and _failing_tools(facts)):
        return "tool"
    if len(facts.index.empty_retrievals() & facts.hit) >= 0.5 * n and facts.hit:
        return "retrieval"
    if prompt_changed(facts):
        return "prompt"
    return "model" if model_changed(facts) else default


def _values(calls: Iterable[Call], key: str) -> set[str]:
    return {str(v) for c in calls if (v := getattr(c, key))}


def _answered(calls: Iterable[Call]) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for call in calls:
        if call.model and call.response_model:
            out.setdefault(call.model, set()).add(call.response_model)
    return out


def _tokens(calls: Sequence[Call], kind: str) -> float | None:
    known = [n for c in calls if (n := getattr(c.usage, f"{kind}_tokens")) is not None]
    return mean(known)


def _names(values: Sequence[str]) -> str:
    most = 5
    rest = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(_short(v) for v in values[:most]) + rest


def _counts(kinds: Counter[str]) -> str:
    return ", ".join(f"{_short(str(k), 120)} ({n})" for k, n in kinds.most_common(4))


def _shares(kinds: Counter[str], word: str) -> str | None:
    total = kinds.total()
    most = policy()["bounds"]["labels"]
    if not total:
        return None
    top = ", ".join(f"{_short(k)} {n / total:.0%}" for k, n in kinds.most_common(min(4, most)))
    return f"of {fmt.plural(total, word)} that are hit: {top}"


def _of(n: int, calls: Sequence[Call]) -> str:
    return f"{n} of {fmt.plural(len(calls), 'call')}"


def _short(text: str, limit: int = 60) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
