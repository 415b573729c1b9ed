"""A scheduler of xdist that releases a round of repeats only when the one before has ended and left a rule open.

A worker starts a test only when it knows the next one, so that it can tear down what that does not need. At the
end of a round that is not known: each worker is sent the number after its last test, where it keeps a fence.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.workermanage import WorkerController

    from pytest_llmwatch.plugin.rounds import Rounds


class RoundScheduling(LoadScheduling):  # type: ignore[misc]
    """xdist's ``load``, round by round.

    Args:
        config: Of the controller.
        log: xdist's.
        rounds: Decides between two rounds.
        released: Told how many tests have been released so far.
    """

    nodes: list[WorkerController]
    node2pending: dict[WorkerController, list[int]]
    collection: list[str] | None
    maxschedchunk: int | None

    def __init__(self, config: pytest.Config, log: Any, rounds: Rounds, released: Callable[[int], None]) -> None:
        super().__init__(config, log)
        self._rounds = rounds
        self._released = released
        self._later: list[list[int]] = []
        self._count = 0

    @property
    def _fence(self) -> int:
        return len(self.collection or ())

    def _running(self, node: WorkerController) -> list[int]:
        return [i for i in self.node2pending[node] if i != self._fence]

    @property
    def tests_finished(self) -> bool:
        """Whether no test is left, and no round."""
        if not self.collection_is_completed or self.collection is None or self.pending or self._later:
            return False
        return all(len(self._running(node)) < 2 for node in self.nodes)

    @property
    def has_pending(self) -> bool:
        """Whether tests are waiting or running."""
        return bool(self.pending or self._later) or any(self._running(node) for node in self.nodes)

    def schedule(self) -> None:
        """Send the first round, or let a node that came later take part."""
        if self.collection is not None:
            for node in self.nodes:
                self.check_schedule(node)
            return
        if not self._check_nodes_have_same_collection():
            self.log("**Different tests collected, aborting run**")
            return
        self.collection = next(iter(self.node2collection.values()))
        if not self.collection:
            return
        if self.maxschedchunk is None:
            self.maxschedchunk = len(self.collection)
        number = {t.nodeid: t.round for t in self._rounds.plan.tests}
        rounds: dict[int, list[int]] = {}
        for index, nodeid in enumerate(self.collection):
            rounds.setdefault(number.get(nodeid, 0), []).append(index)
        self._later = [rounds[k] for k in sorted(rounds)]
        self._release()

    def _release(self) -> None:
        """Spread the next round over the nodes."""
        self.pending[:] = self._later.pop(0)
        self._count += len(self.pending)
        self._released(self._count)
        if len(self.pending) < 2 * len(self.nodes):
            for node, _ in zip(cycle(self.nodes), list(self.pending), strict=False):
                self._send_tests(node, 1)
        else:
            size = max(2, min(len(self.pending) // len(self.nodes) // 4, self.maxschedchunk or 2))
            for node in self.nodes:
                self._send_tests(node, size)
        for node in self.nodes:
            self.check_schedule(node)

    def check_schedule(self, node: WorkerController, duration: float = 0) -> None:
        """Give a node more tests, or what lets it run its last one."""
        if self.pending or not self._later:
            super().check_schedule(node, duration)
            return
        waiting = self.node2pending[node]
        if not node.shutting_down and waiting and waiting[-1] != self._fence:
            waiting.append(self._fence)
            node.send_runtest_some([self._fence])

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Note that a node has run a test, or passed a fence."""
        self.node2pending[node].remove(item_index)
        if item_index == self._fence:
            return
        self.check_schedule(node, duration=duration)
        self._perhaps_next()

    def _perhaps_next(self) -> None:
        if self.pending or not self._later or any(self._running(node) for node in self.nodes):
            return
        if self._rounds.another():
            self._release()
        else:
            self._later.clear()

    def remove_node(self, node: WorkerController) -> str | None:
        """Take back what a node did not run; return the test that it crashed in, if any."""
        left = [i for i in self.node2pending.pop(node) if i != self._fence]
        crashed = None
        if left:
            assert self.collection is not None
            crashed = self.collection[left.pop(0)]
            self.pending.extend(left)
            for other in self.nodes:
                self.check_schedule(other)
        self._perhaps_next()
        return crashed
