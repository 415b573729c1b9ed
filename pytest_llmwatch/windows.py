"""Production records in sliding windows: the same rules that gate a build watch live traffic. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Call, Run

STEPS = 2
"""A window slides by its length over this: an episode that straddles a boundary still fills most of a window."""

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Window:
    """The calls (and their executions) that started in [start, end)."""

    start: datetime
    end: datetime
    run: Run


def moment(text: str) -> datetime | None:
    """Return an ISO 8601 time as UTC (a time without a zone is taken for UTC), None if it is none."""
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def windows(run: Run, seconds: float) -> tuple[list[Window], int]:
    """Return the windows of ``run``, oldest first, and how many of its calls carry no time.

    A window starts at the first call, and then every half length, as long as a call is in it. Windows without a
    call are left out.

    Raises:
        UsageError: No call carries a time, or there would be more than 10,000 windows.
    """
    timed = sorted(_timed(run), key=lambda pair: pair[0])
    if not timed:
        raise UsageError(
            "no record carries a time, which --window needs; name its key with --map KEY=time", slug="window-time"
        )
    length = timedelta(seconds=seconds)
    step = length / STEPS
    first, last = timed[0][0], timed[-1][0]
    if (last - first) / step > MOST:
        raise UsageError(
            f"--window {seconds:g} s makes more than {MOST:,} windows of {(last - first)}; take a longer one",
            slug="window-length",
        )
    of_call: dict[str, list[int]] = {}
    for place, result in enumerate(run.results):
        for call_id in result.call_ids:
            of_call.setdefault(call_id, []).append(place)
    out: list[Window] = []
    start, low = first, 0
    while start <= last:
        end = start + length
        while low < len(timed) and timed[low][0] < start:
            low += 1
        high = low
        while high < len(timed) and timed[high][0] < end:
            high += 1
        if high > low:
            out.append(Window(start, end, _cut(run, [c for _, c in timed[low:high]], of_call)))
        if end > last:
            break
        start += step
    return out, len(run.calls) - len(timed)


def _timed(run: Run) -> Iterator[tuple[datetime, Call]]:
    for call in run.calls:
        at = moment(call.time) if call.time else None
        if at is not None:
            yield at, call


def _cut(run: Run, calls: list[Call], of_call: Mapping[str, list[int]]) -> Run:
    places = sorted({place for call in calls for place in of_call.get(call.id, ())})
    return replace(
        run,
        calls=tuple(calls),
        results=tuple(run.results[place] for place in places),
        time=calls[0].time or run.time,
    )
