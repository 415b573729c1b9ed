"""Progress of a long live run: calls made, money spent, time left; nothing in a replay, which is over at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch import format as fmt
from pytest_llmwatch.report.view import duration

if TYPE_CHECKING:
    from pytest_llmwatch.plugin.session import LlmSession

VARIABLE = "LLMWATCH_PROGRESS"
"""Seconds between two lines; 0 for none."""
_TERMINAL, _LOG = 10.0, 60.0


class Progress:
    """Prints a line now and then while tests ask a model; registered in the process that has the terminal."""

    def __init__(self, session: LlmSession, clock: Callable[[], float] = time.monotonic) -> None:
        self.session = session
        self._clock = clock
        self._started = self._told = clock()
        self._done: set[str] = set()
        self._seen = 0
        self._live = 0
        self._usd = 0.0
        self._unpriced = 0

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Count a finished test, and say how far the run is if it is time to."""
        self._done.add(nodeid)
        reporter = self.session.config.pluginmanager.get_plugin("terminalreporter")
        every = interval(reporter)
        if reporter is None or every is None or self._clock() - self._told < every:
            return
        if reporter.config.option.verbose < 0:
            return
        self._take()
        # the terminal's own session: with xdist its count is what the workers collected
        total = getattr(getattr(reporter, "_session", None), "testscollected", 0)
        if self._live and len(self._done) < total:
            self._told = self._clock()
            elapsed = self._told - self._started
            text = line(self._live, self._usd, self._unpriced, done=len(self._done), total=total, elapsed=elapsed)
            if reporter._tw.width_of_current_line:
                reporter._tw.line()
            # so that pytest names the file again before its next dots
            reporter.currentfspath = None
            reporter.write_line(text)

    def _take(self) -> None:
        """Add up the calls that came in since the last look."""
        calls = self.session.calls
        for call in calls[self._seen :]:
            if call.capture_mode != "replayed":
                self._live += 1
                self._usd += call.cost.usd or 0.0
                self._unpriced += call.cost.usd is None
        self._seen = len(calls)


def line(calls: int, usd: float, unpriced: int, *, done: int, total: int, elapsed: float) -> str:
    """Return ``llm: 34 calls, $0.12 so far; 20 of 60 tests, about 4 min 10 s left``.

    Args:
        calls: Calls that were not replayed.
        usd: What those with a price cost.
        unpriced: Calls without a price.
        done: Tests that ended.
        total: Tests that were collected.
        elapsed: Seconds since the first test.
    """
    money = f", {fmt.value(usd, 'usd')} so far" if unpriced < calls else ""
    gap = f" ({unpriced:,} without a price)" if unpriced else ""
    left = f", about {duration(elapsed / done * (total - done))} left" if done else ""
    return f"llm: {fmt.plural(calls, 'call')}{money}{gap}; {done:,} of {total:,} tests{left}"


def interval(reporter: Any) -> float | None:
    """Return the seconds between two lines, None for no lines: rarer in a log than in a terminal."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        try:
            seconds = float(given)
        except ValueError:
            seconds = 0.0
        return seconds if seconds > 0 else None
    return _TERMINAL if getattr(reporter, "isatty", False) else _LOG


def register(session: LlmSession, manager: pytest.PytestPluginManager) -> None:
    """Register progress where this process shows it."""
    if not session.is_worker:
        manager.register(Progress(session), "llmwatch-progress")
