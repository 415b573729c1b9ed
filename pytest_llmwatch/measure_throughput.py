"""Figures of ``[throughput]``, from the recorded time stamps of calls, never from the speed of a replay.

Means are over the span from the first start to the last end; peaks over the fullest 60 seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_calls import tokens_of
from pytest_llmwatch.measure_figure import Figure, not_measured, worst_ids
from pytest_llmwatch.measure_quota import Load, loads, no_loads, peak_window, quota
from pytest_llmwatch.measure_slice import Slice
from pytest_llmwatch.measure_time import hours, seconds
from pytest_llmwatch.model import Call

_NO_TIMES = "the calls carry no time stamps that span a time"


def throughput(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[throughput]`` rule."""
    match limit.key:
        case "tpm_quota" | "rpm_quota":
            return quota(limit, part.calls)
        case "concurrency":
            return _concurrency(part.calls)
        case "peak_calls_per_minute" | "peak_tokens_per_minute":
            return _peak(part.calls, is_tokens="tokens" in limit.key)
        case _:
            return _mean(limit.key, part.calls)


def _mean(key: str, calls: Sequence[Call]) -> Figure:
    spanned = hours(calls)
    if spanned is None:
        return not_measured(_NO_TIMES)
    per = spanned if key.endswith("_hour") else spanned * 60
    if key.startswith("calls"):
        return Figure(len(calls) / per, n=len(calls))
    counts = [t for c in calls if (t := tokens_of(c)) is not None]
    if not counts:
        return not_measured("no call reports its tokens")
    left_out = len(calls) - len(counts)
    why = f"{plural(left_out, 'call')} without usage not counted" if left_out else ""
    return Figure(sum(counts) / per, n=len(counts), why=why)


def _peak(calls: Sequence[Call], *, is_tokens: bool) -> Figure:
    rows = loads(calls, is_tokens)
    if not rows:
        return not_measured(no_loads(is_tokens))
    peak, inside = peak_window(rows)
    left_out = _left_out(calls, rows)
    return Figure(peak, n=len(rows), why=left_out, worst=worst_ids(c.id for c in inside))


def _left_out(calls: Sequence[Call], rows: Sequence[Load]) -> str:
    missing = len(calls) - len(rows)
    return f"{plural(missing, 'call')} not counted" if missing else ""


def _concurrency(calls: Sequence[Call]) -> Figure:
    """Return the most calls that were in flight at one time."""
    events: list[tuple[float, int, Call]] = []
    for call in calls:
        start = seconds(call.time)
        if start is not None and call.latency is not None:
            # at one instant the end of a call comes before the start of the next
            events += [(start, 1, call), (start + call.latency, 0, call)]
    if not events:
        return not_measured("no call carries both a time stamp and a latency")
    running: dict[str, Call] = {}
    most: list[str] = []
    for _, starts, call in sorted(events, key=lambda e: (e[0], e[1])):
        if starts:
            running[call.id] = call
            most = list(running) if len(running) > len(most) else most
        else:
            running.pop(call.id, None)
    return Figure(float(len(most)), n=len(events) // 2, worst=worst_ids(most), shape="max")
