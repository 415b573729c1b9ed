"""What every renderer shows of a report's rules and facts, in words and formatted numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import CaptureMode, Layer, Report, Verdict

State = Literal["broken", "blind", "warn", "undecided", "waived", "holds"]

LAYERS: tuple[Layer, ...] = ("availability", "cost", "quality")
LAYER_QUESTION = {
    "availability": "Is it up and fast?",
    "cost": "Is it affordable?",
    "quality": "Is it still right?",
}
MARKS: dict[State, tuple[str, str]] = {
    "broken": ("✗", "x"),
    "blind": ("?", "?"),
    "warn": ("!", "!"),
    "undecided": ("–", "-"),
    "waived": ("~", "~"),
    "holds": ("✓", "+"),
}
WORDS: dict[State, str] = {
    "broken": "broken",
    "blind": "not judged",
    "warn": "warns",
    "undecided": "undecided",
    "waived": "waived",
    "holds": "holds",
}
_ORDER: tuple[State, ...] = ("broken", "blind", "warn", "undecided", "waived", "holds")
_BLIND = {"unenforceable", "no_match", "infrastructure", "not_measured"}
_MODES: tuple[CaptureMode, ...] = ("replayed", "recorded", "live")
_RELATIVE = {"s", "usd", "tokens", "per_minute", "per_hour"}


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule, ready to show. Texts are ``–`` where a figure is not known."""

    verdict: Verdict
    state: State
    observed: str
    limit: str
    warn_limit: str | None
    n: str
    interval: str | None
    baseline: str | None
    delta: str | None
    needs: str | None

    @property
    def rule(self) -> str:
        """The rule's id, its path in budget.toml."""
        return self.verdict.rule

    @property
    def word(self) -> str:
        """The state in a word."""
        return WORDS[self.state]

    @property
    def mark(self) -> str:
        """The state as a mark."""
        return MARKS[self.state][0]

    @property
    def note(self) -> str:
        """The gate's sentence without the rule's name before it, with the waiver where there is one."""
        because, waiver = self.verdict.because.removeprefix(f"{self.rule} "), self.verdict.waiver
        if waiver is None or waiver.reason in because:
            return because
        return f"{because} Waived until {waiver.expires}: {waiver.reason}".strip()

    @property
    def plain(self) -> bool:
        """Whether the figures beside the rule say all: a fact that compares, with nothing to explain."""
        v = self.verdict
        compared = v.kind == "fact" and v.reason is None and v.observed is not None
        return compared and self.state in ("broken", "holds")


def state_of(verdict: Verdict) -> State:
    """Return how a verdict is shown. A rule that the gate could not judge is never shown as undecided."""
    if verdict.waiver is not None and verdict.reason == "waived":
        return "waived"
    if verdict.verdict == "fail":
        return "broken"
    if verdict.reason in _BLIND and verdict.verdict != "pass":
        return "blind"
    states: dict[str, State] = {"warn": "warn", "pass": "holds"}
    return states.get(verdict.verdict, "undecided")


def rule_row(verdict: Verdict) -> RuleRow:
    """Return the texts of one rule."""
    unit = verdict.unit
    deciding = verdict.limit if verdict.tier != "warn" else verdict.warn_limit
    against = deciding if deciding is not None else verdict.warn_limit
    limit = verdict.limit if verdict.limit is not None else verdict.warn_limit
    relative = unit in _RELATIVE
    return RuleRow(
        verdict=verdict,
        state=state_of(verdict),
        observed=fmt.value(verdict.observed, unit, against),
        limit=fmt.limit(limit, unit, verdict.direction),
        warn_limit=None
        if verdict.warn_limit is None or verdict.limit is None
        else fmt.limit(verdict.warn_limit, unit, verdict.direction),
        n=fmt.UNKNOWN if verdict.n is None else f"{verdict.n:,}",
        interval=_interval(verdict, relative),
        baseline=None if verdict.baseline is None else fmt.value(verdict.baseline, unit),
        delta=None if verdict.delta is None else fmt.change(verdict.delta, relative=relative),
        needs=None if verdict.n_needed is None else f"{verdict.n_needed:,}",
    )


def _interval(verdict: Verdict, relative: bool) -> str | None:
    if verdict.ci is None or verdict.ci == (None, None):
        return None
    low, high = verdict.ci
    if verdict.delta is not None:
        return f"{fmt.change(low, relative=relative)} … {fmt.change(high, relative=relative)}"
    return fmt.interval(low, high, verdict.unit)


def rules(report: Report) -> list[RuleRow]:
    """Return all rules, by layer (availability, cost, quality), broken first inside each."""
    rows = [rule_row(v) for v in report.verdicts]
    return sorted(rows, key=lambda r: (LAYERS.index(r.verdict.layer), _ORDER.index(r.state)))


def by_layer(rows: list[RuleRow]) -> list[tuple[Layer, list[RuleRow]]]:
    """Group sorted rows by layer; layers without rules are left out. A layer with a broken rule comes first."""
    groups = [(layer, [r for r in rows if r.verdict.layer == layer]) for layer in LAYERS]
    kept = [(layer, group) for layer, group in groups if group]
    return sorted(kept, key=lambda g: min(_ORDER.index(r.state) for r in g[1]) > 0)


def tally(rows: list[RuleRow]) -> list[tuple[State, int]]:
    """Count the rules in each state, worst first, states that do not occur left out."""
    counts = Counter(r.state for r in rows)
    return [(state, counts[state]) for state in _ORDER if counts[state]]


def tally_text(rows: list[RuleRow]) -> str:
    """Return ``2 broken, 1 warns, 9 hold``."""
    plural = {"holds": "hold", "warn": "warn"}
    parts = [f"{n} {plural.get(s, WORDS[s]) if n != 1 else WORDS[s]}" for s, n in tally(rows)]
    return ", ".join(parts) if parts else "no rules"


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of the run: a short text for a line, a value and a label for a page, and a remark."""

    key: str
    value: str
    label: str
    note: str | None = None

    @property
    def text(self) -> str:
        """The fact as part of a line, ``412 calls``."""
        if self.key in _MODES:
            return f"{self.label} {self.value}"
        return f"{self.value} {self.label}" if self.label else self.value


def facts(report: Report) -> list[Fact]:
    """Return the run's facts in reading order: calls, failed, models, cost, how captured, time."""
    run, totals = report.run, report.aggregates
    calls = int(totals.get("calls", len(run.calls)))
    out = [Fact("calls", f"{calls:,}", _plural(calls, "call"))]
    failed = int(totals.get("failed", sum(c.failed for c in run.calls)))
    if failed:
        out.append(Fact("failed", f"{failed:,}", "failed"))
    own = [c for c in run.calls if not c.judging]
    models = sorted({c.response_model or c.model or "?" for c in own})
    if models:
        out.append(Fact("models", f"{len(models)}", _plural(len(models), "model"), ", ".join(models)))
    cost = totals.get("cost_usd")
    unpriced = int(totals.get("unpriced") or 0)
    if cost is not None or unpriced:
        note = f"{unpriced:,} without a price" if unpriced else None
        out.append(Fact("cost", fmt.value(cost, "usd"), "", note))
    judge = totals.get("judge")
    if judge:
        note = None if judge.get("cost_usd") is None else fmt.value(judge["cost_usd"], "usd")
        out.append(Fact("judge", f"{judge['calls']:,}", f"judge {_plural(judge['calls'], 'call')}", note))
    modes = Counter(c.capture_mode for c in own)
    for mode in _MODES:
        if modes[mode]:
            out.append(Fact(mode, f"{modes[mode]:,}/{len(own):,}", mode))
    if run.duration is not None:
        out.append(Fact("duration", duration(run.duration), ""))
    return out


def duration(seconds: float) -> str:
    """Return a span of time for people: ``840 ms``, ``12.3 s``, ``4 min 10 s``, ``1 h 02 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _plural(n: int, word: str) -> str:
    return word if n == 1 else word + "s"
