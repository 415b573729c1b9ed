"""A span while it is open, and a call as the spans around it see it: where they belong, how long they took."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.model import CaptureMode, Retrieval
from pytest_llmwatch.tracing_wrap import Step

if TYPE_CHECKING:
    from pytest_llmwatch.capture.spans import Trace
    from pytest_llmwatch.model import Call

clock = time.perf_counter
HERE: ContextVar[Frame | None] = ContextVar("llmwatch_span", default=None)


def outer_span() -> str | None:
    """Return ``TRACE-SPAN`` of the OpenTelemetry span that the application is in, None without one.

    Nothing is imported: where nobody imported OpenTelemetry, there is no span.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    try:
        found = trace.get_current_span().get_span_context()
        return f"{found.trace_id:032x}-{found.span_id:016x}" if found.is_valid else None
    except Exception:  # an instrumentation that is broken or half imported must not break the call
        return None


class CallTimes:
    """One call as the spans around it see it: when it really ran, and when its recording did.

    Attributes:
        parent: The span or tag block that it was started in.
        began: On our clock; ``returned`` when the SDK had its answer (of a stream, its head), ``finished`` when
            the answer was whole.
        start: Recorded start, seconds since 1970, waiting and connecting included; None = not known.
        length: Recorded duration from there on, in seconds.
        head: Recorded duration up to the head of the answer, in seconds.
        outer: ``TRACE-SPAN`` of the application's own OpenTelemetry span that it was started in.
        retrieval: Documents that were found for it.
    """

    __slots__ = (
        "began", "finished", "head", "length", "outer", "parent", "recorded", "replayed", "retrieval", "returned",
        "start",
    )  # fmt: skip

    def __init__(self, parent: Frame | None, retrieval: Retrieval | None) -> None:
        self.parent = parent
        self.outer = outer_span()
        self.retrieval = retrieval
        self.began = clock()
        self.returned: float | None = None
        self.finished: float | None = None
        self.replayed = False
        self.recorded = False
        self.start: float | None = None
        self.length: float | None = None
        self.head: float | None = None

    @property
    def span_id(self) -> str | None:
        """Id of the enclosing span."""
        frame = self.parent and self.parent.span()
        return frame.trace.watch.span_id(frame.index) if frame else None

    @property
    def stage(self) -> str | None:
        """Name of the enclosing span."""
        frame = self.parent and self.parent.span()
        return frame.step.name if frame and frame.step else None

    def settled(self, began: str, wait: float, head: float | None, length: float | None) -> None:
        """Take the times of a replayed call as far as its recording goes.

        Args:
            began: ISO 8601; empty = not recorded.
            wait: Seconds of waiting and connecting before that.
            head: Seconds from there to the head of the last attempt's answer.
            length: Seconds to its end.
        """
        self.replayed = True
        with contextlib.suppress(ValueError):
            self.start = datetime.fromisoformat(began).timestamp() - wait
        self.head = None if head is None else head + wait
        self.length = None if length is None else length + wait

    def over(self, call: Call) -> None:
        """Take the finished call."""
        self.finished = clock()
        if self.returned is None:
            self.returned = self.finished
        self.recorded = call.capture_mode == "recorded"
        self.replayed = call.capture_mode == "replayed"


class Frame:
    """A span while it is open, or a block of labels (``step`` None)."""

    __slots__ = (
        "_before", "began", "calls", "ended", "given", "index", "labels", "moment", "parent", "paused", "since",
        "step", "thread", "trace",
    )  # fmt: skip

    def __init__(
        self,
        trace: Trace,
        step: Step | None,
        index: int,
        parent: Frame | None,
        labels: Mapping[str, Any] | None = None,
    ) -> None:
        self.trace = trace
        self.step = step
        self.index = index
        self.labels: dict[str, Any] = dict(labels or {})
        """Its own: those of `Trace.labels` come from its parents and the test."""
        self.given: Mapping[str, Any] = {}
        """Labels that were in force when a span started."""
        self.parent = parent
        self.thread = threading.get_ident()
        self.calls: list[CallTimes] = []
        """Calls started inside, at any depth."""
        self.moment = datetime.now(UTC)
        self.began = clock()
        self.ended: float | None = None
        self.paused = 0.0
        self.since: float | None = None
        self._before: Frame | None = None

    def span(self) -> Frame | None:
        """Return the nearest span: this one, or one around it."""
        frame: Frame | None = self
        while frame is not None and frame.step is None:
            frame = frame.parent
        return frame

    def above(self) -> Iterator[Frame]:
        """Yield this frame and those around it, innermost first."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.parent

    # what a block or a wrapped function does with it

    def active(self) -> _Active:
        """Return a block that is inside; time between two blocks does not count."""
        return _Active(self)

    def enter(self) -> None:
        """Be the parent of what starts from now on in this context."""
        self._before = HERE.get()
        HERE.set(self)

    def leave(self) -> None:
        """Undo `enter`; set, not reset: a fixture's teardown may run in another context."""
        HERE.set(self._before)
        self._before = None

    def end(self, error: BaseException | None = None) -> None:
        """Record the span."""
        self.ended = clock() if self.since is None else self.since
        self.trace.ended(self, error)

    def reopen(self) -> None:
        """Start the clock again, of a span that was recorded as a moment."""
        self.moment, self.began, self.ended = datetime.now(UTC), clock(), None
        self.trace.opened(self)

    def check(self) -> None:
        """Raise what the test asked this tool to raise."""
        if self.step is not None and self.step.kind == "tool":
            error = self.trace.watch.faults.of_tool(self.step.name)
            if error is not None:
                raise error

    # how long it took

    def latency(self) -> float | None:
        """Return the span's seconds; with replayed calls inside, as they took when they were recorded.

        Then: wall time, less the time spent in those calls, plus the length of the union of their recorded
        intervals. None if a recording lacks times.
        """
        end = self.ended if self.ended is not None else clock()
        wall = end - self.began - self.paused
        replayed = [c for c in self.calls if c.replayed]
        if not replayed:
            return round(max(0.0, wall), 6)
        spent = _union((c.began, min(end, end if c.returned is None else c.returned)) for c in replayed)
        recorded = []
        for call in replayed:
            # of a stream that is read on after the span, only the wait for its head lies inside
            length = call.length if call.finished is not None and call.finished <= end else call.head
            if call.start is None or length is None:
                return None
            recorded.append((call.start, call.start + length))
        return round(max(0.0, wall - spent) + _union(recorded), 6)

    def mode(self) -> CaptureMode:
        """Return ``replayed`` or ``recorded`` where calls inside were, else ``live``."""
        if any(c.replayed for c in self.calls):
            return "replayed"
        return "recorded" if any(c.recorded for c in self.calls) else "live"


class _Active:
    __slots__ = ("_before", "_frame")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._before: Frame | None = None

    def __enter__(self) -> None:
        frame = self._frame
        if frame.since is not None:
            frame.paused += clock() - frame.since
            frame.since = None
        self._before = HERE.get()
        HERE.set(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        HERE.set(self._before)
        self._frame.since = clock()


def _union(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
