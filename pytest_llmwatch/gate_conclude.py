"""From verdicts to one outcome: the exit code, one sentence, and what else a reader must know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_llmwatch.budget_types import Budget
from pytest_llmwatch.compare_alpha import split_alpha
from pytest_llmwatch.format import plural
from pytest_llmwatch.gate_drift import is_drift
from pytest_llmwatch.measure_slice import is_empty
from pytest_llmwatch.model import Run, Verdict

Overall = Literal["pass", "warn", "fail", "inconclusive", "error", "none"]

FAILED, BLOCKED = 1, 7
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The outcome of a gate.

    ``exit_code`` is 0, 1 (a rule or a test failed), 7 (the gate could not do its work), or what ``[gate]
    exit_code`` maps a failure of the gate to. ``verdict`` is the worst verdict, ``error`` where the gate
    could not do its work, ``none`` without rules.
    """

    verdict: Overall
    exit_code: int
    sentence: str
    notes: tuple[str, ...] = ()
    alpha_by_family: Mapping[str, float] = field(default_factory=dict)


def conclude(
    run: Run,
    budget: Budget,
    verdicts: Sequence[Verdict],
    *,
    tests_failed: int = 0,
) -> Conclusion:
    """Return the outcome of all verdicts together.

    Args:
        run: What was judged.
        budget: Its ``[gate]`` says what inconclusive rules and an empty run do.
        verdicts: From ``judge``.
        tests_failed: Tests that failed for another reason than infrastructure: with one, the exit code is
            at least pytest's own 1, never 7.
    """
    allow_empty = budget.gate.allow_empty
    unmeasured = bool(verdicts) and (is_empty(run) or _nothing_measured(verdicts))
    blocked = [v for v in verdicts if _blocks(v, budget)]
    failed = [v for v in verdicts if v.verdict == "fail"]
    if budget.gate.inconclusive == "fail" and not unmeasured:
        failed += [v for v in verdicts if _fails_by_policy(v) and v not in blocked]
    unmeasured = unmeasured and not allow_empty
    if failed:
        overall: Overall = "fail"
        code = FAILED
    elif blocked or unmeasured:
        overall = "error"
        code = FAILED if tests_failed else BLOCKED
    else:
        overall = _worst(verdicts, budget)
        code = FAILED if tests_failed else 0
    if (failed or blocked or unmeasured) and budget.gate.exit_code is not None:
        code = budget.gate.exit_code
    shares = split_alpha(budget.gate.alpha, {v.family for v in verdicts if v.p_adjusted is not None})
    sentence = _sentence(overall, verdicts, failed, blocked)
    if tests_failed and overall != "fail":
        sentence += f"; {plural(tests_failed, 'test')} failed"
    return Conclusion(overall, code, sentence, tuple(_notes(run, budget, verdicts)), shares)


def _blocks(verdict: Verdict, budget: Budget) -> bool:
    """Whether the gate could not do its work on this rule (exit 7)."""
    if verdict.verdict != "inconclusive":
        return False
    if verdict.reason == "no_match":
        return not budget.gate.allow_empty
    return verdict.reason in ("unenforceable", "infrastructure")


def fails(verdict: Verdict, budget: Budget) -> bool:
    """Whether this rule alone turns the build red: broken, or undecided where the policy is ``fail``."""
    if verdict.verdict == "fail":
        return True
    return budget.gate.inconclusive == "fail" and _fails_by_policy(verdict) and not _blocks(verdict, budget)


def _fails_by_policy(verdict: Verdict) -> bool:
    if verdict.verdict != "inconclusive" or verdict.reason == "no_match":  # that is exit 7, or allowed
        return False
    return not _first_run(verdict)


def _first_run(verdict: Verdict) -> bool:
    """A first run without a baseline never fails."""
    return verdict.reason == "not_measured" and is_drift(verdict)


def _nothing_measured(verdicts: Sequence[Verdict]) -> bool:
    rules = [v for v in verdicts if not is_drift(v)]
    return bool(rules) and all(v.verdict == "inconclusive" and v.reason == "not_measured" for v in rules)


def _worst(verdicts: Sequence[Verdict], budget: Budget) -> Overall:
    grades = {v.verdict for v in verdicts if not _first_run(v)}
    if not verdicts:
        return "none"
    if "warn" in grades:
        return "warn"
    if "inconclusive" in grades and (budget.gate.inconclusive != "pass" or "pass" not in grades):
        return "inconclusive"
    return "pass" if grades else "inconclusive"


def _sentence(overall: Overall, verdicts: Sequence[Verdict], failed: list[Verdict], blocked: list[Verdict]) -> str:
    of = f"of {plural(len(verdicts), 'rule')}"
    match overall:
        case "none":
            return "the budget has no rules"
        case "fail":
            if len(failed) == 1:
                return failed[0].because
            return f"{len(failed)} {of} broke: {_names(failed)}"
        case "error":
            if not blocked:
                return f"the gate could not do its work: {_why_unmeasured(verdicts)}"
            more = f" (and {len(blocked) - 1} more)" if len(blocked) > 1 else ""
            return f"the gate could not do its work: {blocked[0].because}{more}"
        case "warn":
            warned = [v for v in verdicts if v.verdict == "warn"]
            return f"no rule broke; {len(warned)} {of} {'warns' if len(warned) == 1 else 'warn'}: {_names(warned)}"
        case "inconclusive":
            opened = [v for v in verdicts if v.verdict == "inconclusive"]
            verb = "is" if len(opened) == 1 else "are"
            return f"no rule broke; {len(opened)} {of} {verb} inconclusive: {_names(opened)}"
        case _:
            held = [v for v in verdicts if v.verdict == "pass"]
            if len(held) == len(verdicts):
                return f"all {plural(len(verdicts), 'rule')} hold" if len(held) != 1 else f"{held[0].because}"
            return f"no rule broke; {len(held)} {of} hold, the rest is not measured"


def _why_unmeasured(verdicts: Sequence[Verdict]) -> str:
    reasons = {v.because.partition(": ")[2] for v in verdicts}
    if len(reasons) == 1:
        return f"{reasons.pop()}, so no rule was measured"
    return "no rule was measured"


def _names(verdicts: Sequence[Verdict]) -> str:
    names = [v.rule for v in verdicts[:_SHOWN]]
    more = len(verdicts) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _notes(run: Run, budget: Budget, verdicts: Sequence[Verdict]) -> Iterator[str]:
    if run.partial:
        reason = f" ({run.partial_reason})" if run.partial_reason else ""
        yield f"partial run{reason}: rules are judged on what ran; no baseline is updated from it"
    for v in verdicts:
        if v.waiver is None:
            continue
        if v.reason == "waived":
            yield f"{v.rule} is waived until {v.waiver.expires}: {v.waiver.reason}"
        else:
            yield f"the waiver of {v.rule} expired on {v.waiver.expires}; the rule applies again"
    injected = sum(1 for c in run.calls if c.injected)
    if injected:
        yield f"{plural(injected, 'call')} met faults that tests asked for; no limit of errors or times counts it"
    counts: dict[str, int] = {}
    for problem in run.problems:
        counts[problem.kind] = counts.get(problem.kind, 0) + 1
    for kind, n in sorted(counts.items()):
        first = next(p.message for p in run.problems if p.kind == kind)
        yield f"{plural(n, kind.replace('_', ' ') + ' problem')}: {first}"
    if any(_first_run(v) for v in verdicts):
        yield "drift is not measured: no baseline; `llmwatch baseline record` makes one"
    if budget.gate.inconclusive == "pass" and any(v.reason == "too_few" for v in verdicts):
        yield "inconclusive rules pass by [gate] inconclusive"
