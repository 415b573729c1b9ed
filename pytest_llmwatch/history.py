"""The trend over stored builds: what each metric did, whether it drifts, and which build changed it. Pure."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.compare_samples import metric_named

REFERENCE = 30
"""Builds that the reference is estimated from, at most half of the history."""
LEAST = 8
ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class Build:
    """One stored run: its figures by metric; ``commit`` and ``models`` say what it was."""

    run_id: str
    time: str
    values: Mapping[str, float]
    commit: str | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Trend:
    """One metric over builds, oldest first; NaN where a build did not measure it.

    ``alarm`` is the run at which the CUSUM for worse passed its limit and ``since`` the run in which the shift
    began; ``changed`` the first run of another level, with the levels before and after and its p value.
    ``reference`` is mean and standard deviation of the first ``frozen`` builds.
    """

    metric: str
    values: tuple[float, ...]
    latest: float | None
    reference: tuple[float, float] | None = None
    frozen: int = 0
    path: tuple[float, ...] = ()
    limit: float | None = None
    alarm: Build | None = None
    since: Build | None = None
    changed: Build | None = None
    levels: tuple[float, float] | None = None
    p: float | None = None
    worse: bool | None = None


def build_of(data: Mapping[str, Any]) -> Build:
    """Return a build from a run.json."""
    aggregates = data.get("aggregates") or {}
    values: dict[str, float] = {}
    executions, passed = aggregates.get("executions"), aggregates.get("passed")
    if executions:
        values["passed"] = passed / executions
    for name, score in (aggregates.get("scores") or {}).items():
        if isinstance(score, Mapping) and score.get("mean") is not None:
            values[name] = float(score["mean"])
    for name in ("latency", "ttft"):
        centre = (aggregates.get(name) or {}).get("p50")
        if centre is not None:
            values[name] = float(centre)
    calls = aggregates.get("calls")
    if calls:
        values["error"] = (aggregates.get("failed") or 0) / calls
        for name in ("cost_usd", "input_tokens", "output_tokens"):
            if aggregates.get(name) is not None:
                values[name] = float(aggregates[name]) / calls
    environment = data.get("environment") or {}
    return Build(
        str(data.get("run_id", "")),
        str(data.get("time", "")),
        values,
        commit=str(environment["commit"])[:10] if environment.get("commit") else None,
        verdict=data.get("verdict"),
    )


def trends(builds: Iterable[Build], metrics: Sequence[str] = ()) -> list[Trend]:
    """Return the trend of each metric (of those that any build has), builds in order of time."""
    ordered = sorted(builds, key=lambda b: (b.time, b.run_id))
    known = list(dict.fromkeys(m for b in ordered for m in b.values))
    return [_trend(ordered, m) for m in (metrics or known)]


def _trend(builds: Sequence[Build], metric: str) -> Trend:
    from pytest_llmwatch.stats import history

    values = tuple(b.values.get(metric, math.nan) for b in builds)
    measured = [(b, v) for b, v in zip(builds, values, strict=True) if not math.isnan(v)]
    latest = measured[-1][1] if measured else None
    if len(measured) < LEAST:
        return Trend(metric, values, latest)
    worse_up = metric_named(metric).higher_is_worse
    frozen = max(5, min(REFERENCE, len(measured) // 2))
    reference = [v for _, v in measured[:frozen]]
    mean, sd = statistics.fmean(reference), statistics.stdev(reference)
    path: tuple[float, ...] = ()
    alarm = since = None
    limit = history.limit(frozen)
    if sd > 0:
        # only what came after the reference is judged by it
        later = measured[frozen:]
        found = history.cusum([v for _, v in later], mean=mean, sd=sd, higher_is_worse=worse_up, h=limit)
        path = found.path
        alarm = later[found.alarm][0] if found.alarm is not None else None
        since = later[found.since][0] if found.since is not None else None
    seed = int.from_bytes(hashlib.sha256(metric.encode()).digest()[:8], "big")
    change = history.change_point([v for _, v in measured], seed=seed)
    proven = change is not None and change.p <= ALPHA
    return Trend(
        metric,
        values,
        latest,
        reference=(mean, sd),
        frozen=frozen,
        path=path,
        limit=limit,
        alarm=alarm,
        since=since,
        changed=measured[change.index][0] if change is not None and proven else None,
        levels=(change.before, change.after) if change is not None and proven else None,
        p=change.p if change is not None else None,
        worse=(change.after > change.before) == worse_up if change is not None and proven else None,
    )
