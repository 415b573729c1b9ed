"""The hooks of ``--llm-repeats=auto``: rounds by fences in one process, by a scheduler under xdist."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch.plugin.rounds import Fence, Rounds, fenced, first_round

if TYPE_CHECKING:
    from pytest_llmwatch.plugin.session import LlmSession


def register(session: LlmSession, rounds: Rounds) -> None:
    """Register the hooks in this process."""
    manager = session.config.pluginmanager
    manager.register(RoundHooks(session, rounds), "llmwatch-rounds")
    manager.register(FenceHooks(session), "llmwatch-fences")


def fence_of(session: pytest.Session) -> Fence:
    """Return a new fence."""
    fence: Fence = Fence.from_parent(session, name="repeats", nodeid="llmwatch::repeats")
    return fence


class RoundHooks:
    """Arranges tests in rounds, and goes on only while that is needed."""

    def __init__(self, session: LlmSession, rounds: Rounds) -> None:
        self._session = session
        self._rounds = rounds

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Put the tests in order, after every plugin that leaves some out; let one worker tell the controller."""
        if self._session.distributes:
            return
        self._rounds.arrange(session.items)
        if self._session.settings.worker == "gw0" and not session.config.option.collectonly:
            self._rounds.send()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        alone = not (self._session.is_worker or self._session.distributes or session.config.option.collectonly)
        if alone:
            session.items[:] = fenced(session.items, lambda: fence_of(session))
            session.testscollected = len(first_round(session.items))
        try:
            return (yield)
        finally:
            if alone:
                session.items[:] = [i for i in session.items if not isinstance(i, Fence)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """After the last test of a round: take the tests of the next one, or leave them out."""
        result = yield
        session = item.session
        if not isinstance(nextitem, Fence) or self._session.is_worker or session.shouldstop or session.shouldfail:
            return result
        after = session.items.index(nextitem) + 1
        if self._rounds.another():
            released = first_round(session.items[after:])
            session.testscollected += len(released)
            if self._session.live is not None:
                self._session.live.expect(*released)
        else:
            del session.items[after:]
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Return a scheduler that knows rounds."""
        from pytest_llmwatch.plugin.rounds_xdist import RoundScheduling

        return RoundScheduling(config, log, self._rounds, lambda n: self._released(config, n))

    def _released(self, config: pytest.Config, count: int) -> None:
        """Let the progress that the terminal shows count the tests of the rounds so far."""
        controller: Any = config.pluginmanager.get_plugin("dsession")
        session = getattr(controller, "_session", None)
        if session is not None:
            session.testscollected = count

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Count the tests that were not needed: they are no skips."""
        spared = [
            pytest.TestReport(t.nodeid, (t.nodeid.split("::")[0], None, t.nodeid), {}, "passed", None, "setup")
            for t in self._rounds.spared()
        ]
        if spared:
            terminalreporter._add_stats("not needed", spared)


class FenceHooks:
    """Runs fences: nothing but the teardown that was put off until it was clear whether there is a next round."""

    def __init__(self, session: LlmSession) -> None:
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Give a worker a fence, after its last test: the controller was told the tests before."""
        if self._session.is_worker:
            session.items.append(fence_of(session))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Pass over a fence; after the last round tear down what the session set up."""
        if not isinstance(item, Fence):
            return None
        if nextitem is None:
            # not through the hooks: a plugin that reports on a test may want one that was set up
            stack: Any = item.session._setupstate
            call = pytest.CallInfo.from_call(
                lambda: stack.teardown_exact(None), "teardown", reraise=(pytest.exit.Exception, KeyboardInterrupt)
            )
            if call.excinfo is not None:
                report = pytest.TestReport.from_item_and_call(item, call)
                item.ihook.pytest_runtest_logreport(report=report)
        return True
