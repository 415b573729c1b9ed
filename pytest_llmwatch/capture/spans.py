"""Spans of one execution of a test: which are open, which call belongs where, and the record that each becomes.

The parent of a span or a call is the span that is open in its context (a task, or a thread that was given a copy
of the context). A thread without one, as a ``ThreadPoolExecutor`` has, takes the innermost span that encloses all
that is open in the thread of the test: where tasks have several open side by side, the one around them, or none.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.capture import documents
from pytest_llmwatch.capture.labels import HashKey, span_labels
from pytest_llmwatch.capture.span_frame import HERE, CallTimes, Frame
from pytest_llmwatch.model import Retrieval, Span, ToolCall
from pytest_llmwatch.redact import Redactor
from pytest_llmwatch.tracing_wrap import Step

if TYPE_CHECKING:
    from pytest_llmwatch.capture.watch import Watch

MAX_RESULT = 2_000
"""Characters of a tool's result that are kept."""


class _Found:
    """Documents that the next call in this context may have been given."""

    __slots__ = ("retrieval", "taken", "trace")

    def __init__(self, trace: Trace, retrieval: Retrieval) -> None:
        self.trace = trace
        self.retrieval = retrieval
        self.taken = False


_FOUND: ContextVar[_Found | None] = ContextVar("llmwatch_found", default=None)


class SpanKeeper:
    """Make the immutable record of a finished span: redacted, its user hashed.

    Args:
        redactor: Scrubs every text.
        hash_key: Key of the hash of user ids; None = users are dropped.
        on_span: Takes each finished span, from whatever thread it ended in.
    """

    def __init__(
        self,
        redactor: Redactor,
        hash_key: HashKey = None,
        on_span: Callable[[Span], None] | None = None,
    ) -> None:
        self.redactor = redactor
        self.hash_key = hash_key
        self.on_span = on_span

    def build(self, frame: Frame, error: BaseException | None) -> Span:
        """Return the record of ``frame``, which has ended; ``error`` is what left it."""
        step, watch = frame.step, frame.trace.watch
        assert step is not None
        text = self.redactor.text
        latency = frame.latency()
        attributes = self._json(step.attributes)
        retrieval, tool = None, None
        if step.documents is not None:
            retrieval, sources = documents.retrieval(
                step.query,
                step.documents,
                scores=step.scores,
                source=step.source,
                top_k=step.top_k,
                text=text,
            )
            if sources:
                attributes["sources"] = sources
        if step.kind == "tool":
            tool = self._tool(step, error, latency)
            if step.side_effect:
                attributes["side_effect"] = True
        elif step.kind == "agent":
            attributes["steps"] = len(frame.calls)
        parent = frame.parent and frame.parent.span()
        return Span(
            id=watch.span_id(frame.index),
            name=text(step.name),
            kind=step.kind,
            trace_id=watch.trace_id,
            parent_id=watch.span_id(parent.index) if parent else None,
            nodeid=watch.nodeid,
            set=watch.case.set if watch.case else None,
            case=watch.case.id if watch.case else None,
            repeat=watch.repeat,
            attempt=watch.attempt,
            index=frame.index,
            time=_iso(frame.moment.timestamp()),
            latency=latency,
            error=None if error is None else type(error).__name__,
            retrieval=retrieval,
            tool=tool,
            labels=span_labels(frame.given, self.hash_key, text),
            attributes=attributes,
            capture_mode=frame.mode(),
        )

    def _json(self, value: Any) -> dict[str, Any]:
        found = self.redactor.value(_plain(value))
        return found if isinstance(found, dict) else {}

    def _tool(self, step: Step, error: BaseException | None, latency: float | None) -> ToolCall:
        text = self.redactor.text
        message = None if error is None else text(f"{type(error).__name__}: {error}".removesuffix(": "))[:1000]
        return ToolCall(
            name=text(step.name),
            arguments=self._text(step.arguments) or "",
            id=None if step.id is None else text(str(step.id)),
            result=(self._text(step.result) or "")[:MAX_RESULT] if step.result is not None else None,
            error=message,
            latency=latency,
        )

    def _text(self, value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value if value is None else self.redactor.text(value)
        return json.dumps(self.redactor.value(_plain(value)), ensure_ascii=False)


class Trace:
    """What is open and what is finished in one execution of a test; threads share it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.keeper: SpanKeeper | None = None
        self._counter = itertools.count()
        self._lock = threading.Lock()
        self._open: list[Frame] = []
        self._homes: list[int] = []
        self._done: dict[int, tuple[Span, float, float]] = {}
        self._calls: list[CallTimes] = []

    # where things belong

    @contextlib.contextmanager
    def at_home(self) -> Iterator[None]:
        """Let this thread be one that the test itself runs in."""
        thread = threading.get_ident()
        with self._lock:
            self._homes.append(thread)
        try:
            yield
        finally:
            with self._lock:
                self._homes.remove(thread)

    def here(self) -> Frame | None:
        """Return what a span or a call that starts now belongs to."""
        frame = HERE.get()
        if frame is not None and frame.trace is self:
            return frame
        return self._enclosing()

    def _enclosing(self) -> Frame | None:
        """Return the innermost frame around everything that is open in the test's own threads."""
        with self._lock:
            if threading.get_ident() in self._homes:
                return None  # the test's own context knows, and says that nothing is around
            # a generator that waits for its reader runs nothing
            mine = [f for f in self._open if f.thread in self._homes and f.since is None]
        around: list[Frame] | None = None
        for frame in mine:
            if any(frame is not other and frame in other.above() for other in mine):
                continue  # not a leaf
            above = list(frame.above())
            around = above if around is None else [f for f in around if f in above]
        return next((f for f in around or () if f.ended is None), None)

    def labels(self, frame: Frame | None = None) -> dict[str, Any]:
        """Return the labels in force in ``frame`` (by default, here): the test's, then those of blocks around."""
        out: dict[str, Any] = dict(self.watch.labels)
        around = frame if frame is not None else self.here()
        for block in reversed(list(around.above()) if around is not None else []):
            out.update(block.labels)
        return out

    # what `tracing` asks

    def begin(self, step: Step) -> Frame:
        """Start a span."""
        frame = Frame(self, step, next(self._counter), self.here())
        frame.given = self.labels(frame)
        self.opened(frame)
        return frame

    def retrieved(self, step: Step) -> Frame | None:
        """Record a retrieval as a moment; None where an enclosing retrieval span took its documents."""
        around = self.here()
        outer = around and around.span()
        if outer and outer.step and outer.ended is None and _lacks_documents(outer.step):
            for name in ("query", "documents", "scores", "source", "top_k"):
                setattr(outer.step, name, getattr(step, name))
            return None
        frame = self.begin(step)
        frame.end()
        return frame

    def tag(self, labels: Mapping[str, Any]) -> Callable[[], None]:
        """Label what starts from now on: in the innermost block of labels, else in the test."""
        around = self.here()
        block = next((f for f in around.above() if f.step is None), None) if around else None
        place: dict[str, Any] = self.watch.labels if block is None else block.labels
        before = {k: place[k] for k in labels if k in place}
        place.update(labels)

        def undo() -> None:
            for key in labels:
                place.pop(key, None)
            place.update(before)

        return undo

    def tagged(self, labels: Mapping[str, Any]) -> Frame:
        """Start a block of labels."""
        frame = Frame(self, None, -1, self.here(), labels)
        self.opened(frame)
        return frame

    # what frames and calls report

    def opened(self, frame: Frame) -> None:
        """Note that a frame is open."""
        with self._lock:
            self._open.append(frame)

    def ended(self, frame: Frame, error: BaseException | None) -> None:
        """Note that a frame has ended; a span becomes a record."""
        with self._lock:
            self._open.remove(frame)
        if frame.step is None or self.keeper is None:
            return
        span = self.keeper.build(frame, error)
        with self._lock:
            self._done[frame.index] = (span, frame.began, frame.ended or frame.began)
        if span.retrieval is not None:
            _FOUND.set(_Found(self, span.retrieval))
        if self.keeper.on_span is not None:
            self.keeper.on_span(span)

    def call(self) -> CallTimes:
        """Return the times of a call that starts here; `started` counts it."""
        found = _FOUND.get()
        retrieval = None
        if found is not None and found.trace is self and not found.taken:
            found.taken = True
            retrieval = found.retrieval
        return CallTimes(self.here(), retrieval)

    def started(self, call: CallTimes) -> None:
        """Count a call in the spans around it: its first attempt is made."""
        self._calls.append(call)
        for frame in call.parent.above() if call.parent else ():
            frame.calls.append(call)

    # what became of it

    @property
    def spans(self) -> tuple[Span, ...]:
        """Finished spans in the order in which they started; in a replay, placed between the recorded calls."""
        with self._lock:
            done = [self._done[index] for index in sorted(self._done)]
            calls = list(self._calls)
        anchors = [a for c in calls if (a := _anchor(c)) is not None]
        if not anchors:
            return tuple(span for span, _, _ in done)
        return tuple(replace(span, time=_iso(_recorded(began, anchors))) for span, began, _ in done)


_Anchor = tuple[float, float, float, float]
"""A replayed call: began and ended on our clock, began and ended in its recording (seconds since 1970)."""


def _anchor(call: CallTimes) -> _Anchor | None:
    end = call.finished or call.returned
    if not call.replayed or call.start is None or end is None:
        return None
    return call.began, end, call.start, call.start + (call.length or call.head or 0.0)


def _recorded(moment: float, anchors: list[_Anchor]) -> float:
    """Return the time that ``moment`` of a replay had in the recording, by the nearest call before it."""
    before = [a for a in anchors if a[0] <= moment]
    if not before:
        began, _, start, _ = min(anchors)
        return start - (began - moment)
    began, end, start, stop = max(before)
    return stop + (moment - end) if moment >= end else min(stop, start + (moment - began))


def _lacks_documents(step: Step) -> bool:
    return step.kind == "retrieval" and step.documents is None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON values: what JSON cannot say is told by its text."""
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError, RecursionError):
        return {"value": str(value)[:MAX_RESULT]}
