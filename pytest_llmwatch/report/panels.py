"""The four panels that an operator looks for first: latency, throughput, cost, quality."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import Call, Report
from pytest_llmwatch.report import charts
from pytest_llmwatch.report.view import RuleRow, tally_text

_SLICES = 24
_HEIGHT = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a panel: place and width in % across, height in px; ``over`` = on the wrong side of a limit."""

    x: float
    width: float
    height: float
    over: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``rows`` holds (label, text); ``state`` is its worst rule, None where it has none."""

    name: str
    link: str
    figure: str
    label: str
    rows: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...]
    caption: str
    state: RuleRow | None
    tally: str
    height: int = _HEIGHT

    @property
    def inside(self) -> str:
        """The bars as one SVG path, in a box of 100 by ``height``: a tenth of the size of single elements."""
        return _path(b for b in self.bars if not b.over)

    @property
    def beyond(self) -> str:
        """The bars on the wrong side of a limit."""
        return _path(b for b in self.bars if b.over)


def panels(report: Report, rows: Sequence[RuleRow]) -> list[Panel]:
    """Return the panels in the order in which they are read."""
    calls = [c for c in report.run.calls if not c.judging]
    return [
        _latency(report, calls, rows),
        _throughput(calls, rows),
        _cost(report, calls, rows),
        _quality(report, rows),
    ]


def _of(rows: Sequence[RuleRow], which: str) -> tuple[RuleRow | None, str]:
    found = [r for r in rows if _panel(r) == which]
    # the rows come sorted by layer first: the worst of a panel may be anywhere among them
    order = ("broken", "blind", "warn", "undecided", "waived", "holds")
    worst = min(found, key=lambda r: order.index(r.state), default=None)
    if worst is None:
        return None, "no rule"
    same = [r for r in found if r.state == worst.state]
    return worst, tally_text(same) + (f" of {len(found)}" if len(same) < len(found) else "")


def _panel(row: RuleRow) -> str:
    v = row.verdict
    rule = v.rule.removeprefix(f"scope.{v.scope}.") if v.scope else v.rule
    table = rule.partition(".")[0]
    if table == "throughput":
        return "throughput"
    return {"availability": "latency", "cost": "cost", "quality": "quality"}[v.layer]


def _latency(report: Report, calls: Sequence[Call], rows: Sequence[RuleRow]) -> Panel:
    times: Mapping[str, float] = report.aggregates.get("latency") or {}
    ttft: Mapping[str, float] = report.aggregates.get("ttft") or {}
    limit = next((r.verdict.limit for r in rows if r.rule == "latency.p95" and r.verdict.limit), None)
    drawn = charts.histogram(
        "", [c.latency for c in calls if c.latency is not None], "s", bins=_SLICES,
        limits=[("", limit, "ceiling")] if limit else [],
    )  # fmt: skip
    bars: tuple[Bar, ...] = ()
    if drawn is not None:
        scale = _HEIGHT / drawn.plot
        bars = tuple(Bar(b.x, b.width, round(max(1.0, b.height * scale), 1), b.over) for b in drawn.bins)
    failed = sum(c.failed for c in calls)
    state, tally = _of(rows, "latency")
    return Panel(
        "Latency", "latency", fmt.value(times.get("p95"), "s"), "p95",
        (("p50", fmt.value(times.get("p50"), "s")), ("p99", fmt.value(times.get("p99"), "s")),
         ("first token p95", fmt.value(ttft.get("p95"), "s")),
         ("failed", f"{failed:,} of {len(calls):,}")),
        bars, "calls by latency", state, tally,
    )  # fmt: skip


def _throughput(calls: Sequence[Call], rows: Sequence[RuleRow]) -> Panel:
    timed = [(t, c) for c in calls if (t := _seconds(c.time)) is not None]
    state, tally = _of(rows, "throughput")
    first = min((t for t, _ in timed), default=0.0)
    span = max((t + (c.latency or 0.0) for t, c in timed), default=0.0) - first
    if not timed or span <= 0:
        return Panel(
            "Throughput", "latency", fmt.UNKNOWN, "calls a minute", (), (), "no time stamps", state, tally
        )
    counts = [0] * _SLICES
    for t, _ in timed:
        counts[min(_SLICES - 1, int((t - first) / span * _SLICES))] += 1
    top = max(counts)
    bars = tuple(
        Bar(round(100 * i / _SLICES, 2), round(100 / _SLICES, 2), round(_HEIGHT * n / top, 1), False)
        for i, n in enumerate(counts) if n
    )  # fmt: skip
    tokens = sum(c.usage.total_tokens or 0 for _, c in timed)
    speeds = sorted(s for c in calls if (s := c.tokens_per_second) is not None)
    shown = [("tokens a minute", fmt.value(60 * tokens / span, "count") if tokens else fmt.UNKNOWN)]
    if speeds:
        shown.append(("tokens a second, median", fmt.value(speeds[len(speeds) // 2], "count")))
    shown.append(("429s", f"{sum(c.status == 'rate_limited' for c in calls):,}"))
    return Panel(
        "Throughput", "latency", fmt.value(60 * len(timed) / span, "count"), "calls a minute", tuple(shown),
        bars, "calls started, over the run", state, tally,
    )  # fmt: skip


def _cost(report: Report, calls: Sequence[Call], rows: Sequence[RuleRow]) -> Panel:
    totals = report.aggregates
    usd = totals.get("cost_usd")
    unpriced = int(totals.get("unpriced") or 0)
    priced = sum(c.cost.usd is not None for c in calls)
    state, tally = _of(rows, "cost")
    timed = sorted(
        (t, c.cost.usd) for c in calls if (t := _seconds(c.time)) is not None and c.cost.usd is not None
    )
    bars: tuple[Bar, ...] = ()
    if timed and timed[-1][0] > timed[0][0]:
        sums, first, span = [0.0] * _SLICES, timed[0][0], timed[-1][0] - timed[0][0]
        for t, cost in timed:
            sums[min(_SLICES - 1, int((t - first) / span * _SLICES))] += cost
        total, running = math.fsum(sums) or 1.0, 0.0
        made = []
        for i, part in enumerate(sums):
            running += part
            made.append(Bar(
                round(100 * i / _SLICES, 2), round(100 / _SLICES, 2), round(_HEIGHT * running / total, 1), False,
            ))  # fmt: skip
        bars = tuple(made)
    shown = [
        ("a priced call", fmt.value(usd / priced if isinstance(usd, float) and priced > 0 else None, "usd")),
        ("tokens in", f"{int(totals.get('input_tokens') or 0):,}"),
        ("tokens out", f"{int(totals.get('output_tokens') or 0):,}"),
    ]
    if unpriced:
        shown.append(("without a price", f"{unpriced:,}"))
    figure = fmt.value(usd if isinstance(usd, int | float) else None, "usd")
    return Panel("Cost", "cost", figure, "this run", tuple(shown), bars, "spent, over the run", state, tally)


def _quality(report: Report, rows: Sequence[RuleRow]) -> Panel:
    scores: Mapping[str, Mapping[str, float]] = report.aggregates.get("scores") or {}
    means = {n: s["mean"] for n, s in scores.items() if isinstance(s, Mapping) and s.get("mean") is not None}
    measured = [r for r in report.run.results if r.outcome not in ("skipped", "not_run") and r.problem is None]
    passed = sum(r.passed for r in measured)
    state, tally = _of(rows, "quality")
    all_scores = sorted(s.value for r in report.run.results for s in r.scores if s.value is not None)
    counts = [0] * 10
    for value in all_scores:
        counts[min(9, max(0, int(value * 10)))] += 1
    top = max(counts) or 1
    bars = tuple(
        Bar(10.0 * i, 10.0, round(max(1.0, _HEIGHT * n / top), 1), False)
        for i, n in enumerate(counts) if n
    )  # fmt: skip
    lowest = sorted((m, n) for n, m in means.items() if n != "composite")[:2]
    shown = [(name, fmt.value(mean, "ratio")) for mean, name in lowest]
    if "composite" in means:
        figure, label = fmt.value(means["composite"], "ratio"), "composite"
        shown.append(("passed", f"{passed:,} of {len(measured):,}"))
    elif measured:
        figure, label = fmt.percent(passed / len(measured)), f"of {len(measured):,} tests passed"
    else:
        figure, label = fmt.UNKNOWN, "nothing scored"
    link = "cases" if any(r.case for r in report.run.results) else "rules"
    return Panel("Quality", link, figure, label, tuple(shown), bars, "scores, 0 to 1", state, tally)


def _path(bars: Iterable[Bar]) -> str:
    return "".join(f"M{b.x + 0.2:.2f} {_HEIGHT}v-{b.height:g}h{b.width - 0.4:.2f}v{b.height:g}z" for b in bars)


def _seconds(time: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None
