"""The hooks of an active run: watch tests, carry records, gate the completed loop, write and show the result."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import (
    pipeline,
    pipeline_cassettes,
    pipeline_incidents,
    pipeline_page,
    pipeline_store,
    pipeline_telemetry,
    pipeline_users,
)
from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.format import plural
from pytest_llmwatch.model import Report
from pytest_llmwatch.plugin import rules
from pytest_llmwatch.plugin.collect import GoldenItem, drop_duplicates
from pytest_llmwatch.plugin.golden_run import GoldenCase, labels_of
from pytest_llmwatch.plugin.named import named_paths
from pytest_llmwatch.plugin.rounds import Fence, first_round
from pytest_llmwatch.plugin.session import LlmSession, problem_of
from pytest_llmwatch.plugin.settings import GATE_EXIT
from pytest_llmwatch.plugin.testrun import KEY, TestRun, shown
from pytest_llmwatch.plugin.wider import WideFixtures
from pytest_llmwatch.plugin.wire import Parcel

_WATCHING: pytest.StashKey[contextlib.ExitStack] = pytest.StashKey()


class RunHooks:
    """Registered when a run becomes active; holds no state but the session."""

    def __init__(self, session: LlmSession) -> None:
        self.session = session
        self.wider = WideFixtures(session)

    # -- before the tests

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker which run it belongs to."""
        node.workerinput["llmwatch"] = {
            "run_id": self.session.run_id,
            "golden_named": named_paths(self.session.config),
        }

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.session.usage_errors:
            raise pytest.UsageError("\n".join(self.session.usage_errors))
        drop_duplicates(items)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.session.deselected += len(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Let the first of the workers tell the controller what is to come."""
        if self.session.settings.worker == "gw0" and not session.config.option.collectonly:
            from pytest_llmwatch.plugin import estimate

            estimate.send(estimate.estimate(self.session, session.items), self.session.spool_folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Show what the first worker estimated."""
        from pytest_llmwatch.plugin import estimate

        estimate.show(self.session, estimate.receive(self.session.spool_folder))

    # -- one test

    def open(self, item: pytest.Item, *, current: bool = True) -> TestRun:
        """Start recording for ``item``; with ``current`` calls made from now on are its own.

        Raises:
            CassetteError: Its recordings cannot be read.
        """
        if isinstance(item, GoldenItem):
            case: GoldenCase | None = item.golden_case
        else:
            found = getattr(getattr(item, "callspec", None), "params", {}).get("llm_case")
            case = found if isinstance(found, GoldenCase) else None
        labels: dict[str, str] = {}
        sources: list[Path] = []
        if case is not None:
            from pytest_llmwatch.golden import cassette_path

            cassette = cassette_path(case.set, self.session.redacted(case.case))
            labels = labels_of(case.set)
        else:
            cassette = cassette_of(item, self.session.shown(item))
            sources = of_other_plugins(item)
        watch = self.session.new_watch(
            item,
            cassette,
            case=case.case if case else None,
            repeat=case.repeat if case else 0,
            labels=labels,
            sources=sources,
        )
        test = item.stash[KEY] = TestRun(self.session, item, watch, case)
        if case is not None and isinstance(item, GoldenItem) is False:
            case.test = test
        if self.session.concurrent is not None and isinstance(item, GoldenItem):
            test.beside = self.session.concurrent.open(item, item.golden_case)
        stack = item.stash[_WATCHING] = contextlib.ExitStack()
        if current:
            stack.enter_context(self.session.capture.watch(watch))
        return test

    def _open_ahead(self, item: pytest.Item) -> TestRun | None:
        try:
            return self.open(item, current=False)
        except LlmwatchError:
            return None  # its own test will say so

    def close(self, item: pytest.Item) -> None:
        """Stop recording for ``item`` and save its cassette."""
        stack = item.stash.get(_WATCHING, None)
        if stack is None:
            return
        stack.close()
        del item.stash[_WATCHING]
        test = item.stash[KEY]
        for arm in (test, test.beside):
            if arm is not None and arm.watch.cassette is not None:
                try:
                    arm.watch.cassette.close(complete=arm.passed)
                except LlmwatchError as error:
                    test.errors.append(error)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        session = self.session
        watched = session.captures_everything or isinstance(item, GoldenItem)
        if not watched or isinstance(item, Fence):
            return (yield)
        if session.live is None and session.settings.record in ("off", "all", "new", "once"):
            session.open_live(() if session.is_worker else first_round(item.session.items), self._open_ahead)
        if session.live is not None and session.is_worker:
            session.live.expect(item, nextitem)
        test = session.live.opened(item) if session.live is not None else None
        try:
            if test is None:
                self.open(item)
            else:
                item.stash[_WATCHING].enter_context(session.capture.watch(test.watch))
        except LlmwatchError as error:
            item.stash[_BROKEN] = error
        try:
            return (yield)
        finally:
            self.close(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        test = item.stash.get(KEY, None)
        if test is not None and test.watch.attempt != getattr(item, "execution_count", 1) - 1:
            # a rerun happens inside the same protocol: it is an execution of its own
            self.close(item)
            self.open(item)
        error = item.stash.get(_BROKEN, None)
        if error is not None:
            pytest.fail(self.session.setup.redactor.text(error.one_line()), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        test = item.stash.get(KEY, None)
        broken = item.stash.get(_BROKEN, None)
        if broken is not None and call.when == "setup":
            problem = self.session.redacted(problem_of(broken, self.session.shown(item)))
            report.llmwatch = Parcel(problems=[problem]).dumps()  # type: ignore[attr-defined]
        if test is None:
            return report
        error = call.excinfo.value if call.excinfo is not None else None
        for own in self.wider.errors(item):
            test.watch.note(own)
        test.note(report, error)
        if call.when == "call":
            test.finish_call()  # it may ask a judge, whose recording may be missing
        if call.when == "call" and report.passed and test.noted:
            # the application swallowed it: a missing recording must not pass in silence
            own = test.noted[0]
            report.outcome = "failed"
            report.longrepr = self.session.setup.redactor.text(shown(own))
            test.note(report, own)
        last = call.when == "teardown"
        if last:
            self.close(item)
        # a rerun drops the teardown report of the attempt before it
        parcel = test.parcel(last=last or report.failed)
        if parcel.full:
            report.llmwatch = parcel.dumps()  # type: ignore[attr-defined]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = getattr(report, "llmwatch", None)
        if text is not None and not self.session.is_worker:
            parcel = Parcel.loads(text)
            self.session.collect(parcel)
            del report.llmwatch
        if report.failed and getattr(report, "llmwatch_infrastructure", False):
            self.session.infrastructure_failures.add(report.nodeid)

    # -- the whole

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        if not (session.config.option.collectonly or self.session.is_worker or self.session.distributes):
            from pytest_llmwatch.plugin import estimate

            estimate.show(self.session, estimate.estimate(self.session, session.items))
        completed = False
        try:
            result = yield
            completed = not (session.shouldstop or session.shouldfail)
        finally:
            if self.session.live is not None:
                self.session.live.close()
            if not completed:
                self.session.stopped = str(session.shouldfail or session.shouldstop or "interrupted")
        if completed and not self.session.is_worker and not session.config.option.collectonly:
            self._gate(session)
        return result

    def _gate(self, session: pytest.Session) -> None:
        state = self.session
        self._judge(session)
        if state.settings.gate != "on" or state.report.verdict == "none":
            return
        state.rule_reports = rules.reports_of(state.report, state.budget)
        rules.publish(session.config, state.rule_reports)
        session.testsfailed += sum(1 for r in state.rule_reports if r.failed)

    def _judge(self, session: pytest.Session) -> None:
        state = self.session
        budget = state.budget
        if state.settings.gate == "off":
            from pytest_llmwatch.budget import empty_budget

            budget = empty_budget()
        own = session.testsfailed - len(state.infrastructure_failures)
        if not state.distributes:
            state.collect_wide(self.wider.parcels(), ())
        run = state.finish()
        hash_user = pipeline_users.hash_with(state.user_key)
        state.report = pipeline.judge(
            run,
            budget,
            spent=state.store.spent(run, pipeline_store.scopes_of(budget, hash_user)),
            tests_failed=own,
            baselines=state.baselines,
            hash_user=hash_user,
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        state = self.session
        if state.is_worker:
            state.spool.close()
            return
        if session.config.option.collectonly or int(exitstatus) in (pytest.ExitCode.USAGE_ERROR,):
            return
        if state.report is None:
            state.stopped = state.stopped or _why(int(exitstatus))
            self._judge(session)
        code = self._exit_code(session, int(exitstatus))
        state.report = _told(state.report, code, self._unfinished() if state.settings.gate == "on" else "")
        if state.settings.gate == "on" and state.asked:
            state.report = pipeline_incidents.attach(
                state.report,
                state.budget,
                url=state.store.url,
                root=state.settings.rootdir,
                folder=state.settings.report,
            )
        state.store.keep(state.report)
        custom = state.budget.gate.exit_code if state.settings.gate == "on" else 0
        state.report = state.store.noted(state.report, GATE_EXIT if custom is None else custom)
        code = state.report.exit_code
        if state.settings.gate == "on":
            state.report = state.store.alert(state.report, state.budget, state.settings.alerts)
        if state.asked:
            state.report = pipeline_page.with_earlier(state.report, state.store.url, state.store.root)
            self._write()
        state.clear_spool()
        session.exitstatus = code

    def _write(self) -> None:
        state = self.session
        telemetry = pipeline_telemetry.chosen(state.budget.telemetry)
        paths = pipeline.write_outputs(state.report, state.settings.report, telemetry)
        state.report = pipeline_telemetry.delivered(state.report, telemetry, state.live_log.told)
        pipeline_cassettes.write_uses(
            state.settings.report,
            state.cassettes,
            run_id=state.run_id,
            root=state.settings.rootdir,
            partial=state.unused_unknown(),
            environment={"record": state.settings.record, "variant": state.settings.variant},
        )
        state.outputs = {name: _relative(path) for name, path in paths.items()}

    def _exit_code(self, session: pytest.Session, exitstatus: int) -> int:
        state = self.session
        if state.settings.gate != "on" or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return exitstatus
        if state.stopped and not state.infrastructure_failures:
            return exitstatus
        failed_rules = sum(1 for r in state.rule_reports if r.failed)
        own = session.testsfailed - failed_rules - len(state.infrastructure_failures)
        custom = state.budget.gate.exit_code
        if own > 0:
            return exitstatus
        if failed_rules:
            return custom if custom is not None else int(pytest.ExitCode.TESTS_FAILED)
        if self._unfinished() or state.report.exit_code == GATE_EXIT:
            return custom if custom is not None else GATE_EXIT
        return state.report.exit_code if exitstatus == pytest.ExitCode.OK else exitstatus

    def _unfinished(self) -> str:
        """Return why the gate saw only a part of what it is to judge; empty where it saw all."""
        not_run = sum(r.outcome == "not_run" for r in self.session.results.values())
        parts = [f"{plural(not_run, 'test')} {'was' if not_run == 1 else 'were'} not run"] if not_run else []
        if down := len(self.session.infrastructure_failures):
            parts.append(f"infrastructure failed {plural(down, 'test')}")
        return " and ".join(parts)

    # -- the terminal

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        state = self.session
        if state.is_worker or state.report is None:
            return
        failed = [r for r in state.rule_reports if r.failed]
        if failed:
            terminalreporter.stats.setdefault("failed", []).extend(failed)
        from pytest_llmwatch.plugin.show import show

        show(terminalreporter, state)


_BROKEN: pytest.StashKey[LlmwatchError] = pytest.StashKey()


def cassette_of(item: pytest.Item, shown: str) -> Path:
    """Return where the calls of a test are recorded that is no golden case."""
    from pytest_llmwatch.golden import safe_name

    name = shown.split("::", 1)[-1].replace("::", ".")
    return item.path.parent / "cassettes" / item.path.stem / f"{safe_name(name)}.yaml"


def of_other_plugins(item: pytest.Item) -> list[Path]:
    """Return where pytest-recording and pytest-vcr would keep the test's cassette."""
    from pytest_llmwatch.capture.cassette_foreign import candidates

    steps = item.nodeid.split("::")[1:]
    names = [".".join(steps[n:]) for n in range(len(steps))]
    return candidates(item.path.parent / "cassettes", item.path.stem, names)


def _told(report: Report, code: int, unfinished: str) -> Report:
    """Return the report with the exit code; no rule that holds on a part makes the whole green."""
    if unfinished and code and report.verdict in ("pass", "warn", "inconclusive"):
        sentence = f"the gate could not do its work: {unfinished}; on what ran, {report.sentence}"
        report = dataclasses.replace(report, verdict="error", sentence=sentence)
    return dataclasses.replace(report, exit_code=code)


def _relative(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return path.relative_to(Path.cwd()).as_posix()
    return str(path)


def _why(exitstatus: int) -> str | None:
    return {
        int(pytest.ExitCode.INTERRUPTED): "the run was interrupted",
        int(pytest.ExitCode.INTERNAL_ERROR): "pytest met an internal error",
    }.get(exitstatus)
