"""``[drift]``: the run against frozen baselines, one rule per metric, and what of them is comparable.

Without a baseline a rule is "not measured", which never fails a build: a first run has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pytest_llmwatch import baseline as frozen
from pytest_llmwatch.budget_types import Budget, Drift
from pytest_llmwatch.compare import Options, compare
from pytest_llmwatch.compare_samples import TIMES, Samples, metric_named, samples_of
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_slice import Key, Slices
from pytest_llmwatch.model import Baseline, Grade, Run, Verdict

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Side:
    """One ``[drift]`` with both sides' samples, cut to what can be compared."""

    drift: Drift
    base: Samples
    candidate: Samples
    metrics: tuple[str, ...]
    changed: tuple[Key, ...] = ()
    rescored: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What rule names begin with."""
        scope = self.drift.scope
        return f"scope.{scope.text}.drift." if scope is not None else "drift."


def is_drift(verdict: Verdict) -> bool:
    """Whether a verdict compares with a baseline, rather than with a limit."""
    prefix = f"scope.{verdict.scope}." if verdict.scope is not None else ""
    return verdict.rule.removeprefix(prefix).partition(".")[0] in ("drift", "cases", "baseline")


def prepare(run: Run, budget: Budget, baselines: Mapping[str, Baseline]) -> tuple[Side, ...]:
    """Return what each ``[drift]`` of the budget compares; without metrics where there is no baseline."""
    if not budget.drifts:
        return ()
    used = [b for b in baselines.values() if any(r.set == b.set for r in run.results)]
    slices = Slices(run)
    base = frozen.samples(used)
    return tuple(_side(drift, base, samples_of(run, part=slices.of(drift.scope))) for drift in budget.drifts)


def _side(drift: Drift, base: Samples, candidate: Samples) -> Side:
    changed = tuple(
        sorted((k for k in base.cases & candidate.cases if base.prints.get(k) != candidate.prints.get(k)), key=str)
    )
    rescored = tuple(
        sorted(m for m, v in base.versions.items() if candidate.versions.get(m, v) != v and m in candidate.values)
    )
    common = (base.cases & candidate.cases) - set(changed)
    before, after = _cut(base, common, rescored), _cut(candidate, common, rescored)
    both = [m for m in before.metrics() if m in after.metrics()]
    metrics = tuple(m for m in drift.metrics or both if m in both or (before.has(m) and after.has(m)))
    return Side(drift, before, after, metrics, changed, rescored)


def _cut(side: Samples, keys: set[Key], without: Sequence[str]) -> Samples:
    values = {
        m: {k: v for k, v in rows.items() if k in keys} for m, rows in side.values.items() if m not in without
    }
    return replace_values(side, keys, values)


def replace_values(side: Samples, keys: set[Key], values: dict[str, dict[Key, list[float | None]]]) -> Samples:
    """Return ``side`` with other values, cut to ``keys``."""
    return Samples(
        values=values,
        labels={m: {k: v for k, v in rows.items() if k in keys} for m, rows in side.labels.items()},
        clusters={k: v for k, v in side.clusters.items() if k in keys},
        weights=side.weights,
        inputs=side.inputs,
        calls=side.calls,
        versions=side.versions,
        prints=side.prints,
        sessions={k: v for k, v in side.sessions.items() if k in keys},
        executions=side.executions,
        errored=side.errored,
    )


def families(sides: Sequence[Side]) -> set[str]:
    """Return the families that unscoped drifts will test."""
    return {metric_named(m).family for s in sides if s.drift.scope is None for m in s.metrics}


def judge(
    run: Run,
    budget: Budget,
    sides: Sequence[Side],
    baselines: Mapping[str, Baseline],
    *,
    alphas: Mapping[str, float],
    today: date,
) -> tuple[Verdict, ...]:
    """Return the verdicts of every ``[drift]`` in the budget.

    Args:
        run: The candidate.
        budget: Its ``drifts`` name metrics, margin and smallest effect.
        sides: From `prepare`.
        baselines: Frozen references by golden set.
        alphas: What drift may spend, by family.
        today: Tells how old a baseline is.
    """
    out: list[Verdict] = []
    for side in sides:
        out += _metrics(run, budget, side, baselines, alphas)
        out += _comparable(run, side, baselines)
    if sides:
        out += _stale(run, baselines, today)
    return tuple(out)


def _metrics(
    run: Run, budget: Budget, side: Side, baselines: Mapping[str, Baseline], alphas: Mapping[str, float]
) -> Iterator[Verdict]:
    drift, scope = side.drift, side.drift.scope
    if not side.metrics:
        yield from _not_measured(run, side, baselines, drift.metrics or ("",))
        return
    used = [b for b in baselines.values() if any(r.set == b.set for r in run.results)]
    together = bool(used) and all(_together(b, run) for b in used)
    # asked together, whatever a session does was done to both
    sessions = 0 if together else min((len(b.sessions) for b in used), default=0)
    warn_only = {} if together else _warn_only(run, side, sessions)
    if scope is not None:
        warn_only = dict.fromkeys(side.metrics, "a slice is exploratory")
    options = Options(
        alpha=budget.gate.alpha,
        margin=drift.margin,
        min_effect=drift.min_effect,
        metrics=side.metrics,
        seed="\0".join(sorted(b.id for b in used)),
        prefix=side.prefix,
        scope=scope.text if scope is not None else None,
        line=drift.line,
        warn_only=warn_only,
        alphas=alphas if scope is None else None,
        session={} if together else _spreads(side, [m for m in side.metrics if m in warn_only or m in TIMES]),
        sessions=sessions,
        exact=bool(run.calls) and all(c.capture_mode == "replayed" for c in run.calls),
    )
    told = "; ".join(dict.fromkeys(text for b in used for text in frozen.differences(b, run)))
    for verdict in compare(side.base, side.candidate, options).verdicts:
        if told and verdict.verdict in ("fail", "warn"):
            yield replace(verdict, because=f"{verdict.because} ({told})")
        else:
            yield verdict
    unmeasured = [m for m in drift.metrics if m not in side.metrics and m not in side.rescored]
    if unmeasured:
        yield from _not_measured(run, side, baselines, unmeasured)


def _together(base: Baseline, run: Run) -> bool:
    """Whether a baseline was asked in the very session of the run, case by case."""
    return any(base is b for b in run.concurrent) and not any(s.get("apart") for s in base.sessions)


def _warn_only(run: Run, side: Side, sessions: int) -> dict[str, str]:
    """Return the metrics that vary between sessions, where too few were seen to know by how much."""
    if sessions >= frozen.FEW_SESSIONS:
        return {}
    why = f"the baseline holds {plural(sessions, 'session')}, and {frozen.FEW_SESSIONS} tell what a session does"
    live = any(c.capture_mode != "replayed" for c in run.calls)
    noisy = [m for m in side.metrics if metric_named(m).shape == "score" and live and _varies(side.base, m)]
    return dict.fromkeys([*(m for m in side.metrics if m in TIMES), *noisy], why)


def _varies(side: Samples, metric: str) -> bool:
    rows = side.values.get(metric, {}).values()
    return any(len({v for v in row if v is not None}) > 1 for row in rows)


def _spreads(side: Side, metrics: Sequence[str]) -> dict[str, float]:
    from pytest_llmwatch.compare_tests import session_spread

    return {m: session_spread(side.base, metric_named(m)) for m in metrics}


def _not_measured(
    run: Run, side: Side, baselines: Mapping[str, Baseline], metrics: Sequence[str]
) -> Iterator[Verdict]:
    sets = {r.set for r in run.results}
    known = sorted(b.set or "these records" for b in baselines.values() if b.set in sets)
    why = (
        "no baseline" if not known else f"the baseline of {', '.join(known)} and this run have no value in common"
    )
    for name in metrics:
        metric = metric_named(name or "drift")
        rule = side.prefix + name if name else side.prefix.rstrip(".")
        yield Verdict(
            rule=rule,
            metric=metric.name,
            verdict="inconclusive",
            layer=metric.layer,
            kind="test",
            because=f"{rule} is not measured: {why}",
            family=metric.family,
            reason="not_measured",
            scope=side.drift.scope.text if side.drift.scope is not None else None,
            line=side.drift.line,
        )


def _comparable(run: Run, side: Side, baselines: Mapping[str, Baseline]) -> Iterator[Verdict]:
    """Yield what could not be compared: cases that did not run or are other ones, scores of another version."""
    if side.drift.scope is not None:
        return
    ran = {(r.set, r.case) for r in run.results if r.outcome not in ("skipped", "not_run")}
    known = {(r.set, r.case) for r in run.results}
    missing = sorted(
        f"{base.set}/{case}" if base.set else case
        for base in baselines.values()
        for case in base.cases
        if (base.set, case) in known and (base.set, case) not in ran
    )
    if missing and not run.partial:
        yield _about(
            "cases.missing", "fail", f"{plural(len(missing), 'case')} of the baseline did not run", missing
        )
    if side.changed:
        names = [f"{k[0]}/{k[1]}" if k[0] else k[1] for k in side.changed]
        text = f"{plural(len(names), 'case')} changed (input, reference or context) and cannot be compared"
        yield _about("cases.changed", "warn", text, names)
    apart = [f"{b.set} ({s['apart']} executions)" for b in run.concurrent for s in b.sessions if s.get("apart")]
    if apart:
        text = (
            "recorded apart from the run, so that times can only warn; ask both together with --llm-record=all "
            "or off"
        )
        yield _about("baseline.apart", "warn", text, apart)
    if side.rescored:
        text = "scored by another version than the baseline, so not compared; record the baseline again"
        yield _about("baseline.scorers", "warn", text, side.rescored)


def _about(rule: str, grade: Grade, text: str, names: Sequence[str]) -> Verdict:
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return Verdict(
        rule=rule,
        metric=rule,
        verdict=grade,
        layer="quality",
        kind="fact",
        because=f"{rule}: {text}: {shown}",
        unit="count",
        observed=float(len(names)),
        limit=0.0,
        tier="fail" if grade == "fail" else "warn",
        n=len(names),
    )


def _stale(run: Run, baselines: Mapping[str, Baseline], today: date) -> Iterator[Verdict]:
    used = [b for b in baselines.values() if any(r.set == b.set for r in run.results)]
    old = []
    for base in used:
        try:
            age = (today - date.fromisoformat(base.time[:10])).days
        except ValueError:
            continue
        if age > frozen.STALE_DAYS:
            old.append(f"{base.set} ({age} days)")
    if old:
        yield _about("baseline.stale", "warn", f"older than {frozen.STALE_DAYS} days, record it again", old)
