"""What a CI system sees of a run: annotations and the step summary of GitHub, costs and scores in JUnit."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch import pipeline_ci
from pytest_llmwatch.model import CaseResult
from pytest_llmwatch.plugin.testrun import KEY, TestRun

if TYPE_CHECKING:
    from pytest_llmwatch.plugin.session import LlmSession

_OURS = ("llm.", "score.")


class CiHooks:
    """Registered beside the run's hooks, in every process of an active run."""

    def __init__(self, session: LlmSession) -> None:
        self.session = session
        self.places: dict[str, tuple[str, int | None]] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        test = item.stash.get(KEY, None)
        # pytest writes the properties that the teardown's report carries
        if test is not None and call.when == "call" and getattr(item.config.option, "xmlpath", None):
            kept = [p for p in item.user_properties if not str(p[0]).startswith(_OURS)]
            item.user_properties[:] = [*kept, *_properties(test)]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember where a test stands that failed: the run itself keeps no line numbers."""
        if report.failed and not self.session.is_worker:
            file, line, _ = report.location
            self.places[report.nodeid] = (file.replace("\\", "/"), None if line is None else line + 1)

    def pytest_sessionfinish(self) -> None:
        """Append to the summary of GitHub's step, once the run's own hooks have judged."""
        if self._told():
            pipeline_ci.append_summary(self.session.report)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._told():
            for line in pipeline_ci.log_lines(self.session.report, self.session.settings.rootdir, self.places):
                terminalreporter.write_line(line)

    def _told(self) -> bool:
        state = self.session
        return not state.is_worker and state.report is not None and state.asked


def _properties(test: TestRun) -> list[tuple[str, object]]:
    from pytest_llmwatch.report import junit

    result = CaseResult(test.watch.nodeid, scores=tuple(test.scores.values()))
    return list(junit.result_properties(result, test.calls()))
