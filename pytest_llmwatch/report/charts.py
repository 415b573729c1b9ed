"""Charts as geometry: percentages across and pixels down, so that an SVG fills its place without scaling text.

The templates draw what these records say; nothing here knows SVG.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import Call
from pytest_llmwatch.report.breakdown import quantile
from pytest_llmwatch.report.view import RuleRow

_PLOT = 150  # height of a histogram's plot in px
_WIDE = 25.0  # max/min from which the axis is logarithmic


@dataclass(frozen=True, slots=True)
class Bin:
    """A bar: left edge and width in %, top and height in px, what it covers, and whether it is over the limit.

    ``was`` is how many values it would hold if they were spread as the baseline's.
    """

    x: float
    width: float
    y: float
    height: float
    low: str
    high: str
    count: int
    over: bool
    was: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled position: ``x`` in %, ``flip`` where the label belongs on the left of it."""

    x: float
    label: str
    word: str = ""
    flip: bool = False
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Histogram:
    """A distribution with its axis, limits and quantiles."""

    title: str
    description: str
    bins: tuple[Bin, ...]
    ticks: tuple[Mark, ...]
    limits: tuple[Mark, ...]
    quantiles: tuple[Mark, ...]
    top: int
    n: int
    plot: int = _PLOT
    log: bool = False
    before: int = 0
    """How many values the baseline has, 0 without one."""
    outline: tuple[tuple[float, float, float, float], ...] = ()
    """How the baseline's are spread: lines from (x in %, y in px) to (x, y)."""


def histogram(
    title: str,
    values: Sequence[float],
    unit: str,
    *,
    before: Sequence[float] = (),
    limits: Sequence[tuple[str, float, str]] = (),
    quantiles: Sequence[tuple[str, float | None]] = (),
    bins: int = 22,
) -> Histogram | None:
    """Return the distribution of ``values``, None without any.

    Args:
        title: Heading of the chart.
        values: Figures >= 0, in ``unit``.
        unit: As in ``format.value``.
        before: The baseline's values: how they spread is drawn over the bars, to the same sum.
        limits: (label, value, ``ceiling`` or ``warn``): lines across the chart. Bars over a ceiling stand out.
        quantiles: (label, value) pairs under the axis.
        bins: How many bars.
    """
    values = sorted(v for v in values if math.isfinite(v))
    if not values:
        return None
    before = sorted(v for v in before if math.isfinite(v))
    positions = [*values, *before, *(v for _, v, _ in limits), *(v for _, v in quantiles if v)]
    scale = _scale(min(positions), max(positions))
    ceiling = min((v for _, v, kind in limits if kind == "ceiling"), default=math.inf)
    places = [i / bins for i in range(bins + 1)]
    over = bins  # the first bar beyond the limit
    if math.isfinite(ceiling):  # a border of bars lies at the limit: each bar is on one side of it
        over = min(range(1, bins), key=lambda i: abs(places[i] - scale.forward(ceiling)))
        places[over] = scale.forward(ceiling)
    edges = [scale.inverse(p) for p in places]
    edges[over] = ceiling if over < bins else edges[over]
    counts = _counts(values, edges, over, ceiling)
    was = [c * len(values) / len(before) for c in _counts(before, edges, over, ceiling)] if before else None
    top = max([*counts, *(was or [])])
    drawn = tuple(
        Bin(
            _r(100 * places[i]), _r(100 * (places[i + 1] - places[i])),
            _r(_PLOT - _PLOT * c / top, 1), _r(_PLOT * c / top, 1),
            fmt.value(edges[i], unit), fmt.value(edges[i + 1], unit), c, i >= over,
            was[i] if was else None,
        )
        for i, c in enumerate(counts) if c or (was and was[i])
    )  # fmt: skip
    known = [(name, v) for name, v in quantiles if v is not None]
    marks = tuple(_mark(scale, v, f"{name} {fmt.value(v, unit)}", name) for name, v in known)
    text = ", ".join(m.label for m in marks)
    return Histogram(
        title=title,
        description=f"Distribution of {len(values):,} values{': ' + text if text else ''}.",
        bins=drawn,
        ticks=tuple(_mark(scale, v, fmt.value(v, unit)) for v in scale.ticks),
        limits=tuple(_mark(scale, v, f"{name} {fmt.value(v, unit, v)}", "", kind) for name, v, kind in limits),
        quantiles=marks,
        top=round(top),
        n=len(values),
        log=scale.log,
        before=len(before),
        outline=_outline(places, [_PLOT - _PLOT * c / top for c in was]) if was else (),
    )


def _outline(places: Sequence[float], heights: Sequence[float]) -> tuple[tuple[float, float, float, float], ...]:
    out: list[tuple[float, float, float, float]] = []
    last = float(_PLOT)
    for i, y in enumerate([*heights, float(_PLOT)]):
        x = _r(100 * places[i])
        if _r(y, 1) != _r(last, 1):
            out.append((x, _r(last, 1), x, _r(y, 1)))
        if i < len(heights) and _r(y, 1) < _PLOT:
            out.append((x, _r(y, 1), _r(100 * places[i + 1]), _r(y, 1)))
        last = y
    return tuple(out)


def _counts(values: Sequence[float], edges: Sequence[float], over: int, ceiling: float) -> list[int]:
    bins = len(edges) - 1
    counts = [0] * bins
    for value in values:
        at = min(bins - 1, max(0, bisect_right(edges, value) - 1))
        # a value that equals the limit is inside it
        counts[min(at, over - 1) if value <= ceiling else max(at, over)] += 1
    return counts


@dataclass(frozen=True, slots=True)
class Scale:
    """A mapping of figures to 0..1 and back."""

    forward: Callable[[float], float]
    inverse: Callable[[float], float]
    ticks: tuple[float, ...]
    log: bool


def _scale(low: float, high: float) -> Scale:
    if low > 0 and high / low > _WIDE:
        start, stop = math.log10(low) - 0.02, math.log10(high) + 0.04
        span = stop - start
        steps = [m * 10.0**e for e in range(math.floor(start), math.ceil(stop) + 1) for m in (1, 2, 5)]
        ticks = tuple(t for t in steps if start <= math.log10(t) <= stop)
        while len(ticks) > 7:
            ticks = ticks[::3] if len(ticks) > 12 else ticks[::2]
        return Scale(
            lambda v: (math.log10(max(v, 1e-12)) - start) / span, lambda p: 10 ** (start + p * span), ticks, True
        )
    top = high * 1.04 or 1.0
    step = nice(top / 5)
    ticks = tuple(step * i for i in range(int(top / step) + 1))
    return Scale(lambda v: v / top, lambda p: p * top, ticks, False)


def nice(step: float) -> float:
    """Return the least of 1, 2, 2.5, 5 times a power of ten that is >= ``step``."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * (1 - 1e-9))


def _mark(scale: Scale, value: float, label: str, word: str = "", kind: str = "") -> Mark:
    x = _r(100 * min(1.0, max(0.0, scale.forward(value))))
    return Mark(x, label, word, flip=x > 62, kind=kind)


@dataclass(frozen=True, slots=True)
class Bullet:
    """A rule in one line: observed, its interval, the limits, and the side where the rule breaks. All in %."""

    observed: float | None
    low: float | None
    high: float | None
    limit: float | None
    warn: float | None
    bad_from: float
    bad_width: float


def bullet(row: RuleRow) -> Bullet | None:
    """Return the geometry of a rule's line, None where there is nothing to draw."""
    v = row.verdict
    limit = v.limit if v.limit is not None else v.warn_limit
    if limit is None:
        return None
    own = v.ci if v.ci is not None and v.delta is None else (None, None)
    points = [x for x in (v.observed, *own, limit, v.warn_limit) if x is not None and math.isfinite(x)]
    low, high = min(points), max(points)
    if v.direction == "ceiling":
        low, high = 0.0, max(high * 1.12, 1e-12)
    else:
        pad = max((high - low) * 0.6, abs(high) * 0.06, 1e-12)
        low, high = max(0.0, low - pad), high + pad
        high = min(high, 1.0) if v.unit == "ratio" and max(points) <= 1 else high
        high = max(high, low + 1e-12)

    def at(x: float | None) -> float | None:
        return None if x is None or not math.isfinite(x) else _r(100 * min(1, max(0, (x - low) / (high - low))))

    edge = at(limit) or 0.0
    start, width = (edge, _r(100 - edge)) if v.direction == "ceiling" else (0.0, edge)
    warn = at(v.warn_limit) if v.limit is not None else None
    return Bullet(at(v.observed), at(own[0]), at(own[1]), edge, warn, start, width)


@dataclass(frozen=True, slots=True)
class Moment:
    """Calls that started in one slice of the run: left edge in %, p50 and p95 in px down, their distance."""

    x: float
    y50: float | None
    y95: float | None
    height: float
    calls: int
    failed: int
    label: str
    p50: str
    p95: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Latency over the run."""

    moments: tuple[Moment, ...]
    levels: tuple[tuple[float, str], ...]
    limit: tuple[float, str] | None
    start: str
    end: str
    failed: int
    plot: int = _PLOT
    width: float = field(default=1.0)


def timeline(calls: Sequence[Call], limit: tuple[str, float] | None = None, slices: int = 20) -> Timeline | None:
    """Return latency by time of start, None where time stamps are missing or all the same."""
    timed = [(t, c) for c in calls if (t := _moment(c.time)) is not None and c.latency is not None]
    if len(timed) < 8:
        return None
    first, last = min(t for t, _ in timed), max(t for t, _ in timed)
    if last - first < 1e-3:
        return None
    slices = min(slices, len(timed) // 4)
    buckets: list[list[Call]] = [[] for _ in range(slices)]
    for t, call in timed:
        buckets[min(slices - 1, int((t - first) / (last - first) * slices))].append(call)
    spreads = [sorted(c.latency for c in b if c.latency is not None) for b in buckets]
    high = max([quantile(s, 0.95) or 0.0 for s in spreads] + ([limit[1]] if limit else [])) * 1.08
    step = nice(high / 4)

    def y(value: float | None) -> float | None:
        return None if value is None else _r(_PLOT - _PLOT * value / high, 1)

    moments = []
    for i, (bucket, spread) in enumerate(zip(buckets, spreads, strict=True)):
        if not bucket:
            continue
        p50, p95 = quantile(spread, 0.5), quantile(spread, 0.95)
        seconds = (last - first) * i / slices
        moments.append(Moment(
            _r(100 * i / slices), y(p50), y(p95), _r((y(p50) or 0) - (y(p95) or 0), 1), len(bucket),
            sum(c.failed for c in bucket),
            f"+{seconds:,.1f} s", fmt.value(p50, "s"), fmt.value(p95, "s"),
        ))  # fmt: skip
    levels = (step * i for i in range(1, int(high / step) + 1))
    return Timeline(
        moments=tuple(moments),
        levels=tuple((y(level) or 0.0, fmt.value(level, "s")) for level in levels),
        limit=(y(limit[1]) or 0.0, f"{limit[0]} ≤ {fmt.value(limit[1], 's', limit[1])}") if limit else None,
        start=min(c.time or "" for _, c in timed)[:19].replace("T", " "),
        end=f"+{last - first:,.1f} s",
        failed=sum(m.failed for m in moments),
        width=_r(100 / slices),
    )  # fmt: skip


def _moment(time: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None


def _r(x: float, digits: int = 2) -> float:
    rounded = round(x, digits)
    return int(rounded) if rounded == int(rounded) else rounded
