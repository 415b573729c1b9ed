"""Cases as people ask for them: worst first, failures by reason, repeats as one row with their stability."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import Call, CaseResult, Report, Run, Score, Verdict


@dataclass(frozen=True, slots=True)
class Worst:
    """A bad case of a rule: its call (None for records without one), its result, and the score that is bad."""

    call: Call | None
    result: CaseResult | None
    score: Score | None

    @property
    def name(self) -> str:
        """What to call it: node id, else set and case, else the call's id."""
        for source in (self.result, self.call):
            if source is not None and source.nodeid:
                return source.nodeid
            if source is not None and source.case:
                return f"{source.set or ''}[{source.case}]"
        return self.call.id if self.call else "?"

    @property
    def short(self) -> str:
        """The last part of the name: the test or the case."""
        return self.name.rsplit("::", 1)[-1]

    @property
    def call_id(self) -> str | None:
        """Id to link to."""
        if self.call is not None:
            return self.call.id
        return self.result.call_ids[-1] if self.result and self.result.call_ids else None

    @property
    def output(self) -> str | None:
        """The text that was scored, else what the call returned."""
        if self.result is not None and self.result.output is not None:
            return self.result.output
        return self.call.output if self.call else None

    @property
    def input(self) -> str | None:
        """The case's input, else the prompt."""
        if self.result is not None and self.result.input is not None:
            return self.result.input
        return self.call.input if self.call else None

    @property
    def context(self) -> tuple[str, ...]:
        """The documents that the answer should rest on."""
        if self.result is not None and self.result.context:
            return self.result.context
        return self.call.context if self.call else ()

    @property
    def reference(self) -> str | None:
        """The golden answer."""
        if self.result is not None and self.result.reference is not None:
            return self.result.reference
        return self.call.reference if self.call else None


def worst_of(verdict: Verdict, run: Run, index: Index) -> list[Worst]:
    """Return the rule's worst cases, worst first: those that the gate names, else the lowest scores."""
    name = scorer_of(verdict)
    out = [w for w in (index.find(call, name) for call in verdict.worst) if w is not None]
    if out or name is None:
        return out
    scored = [(s.value, r) for r in run.results if (s := r.score(name)) and s.value is not None]
    scored.sort(key=lambda pair: (pair[0], pair[1].nodeid, pair[1].repeat))
    bad = [r for value, r in scored[:10] if value < 1.0]
    return [Worst(index.last_call(r), r, r.score(name)) for r in bad]


def scorer_of(verdict: Verdict) -> str | None:
    """Return the scorer that a rule is about, None for rules on latency, cost, errors."""
    if verdict.layer != "quality":
        return None
    name = verdict.metric.rsplit(".", 1)[-1]
    return {"refusals": "refusal"}.get(name, name)


def shown_score(result: CaseResult, name: str | None) -> Score | None:
    """Return the score that makes ``result`` bad for a rule: its scorer's, else the lowest that missed."""
    if name is None:
        return None
    own = result.score(name)
    if own is not None:
        return own
    missed = [s for s in result.scores if s.passed is False]
    return min(missed, key=lambda s: s.value or 0.0, default=None)


class Index:
    """Calls and results by call id, built once per report."""

    def __init__(self, run: Run) -> None:
        self.calls = {c.id: c for c in run.calls}
        self.results = {call_id: r for r in run.results for call_id in r.call_ids}
        self._by_node = {r.nodeid: r for r in reversed(run.results)}

    def find(self, name: str, scorer: str | None) -> Worst | None:
        """Return the case behind a call id (or, for results without calls, a node id)."""
        call = self.calls.get(name)
        result = self.results.get(name) or self._by_node.get(name)
        if call is None and result is None:
            return None
        if call is None and result is not None:
            call = self.last_call(result)
        return Worst(call, result, shown_score(result, scorer) if result else None)

    def last_call(self, result: CaseResult) -> Call | None:
        """Return the last call of a result that is in the run."""
        return next((self.calls[i] for i in reversed(result.call_ids) if i in self.calls), None)


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures that share a reason. ``kind`` is the outcome, or the problem's kind where one prevented it."""

    reason: str
    kind: str
    results: tuple[CaseResult, ...]


_VARYING = re.compile(r"'[^']{0,80}'|\"[^\"]{0,80}\"|\b0x[0-9a-f]+\b|\d+(?:\.\d+)?")


def failures(run: Run) -> list[FailureGroup]:
    """Group failed and errored tests by reason (numbers and quoted names ignored), largest group first."""
    groups: dict[tuple[str, str], list[CaseResult]] = defaultdict(list)
    for result in run.results:
        if result.outcome in ("failed", "error"):
            key = _VARYING.sub("…", result.reason or "no reason given")
            groups[(result.problem or result.outcome, key[:300])].append(result)
    out = [
        FailureGroup(key if len(found) > 1 else (found[0].reason or key), kind, tuple(found))
        for (kind, key), found in groups.items()
    ]
    return sorted(out, key=lambda g: (-len(g.results), g.kind, g.reason))


@dataclass(frozen=True, slots=True)
class CallErrors:
    """Calls that ended alike."""

    status: str
    error_type: str
    message: str | None
    calls: tuple[Call, ...]


def call_errors(calls: Iterable[Call]) -> list[CallErrors]:
    """Group failed calls by status and error type, most frequent first."""
    groups: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        if call.failed:
            groups[(call.status, call.error_type or "not named")].append(call)
    out = []
    for (status, kind), found in groups.items():
        message, _ = (
            Counter(c.error for c in found if c.error).most_common(1)[0]
            if any(c.error for c in found)
            else (None, 0)
        )
        out.append(CallErrors(status, kind, message, tuple(found)))
    return sorted(out, key=lambda g: (-len(g.calls), g.status, g.error_type))


@dataclass(frozen=True, slots=True)
class Cell:
    """A scorer's values over a case's repeats."""

    mean: float | None
    low: float | None
    high: float | None
    label: str | None
    below: bool


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One case with all its repeats. ``passes`` counts repeats that passed, in order of repetition."""

    set: str | None
    case: str
    nodeid: str
    passes: tuple[bool | None, ...]
    cells: dict[str, Cell]
    call_id: str | None
    weight: float
    tags: tuple[str, ...]

    @property
    def stable(self) -> bool:
        """Whether all repeats that were measured agree."""
        return len({p for p in self.passes if p is not None}) < 2

    @property
    def failed(self) -> int:
        """Repeats that did not pass."""
        return sum(1 for p in self.passes if p is False)

    @property
    def text(self) -> str:
        """``all 3 pass``, ``1 of 3 passes``; for one repeat ``passes`` or ``does not pass``."""
        n = len(self.passes)
        passed = sum(1 for p in self.passes if p)
        if all(p is None for p in self.passes):
            return "not measured"
        if n == 1:
            return "passes" if passed else "does not pass"
        verb = "passes" if passed < 2 else "pass"
        return f"all {n} pass" if passed == n else f"{passed or 'none'} of {n} {verb}"


def case_table(report: Report) -> tuple[list[str], list[CaseRow]]:
    """Return (scorer names, rows): one row per set and case, worst first; first attempts only."""
    groups: dict[tuple[str, str], list[CaseResult]] = defaultdict(list)
    for result in report.run.results:
        if result.case is not None and result.attempt == 0 and result.outcome not in ("skipped", "not_run"):
            groups[(result.set or "", result.case)].append(result)
    rows = [_row(found) for found in groups.values()]
    names = list(dict.fromkeys(s.name for found in groups.values() for r in found for s in r.scores))
    names.sort(key=lambda n: n == "composite")
    rows.sort(key=lambda r: (-r.failed / len(r.passes), r.stable, _badness(r), r.set or "", r.case))
    return names, rows


def _row(results: list[CaseResult]) -> CaseRow:
    results = sorted(results, key=lambda r: r.repeat)
    scores: dict[str, list[Score]] = defaultdict(list)
    for result in results:
        for score in result.scores:
            scores[score.name].append(score)
    worst = min(results, key=lambda r: (r.passed, _lowest(r)))
    first = results[0]
    return CaseRow(
        set=first.set,
        case=first.case or first.nodeid,
        nodeid=first.nodeid,
        passes=tuple(None if r.problem else r.passed for r in results),
        cells={name: _cell(found) for name, found in scores.items()},
        call_id=worst.call_ids[-1] if worst.call_ids else None,
        weight=first.weight,
        tags=first.tags,
    )


def _cell(scores: list[Score]) -> Cell:
    values = [s.value for s in scores if s.value is not None]
    below = any(s.passed is False for s in scores)
    if not values:
        return Cell(None, None, None, scores[0].label or "unscored", below)
    return Cell(sum(values) / len(values), min(values), max(values), None, below)


def _lowest(result: CaseResult) -> float:
    return min((s.value for s in result.scores if s.value is not None), default=1.0)


def _badness(row: CaseRow) -> float:
    means = [c.mean for c in row.cells.values() if c.mean is not None]
    return sum(means) / len(means) if means else 1.0


def figure(case: Worst, verdict: Verdict) -> str:
    """Return the figure that makes a case bad for a rule: its score, latency, cost, tokens or error."""
    call = case.call
    if case.score is not None:
        against = case.score.threshold
        other = "" if case.score.name == scorer_of(verdict) else f"{case.score.name} "
        if case.score.value is None:
            return other + (case.score.label or "unscored").replace("_", " ")
        return other + fmt.value(case.score.value, "ratio", against)
    if call is None:
        return ""
    if call.failed and verdict.unit == "ratio":
        return call.status.replace("_", " ")
    measured = {
        "s": call.ttft if "ttft" in verdict.rule else call.latency,
        "usd": call.cost.usd,
        "tokens": call.usage.output_tokens if "output" in verdict.rule else call.usage.total_tokens,
    }.get(verdict.unit)
    return fmt.value(measured, verdict.unit, verdict.limit) if measured is not None else ""
