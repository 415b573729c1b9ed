"""What changed since the baseline: each metric's paired difference with its interval, and the cases that moved."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import CaseResult, Report, Verdict
from pytest_llmwatch.report.cases import Index, Worst
from pytest_llmwatch.report.diff import Part, words
from pytest_llmwatch.report.view import State, rule_row

_CASES = 6
_LEAST = 0.005
_TEXT = 6000
_RELATIVE = {"s", "usd", "tokens", "per_minute", "per_hour"}


@dataclass(frozen=True, slots=True)
class Line:
    """One metric in the forest plot, places in % across. ``low`` or ``high`` None = the interval is open there."""

    metric: str
    rule: str
    state: State
    mark: str
    at: float
    low: float
    high: float
    delta: str
    interval: str
    before: str
    now: str
    n: str
    worse_left: bool
    said: str


@dataclass(frozen=True, slots=True)
class Forest:
    """Metrics of one scale. ``zero`` is where no change lies, ``ticks`` are (place, label)."""

    title: str
    lines: tuple[Line, ...]
    zero: float
    ticks: tuple[tuple[float, str], ...]


def forests(report: Report) -> list[Forest]:
    """Return the forest plots of a report's comparisons: scores in points, the rest in per cent."""
    compared = [v for v in report.verdicts if v.delta is not None and math.isfinite(v.delta)]
    groups = (
        ("Scores and rates", [v for v in compared if v.unit not in _RELATIVE]),
        ("Latency, cost and tokens", [v for v in compared if v.unit in _RELATIVE]),
    )
    return [_forest(title, found) for title, found in groups if found]


def _forest(title: str, verdicts: Sequence[Verdict]) -> Forest:
    ends = [x for v in verdicts for x in (v.delta, *(v.ci or ())) if x is not None and math.isfinite(x)]
    # one wild interval must not press the others together: it is cut at three times the widest difference
    most = max(abs(v.delta or 0.0) for v in verdicts)
    reach = min(max((abs(x) for x in ends), default=0.0), max(3 * most, 0.02)) * 1.08 or 0.02

    def place(x: float | None, open_end: float) -> float:
        inside = open_end if x is None or not math.isfinite(x) else max(-reach, min(reach, x))
        return round(50 + 50 * inside / reach, 2)

    lines = []
    for v in sorted(verdicts, key=lambda v: (("fail", "warn", "inconclusive", "pass").index(v.verdict), v.metric)):
        row = rule_row(v)
        low, high = v.ci or (None, None)
        lines.append(Line(
            v.metric, v.rule, row.state, row.mark, place(v.delta, 0), place(low, -reach), place(high, reach),
            _signed(v.delta, v.unit), f"{_signed(low, v.unit)} to {_signed(high, v.unit)}",
            fmt.value(v.baseline, v.unit), fmt.value(v.candidate, v.unit),
            f"{v.n_cases or v.n or 0:,}", v.direction == "floor", v.because.removeprefix(f"{v.rule} "),
        ))  # fmt: skip
    unit = verdicts[0].unit
    step = reach / 1.08 / 2
    ticks = tuple((place(k * step, 0), _signed(k * step, unit, short=True)) for k in (-2, -1, 0, 1, 2))
    return Forest(title, tuple(lines), 50.0, ticks)


def _signed(x: float | None, unit: str, *, short: bool = False) -> str:
    if x is None or not math.isfinite(x):
        return "unbounded"
    if x == 0 and short:
        return "0"
    sign = "+" if x > 0 else "−" if x < 0 else "±"
    if unit in _RELATIVE:
        return f"{sign}{abs(x) * 100:.{0 if abs(x) >= 0.1 else 1}f} %"
    return f"{sign}{abs(x):.{2 if short and abs(x) >= 0.02 else 3}f}"


@dataclass(frozen=True, slots=True)
class Moved:
    """A case whose scores moved. ``scores`` are (name, before, now, worse); ``diff`` None = cannot be compared."""

    case: str
    set: str | None
    call_id: str | None
    drop: str
    metric: str
    scores: tuple[tuple[str, str, str, bool], ...]
    before: str | None
    now: str | None
    diff: tuple[Part, ...] | None
    reference: str | None
    against: tuple[Part, ...] | None


@dataclass(frozen=True, slots=True)
class Changes:
    """The part "what changed": ``source`` says what with, ``texts`` whether the older answers are at hand."""

    source: str
    forests: tuple[Forest, ...]
    moved: tuple[Moved, ...]
    worse: int
    better: int
    texts: bool


def changes(report: Report, index: Index, *, bodies: bool = True) -> Changes | None:
    """Return what changed since the baseline, None where nothing was compared."""
    drawn = forests(report)
    old = _old(report)
    now = _by_case([r for r in report.run.results if r.attempt == 0])
    pairs = [(key, old[key], found) for key, found in now.items() if key in old]
    if not drawn and not pairs:
        return None
    ranked = sorted(((*_drop(values, found), key, found) for key, values, found in pairs), key=_by_drop)
    texts = _texts(report)
    moved = tuple(
        _moved(
            key, found, old[key], name=name, drop=drop, texts=texts if bodies else {}, index=index, bodies=bodies
        )
        for drop, name, key, found in ranked[:_CASES]
        if drop >= _LEAST
    )
    worse = sum(r[0] >= _LEAST for r in ranked)
    better = sum(_gain(values, found) >= _LEAST for _, values, found in pairs)
    return Changes(_source(report), tuple(drawn), moved, worse, better, bool(texts))


Key = tuple[str | None, str]


def _by_drop(item: tuple[float, str, Key, list[CaseResult]]) -> tuple[float, str, str]:
    return (-item[0], item[2][0] or "", item[2][1])


def _source(report: Report) -> str:
    if report.before is not None:
        return f"run {report.before.run_id}"
    names = sorted(b.id[:12] for b in report.baselines.values())
    return f"baseline {', '.join(names[:3])}" if names else "the baseline"


def _by_case(results: Sequence[CaseResult]) -> dict[Key, list[CaseResult]]:
    out: dict[Key, list[CaseResult]] = defaultdict(list)
    for r in results:
        if r.case is not None and r.scores:
            out[r.set, r.case].append(r)
    return out


def _means(results: Sequence[CaseResult]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for r in results:
        for s in r.scores:
            if s.value is not None and math.isfinite(s.value):
                values[s.name].append(s.value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _old(report: Report) -> dict[Key, Mapping[str, float]]:
    if report.before is not None:
        found = _by_case([r for r in report.before.results if r.attempt == 0])
        return {key: _means(results) for key, results in found.items()}
    return {
        (b.set, name): dict(_baseline_means(case.values))
        for b in report.baselines.values()
        for name, case in b.cases.items()
    }


def _baseline_means(values: Mapping[str, tuple[float | None, ...]]) -> Iterator[tuple[str, float]]:
    for name, row in values.items():
        known = [v for v in row if v is not None]
        if known:
            yield name, sum(known) / len(known)


def _drop(old: Mapping[str, float], results: Sequence[CaseResult]) -> tuple[float, str]:
    drops = [(old[name] - mean, name) for name, mean in _means(results).items() if name in old]
    return max(drops, default=(0.0, ""))


def _gain(old: Mapping[str, float], results: Sequence[CaseResult]) -> float:
    means = _means(results)
    if _drop(old, results)[0] >= _LEAST:
        return 0.0
    return max((mean - old[name] for name, mean in means.items() if name in old), default=0.0)


def _texts(report: Report) -> dict[tuple[Key, int], str]:
    if report.before is None:
        return {}
    index = Index(report.before)
    out: dict[tuple[Key, int], str] = {}
    for r in report.before.results:
        text = Worst(index.last_call(r), r, None).output
        if r.case is not None and text:
            out.setdefault(((r.set, r.case), r.repeat), text)
    return out


def _moved(
    key: Key, found: Sequence[CaseResult], old: Mapping[str, float], *, name: str, drop: float,
    texts: Mapping[tuple[Key, int], str], index: Index, bodies: bool,
) -> Moved:  # fmt: skip
    def value(r: CaseResult) -> float:
        score = r.score(name)
        return score.value if score is not None and score.value is not None else math.inf

    worst = min(found, key=lambda r: (value(r), r.repeat))
    shown = Worst(index.last_call(worst), worst, worst.score(name))
    means = _means(found)
    scores = tuple(
        (s, fmt.value(old[s], "ratio"), fmt.value(means[s], "ratio"), old[s] - means[s] >= _LEAST)
        for s in means
        if s in old and abs(old[s] - means[s]) >= _LEAST
    )
    before = texts.get((key, worst.repeat)) or texts.get((key, 0))
    now = (shown.output or "")[:_TEXT] if bodies else None
    before = before[:_TEXT] if before else None
    reference = shown.reference[:_TEXT] if bodies and shown.reference else None
    return Moved(
        case=key[1], set=key[0], call_id=shown.call_id, drop=_signed(-drop, "ratio"), metric=name, scores=scores,
        before=before, now=now, diff=words(before, now) if before and now else None,
        reference=reference, against=words(reference, now) if reference and now else None,
    )  # fmt: skip
