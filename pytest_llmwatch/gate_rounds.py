"""Adaptive repeats: what a gate says of a run that was looked at after each round, and what is still open.

A round is one more repeat of every case. Each look tests at its own share of alpha (spent as Hwang, Shih and
DeCani have it, gamma -1), so by the union bound an unchanged build fails at any look with probability at most
alpha, however the looks depend on each other. What a run tells of its rounds stands in ``environment["rounds"]``:
``{"done": 2, "of": 5}``, with ``early`` the rules that failed at a look after which the run went on all the same,
since what came then was replayed and cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_llmwatch.compare_samples import TIMES
from pytest_llmwatch.format import plural
from pytest_llmwatch.gate_drift import is_drift
from pytest_llmwatch.model import BaselineCase, Run, Verdict

KEY = "rounds"


@dataclass(frozen=True, slots=True)
class Looks:
    """``done`` rounds ``of`` at most; ``early`` names the rules that failed at an earlier look, by round."""

    done: int
    of: int
    early: Mapping[int, Sequence[str]] = field(default_factory=dict)
    calls_saved: int = 0


def looks_of(run: Run) -> Looks | None:
    """Return what a run tells of its rounds, None where its repeats were fixed or the entry makes no sense."""
    told: Any = run.environment.get(KEY)
    if not isinstance(told, Mapping):
        return None
    done, of = told.get("done"), told.get("of")
    if not isinstance(done, int) or not isinstance(of, int) or not 1 <= done <= of:
        return None
    early: Any = told.get("early")
    rounds = {
        int(k): [str(r) for r in v]
        for k, v in (early.items() if isinstance(early, Mapping) else ())
        if str(k).isdigit() and 1 <= int(k) < done and isinstance(v, list | tuple)
    }
    saved = told.get("calls_saved")
    return Looks(done, of, rounds, saved if isinstance(saved, int) else 0)


def upto(run: Run, rounds: int) -> Run:
    """Return the run as it was after ``rounds`` rounds."""
    return replace(
        run,
        calls=tuple(c for c in run.calls if c.repeat < rounds),
        spans=tuple(s for s in run.spans if s.repeat < rounds),
        results=tuple(r for r in run.results if r.repeat < rounds),
        concurrent=tuple(
            replace(b, cases={k: _first(c, rounds) for k, c in b.cases.items()}) for b in run.concurrent
        ),
    )


def _first(case: BaselineCase, rounds: int) -> BaselineCase:
    return replace(
        case,
        values={m: row[:rounds] for m, row in case.values.items()},
        labels={m: row[:rounds] for m, row in case.labels.items()},
        sessions=case.sessions[:rounds],
    )


def judge(
    run: Run, looks: Looks, alpha: float, at_level: Callable[[Run, float], tuple[Verdict, ...]]
) -> tuple[Verdict, ...]:
    """Return the verdicts of the last look, and of an earlier one for what failed there.

    Args:
        run: All rounds.
        looks: Of the run.
        alpha: Of the whole build, over all rounds.
        at_level: Judges a run at a level.
    """
    verdicts = at_level(run, level(alpha, looks, looks.done))
    for number, rules in looks.early.items():
        then = {v.rule: v for v in at_level(upto(run, number), level(alpha, looks, number))}
        verdicts = tuple(
            _of_round(then[v.rule], number, looks)
            if v.rule in rules and v.verdict != "fail" and then.get(v.rule, v).verdict == "fail"
            else v
            for v in verdicts
        )
    return tuple(_told(v, looks) for v in verdicts)


def level(alpha: float, looks: Looks, number: int) -> float:
    """Return what the look after round ``number`` (from 1) may spend of ``alpha``."""
    from pytest_llmwatch.stats.sequential import level_of_round

    return level_of_round(alpha, number, looks.of)


def _of_round(verdict: Verdict, number: int, looks: Looks) -> Verdict:
    return replace(verdict, because=f"{verdict.because}; shown by round {number} of {looks.of}")


def _told(verdict: Verdict, looks: Looks) -> Verdict:
    if verdict.verdict != "pass" or verdict.kind != "test" or not is_drift(verdict) or not looks.calls_saved:
        return verdict
    saved = plural(looks.calls_saved, "call")
    stopped = f"stopped after {looks.done} of {plural(looks.of, 'round')}, {saved} saved"
    return replace(verdict, because=f"{verdict.because}; {stopped}")


def failed(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the tests that failed: the build is red, and no further round can change that."""
    return [v for v in verdicts if v.verdict == "fail" and v.kind == "test"]


def open_rules(verdicts: Sequence[Verdict], *, alpha: float, looks: Looks, sessions: int) -> list[Verdict]:
    """Return the tests that another round may decide.

    Facts are decided from the first round on; slices explore. A limit that all rounds together cannot settle, and
    a time that is compared over too few sessions to fail, are not worth a call.

    Args:
        verdicts: Of the look after round ``looks.done``.
        alpha: Level of that look.
        looks: How many rounds were run, and how many may be.
        sessions: Recording sessions of the baseline.
    """
    from pytest_llmwatch.baseline import FEW_SESSIONS

    out = []
    for v in verdicts:
        if v.kind != "test" or v.reason == "waived":
            continue
        if is_drift(v) and (v.scope is not None or (v.metric in TIMES and sessions < FEW_SESSIONS)):
            continue
        undecided = v.verdict == "inconclusive" and v.reason == "too_few"
        unproven = v.verdict == "warn" and v.p_adjusted is not None and v.p_adjusted > alpha
        if (undecided or unproven) and _within_reach(v, looks):
            out.append(v)
    return out


def _within_reach(verdict: Verdict, looks: Looks) -> bool:
    if verdict.n_needed is None:
        return is_drift(verdict)
    return verdict.n_needed <= (verdict.n or 0) * looks.of / looks.done
