"""The history of each metric as a small chart: the builds, the reference's band, CUSUM and the change point."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_llmwatch import format as fmt
from pytest_llmwatch import history
from pytest_llmwatch.compare_samples import metric_named
from pytest_llmwatch.model import Report

_MOST = 60  # newest builds that are drawn
_CHARTS = 8
_PLOT, _SUM = 84, 30  # px of the curve, and of the CUSUM beneath it
BAND = 2.0
"""Half width of the band, in standard deviations of the reference."""


@dataclass(frozen=True, slots=True)
class Point:
    """A build: place in % across and px down; ``out`` = outside the band on the side that is worse."""

    x: float
    y: float
    text: str
    out: bool
    last: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """One metric over builds. ``line`` and ``sum_line`` are SVG paths, 100 wide; None = not to be drawn."""

    metric: str
    latest: str
    said: str
    worse: bool
    points: tuple[Point, ...]
    line: str
    band: tuple[float, float] | None
    middle: float | None
    change: float | None
    sum_line: str | None
    sum_limit: float | None
    low: str
    high: str
    first: str
    last: str
    rows: tuple[tuple[str, str, str], ...]
    plot: int = _PLOT
    sum_plot: int = _SUM


@dataclass(frozen=True, slots=True)
class History:
    """All charts, those that got worse first; ``builds`` counts runs, ``least`` = from where drift is judged."""

    charts: tuple[Chart, ...]
    builds: int
    left_out: int
    least: int = history.LEAST


def history_of(report: Report) -> History | None:
    """Return the history up to this run, None where no earlier run is known."""
    own = history.build_of({
        "run_id": report.run.run_id, "time": report.run.time, "verdict": report.verdict,
        "aggregates": report.aggregates, "environment": report.run.environment,
    })  # fmt: skip
    earlier = [history.build_of(h) for h in report.history]
    builds = [b for b in earlier if b.run_id != own.run_id and b.time <= own.time]
    if not builds:
        return None
    builds = sorted([*builds, own], key=lambda b: (b.time, b.run_id))
    found = [
        t
        for t in history.trends(builds)
        if t.metric in own.values and sum(not math.isnan(v) for v in t.values) > 1
    ]
    found.sort(key=lambda t: (t.alarm is None, t.worse is not True, t.changed is None, _place(t.metric)))
    charts = [_chart(t, builds) for t in found[:_CHARTS]]
    return History(tuple(charts), len(builds), len(found) - len(charts))


def _place(metric: str) -> tuple[int, str]:
    first = ("composite", "passed", "latency", "cost_usd", "error", "ttft")
    return (first.index(metric) if metric in first else len(first), metric)


def _chart(trend: history.Trend, builds: list[history.Build]) -> Chart:
    unit, up = metric_named(trend.metric).unit, metric_named(trend.metric).higher_is_worse
    shown = list(zip(builds, trend.values, strict=True))[-_MOST:]
    known = [v for _, v in shown if not math.isnan(v)]
    band = None
    if trend.reference is not None:
        mean, sd = trend.reference
        band = (mean - BAND * sd, mean + BAND * sd)
    low, high = min([*known, *(band or ())]), max([*known, *(band or ())])
    pad = (high - low) * 0.08 or abs(high) * 0.05 or 0.05
    low, high = low - pad, high + pad

    def x(i: int) -> float:
        return round(100 * (i + 0.5) / len(shown), 2)

    def y(v: float) -> float:
        return round(float(_PLOT - _PLOT * (v - low) / (high - low)), 1)

    points = tuple(
        Point(x(i), y(v), f"{b.run_id} {b.time[:16].replace('T', ' ')}: {fmt.value(v, unit)}",
              band is not None and (v > band[1] if up else v < band[0]), i == len(shown) - 1)
        for i, (b, v) in enumerate(shown) if not math.isnan(v)
    )  # fmt: skip
    names = [b.run_id for b, _ in shown]
    change = x(names.index(trend.changed.run_id)) if trend.changed and trend.changed.run_id in names else None
    sums, limit = _sums(trend, [b.run_id for b, v in zip(builds, trend.values, strict=True) if not math.isnan(v)])
    drawn = [(x(i), sums[n]) for i, n in enumerate(names) if n in sums]
    top = max([limit or 0.0, *(v for _, v in drawn)]) * 1.15 or 1.0
    return Chart(
        metric=trend.metric,
        latest=fmt.value(trend.latest, unit),
        said=_said(trend, unit),
        worse=trend.alarm is not None or bool(trend.worse),
        points=points,
        line=_path([(p.x, p.y) for p in points]),
        band=(y(band[1]), round(y(band[0]) - y(band[1]), 1)) if band else None,
        middle=y(trend.reference[0]) if trend.reference else None,
        change=change,
        sum_line=_path([(px, round(_SUM - _SUM * v / top, 1)) for px, v in drawn]) if len(drawn) > 1 else None,
        sum_limit=round(_SUM - _SUM * limit / top, 1) if limit else None,
        low=fmt.value(min(known), unit),
        high=fmt.value(max(known), unit),
        first=shown[0][0].time[:10],
        last=shown[-1][0].time[:10],
        rows=tuple((b.run_id, b.time[:16].replace("T", " "), fmt.value(v, unit)) for b, v in shown
                   if not math.isnan(v)),
    )  # fmt: skip


def _sums(trend: history.Trend, measured: list[str]) -> tuple[dict[str, float], float | None]:
    """Return the CUSUM by run, and its limit; nothing where there is no reference yet."""
    if not trend.path or trend.limit is None or not math.isfinite(trend.limit):
        return {}, None
    return dict(zip(measured[trend.frozen :], trend.path, strict=False)), trend.limit


def _path(places: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places) if places else ""


def _said(trend: history.Trend, unit: str) -> str:
    said = []
    if trend.alarm is not None:
        since = trend.since or trend.alarm
        said.append(
            f"drifts for the worse since {since.run_id}{_commit(since)}, {since.time[:16].replace('T', ' ')}"
        )
    if trend.changed is not None and trend.levels is not None:
        before, after = (fmt.value(v, unit) for v in trend.levels)
        word = "worse" if trend.worse else "better"
        who = f"{trend.changed.run_id}{_commit(trend.changed)}"
        said.append(f"{word} from {who} on: {before} → {after} (p = {trend.p:.2g})")
    return "; ".join(said)


def _commit(build: history.Build) -> str:
    return f" ({build.commit})" if build.commit else ""
