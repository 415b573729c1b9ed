"""How much of a provider's quota is used: a number of the budget's, or what rate-limit headers tell.

A quota has a period. Some headers name theirs (``-minute``, ``-day``), some mean a day and do not say so: then it
follows from how long the quota takes until it is whole again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.measure_calls import tokens_of
from pytest_llmwatch.measure_figure import Figure, not_measured, worst_ids
from pytest_llmwatch.measure_time import seconds
from pytest_llmwatch.model import Call

MINUTE = 60.0
_PERIODS = {"minute": MINUTE, "hour": 3600.0, "day": 86400.0, "month": 30 * 86400.0}
_NAMES = {
    # what is limited -> how a header's name goes on; the groups are: the period, if it is named
    "rpm_quota": re.compile(
        r"x-ratelimit-limit-req(?:uests?)?(?:-(minute|hour|day|month))?|anthropic-ratelimit-requests-limit"
    ),
    "tpm_quota": re.compile(
        r"x-ratelimit-limit-tokens(?:-(minute|hour|day|month))?|anthropic-ratelimit-tokens-limit"
    ),
}
_SAID = {
    "rpm_quota": "x-ratelimit-limit-requests or anthropic-ratelimit-requests-limit",
    "tpm_quota": "x-ratelimit-limit-tokens or anthropic-ratelimit-tokens-limit",
}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_EPOCH = 1e9
"""From here on, a number is a time stamp in seconds since 1970, not a duration."""

Load = tuple[float, float, Call]
"""Start in seconds since 1970, what the call used, the call."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What one answer says of a quota; ``reset`` is the seconds until all of it is there again."""

    call: Call
    quota: float
    left: float | None
    reset: float | None


def quota(limit: Limit, calls: Sequence[Call]) -> Figure:
    """Return the share of a quota that is used: the largest of all models and of all quotas that are told."""
    is_tokens = limit.key == "tpm_quota"
    if limit.reference is not None:
        rows = loads(calls, is_tokens)
        return _against(rows, limit.reference, is_tokens) if rows else not_measured(no_loads(is_tokens))
    found = [f for f in _by_model(limit.key, calls, is_tokens) if f.value is not None]
    if not found:
        return not_measured(f"no answer with a time stamp carries a rate-limit header {_SAID[limit.key]}")
    return max(found, key=lambda f: f.value or 0.0)


def loads(calls: Iterable[Call], is_tokens: bool) -> list[Load]:
    """Return what each call with a time stamp used, requests or tokens, ascending by start."""
    rows = []
    for call in calls:
        start = seconds(call.time)
        amount = tokens_of(call) if is_tokens else max(1, len(call.attempts))
        if start is not None and amount is not None:
            rows.append((start, float(amount), call))
    return sorted(rows, key=lambda r: r[0])


def no_loads(is_tokens: bool) -> str:
    """Return why there are no loads."""
    return "the calls carry no time stamps" + (" and tokens" if is_tokens else "")


def peak_window(rows: Sequence[Load], width: float = MINUTE) -> tuple[float, list[Call]]:
    """Return the largest load that starts within any ``width`` seconds, and the calls in that window.

    Args:
        rows: At least one load, ascending by start.
        width: Seconds.
    """
    peak = window = 0.0
    oldest = best = best_end = 0
    for end, (start, amount, _) in enumerate(rows):
        window += amount
        while rows[oldest][0] <= start - width:
            window -= rows[oldest][1]
            oldest += 1
        if window > peak:
            peak, best, best_end = window, oldest, end
    return peak, [c for _, _, c in rows[best : best_end + 1]]


def _against(rows: Sequence[Load], quota: float, is_tokens: bool, period: str = "minute", of: str = "") -> Figure:
    peak, inside = peak_window(rows, _PERIODS[period])
    what = "tokens" if is_tokens else "requests"
    why = f"peak {period} {peak:,.0f} {what} of {quota:,.0f}{of}"
    return Figure(peak / quota, n=len(rows), why=why, worst=worst_ids(c.id for c in inside))


def _by_model(key: str, calls: Sequence[Call], is_tokens: bool) -> list[Figure]:
    """Return a figure for each quota of each model whose answers carry some: quotas are granted by model."""
    groups: dict[tuple[str | None, str | None], list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.provider, call.model].append(call)
    out = []
    for (_, model), members in groups.items():
        of = f" for {model}" if len(groups) > 1 else ""
        rows = loads(members, is_tokens)
        for (_, named), told in _told(_NAMES[key], members).items():
            period = named or _period(told)
            figures = [_against(rows, min(t.quota for t in told), is_tokens, period, of)] if rows else []
            figures += _used(told, is_tokens, period)
            out += sorted(figures, key=lambda f: -(f.value or 0.0))[:1]
    return out


def _told(names: re.Pattern[str], calls: Sequence[Call]) -> Mapping[tuple[str, str | None], list[_Told]]:
    """Return what answers tell, by the header's name and the period in it."""
    out: dict[tuple[str, str | None], list[_Told]] = defaultdict(list)
    for call in calls:
        for name in call.rate_limits:
            found = names.fullmatch(name)
            quota = _number(call, name) if found else None
            if found and quota is not None:
                left = _number(call, _twin(name, "remaining"), zero=True)
                reset = _reset(call.rate_limits.get(_twin(name, "reset"), ""), call)
                out[name, found[1]].append(_Told(call, quota, left, reset))
    return out


def _twin(name: str, word: str) -> str:
    head, _, tail = name.rpartition("limit")
    return f"{head}{word}{tail}"


def _period(told: Sequence[_Told]) -> str:
    """Return the period of a quota that does not name it; a minute where nothing speaks against it.

    A quota that fills steadily is whole again after the used share of its period; one that is renewed at once,
    within the period. Times are told in whole seconds, some after a long answer: a tenth more is the same.
    """
    resets = [t.reset for t in told if t.reset is not None]
    longest = max(resets, default=0.0)
    filling = [
        t.reset * t.quota / (t.quota - t.left) for t in told if t.reset and t.left is not None and t.left < t.quota
    ]
    if filling and 0.9 <= median(filling) / _PERIODS["day"] <= 1.1:
        return "day"  # of 10,000 a day, one is back after 8.64 s
    return next((name for name, width in _PERIODS.items() if longest <= 1.1 * width + 1), "month")


def _reset(text: str, call: Call) -> float | None:
    """Return the seconds that ``6m0s``, ``120ms``, ``12.5``, a time stamp or an ISO time leave from the answer."""
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    asked = seconds(call.time)
    at = None if asked is None else asked + (call.ttft or call.latency or 0.0)
    try:
        value = float(text)
    except ValueError:
        until = seconds(text)
        return None if until is None or at is None else max(0.0, until - at)
    if value < _EPOCH:
        return value if value >= 0 else None
    return None if at is None else max(0.0, value - at)


def _used(told: Sequence[_Told], is_tokens: bool, period: str) -> list[Figure]:
    """Return what the provider itself says is used: it sees the account's other clients too."""
    known = [(1 - t.left / t.quota, t.left, t.quota, t.call) for t in told if t.left is not None]
    if not known:
        return []
    known.sort(key=lambda u: -u[0])
    share, left, quota, _ = known[0]
    what = "tokens" if is_tokens else "requests"
    why = f"the provider's headers leave {left:,.0f} of {quota:,.0f} {what} a {period}"
    return [Figure(max(0.0, share), n=len(known), why=why, worst=worst_ids(c.id for _, _, _, c in known))]


def _number(call: Call, name: str, *, zero: bool = False) -> float | None:
    try:
        value = float(call.rate_limits.get(name, ""))
    except ValueError:
        return None
    return value if 0 < value < float("inf") or (zero and value == 0) else None
