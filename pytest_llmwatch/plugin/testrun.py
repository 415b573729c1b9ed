"""What is known of one execution of one test while it runs, and the parcel that it becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch import pipeline_judge
from pytest_llmwatch.errors import InfrastructureError, LlmwatchError, MissingRecording, SpendLimitReached
from pytest_llmwatch.model import (
    Call,
    Case,
    CaseResult,
    Output,
    Problem,
    Retrieval,
    Score,
    Span,
    UserOutcome,
)
from pytest_llmwatch.plugin.golden_run import GoldenCase, as_output, explain
from pytest_llmwatch.plugin.session import LlmSession, problem_of
from pytest_llmwatch.plugin.wire import Parcel

if TYPE_CHECKING:
    from pytest_llmwatch.capture.judge_client import JudgeClient
    from pytest_llmwatch.capture.watch import Watch

KEY: pytest.StashKey[TestRun] = pytest.StashKey()


class TestRun:
    """One execution of one test."""

    __test__ = False

    def __init__(
        self, session: LlmSession, item: pytest.Item, watch: Watch, golden_case: GoldenCase | None
    ) -> None:
        self.session = session
        self.item = item
        self.watch = watch
        self.golden_case = golden_case
        self.output: Output | None = None
        self.scores: dict[str, Score] = {}
        self.errors: list[LlmwatchError] = []
        self.metrics: dict[str, list[float]] = {}
        self.user_outcome = UserOutcome()
        self._sent: dict[str, Call | Span] = {}
        self._outcome = "passed"
        self._reason: str | None = None
        self._duration = 0.0
        self._problem: str | None = None
        self._asker: JudgeClient | None = None
        self.beside: TestRun | None = None
        """The same case in the baseline's arm of the run."""
        self.answer: Any = None
        """What the baseline's arm answered; scored once the test has run."""
        if golden_case is not None:
            golden_case.test = self

    @property
    def case(self) -> Case | None:
        """The golden case, None in a plain test."""
        return self.golden_case.case if self.golden_case else None

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong up to now, in any phase."""
        return self._outcome == "passed"

    @property
    def failed(self) -> bool:
        """Whether a phase of the test did not pass so far."""
        return self._outcome != "passed"

    @property
    def noted(self) -> list[LlmwatchError]:
        """What kept calls of the test from being made, in either arm."""
        return [*self.watch.errors, *(self.beside.watch.errors if self.beside is not None else ())]

    def broke(self, outcome: str, reason: str) -> None:
        """Note why the baseline's arm did not pass; its test goes on."""
        self._outcome, self._reason = outcome, reason

    def take_scores(self, output: Output, scores: Sequence[Score]) -> None:
        """Remember the scores of the test's answer; a later score of the same name wins."""
        self.output = output
        self.scores.update({s.name: s for s in scores})

    def score(self, output: Output, case: Case | None, names: Sequence[Any] | None) -> tuple[Score, ...]:
        """Score a reply for ``Reply.scores``; golden tests by their set's scorers."""
        from pytest_llmwatch.scorers.specs import as_spec

        if self.golden_case is not None and names is None and (case is None or case == self.case):
            return self.golden_case.score(output)
        specs = [as_spec(n) for n in names] if names is not None else None
        scores = self.session.score(output, case or Case(id=self.item.name), specs, asker=self.asker())
        self.take_scores(output, scores)
        return scores

    def asker(self) -> JudgeClient:
        """Return whom the judges of this execution ask."""
        if self._asker is None:
            self._asker = pipeline_judge.client(self.session.capture, self.session.budget, self.watch)
        return self._asker

    def finish_call(self) -> None:
        """After the test's body: score a golden answer that nobody scored, and the baseline's."""
        if self.beside is not None:
            self.beside.finish_beside()
        if self.golden_case is None or self.scores or self._outcome == "skipped":
            return
        calls = self.calls()
        answered = [c for c in calls if c.output is not None and not c.failed]
        if answered:
            last = answered[-1]
            self.golden_case.score(Output(last.output or "", finish_reason=last.finish_reason, call_id=last.id))

    def finish_beside(self) -> None:
        """Score what the baseline's arm answered: a score below its threshold fails that arm, not the test."""
        if self.answer is None or self.golden_case is None:
            return
        broken = [s for s in self.golden_case.score(self.answer) if s.required and s.passed is False]
        if broken:
            self.broke("failed", f"{broken[0].name} is {broken[0].value}")

    def filled(self, output: Output) -> Output:
        """Return an answer with the tool calls and retrieved documents of the whole test where it has none."""
        calls = self.calls()
        return dataclasses.replace(
            output,
            tool_calls=output.tool_calls or tuple(t for c in calls for t in c.tool_calls),
            retrieved=output.retrieved or tuple(d for r in self._retrievals(calls) for d in r.documents),
        )

    def calls(self) -> list[Call]:
        """Return the application's calls so far, in the order they started; those of judges are left out.

        Set and case are filled in, and what only later calls tell: fallbacks, the results of tool calls.
        """
        from pytest_llmwatch.capture.executions import with_executions
        from pytest_llmwatch.measure_agent_steps import with_fallbacks, with_results

        out = self._placed(c for c in self.watch.calls if not c.judging)
        return self._with_outcome(list(with_results(with_fallbacks(with_executions(out, self.watch.spans)))))

    def _placed(self, calls: Iterable[Call]) -> list[Call]:
        case = self.golden_case
        out = []
        known = self.session.redacted(case.case) if case is not None else None
        for call in calls:
            if case is not None and known is not None:
                call = dataclasses.replace(  # noqa: PLW2901
                    call,
                    set=case.set.name,
                    case=known.id,
                    context=call.context or known.context,
                    reference=call.reference or known.reference,
                    tags=call.tags or known.tags,
                )
            out.append(call)
        return out

    def _with_outcome(self, calls: list[Call]) -> list[Call]:
        """Give the test's metrics and outcome to its last call."""
        if calls and (self.metrics or self.user_outcome != UserOutcome()):
            last = {name: values[-1] for name, values in self.metrics.items()}
            calls[-1] = dataclasses.replace(
                calls[-1],
                # a test may take its names from anywhere
                metrics=self.session.setup.redactor.value({**calls[-1].metrics, **last}),
                outcome=self.session.redacted(self.user_outcome),
            )
        return calls

    def spans(self) -> list[Span]:
        """Return the test's finished spans, in the order they started, with set and case filled in."""
        case = self.golden_case
        if case is None:
            return list(self.watch.spans)
        known = self.session.redacted(case.case)
        return [dataclasses.replace(s, set=case.set.name, case=known.id) for s in self.watch.spans]

    def _retrievals(self, calls: Sequence[Call]) -> list[Retrieval]:
        from pytest_llmwatch.measure_agent_steps import retrievals_of

        return [s.retrieval for s in retrievals_of(calls, self.watch.spans, None)]

    def note(self, report: pytest.TestReport, error: BaseException | None) -> None:
        """Take in what a phase's report says; our own errors become one line instead of a traceback."""
        self._duration += report.duration
        own = _own_error(error) or (self.watch.errors[0] if self.watch.errors else None)
        if report.failed and own is not None and _prevented(own):
            # money ran out, or nobody is there: the test says nothing about quality, it was not run
            report.outcome = "skipped"
            report.longrepr = (str(self.item.path), 0, f"Skipped: {own.one_line()}")
            self.watch.errors.clear()
            self._outcome, self._reason = "not_run", own.one_line()
        elif report.failed:
            self._outcome = "failed" if report.when == "call" else "error"
            self._reason = first_line(report)
            if own is not None:
                if error is None or _own_error(error) is not None or isinstance(own, LlmwatchError):
                    report.longrepr = self.session.setup.redactor.text(shown(own))
                self._reason = own.one_line()
                self._problem = problem_of(own, self.item.nodeid).kind
                self.errors.append(own)
                if isinstance(own, InfrastructureError):
                    report.llmwatch_infrastructure = True  # type: ignore[attr-defined]
            elif report.when == "call":
                self._add_section(report)
        elif report.skipped:
            self._outcome = "skipped"
            self._reason = first_line(report)

    def _add_section(self, report: pytest.TestReport) -> None:
        calls = self.calls()
        if not calls and not self.scores:
            return
        output = self.output or as_output((calls[-1].output or calls[-1].error or "") if calls else "")
        redact = self.session.redacted
        text = explain(redact(self.case), redact(output), tuple(self.scores.values()))
        extra = [
            f"call {c.id}: {c.model} {c.status}"
            + (f" {c.latency:.3f} s" if c.latency is not None else "")
            + (f" {c.error_type}: {c.error}" if c.error else "")
            for c in calls
        ]
        report.sections.append(("llm", self.session.setup.redactor.text("\n".join([text, *extra]))))

    def parcel(self, *, last: bool) -> Parcel:
        """Return what has not been sent yet; with ``last`` the test's result too."""
        calls, spans = self.calls(), self.spans()
        judged = self._placed(c for c in self.watch.calls if c.judging)
        # a later phase may tell more of a call: that its tool was executed, what became of the answer
        parcel = Parcel(
            calls=[c for c in (*calls, *judged) if self._sent.get(c.id) != c],
            spans=[s for s in spans if self._sent.get(s.id) != s],
        )
        if self.beside is not None:
            if last and self.beside.answer is None and self.beside.passed:
                self.beside.broke("skipped", "not asked")  # its test ended before
            arm = self.beside.parcel(last=last)
            parcel.beside = arm if arm.full else None
        self._sent |= {c.id: c for c in (*calls, *judged)} | {s.id: s for s in spans}
        if last:
            parcel.problems = self._problems()
            told = calls or spans or self.scores or self.metrics or self.user_outcome != UserOutcome()
            if told or self.golden_case is not None or self._outcome == "not_run":
                parcel.result = self._result(calls)
        return parcel

    def _problems(self) -> list[Problem]:
        found = [problem_of(e, self.watch.nodeid) for e in [*self.errors, *self.watch.errors]]
        if self._outcome == "not_run":
            found.append(Problem("not_run", self._reason or "not run", self.watch.nodeid))
        found.extend(
            Problem("scorer", f"{s.name}: {s.explanation}", self.watch.nodeid)
            for s in self.scores.values()
            if s.label == "error"
        )
        return list(dict.fromkeys(self.session.redacted(p) for p in found))

    def _retrieval_scores(self, golden: Sequence[str], calls: Sequence[Call]) -> list[Score]:
        if not golden:
            return []
        from pytest_llmwatch.measure_retrieval import scores

        return [s for s in scores(golden, self._retrievals(calls)) if s.name not in self.scores]

    def _result(self, calls: list[Call]) -> CaseResult:
        golden_case, case = self.golden_case, self.case
        output = self.output.text if self.output else next((c.output for c in reversed(calls) if c.output), None)
        redact = self.session.setup.redactor.text
        golden = case.expected_documents if case else None
        result = CaseResult(
            nodeid=self.watch.nodeid,
            set=golden_case.set.name if golden_case else None,
            case=case.id if case else None,
            repeat=golden_case.repeat if golden_case else 0,
            attempt=self.watch.attempt,
            outcome=self._outcome,  # type: ignore[arg-type]
            # cut afterwards: a secret cut in two is no longer found
            reason=redact(self._reason)[:500] if self._reason else None,
            scores=(*self.scores.values(), *self._retrieval_scores(golden or (), calls)),
            call_ids=tuple(c.id for c in calls),
            input=case.input_text() if case else (calls[-1].input if calls else None),
            output=redact(output) if output else output,
            context=case.context if case else (calls[-1].context if calls else ()),
            reference=case.reference if case else None,
            tags=case.tags if case else (),
            weight=case.weight if case else 1.0,
            cluster=case.cluster if case else None,
            expected_tools=case.expected_tools() if case else None,
            expected_documents=golden,
            duration=round(self._duration, 4),
            metrics={name: tuple(values) for name, values in self.metrics.items()},
            user_outcome=self.user_outcome,
            problem=self._problem,
        )
        return self.session.redacted(result)


def shown(error: LlmwatchError) -> str:
    """Return an error as a failed test shows it: a missing recording with its differences line by line."""
    if not isinstance(error, MissingRecording):
        return error.one_line()
    where = f"{error.file}: " if error.file else ""
    first, _, rest = error.message.partition("\n")
    return f"{where}{first} [llmwatch:{error.slug}]\n{rest}"


def _prevented(error: LlmwatchError) -> bool:
    given_up = isinstance(error, InfrastructureError) and error.slug == "endpoint-given-up"
    return given_up or isinstance(error, SpendLimitReached)


def _own_error(error: BaseException | None) -> LlmwatchError | None:
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, LlmwatchError):
            return error
        error = error.__cause__ or error.__context__
        seen += 1
    return None


def first_line(report: pytest.TestReport) -> str:
    """Return the line that says why a phase failed or was skipped."""
    longrepr: Any = report.longrepr
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        text = str(crash.message)
    elif isinstance(longrepr, tuple):
        text = str(longrepr[2]).removeprefix("Skipped: ")
    else:
        text = str(longrepr or "")
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0].strip() if lines else ""
