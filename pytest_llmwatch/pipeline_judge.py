"""What connects judges with the rest: who is asked, and what their scores may do."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmwatch.budget import Budget
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.gate_calibrated import disarmed
from pytest_llmwatch.model import Call, Score, ScorerSpec
from pytest_llmwatch.scorers.asking import Question, asking

if TYPE_CHECKING:
    from pytest_llmwatch.capture.client import ClientSettings
    from pytest_llmwatch.capture.judge_client import JudgeClient
    from pytest_llmwatch.capture.session import CaptureSession
    from pytest_llmwatch.capture.watch import Watch
    from pytest_llmwatch.pipeline import Setup
    from pytest_llmwatch.pipeline_calibrate import Report, Row

KEY = "LLMWATCH_JUDGE_API_KEY"
"""Variable with the judge's own API key; ``OPENAI_API_KEY`` without it."""


def settings(budget: Budget) -> ClientSettings:
    """Return where judges are: ``[judge]``, then what the application uses."""
    from pytest_llmwatch.capture.client import ClientSettings

    judge, model = budget.judge, budget.model
    return ClientSettings(
        model=judge.model or model.model or os.environ.get("OPENAI_MODEL"),
        base_url=judge.base_url or model.base_url or os.environ.get("OPENAI_BASE_URL"),
        api_key=os.environ.get(KEY) or os.environ.get("OPENAI_API_KEY"),
        api=judge.api,
    )


def client(session: CaptureSession, budget: Budget, watch: Watch) -> JudgeClient:
    """Return who is asked in the name of one execution of a test."""
    from pytest_llmwatch.capture.judge_client import JudgeClient

    return JudgeClient(session, settings(budget), watch, share=budget.judge.share)


def allowed(scores: Sequence[Score], budget: Budget) -> tuple[Score, ...]:
    """Return the scores, without the thresholds of judges that may not fail a test."""
    return tuple(disarmed(s, budget.judge) for s in scores)


def with_model(setup: Setup, *, model: str | None, base_url: str | None) -> Setup:
    """Return a setup whose judges are what a command line names, where it names something."""
    known = setup.budget.judge
    judge = dataclasses.replace(known, model=model or known.model, base_url=base_url or known.base_url)
    return dataclasses.replace(setup, budget=dataclasses.replace(setup.budget, judge=judge))


def is_judge(spec: ScorerSpec) -> bool:
    """Whether a scorer is a judge: it asks a model."""
    from pytest_llmwatch.scorers import registry
    from pytest_llmwatch.scorers.judge import Judging

    return isinstance(registry.get(spec.name, spec.options), Judging)


def checked(spec: ScorerSpec) -> ScorerSpec:
    """Return a spec that is a judge.

    Raises:
        UsageError: It is another scorer, or none.
    """
    if not is_judge(spec):
        raise UsageError(f"{spec.name} is no judge: it asks no model", slug="judge-scorer")
    return spec


class _Named:
    """Somebody who has a model and is never asked: for the version of a judge whose scores are stored."""

    share = 1.0

    def __init__(self, model: str | None) -> None:
        self.model = model

    def ask(self, question: Question) -> str:
        """Refuse.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"{question.judge} is not to be asked here")


def from_stored(
    rows: Sequence[Row], setup: Setup, spec: ScorerSpec | None, *, name: str, threshold: float
) -> Report:
    """Compare the labels with scores of the judge that the file holds."""
    from pytest_llmwatch import pipeline_calibrate as calibrate

    version, model = calibrate.version_in(rows), None
    if version is None and spec is not None:
        version, model = version_of(spec, settings(setup.budget).model)
    judged = [calibrate.Judged(r, (r.stored if isinstance(r.stored, Score) else Score(name, 0.0),)) for r in rows]
    return calibrate.compare(
        judged, name=name, model=model, version=version, options=setup.budget.judge, threshold=threshold
    )


def from_questions(
    rows: Sequence[Row],
    setup: Setup,
    spec: ScorerSpec,
    *,
    cassette: Path | None,
    record: str,
    repeats: int,
    threshold: float,
    progress: Callable[[int, int], None] | None,
) -> Report:
    """Ask the judge about each labelled answer, live or from the recordings, and compare.

    Raises:
        LlmwatchError: Nobody answers, or a recording is missing.
        UsageError: No model is named.
    """
    from pytest_llmwatch import pipeline
    from pytest_llmwatch import pipeline_calibrate as calibrate
    from pytest_llmwatch.capture.watch import Watch

    if cassette is None and record == "none":
        raise UsageError("nothing to replay from: give --cassette, or --record=once", slug="judge-scorer")
    bare = dataclasses.replace(spec, threshold=None, required=False, negate=False)
    calls: list[Call] = []
    capture = pipeline.start_capture(
        setup, record=record, limits={}, guard=lambda: None, on_call=calls.append, worker=None
    )
    handle = None
    try:
        if cassette is not None and record != "off":
            handle = capture.open_cassette(cassette, display=str(cassette))
        watch = Watch("judge calibrate", cassette=handle, rerun_hint="llmwatch judge calibrate --record=new")
        who = client(capture, setup.budget, watch)
        who.share = 1.0
        judged = []
        with capture.watch(watch), asking(who):
            version, model = version_of(spec, who.model)
            for number, row in enumerate(rows, 1):
                output, case = setup.redactor.record(row.output), setup.redactor.record(row.case)
                scores = tuple(pipeline.score(output, case, [bare])[0] for _ in range(repeats))
                if watch.errors:
                    raise watch.errors[0]
                judged.append(calibrate.Judged(row, scores))
                if progress is not None:
                    progress(number, len(rows))
    finally:
        if handle is not None:
            handle.close()
        capture.stop()
    report = calibrate.compare(
        judged, name=spec.label or spec.name, model=model, version=version, options=setup.budget.judge,
        threshold=threshold,
    )  # fmt: skip
    known = [c.cost.usd for c in calls if c.cost.usd is not None]
    spent = {"calls": len(calls), "cost_usd": math.fsum(known) if known else None}
    return dataclasses.replace(report, data={**report.data, **spent})


def version_of(spec: ScorerSpec, lent: str | None) -> tuple[str, str | None]:
    """Return the version of a judge where somebody lends it the model ``lent``, and its model."""
    from pytest_llmwatch.scorers import registry

    with asking(_Named(lent)):
        scorer = registry.get(spec.name, spec.options)
        return scorer.version, getattr(scorer, "model", None) or lent
