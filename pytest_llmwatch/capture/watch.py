"""What one execution of one test (or of a wider fixture) collects."""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_llmwatch.capture.inject import Faults
from pytest_llmwatch.capture.labels import LABELS
from pytest_llmwatch.capture.spans import Trace
from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.model import Call, Case, Span

if TYPE_CHECKING:
    from pytest_llmwatch.capture.cassette import CassetteHandle

__all__ = ["LABELS", "Watch"]


class Watch:
    """Collect the calls of one execution.

    Args:
        nodeid: Of the test; a fixture wider than function scope has one of its own.
        case: The golden case under test.
        repeat: Sample number of the case, from 0.
        attempt: Rerun number of the test, from 0.
        labels: ``feature``, ``team``, ``user`` (hashed before it is kept), ``prompt_version`` ...
        markers: Names of the test's markers.
        cassette: Where its calls are recorded and replayed from; None = live.
        rerun_hint: Command that records this test's calls again.
    """

    def __init__(
        self,
        nodeid: str,
        *,
        case: Case | None = None,
        repeat: int = 0,
        attempt: int = 0,
        labels: Mapping[str, str] | None = None,
        markers: Iterable[str] = (),
        cassette: CassetteHandle | None = None,
        rerun_hint: str | None = None,
    ) -> None:
        self.nodeid = nodeid
        self.case = case
        self.repeat = repeat
        self.attempt = attempt
        self.labels: dict[str, str] = dict(labels or {})
        self.markers = tuple(markers)
        self.cassette = cassette
        self.rerun_hint = rerun_hint or f'pytest "{nodeid}" --llm-record=new'
        self.calls: list[Call] = []
        """Finished logical calls, in the order in which they were started."""
        self.errors: list[LlmwatchError] = []
        """Missing recordings and the like, noted even where the application swallows them."""
        self._counter = itertools.count()
        self._own = hashlib.sha256("\0".join((nodeid, str(repeat), str(attempt), "")).encode())
        self.trace_id = self._hash("trace")[:32]
        self.faults = Faults()
        """What the test asked its calls to meet."""
        self.trace = Trace(self)
        """The spans of this execution."""

    def tag(self, **labels: str) -> None:
        """Add labels to the calls that start from now on."""
        self.labels.update(labels)

    def next_index(self) -> int:
        """Return the number of the next logical call; atomic, so threads may share a watch."""
        return next(self._counter)

    def call_id(self, index: int) -> str:
        """Return the id of call ``index``: the same in every run, whatever ``-n`` is."""
        return self._hash(str(index))[:16]

    def span_id(self, index: int) -> str:
        """Return the id of span ``index``, as :meth:`call_id` does."""
        return self._hash(f"span\0{index}")[:16]

    @property
    def spans(self) -> tuple[Span, ...]:
        """Finished spans, in the order in which they were started."""
        return self.trace.spans

    def add(self, call: Call) -> None:
        """Keep a finished call in its place."""
        bisect.insort(self.calls, call, key=lambda c: c.index)

    def note(self, error: LlmwatchError) -> None:
        """Keep an error once, however often the application's retries meet it."""
        if all(e is not error and e.message != error.message for e in self.errors):
            self.errors.append(error)

    def _hash(self, what: str) -> str:
        own = self._own.copy()
        own.update(what.encode())
        return own.hexdigest()
