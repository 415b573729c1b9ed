"""Time stamps of calls as numbers, and the time that they span."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pytest_llmwatch.model import Call


def seconds(time: str | None) -> float | None:
    """Return an ISO 8601 time stamp as seconds since 1970, None where it is unknown or not one."""
    if time is None:
        return None
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None


def hours(calls: Sequence[Call]) -> float | None:
    """Return the hours from the first start to the last end; None below two time stamps, or where one lacks."""
    starts = [(s, c.latency or 0.0) for c in calls if (s := seconds(c.time)) is not None]
    if len(starts) < 2 or len(starts) < len(calls):
        return None
    span = max(s + d for s, d in starts) - min(s for s, _ in starts)
    return span / 3600 if span > 0 else None
