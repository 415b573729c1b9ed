"""Figures of ``[throughput]``, from the recorded time stamps of calls, never from the speed of a replay.

Means are over the span from the first start to the last end; peaks over the fullest 60 seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_calls import tokens_of
from pytest_llmwatch.measure_figure import Figure, not_measured, worst_ids
from pytest_llmwatch.measure_slice import Slice
from pytest_llmwatch.measure_time import hours, seconds
from pytest_llmwatch.model import Call

WINDOW = 60.0
"""Seconds of the sliding window of a peak: providers count by the minute."""

_LIMITS = {
    "rpm_quota": ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit"),
    "tpm_quota": ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit"),
}
_REMAINING = {
    "x-ratelimit-limit-requests": "x-ratelimit-remaining-requests",
    "x-ratelimit-limit-tokens": "x-ratelimit-remaining-tokens",
    "anthropic-ratelimit-requests-limit": "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-tokens-limit": "anthropic-ratelimit-tokens-remaining",
}
_NO_TIMES = "the calls carry no time stamps that span a time"

Load = tuple[float, float, Call]
"""Start in seconds since 1970, what the call used, the call."""


def throughput(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[throughput]`` rule."""
    match limit.key:
        case "tpm_quota" | "rpm_quota":
            return _quota(limit, part.calls)
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
    rows = _loads(calls, is_tokens)
    if not rows:
        return not_measured(_no_loads(is_tokens))
    peak, inside = peak_window(rows)
    left_out = _left_out(calls, rows)
    return Figure(peak, n=len(rows), why=left_out, worst=worst_ids(c.id for c in inside))


def peak_window(rows: Sequence[Load]) -> tuple[float, list[Call]]:
    """Return the largest load that starts within any 60 seconds, and the calls in that window.

    Args:
        rows: At least one load, ascending by start.
    """
    peak = window = 0.0
    oldest = best = best_end = 0
    for end, (start, amount, _) in enumerate(rows):
        window += amount
        while rows[oldest][0] <= start - WINDOW:
            window -= rows[oldest][1]
            oldest += 1
        if window > peak:
            peak, best, best_end = window, oldest, end
    return peak, [c for _, _, c in rows[best : best_end + 1]]


def _loads(calls: Iterable[Call], is_tokens: bool) -> list[Load]:
    rows = []
    for call in calls:
        start = seconds(call.time)
        amount = tokens_of(call) if is_tokens else max(1, len(call.attempts))
        if start is not None and amount is not None:
            rows.append((start, float(amount), call))
    return sorted(rows, key=lambda r: r[0])


def _no_loads(is_tokens: bool) -> str:
    return "the calls carry no time stamps" + (" and tokens" if is_tokens else "")


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


# quotas ----------------------------------------------------------------------------------------------------


def _quota(limit: Limit, calls: Sequence[Call]) -> Figure:
    is_tokens = limit.key == "tpm_quota"
    if limit.reference is not None:
        rows = _loads(calls, is_tokens)
        return _against(rows, limit.reference, is_tokens) if rows else not_measured(_no_loads(is_tokens))
    found = [f for f in _by_model(limit.key, calls, is_tokens) if f.value is not None]
    if not found:
        named = " or ".join(_LIMITS[limit.key])
        return not_measured(f"no answer with a time stamp carries a rate-limit header {named}")
    return max(found, key=lambda f: f.value or 0.0)


def _against(rows: Sequence[Load], quota: float, is_tokens: bool, of: str = "") -> Figure:
    peak, inside = peak_window(rows)
    what = "tokens" if is_tokens else "requests"
    why = f"peak minute {peak:,.0f} {what} of {quota:,.0f}{of}"
    return Figure(peak / quota, n=len(rows), why=why, worst=worst_ids(c.id for c in inside))


def _by_model(key: str, calls: Sequence[Call], is_tokens: bool) -> list[Figure]:
    """Return a figure for each model whose answers carry a quota: providers grant quotas by model."""
    groups: dict[tuple[str | None, str | None], list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.provider, call.model].append(call)
    out = []
    for (_, model), members in groups.items():
        quotas = [(q, c, name) for c in members for name in _LIMITS[key] if (q := _number(c, name)) is not None]
        if not quotas:
            continue
        quota = min(q for q, _, _ in quotas)
        rows = _loads(members, is_tokens)
        figures = [_against(rows, quota, is_tokens, f" for {model}" if len(groups) > 1 else "")] if rows else []
        figures += _told(quotas, is_tokens)
        out += sorted(figures, key=lambda f: -(f.value or 0.0))[:1]
    return out


def _told(quotas: Sequence[tuple[float, Call, str]], is_tokens: bool) -> list[Figure]:
    """Return what the provider itself says is used: it sees the account's other clients too."""
    used: list[tuple[float, float, float, Call]] = []
    for quota, call, name in quotas:
        left = _number(call, _REMAINING[name], zero=True)
        if left is not None:
            used.append((1 - left / quota, left, quota, call))
    if not used:
        return []
    used.sort(key=lambda u: -u[0])
    share, left, quota, _ = used[0]
    what = "tokens" if is_tokens else "requests"
    why = f"the provider's headers leave {left:,.0f} of {quota:,.0f} {what}"
    return [Figure(max(0.0, share), n=len(used), why=why, worst=worst_ids(c.id for _, _, _, c in used))]


def _number(call: Call, name: str, *, zero: bool = False) -> float | None:
    try:
        value = float(call.rate_limits.get(name, ""))
    except ValueError:
        return None
    return value if 0 < value < float("inf") or (zero and value == 0) else None
