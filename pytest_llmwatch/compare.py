"""Is the candidate worse than the baseline? Two sides' samples to verdicts: pure, and the same for the same data.

Scores of one family are tested together: step-down minP inside one set of permutations, at the family's share of
alpha. A verdict is the first that holds of fail, warn, pass, inconclusive (see `verdict_of`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_llmwatch import compare_text as text
from pytest_llmwatch.compare_alpha import split_alpha
from pytest_llmwatch.compare_found import Found
from pytest_llmwatch.compare_samples import Metric, Samples, metric_named
from pytest_llmwatch.measure_slice import Key
from pytest_llmwatch.model import Grade, Verdict

MAX_MISSING = 0.10
POSSIBLE = 0.10
"""An adjusted p up to this with a drop that matters is possible but unproven: a warning."""
POWER = 0.80
RELATIVE = {"margin": 0.10, "min_effect": 0.05}
"""Of latency, cost and tokens."""


@dataclass(frozen=True, slots=True)
class Options:
    """How two sides are compared.

    ``margin`` is the drop that a pass rules out, ``min_effect`` the least that can fail, both absolute for scores
    and rates; times and amounts have the relative ones of `RELATIVE`. ``seed`` names the baseline. ``prefix`` goes
    before the metric in rule names. ``warn_only`` names metrics that cannot fail, and why.
    """

    alpha: float = 0.01
    margin: float = 0.05
    min_effect: float = 0.02
    metrics: tuple[str, ...] = ()
    seed: str = ""
    prefix: str = ""
    scope: str | None = None
    line: int | None = None
    warn_only: Mapping[str, str] = field(default_factory=dict)
    alphas: Mapping[str, float] | None = None
    """What each family may spend; None = its share of ``alpha``."""
    session: Mapping[str, float] = field(default_factory=dict)
    """Standard deviation between sessions by metric, from ``sessions`` sessions."""
    sessions: int = 0
    exact: bool = False
    """The candidate is a replay: where every case has the very values of the baseline, nothing changed, however
    few cases there are."""

    def bounds(self, metric: Metric) -> tuple[float, float]:
        """Return margin and smallest effect of a metric."""
        if metric.shape == "ratio":
            return RELATIVE["margin"], RELATIVE["min_effect"]
        return self.margin, self.min_effect


@dataclass(frozen=True, slots=True)
class Outcome:
    """All verdicts of a comparison, the worst of them, and what could not be compared."""

    verdict: Grade
    verdicts: tuple[Verdict, ...]
    alpha_by_family: Mapping[str, float]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def compare(base: Samples, candidate: Samples, options: Options) -> Outcome:
    """Compare two sides; a verdict per metric, in the order of families' metrics.

    Metrics are all that both sides have, or those of ``options.metrics``. Cases are paired by set and id; where
    none is common the groups are compared unpaired, and each verdict says so.
    """
    from pytest_llmwatch import compare_categories as kinds_of
    from pytest_llmwatch import compare_tests as tests

    common = base.cases & candidate.cases
    both = [m for m in base.metrics() if m in candidate.metrics()]
    wanted = [m for m in options.metrics or both if m in both or (base.has(m) and candidate.has(m))]
    metrics = [metric_named(m) for m in wanted]
    shares = split_alpha(options.alpha, {m.family for m in metrics})
    alphas = shares if options.alphas is None else {f: options.alphas.get(f, 0.0) for f in shares}
    verdicts: dict[str, Verdict] = {}
    for family in alphas:
        members = [m for m in metrics if m.family == family and m.shape != "category"]
        kinds = [m for m in metrics if m.family == family and m.shape == "category"]
        seed = _seed(options.seed, family)
        found = (
            tests.paired(
                base,
                candidate,
                sorted(common, key=str),
                members,
                seed,
                spread=options.session,
                sessions=options.sessions,
            )
            if common
            else tests.unpaired(base, candidate, members, seed)
        )
        if kinds and common:
            found = _shared(found, kinds_of.paired(base, candidate, sorted(common, key=str), kinds, seed))
        for f in found:
            verdicts[f.metric.name] = verdict_of(f, options, alphas[family], candidate)
    for name in options.metrics:
        if name not in verdicts:
            verdicts[name] = _nothing(name, base, candidate, options)
    order = list(options.metrics) or wanted
    ordered = tuple(verdicts[m] for m in order)
    missing = tuple(_named(k) for k in sorted(base.cases - candidate.cases, key=str)) if common else ()
    notes = tuple(_notes(base, candidate, common))
    return Outcome(worst_of(ordered), ordered, alphas, missing, notes)


def _shared(scores: Sequence[Found], kinds: Sequence[Found]) -> list[Found]:
    """Let scores and kinds of answers, which are adjusted each by themselves, have half of the family each."""
    times = 2.0 if scores and kinds else 1.0
    return [replace(f, p_adjusted=min(1.0, times * f.p_adjusted)) for f in (*scores, *kinds)]


def worst_of(verdicts: Sequence[Verdict]) -> Grade:
    """Return the worst verdict; inconclusive where there is none."""
    for grade in ("fail", "warn", "inconclusive"):
        if any(v.verdict == grade for v in verdicts):
            return grade
    return "pass" if verdicts else "inconclusive"


def verdict_of(found: Found, options: Options, alpha: float, candidate: Samples) -> Verdict:
    """Return the verdict of one metric: the first of fail, warn, pass, inconclusive that holds.

    Fail: proven at ``alpha`` (adjusted) and at least the smallest effect. Warn: proven but small, or possible
    (adjusted p at most .10) and large enough to matter. Pass: the one-sided 95 % upper bound of the drop is under
    the margin. Else inconclusive, with what this design detects.
    """
    metric = found.metric
    margin, least = options.bounds(metric)
    proven, large = found.p_adjusted <= alpha, found.drop >= least
    only = options.warn_only.get(metric.name)
    reason = None
    grade: Grade = "inconclusive"
    if options.exact and found.drop == 0 and found.unmoved:
        grade, reason = "pass", "unchanged"
    elif found.missing > MAX_MISSING and metric.family == "quality":
        reason = "missing_data"
    elif proven and large:
        grade = "warn" if only else "fail"
    elif proven or (found.p_adjusted <= POSSIBLE and large):
        grade = "warn"
    elif found.upper < margin:
        grade = "pass"
    else:
        reason = "too_few"
    sign = 1.0 if metric.higher_is_worse else -1.0
    ends = sorted((sign * found.low, sign * found.high))
    return Verdict(
        rule=options.prefix + metric.name,
        metric=metric.name,
        verdict=grade,
        layer=metric.layer,
        kind="test",
        because=options.prefix + text.because(found, grade, margin, least, alpha, reason=reason, only=only),
        family=metric.family,
        unit=metric.unit,
        direction="ceiling" if metric.higher_is_worse else "floor",
        observed=found.candidate,
        tier="fail" if grade == "fail" else "warn" if grade == "warn" else None,
        reason=reason if grade != "pass" else None,
        scope=options.scope,
        n=found.n,
        ci=(_finite(ends[0]), _finite(ends[1])),
        p=found.p,
        p_adjusted=found.p_adjusted,
        baseline=found.baseline,
        candidate=found.candidate,
        delta=sign * found.drop,
        n_cases=found.n,
        paired=found.paired,
        worst=tuple(i for k, _, _ in found.worst for i in candidate.calls.get(k, ())[:1])
        if grade != "pass"
        else (),
        line=options.line,
    )


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _seed(name: str, family: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}\0{family}".encode()).digest()[:8], "big")


def _named(key: Key) -> str:
    return f"{key[0]}/{key[1]}" if key[0] else key[1]


def _nothing(name: str, base: Samples, candidate: Samples, options: Options) -> Verdict:
    metric = metric_named(name)
    sides = [w for w, s in (("baseline", base), ("candidate", candidate)) if not s.has(name)]
    why = f"the {' and the '.join(sides)} has no value of it" if sides else "no case is common to both sides"
    because = f"{options.prefix}{name} is not measured: {why}"
    return Verdict(
        rule=options.prefix + name,
        metric=name,
        verdict="inconclusive",
        layer=metric.layer,
        kind="test",
        because=because,
        family=metric.family,
        unit=metric.unit,
        reason="not_measured",
        scope=options.scope,
        line=options.line,
    )


def _unusable(base: Samples, candidate: Samples) -> list[str]:
    """Return what was given and cannot be compared, or only with care."""
    out = []
    gone = [m for m in base.metrics() if m not in candidate.metrics() and metric_named(m).family == "quality"]
    if gone:
        out.append(f"not compared, since the candidate has no value of it: {', '.join(gone)}")
    for side, noun in ((base, "baseline"), (candidate, "candidate")):
        for name, rows in sorted(side.values.items()):
            odd = [v for row in rows.values() for v in row if v is not None and not 0.0 <= v <= 1.0]
            if odd and metric_named(name).shape == "score":
                out.append(
                    f"{name}: {len(odd)} of the {noun}'s scores are outside [0, 1] (as {odd[0]:g}); margin and "
                    "min_effect are meant for scores in [0, 1]"
                )
    return out


def _notes(base: Samples, candidate: Samples, common: set[Key]) -> list[str]:
    out = [*_unusable(base, candidate)]
    if not common:
        if base.cases and candidate.cases:
            out.append(
                "no case is common to both sides: the groups are compared unpaired, which takes more cases; a "
                "change of what was asked looks like a change of the answers"
            )
            shifted = text.input_shift(base, candidate)
            if shifted:
                out.append(shifted)
        return out
    lost = len(base.cases - candidate.cases)
    if lost > MAX_MISSING * len(base.cases):
        out.append(f"{lost} of the baseline's {len(base.cases)} cases did not run in the candidate")
    changed = [name for name, version in base.versions.items() if candidate.versions.get(name, version) != version]
    if changed:
        out.append(f"scored by other versions, so not comparable: {', '.join(sorted(changed))}")
    return out
