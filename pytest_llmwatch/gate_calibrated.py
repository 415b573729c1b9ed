"""A judge that nobody has compared with people, or that agrees too little with them, may warn and never fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_llmwatch.budget_types import Budget, JudgeOptions
from pytest_llmwatch.model import Run, Score, Verdict
from pytest_llmwatch.scorers.asking import judges_in

REASON = "judge_uncalibrated"
MEND = "run `llmwatch judge calibrate LABELS`"


def judges_of(run: Run) -> dict[str, list[str]]:
    """Return the judges, by version, behind each score of a run that has any; also those that it is made of."""
    versions: dict[str, set[str]] = {}
    for result in run.results:
        for score in result.scores:
            if "judge-" in score.version:
                versions.setdefault(score.name, set()).add(score.version)
    return {name: judges_in(found) for name, found in versions.items()}


def soften(verdict: Verdict, judges: Mapping[str, list[str]], budget: Budget) -> Verdict:
    """Return a verdict that a judge without the standing to fail a build brought about as a warning.

    Args:
        verdict: Of any rule.
        judges: From `judges_of`.
        budget: Its ``[judge]`` says what it takes.
    """
    if verdict.metric not in judges or verdict.layer != "quality":
        return verdict
    undecided = verdict.verdict == "inconclusive" and budget.gate.inconclusive == "fail"
    if verdict.verdict != "fail" and not (undecided and verdict.reason != "no_match"):
        return verdict
    why = objection(judges[verdict.metric], budget.judge)
    if why is None:
        return verdict
    because = f"{verdict.because}; it only warns, since {why}: {MEND}"
    return replace(verdict, verdict="warn", tier="warn", reason=REASON, because=because)


def objection(versions: list[str], options: JudgeOptions) -> str | None:
    """Return why one of these judges may not fail a build, None where all may."""
    return next((why for version in versions if (why := options.objection(version)) is not None), None)


def disarmed(score: Score, options: JudgeOptions) -> Score:
    """Return a score without its threshold where a judge is behind it that may not fail a test."""
    if (score.threshold is None and not score.required) or "judge-" not in score.version:
        return score
    why = objection(judges_in([score.version]), options)
    if why is None:
        return score
    if score.value is None:
        return replace(score, threshold=None, required=False)
    asked = "" if score.threshold is None else f" {score.threshold:g}"
    note = f"{score.explanation} (The threshold{asked} is not applied, since {why}: {MEND}.)"
    return replace(score, threshold=None, required=False, explanation=note)
