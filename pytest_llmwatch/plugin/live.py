"""Live golden sets: the next cases are asked while this one is judged, ``--llm-concurrency`` at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch.plugin.collect import GoldenItem

if TYPE_CHECKING:
    from pytest_llmwatch.plugin.testrun import TestRun

Open = Callable[[pytest.Item], "TestRun | None"]


class Ahead:
    """Asks up to ``concurrency`` golden cases at once, in the order of the tests.

    Only prompt-template cases are asked ahead: an application behind ``target`` may not stand being called
    from several threads. A worker of xdist knows two of its own tests at a time; what others run it must not ask,
    or the case would be paid for twice.
    """

    def __init__(self, concurrency: int, items: Sequence[pytest.Item], open_test: Open) -> None:
        self._items: deque[GoldenItem] = deque(
            i for i in items if isinstance(i, GoldenItem) and not i.golden_case.set.target
        )
        self._open = open_test
        self._concurrency = concurrency
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="llmwatch")
        self._waiting: dict[str, tuple[Future[Any], TestRun]] = {}
        self._expected: set[str] = set()
        self.stopped = False

    def expect(self, *items: pytest.Item | None) -> None:
        """Take up the tests that a worker knows it will run."""
        for item in items:
            if isinstance(item, GoldenItem) and not item.golden_case.set.target:
                if item.nodeid not in self._expected:
                    self._items.append(item)
                self._expected.add(item.nodeid)

    def _fill(self) -> None:
        from pytest_llmwatch.plugin.fixtures import ask_now

        while self._items and len(self._waiting) < self._concurrency and not self.stopped:
            item = self._items.popleft()
            test = self._open(item)
            if test is None:
                continue
            self._waiting[item.nodeid] = (self._pool.submit(_inside, test, ask_now), test)

    def opened(self, item: pytest.Item) -> TestRun | None:
        """Return the record that was opened ahead for ``item``, and keep the next cases coming."""
        while self._items and self._items[0].nodeid != item.nodeid and item.nodeid not in self._waiting:
            if isinstance(item, GoldenItem) and any(i.nodeid == item.nodeid for i in self._items):
                self._items.popleft()
            else:
                return None
        self._fill()
        entry = self._waiting.get(item.nodeid)
        return entry[1] if entry else None

    def take(self, test: TestRun) -> Callable[[], Any] | None:
        """Return a function that waits for the answer to ``test``'s case, None if it was not asked ahead."""
        entry = self._waiting.pop(test.item.nodeid, None)
        if entry is None or entry[1] is not test:
            return None
        future = entry[0]

        def wait() -> Any:
            self._fill()
            return future.result()

        return wait

    def close(self) -> None:
        """Ask nothing more and wait for what is in flight."""
        self.stopped = True
        self._items.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _inside(test: TestRun, ask: Callable[..., Any]) -> Any:
    assert test.golden_case is not None
    with test.session.capture.watch(test.watch):
        return ask(test, test.golden_case)
