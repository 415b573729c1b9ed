"""Figures that calls alone give: latency, cost, tokens, errors, a user's metrics.

Every call counts, reruns and retries included. Replayed calls carry the times of their recording.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pytest_llmwatch import measure_stages
from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_figure import Figure, Unit, not_measured, worst_ids
from pytest_llmwatch.measure_slice import Slice, mean, quantile
from pytest_llmwatch.measure_time import hours
from pytest_llmwatch.model import Call

# a refusal by the server is fast and would flatter a quantile; a timeout took at least that long
_TIMED = frozenset({"success", "incomplete", "timeout"})
_UNBILLED = frozenset({"error", "timeout", "rate_limited"})


def timed(calls: Iterable[Call], key: str = "latency") -> list[tuple[float, Call]]:
    """Return (seconds, call) of the calls whose ``latency`` or ``ttft`` is known and counts.

    A call that met a fault which the test asked for says nothing of the application's speed.
    """
    out = []
    for call in calls:
        seconds = call.ttft if key == "ttft" else call.latency
        if seconds is not None and call.status in _TIMED and not call.injected:
            out.append((seconds, call))
    return out


def is_unpriced(call: Call) -> bool:
    """Whether a call's cost is unknown; a call that failed without usage is not billed as far as known."""
    if call.cost.usd is not None:
        return False
    no_usage = call.usage.input_tokens is None and call.usage.output_tokens is None
    return not (call.status in _UNBILLED and no_usage)


def tokens_of(call: Call, which: str = "total") -> int | None:
    """Return input, output or total tokens of a call; None where the provider did not say."""
    usage = call.usage
    if which == "input":
        return usage.input_tokens
    if which == "output":
        return usage.output_tokens
    if usage.total_tokens is not None:
        return usage.total_tokens
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens


def latency(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[latency]`` rule."""
    of_spans = measure_stages.latency(limit, part)
    if of_spans is not None:
        return of_spans
    if limit.key == "tokens_per_second":
        rates = [(r, c) for c in part.calls if (r := c.tokens_per_second) is not None]
        if not rates:
            return not_measured("no call carries both output tokens and a latency")
        slowest = sorted(rates, key=lambda r: r[0])
        return Figure(
            quantile((r for r, _ in rates), 0.5), n=len(rates), worst=worst_ids(c.id for _, c in slowest)
        )
    name = "ttft" if limit.key.startswith("ttft") else "latency"
    rows = timed(part.calls, name)
    if not rows:
        return not_measured(_no_latency(part, name))
    worst = worst_ids(c.id for _, c in sorted(rows, key=lambda r: -r[0]))
    left_out = sum(1 for c in part.calls if c.status in _TIMED) - len(rows)
    noun = "streamed call" if name == "ttft" else "call"
    why = "" if name == "ttft" or not left_out else f"{plural(left_out, 'call')} without a recorded time left out"
    values = tuple(v for v, _ in rows)
    units = tuple(Unit(part.cluster(c), v) for v, c in rows)
    if limit.key == "max":
        return Figure(max(values), n=len(rows), worst=worst, why=why, shape="max", units=units)
    q = int(limit.key.rpartition("p")[2]) / 100
    return Figure(quantile(values, q), n=len(rows), noun=noun, values=values, worst=worst, why=why, units=units)


def _no_latency(part: Slice, name: str) -> str:
    if name == "ttft":
        return "no call carries a time to first token (only streamed calls have one)"
    if part.calls and all(c.capture_mode == "replayed" for c in part.calls):
        return "the recordings hold no times; record again to measure latency"
    return "no call carries a latency"


def errors(limit: Limit, part: Slice) -> Figure:
    """Return the figure of an ``[errors]`` rule: events over logical calls, or over attempts for 429."""
    calls = [c for c in part.calls if not c.injected]
    if not calls:
        return not_measured("every call met a fault that its test asked for" if part.calls else "no call was made")
    if limit.key == "retries_per_call":
        by_retries = sorted((c for c in calls if c.retries), key=lambda c: -c.retries)
        return Figure(
            mean(c.retries for c in calls),
            n=len(calls),
            worst=worst_ids(c.id for c in by_retries),
            shape="ratio",
            units=tuple(Unit(part.cluster(c), c.retries) for c in calls),
        )
    events, trials = _counts(limit.key)
    k, n = sum(map(events, calls)), sum(map(trials, calls))
    hit = (c for c in calls if events(c))
    return Figure(
        k / n,
        n=n,
        k=k,
        noun="attempt" if limit.key == "rate_limited" else "call",
        worst=worst_ids(c.id for c in hit),
        shape="ratio",
        units=tuple(Unit(part.cluster(c), events(c), trials(c)) for c in calls),
    )


def _counts(key: str) -> tuple[Callable[[Call], int], Callable[[Call], int]]:
    if key == "rate_limited":
        return rate_limited, lambda c: max(1, len(c.attempts))
    status = {"timeouts": "timeout", "incomplete": "incomplete"}.get(key)
    if status is None:
        return lambda c: int(c.failed), lambda _: 1
    return lambda c: int(c.status == status), lambda _: 1


def rate_limited(call: Call) -> int:
    """Return the attempts of a call that were answered 429; 1 where only its status says so."""
    return call.rate_limited_attempts or int(call.status == "rate_limited")


def cost(limit: Limit, part: Slice, spent: Mapping[str, float] | None) -> Figure:
    """Return the figure of a ``[cost]`` rule. Unpriced calls make a ceiling unenforceable, never 0."""
    key = limit.key
    if key in ("day_usd", "month_usd"):
        name = key.removesuffix("_usd")
        where = name if part.scope is None else f"{part.scope.text}.{name}"
        before = (spent or {}).get(where)
        if before is None:
            whose = "" if part.scope is None else f" of {part.scope.text}"
            return not_measured(f"the store holds no cost{whose} of this {name}")
        # a replayed call was paid for by the run that recorded it, which the store knows
        live = dataclasses.replace(part, calls=tuple(c for c in part.calls if c.capture_mode != "replayed"))
        return _sum_of_cost(live, extra=before, every=f"this {name}")
    if not part.calls:
        return not_measured("no call was made")
    if key == "run_usd":
        return _sum_of_cost(part)
    if key in ("per_hour_usd", "rate"):
        spanned = hours(part.calls)
        if spanned is None:
            return not_measured("the calls carry no time stamps that span a time")
        per = 1.0 if key == "per_hour_usd" else limit.reference or 1.0
        return _sum_of_cost(part, scale=1 / (spanned * per), shape="other")
    if key == "per_success_usd":
        return _per_success(part)
    return _per_call_cost(key, part)


def _sum_of_cost(
    part: Slice, *, extra: float = 0.0, scale: float = 1.0, shape: str = "sum", every: str = ""
) -> Figure:
    rows = [(c.cost.usd, c) for c in part.calls if c.cost.usd is not None]
    total = (math.fsum(usd for usd, _ in rows) + extra) * scale
    figure = Figure(
        total,
        n=len(part.calls),
        why=f"all of {every}" if every else "",
        worst=worst_ids(c.id for _, c in _dearest(rows)),
        shape="sum" if shape == "sum" and not extra else "other",
        units=tuple(Unit(part.cluster(c), usd) for usd, c in rows),
    )
    return _unless_unpriced(figure, part)


def _per_call_cost(key: str, part: Slice) -> Figure:
    rows = [(c.cost.usd, c) for c in part.calls if c.cost.usd is not None]
    units = tuple(Unit(part.cluster(c), usd) for usd, c in rows)
    worst = worst_ids(c.id for _, c in _dearest(rows))
    if key == "max_call_usd":
        value = max((usd for usd, _ in rows), default=0.0)
        figure = Figure(value, n=len(rows), worst=worst, shape="max", units=units)
        return _unless_unpriced(figure, part)
    billed = len(rows) + sum(map(is_unpriced, part.calls))
    if not billed:
        return not_measured("no call was billed")
    value = math.fsum(usd for usd, _ in rows) / billed
    figure = Figure(value, n=billed, worst=worst, shape="ratio", units=units)
    return _unless_unpriced(figure, part)


def _per_success(part: Slice) -> Figure:
    done = [t for t in part.tasks if succeeded(t.calls, t.result) is not None]
    if not done:
        return not_measured("no task has an outcome")
    wins = sum(1 for t in done if succeeded(t.calls, t.result))
    total = math.fsum(c.cost.usd for c in part.calls if c.cost.usd is not None)
    value = total / wins if wins else (math.inf if total else 0.0)
    lost = sorted(
        (
            (c.cost.usd, c)
            for t in done
            if not succeeded(t.calls, t.result)
            for c in t.calls
            if c.cost.usd is not None
        ),
        key=lambda r: -r[0],
    )
    units = tuple(
        Unit(t.cluster, math.fsum(c.cost.usd or 0.0 for c in t.calls), float(bool(succeeded(t.calls, t.result))))
        for t in done
    )
    figure = Figure(
        value, n=wins, noun="successful task", worst=worst_ids(c.id for _, c in lost), shape="ratio", units=units
    )
    return _unless_unpriced(figure, part)


def succeeded(calls: Sequence[Call], result: object) -> bool | None:
    """Return whether a task succeeded: its outcome where known, else whether its test passed; None unknown."""
    known = [c.outcome.success for c in calls if c.outcome.success is not None]
    if known:
        return known[-1]
    passed = getattr(result, "passed", None)
    if getattr(result, "outcome", None) not in ("passed", "failed"):
        return None
    return bool(passed)


def _dearest(rows: list[tuple[float, Call]]) -> list[tuple[float, Call]]:
    return sorted((r for r in rows if r[0] > 0), key=lambda r: -r[0])


def _unless_unpriced(figure: Figure, part: Slice) -> Figure:
    unpriced = [c for c in part.calls if is_unpriced(c)]
    if not unpriced:
        return figure
    return Figure(
        None,
        n=figure.n,
        noun=figure.noun,
        reason="unenforceable",
        why=_why_unpriced(unpriced, len(part.calls)),
        known=figure.value,
        worst=figure.worst or worst_ids(c.id for c in unpriced),
    )


def _why_unpriced(unpriced: Sequence[Call], n: int) -> str:
    """Return which of ``n`` calls have no cost: a price is wanting, or what it is to be multiplied with."""
    untold = [c for c in unpriced if c.usage.input_tokens is None and c.usage.output_tokens is None]
    listed = [c for c in unpriced if c.usage.input_tokens is not None or c.usage.output_tokens is not None]
    parts = []
    if listed:
        parts.append(f"{'has' if len(listed) == 1 else 'have'} no known price ({_models(listed)})")
    if untold:
        parts.append(f"{'reports' if len(untold) == 1 else 'report'} no tokens ({_models(untold)})")
    counts = [f"{len(part):,}" for part in (listed, untold) if part]
    counts[0] += f" of {plural(n, 'call')}"
    why = " and ".join(f"{count} {part}" for count, part in zip(counts, parts, strict=True))
    if any(c.stream and c.operation == "chat" for c in untold):
        why += '; a stream tells them where asked with stream_options={"include_usage": true}'
    return why


def _models(calls: Sequence[Call]) -> str:
    names = sorted({c.response_model or c.model or "unknown model" for c in calls})
    return ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")


def tokens(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[tokens]`` rule. Calls without usage make it unenforceable."""
    if not part.calls:
        return not_measured("no call was made")
    which = {"input_per_call": "input", "output_per_call": "output", "max_output": "output"}.get(
        limit.key, "total"
    )
    rows = [(count, c) for c in part.calls if (count := tokens_of(c, which)) is not None]
    unknown = [c for c in part.calls if tokens_of(c, which) is None and c.status not in _UNBILLED]
    largest = sorted((r for r in rows if r[0]), key=lambda r: -r[0])
    worst = worst_ids(c.id for _, c in largest)
    units = tuple(Unit(part.cluster(c), float(count)) for count, c in rows)
    total, n = float(sum(count for count, _ in rows)), len(rows) + len(unknown)
    if not n:
        return not_measured("no call reports its tokens")
    if limit.key == "run_total":
        figure = Figure(total, n=n, worst=worst, shape="sum", units=units)
    elif limit.key == "max_output":
        figure = Figure(float(max((r[0] for r in rows), default=0)), n=n, worst=worst, shape="max", units=units)
    else:
        figure = Figure(total / n, n=n, worst=worst, shape="ratio", units=units)
    if not unknown:
        return figure
    verb = "reports" if len(unknown) == 1 else "report"
    return Figure(
        None,
        n=n,
        reason="unenforceable",
        why=f"{len(unknown):,} of {plural(len(part.calls), 'call')} {verb} no {which} tokens",
        known=figure.value,
        worst=worst,
    )


def metric(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[metric.NAME]`` rule."""
    name = limit.name or ""
    rows = [r for r in _metric_rows(name, part) if math.isfinite(r[0])]
    if not rows:
        return not_measured(f"no call and no test carries the metric {name} (llm_watch.metric)")
    values = [v for v, _, _ in rows]
    sign = 1 if limit.direction == "floor" else -1
    worst = worst_ids(i for _, i, _ in sorted(rows, key=lambda r: sign * r[0]))
    units = tuple(Unit(cluster, v) for v, _, cluster in rows)
    match limit.key:
        case "mean":
            return Figure(mean(values), n=len(rows), worst=worst, shape="ratio", units=units)
        case "p95":
            return Figure(quantile(values, 0.95), n=len(rows), worst=worst)
        case "max":
            return Figure(max(values), n=len(rows), worst=worst, shape="max", units=units)
        case _:
            return Figure(min(values), n=len(rows), worst=worst, shape="min", units=units)


def _metric_rows(name: str, part: Slice) -> Iterator[tuple[float, str | None, str]]:
    """Yield each value of a metric, with the call to look at and its cluster: a test's values, else its calls'."""
    for task in part.tasks:
        told = task.result.metrics.get(name) if task.result is not None else None
        if told:
            last = task.calls[-1].id if task.calls else None
            yield from ((float(v), last, task.cluster) for v in told)
        else:
            yield from ((float(c.metrics[name]), c.id, part.cluster(c)) for c in task.calls if name in c.metrics)
