"""``--llm-baseline=concurrent[:VARIANT]``: each golden case asked twice in one run, as it is now and as it was.

Both arms meet the same server in the same minute, and a coin says which of them is asked first. If nothing
changed, which answer is whose is a matter of that coin alone: whatever the server does that day it does to both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import golden_set, measure_spent, pipeline
from pytest_llmwatch.errors import InfrastructureError, LlmwatchError, SpendLimitReached, UsageError
from pytest_llmwatch.model import Baseline, Call, CaseResult, Problem, Run
from pytest_llmwatch.plugin.golden_run import GoldenCase, labels_of
from pytest_llmwatch.plugin.testrun import TestRun
from pytest_llmwatch.plugin.wire import Parcel

if TYPE_CHECKING:
    import pytest

    from pytest_llmwatch.golden import GoldenSet
    from pytest_llmwatch.plugin.session import LlmSession

REF = "concurrent"
MARK = "@baseline"
"""Ends the node ids of the baseline's executions."""
TOGETHER = 60.0
"""Seconds between the end of one arm's call and the start of the other's, up to which recordings of both count
as asked together: retries and the pacing of ``--llm-rpm`` come between."""

Ask = Callable[[TestRun, GoldenCase], Any]


def variant_of(ref: str | None) -> str | None:
    """Return the variant that ``--llm-baseline`` asks beside the run ("" = the set as it is), else None."""
    head, _, name = (ref or "").partition(":")
    return name if head == REF else None


class Concurrent:
    """The baseline's arm of a run: which set it asks, what it answered, and the baselines that this makes."""

    def __init__(self, session: LlmSession, variant: str) -> None:
        self._session = session
        self._variant = variant or None
        self._sets: dict[Path, GoldenSet] = {}
        self._calls: dict[str, Call] = {}
        self._results: dict[tuple[str, int, int], CaseResult] = {}

    def check(self) -> None:
        """Raise a UsageError where the run cannot compare anything."""
        settings = self._session.settings
        if not self._session.budget.drifts:
            raise UsageError(
                "--llm-baseline=concurrent asks a baseline to compare with, and no [drift] in the budget says "
                "what is compared; add [drift]",
                slug="baseline-concurrent",
            )
        if settings.shard:
            raise UsageError(
                f"--llm-baseline=concurrent compares within one job, and {settings.shard} is a part of one; use "
                "-n for more workers",
                slug="baseline-concurrent",
            )

    def take(self, golden: GoldenSet) -> None:
        """Make the baseline's arm of a set.

        Raises:
            GoldenError: It has none.
        """
        candidate = self._session.settings.variant
        self._sets[golden.folder] = golden_set.beside(golden, self._variant, candidate=candidate)

    def case(self, case: GoldenCase) -> GoldenCase:
        """Return the same case and repeat in the baseline's arm."""
        return GoldenCase(self._sets[case.set.folder], case.case, case.repeat, self._session)

    def open(self, item: pytest.Item, case: GoldenCase) -> TestRun:
        """Start recording what the baseline answers in one execution."""
        session, own = self._session, self.case(case)
        watch = session.new_watch(
            item,
            golden_set.cassette_path(own.set, session.redacted(own.case)),
            nodeid=session.shown(item) + MARK,
            case=own.case,
            repeat=own.repeat,
            labels=labels_of(own.set),
        )
        return TestRun(session, item, watch, own)

    def collect(self, parcel: Parcel) -> None:
        """Take in what the baseline's arm of a test brought."""
        self._calls.update((c.id, c) for c in parcel.calls)
        result = parcel.result
        if result is not None:
            self._results[(result.nodeid, result.repeat, result.attempt)] = result

    def mine(self, calls: Iterable[Call]) -> set[str]:
        """Return the ids of the baseline's calls, after taking those among ``calls`` that a dead process left."""
        self._calls.update((c.id, c) for c in calls if self.marked(c.nodeid) and c.id not in self._calls)
        return set(self._calls)

    @staticmethod
    def marked(nodeid: str | None) -> bool:
        """Whether an execution is of the baseline's arm."""
        return (nodeid or "").endswith(MARK)

    # -- at the end, and at each look

    def joined(self, run: Run) -> Run:
        """Return ``run`` with the baselines that were asked beside it, and what they cost."""
        arm = pipeline.assemble(
            run_id=f"{run.run_id}{MARK}",
            started=run.time,
            duration=0.0,
            calls=self._calls.values(),
            results=self._results.values(),
            problems=(),
            partial=None,
            environment={},
        )
        told: dict[str, Any] = {
            "variant": self._variant,
            "calls": len(arm.calls),
            "usd": math.fsum(
                c.cost.usd or 0.0 for c in arm.calls if c.capture_mode != "replayed" and not c.judging
            ),
        }
        by = measure_spent.facets(arm)
        if by:
            told["by"] = by
        found, problem = _baselines(arm, apart(run.calls, arm.calls))
        return dataclasses.replace(
            run,
            concurrent=found,
            environment={**run.environment, REF: {k: v for k, v in told.items() if v is not None}},
            problems=(*run.problems, *problem),
        )


def _baselines(arm: Run, asunder: Mapping[str, int]) -> tuple[tuple[Baseline, ...], tuple[Problem, ...]]:
    from pytest_llmwatch import pipeline_baseline

    if not arm.results:
        return (), ()
    try:
        made = pipeline_baseline.from_runs([arm])
    except UsageError as error:  # the run is paid for: its own figures are judged all the same
        return (), (Problem("baseline", f"the concurrent baseline cannot be used: {error}"),)
    out = []
    for base in made:
        count = asunder.get(base.set or "", 0)
        session = {**base.sessions[0], **({"apart": count} if count else {})}
        out.append(dataclasses.replace(base, sessions=(session,)))
    return tuple(out), ()


def apart(candidate: Iterable[Call], base: Iterable[Call]) -> dict[str, int]:
    """Return, by set, the executions whose arms were not asked together.

    One arm was live and the other one replayed; or both were replayed, from recordings of different hours.
    """
    sides: list[dict[tuple[str | None, str | None, int, int], Call]] = []
    for calls in (candidate, base):
        firsts: dict[tuple[str | None, str | None, int, int], Call] = {}
        for call in calls:
            if not call.judging and call.index == 0 and call.set is not None:
                firsts[(call.set, call.case, call.repeat, call.attempt)] = call
        sides.append(firsts)
    out: dict[str, int] = {}
    for key, one in sides[0].items():
        other = sides[1].get(key)
        if other is not None and not _together(one, other):
            out[str(key[0])] = out.get(str(key[0]), 0) + 1
    return out


def _together(one: Call, other: Call) -> bool:
    replayed = [c.capture_mode == "replayed" for c in (one, other)]
    if not any(replayed):
        return True
    if not all(replayed) or not one.time or not other.time:
        return False
    times = [datetime.fromisoformat(c.time or "").timestamp() for c in (one, other)]
    first, second = (one, other) if times[0] <= times[1] else (other, one)
    return abs(times[1] - times[0]) - (first.latency or 0.0) <= TOGETHER and second is not first


def ask_both(test: TestRun, case: GoldenCase, ask: Ask) -> Any:
    """Ask a case of both arms, in the order that a coin says, and return what the run's own arm answered.

    What goes wrong in the baseline's arm is the baseline's; only what keeps it from being asked at all is raised.
    """
    beside = test.beside
    assert beside is not None
    if before(test.session.run_id, test.watch.nodeid, test.watch.repeat, test.watch.attempt):
        _ask_beside(beside, ask)
        return ask(test, case)
    try:
        reply = ask(test, case)
    except (InfrastructureError, SpendLimitReached):
        raise
    except Exception:
        _ask_beside(beside, ask)  # else a case that one arm cannot answer would be missing from both
        raise
    _ask_beside(beside, ask)
    return reply


def before(seed: str, nodeid: str, repeat: int, attempt: int) -> bool:
    """Return whether the coin lets the baseline's arm go first."""
    key = "\0".join((seed, nodeid, str(repeat), str(attempt)))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[0] & 1 == 1


def _ask_beside(beside: TestRun, ask: Ask) -> None:
    assert beside.golden_case is not None
    try:
        with beside.session.capture.watch(beside.watch):
            beside.answer = ask(beside, beside.golden_case)
    except LlmwatchError:
        raise
    except Exception as error:
        beside.broke("error", f"{type(error).__name__}: {error}")
