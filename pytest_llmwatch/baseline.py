"""Frozen references: made from runs, turned back into samples, checked, and replaced with a reason."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_llmwatch.compare import Options, Outcome, compare
from pytest_llmwatch.compare_samples import Samples, metric_named, samples_of
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_slice import Key
from pytest_llmwatch.model import JSON, Baseline, BaselineCase, Run

FEW_REPEATS = 3
FEW_SESSIONS = 5
CHECK_BUILDS = 200
STALE_DAYS = 90


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether a candidate may replace a baseline: ``baseline`` is the new one, None where it may not."""

    baseline: Baseline | None
    outcome: Outcome
    because: str


def make(runs: Sequence[Run], set_name: str | None, *, reason: str | None = None) -> Baseline:
    """Return the baseline of one golden set (None: of what belongs to no set) from one run per recording session.

    Raises:
        UsageError: A run is partial, holds nothing of the set, or replays what another one replays.
    """
    merged: dict[str, BaselineCase] = {}
    versions: dict[str, str] = {}
    _check_apart(runs, set_name)
    for number, run in enumerate(runs):
        if run.partial:
            raise UsageError(
                f"run {run.run_id} is partial ({run.partial_reason}): a baseline needs a whole run",
                slug="baseline-partial",
            )
        side = samples_of(run)
        keys = [k for k in side.cases if k[0] == set_name]
        if not keys:
            raise UsageError(
                f"run {run.run_id} holds no case of the golden set {set_name}; it has: {_sets(side)}",
                slug="baseline-empty",
            )
        for key in keys:
            merged[key[1]] = _extended(merged.get(key[1]), side, key, number)
        for name, version in side.versions.items():
            if versions.setdefault(name, version) != version:
                raise UsageError(
                    f"run {run.run_id} was scored by {name} version {version}, the runs before it by "
                    f"{versions[name]}; score all with one version",
                    slug="baseline-versions",
                )
    cases = {name: merged[name] for name in sorted(merged)}
    _check_scores(cases)
    used = {m for c in cases.values() for m in c.values}
    return Baseline(
        id=_identity(cases),
        set=set_name,
        time=max(run.time for run in runs),
        cases=cases,
        scorers={k: versions[k] for k in sorted(versions) if k in used},
        made_with=_made_with(runs, set_name),
        sessions=tuple({"run": run.run_id, "time": run.time} for run in runs),
        reason=reason,
    )


def _check_apart(runs: Sequence[Run], set_name: str | None) -> None:
    """Refuse two replays of one recording: they are one session, counted twice."""
    seen: dict[tuple[tuple[str, int, int, float], ...], str] = {}
    for run in runs:
        replayed = [c for c in run.calls if c.set == set_name and not c.judging and c.capture_mode == "replayed"]
        times = tuple(
            sorted((c.case or "", c.repeat or 0, c.index, c.latency) for c in replayed if c.latency is not None)
        )
        if times in seen:
            raise UsageError(
                f"run {run.run_id} replays the recordings of run {seen[times]}: they are one session, not two; "
                "give one run per recording",
                slug="baseline-replays",
            )
        if times:
            seen[times] = run.run_id


def _check_scores(cases: Mapping[str, BaselineCase]) -> None:
    for name, case in cases.items():
        for metric, row in case.values.items():
            odd = [v for v in row if v is not None and not 0 <= v <= 1]
            if odd and metric_named(metric).shape != "ratio":
                raise UsageError(
                    f"case {name!r}: {metric} must be in [0, 1] (got {odd[0]:g}); scale it to be a baseline",
                    slug="baseline-value",
                )


def _sets(side: Samples) -> str:
    return ", ".join(sorted({k[0] or "(no set)" for k in side.cases})) or "none"


def _extended(known: BaselineCase | None, side: Samples, key: Key, number: int) -> BaselineCase:
    length = len(side.sessions[key])
    before = len(known.sessions) if known else 0
    if known is not None and known.print != side.prints.get(key, ""):
        raise UsageError(
            f"case {key[1]} is another one (input, reference or context) than in the runs before; record all anew",
            slug="baseline-cases",
        )
    values: dict[str, tuple[float | None, ...]] = {}
    new = {m: rows[key] for m, rows in side.values.items() if key in rows}
    for metric in sorted({*new, *(known.values if known else ())}):
        old = list(known.values.get(metric, ())) if known else []
        old += [None] * (before - len(old))
        more = list(new.get(metric, ()))
        values[metric] = (*old, *more, *[None] * (length - len(more)))
    values = {m: v for m, v in values.items() if any(x is not None for x in v)}
    labels = {
        metric: (*(known.labels.get(metric, ()) if known else ()), *rows.get(key, ()))
        for metric, rows in sorted(side.labels.items())
    }
    return BaselineCase(
        labels={m: v for m, v in labels.items() if v},
        print=side.prints.get(key, ""),
        values=values,
        sessions=(*(known.sessions if known else ()), *[number] * length),
        cluster=side.clusters[key],
        weight=side.weights[key],
    )


def _identity(cases: Mapping[str, BaselineCase]) -> str:
    text = json.dumps({k: [c.print, c.values] for k, c in cases.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _made_with(runs: Iterable[Run], set_name: str | None) -> dict[str, JSON]:
    calls = [c for run in runs for c in run.calls if c.set == set_name and not c.judging]

    def used(values: Iterable[str | None]) -> list[str]:
        return [name for name, _ in Counter(v for v in values if v).most_common()]

    parameters = Counter(json.dumps(dict(c.parameters), sort_keys=True, default=str) for c in calls)
    return {
        "models": used(c.model for c in calls),
        "response_models": used(c.response_model for c in calls),
        "prompt_versions": used(c.prompt_version for c in calls),
        "parameters": [json.loads(text) for text, _ in parameters.most_common(3)],
        "capture": sorted({c.capture_mode for c in calls}),
        "commits": used(str(run.environment.get("commit") or "") for run in runs),
    }


def samples(baselines: Iterable[Baseline]) -> Samples:
    """Return the samples of one or more baselines, as one side of a comparison."""
    out = Samples()
    for base in baselines:
        for name, case in base.cases.items():
            key: Key = (base.set, name)
            out.clusters[key] = case.cluster or f"{base.set or ''}\0{name}"
            out.weights[key] = case.weight
            out.prints[key] = case.print
            out.sessions[key] = list(case.sessions)
            out.executions += len(case.sessions)
            for metric, values in case.values.items():
                out.values.setdefault(metric, {})[key] = list(values)
            for metric, labels in case.labels.items():
                out.labels.setdefault(metric, {})[key] = list(labels)
        out.versions.update(base.scorers)
    return out


def repeats(base: Baseline) -> int:
    """Return K_b: the fewest executions that a case has."""
    return min((len(c.sessions) for c in base.cases.values()), default=0)


def self_check(base: Baseline, *, alpha: float, builds: int = CHECK_BUILDS) -> dict[str, JSON]:
    """Return how often an unchanged build would be red against this very baseline.

    Builds are drawn from each case's own repeats, widened by sqrt(K/(K - 1)) since their mean is estimated from
    them. What one baseline cannot know, it cannot tell: effects of a session it did not see.
    """
    from pytest_llmwatch import compare_check

    return compare_check.false_alarms(samples([base]), alpha=alpha, builds=builds, seed=base.id)


def accept(base: Baseline, candidate: Baseline, *, reason: str, new_anchor: bool, options: Options) -> Acceptance:
    """Replace ``base``: the candidate must be shown not to be worse than the original anchor.

    A ratchet: each replacement is compared with the anchor, not with the one before, so that slow decay cannot
    walk the reference down. ``new_anchor`` takes a deliberate loss; it stays visible in every later report.

    Raises:
        UsageError: No reason was given, or the sets differ.
    """
    if not reason.strip():
        raise UsageError('a new baseline needs a reason: --reason "why"', slug="baseline-reason")
    if base.set != candidate.set:
        raise UsageError(
            f"the baseline is of the set {base.set}, the run of {candidate.set}; name the right --set",
            slug="baseline-set",
        )
    anchor = base.anchor or base
    outcome = compare(samples([anchor]), samples([candidate]), replace(options, seed=anchor.id))
    held = [v for v in outcome.verdicts if v.verdict != "pass"]
    quality = [v for v in held if v.family == "quality"]
    if quality and not new_anchor:
        names = ", ".join(v.metric for v in quality[:4])
        because = (
            f"not accepted: {names} not shown to be within the margin of the anchor {anchor.id}; add repeats, or "
            "take the loss with --new-anchor"
        )
        return Acceptance(None, outcome, because)
    entry: dict[str, JSON] = {"replaced": base.id, "time": candidate.time, "reason": reason}
    if new_anchor:
        entry["new_anchor"] = True
        entry["worse"] = {v.metric: v.delta for v in held if v.delta is not None}
    made = replace(
        candidate,
        reason=reason,
        accepted=(*base.accepted, entry),
        anchor=None if new_anchor else replace(anchor, anchor=None),
    )
    return Acceptance(made, outcome, f"accepted: {plural(len(made.cases), 'case')}, baseline {made.id}")


def differences(base: Baseline, run: Run) -> list[str]:
    """Return what is being compared, in words: model, prompt version or parameters that changed."""
    now = _made_with([run], base.set)
    out = []
    for key, noun in (("models", "model"), ("response_models", "answering model"), ("prompt_versions", "prompt")):
        before, after = base.made_with.get(key) or [], now[key]
        if before != after and after:
            out.append(f"{noun} {', '.join(map(str, before)) or 'unknown'} → {', '.join(map(str, after))}")
    if (
        base.made_with.get("parameters")
        and now["parameters"]
        and base.made_with["parameters"] != now["parameters"]
    ):
        out.append("parameters changed")
    return out
