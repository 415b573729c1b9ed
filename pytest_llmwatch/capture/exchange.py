"""One HTTP request and its response: measured while it happens, kept when it is over.

The same object serves a live exchange (fed by the transport's tee) and a replayed one (filled from a recording);
what is said about the call is always read from the recorded form, so both say the same.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from pytest_llmwatch.capture import faults
from pytest_llmwatch.capture.answer import Answer, is_stream, is_terminated, read_response
from pytest_llmwatch.capture.asked import Asked, read_request
from pytest_llmwatch.capture.fingerprint import fingerprint
from pytest_llmwatch.capture.targets import place

if TYPE_CHECKING:
    from pytest_llmwatch.capture.cassette import CassetteHandle
    from pytest_llmwatch.capture.cassette_file import Interaction
    from pytest_llmwatch.capture.logical import LogicalCall

State = Literal["complete", "closed_early", "broken", "failed"]
clock = time.perf_counter


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it went out: nothing here is redacted."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The body's type."""
        return self.headers.get("content-type", "")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds since the request began to be written, less the consumer's time between chunks; None = not recorded.

    Before that lie ``Exchange.queue_wait`` and ``Exchange.connect``.
    """

    headers: float | None = None
    first_byte: float | None = None
    total: float | None = None
    chunks: tuple[tuple[float, int], ...] = ()


_NO_TIMES = Times()
_NO_ANSWER = Answer()


class Exchange:
    """One attempt of a logical call.

    Args:
        call: The logical call it belongs to.
        sent: The request.
        make_form: Makes the request's canonical form, where it is asked for.
        finish: Called once, when the exchange is over.
    """

    def __init__(
        self,
        call: LogicalCall,
        sent: Sent,
        make_form: Callable[[], dict[str, Any]],
        finish: Callable[[Exchange], None],
    ) -> None:
        self.call = call
        self.sent = sent
        self._make_form = make_form
        self.asked: Asked = read_request(self._said(), place(sent.url).path)
        self.queue_wait: float | None = None
        """Seconds that it waited for the rate limiter and for a connection to be its own; None = not measured."""
        self.connect: float | None = None
        """Seconds that opening a connection took; None where one was open already, or it was not measured."""
        self.retry = 0
        self.offset = 0.0
        """Seconds from the start of the logical call's first attempt, queue waits excluded."""
        self.cassette: CassetteHandle | None = None
        self.slot: int | None = None
        self.replayed: Interaction | None = None
        self.injected = False
        self.kept: Interaction | None = None
        self.time = ""
        self.status_code: int | None = None
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        self._heads: dict[str, str] = {}
        self._heads_of: list[tuple[str, str]] | None = None
        self.state: State = "complete"
        self.error: dict[str, str] | None = None
        self.error_type: str | None = None
        self.times = _NO_TIMES
        self.answer = _NO_ANSWER
        self.body = b""
        self.finished = False
        self._finish = finish
        self._lock = threading.Lock()
        self.waiting = _Waiting(self)
        """Context in which the transport waits for the next chunk; an error in it is the stream's."""
        self.started = 0.0
        """On our clock: when the request began to be written; before that, when its latest step began."""
        self._entered = 0.0
        self._began = 0.0
        self._slot_at: float | None = None
        self._traced = False
        self._headers_at: float | None = None
        self._waited = 0.0
        self._raw: list[bytes] = []
        self._at: list[float] = []

    @functools.cached_property
    def form(self) -> dict[str, Any]:
        """The request's canonical form: what it is matched by."""
        return self._make_form()

    @functools.cached_property
    def key(self) -> str:
        """The hash of `form`."""
        return fingerprint(self.form)

    def _said(self) -> bytes:
        """Return what the request says as JSON; the fields of a form too, which is how a model hears of audio."""
        if not self.sent.content_type.startswith("multipart/"):
            return self.sent.body
        parts = self.form.get("body") or ()
        return json.dumps({str(part["name"]): part["value"] for part in parts if "value" in part}).encode()

    # what the transport tells of a live exchange

    def start(self) -> None:
        """Start the clock: the request is the transport's."""
        self._began = time.time()
        self._entered = self.started = clock()

    def sending(self, *, traced: bool) -> None:
        """Note that the rate limiter is passed; ``traced`` says that `got_slot` and `writing` will follow."""
        self.started = clock()
        self._traced = traced

    def got_slot(self) -> None:
        """Note that the connection pool gave the request a place, if that was not known yet."""
        if self._slot_at is None:
            self._slot_at = self.started = clock()

    def writing(self) -> None:
        """Note that the request is about to be written: from here on the server's time runs."""
        now = clock()
        if self._slot_at is None:
            self._slot_at = now
        else:
            self.connect = round(now - self._slot_at, 6)
        self.started = now

    def answered(self) -> None:
        """Note that the response's head is here: before anything is done with it, for the clock runs."""
        if self._headers_at is None:
            self._headers_at = clock() - self.started

    def responded(self, status_code: int, reason: str, headers: list[tuple[str, str]]) -> None:
        """Take the response's head."""
        self.answered()
        self.status_code, self.reason, self.headers = status_code, reason, headers

    def failed(self, error: BaseException) -> None:
        """Note that no response came."""
        if self._traced and self._slot_at is None:
            self.started = clock()  # nothing but waiting in the queue
        self._waited = clock() - self.started
        self._over("failed", error)

    def waited(self, seconds: float) -> None:
        """Add to the time that the reader has waited for the body."""
        self._waited += seconds

    def chunk(self, data: bytes) -> None:
        """Take a chunk that the reader has waited for."""
        self._raw.append(data)
        self._at.append((self._headers_at or 0.0) + self._waited)

    def ended(self) -> None:
        """Note that the body is at its end."""
        self._over("complete")

    def broke(self, error: BaseException) -> None:
        """Note that the body broke off with an error."""
        if faults.error_type(error) == "cancelled":
            self._over("closed_early")  # the application gave up, the server did not fail
        else:
            self._over("broken", error)

    def closed(self) -> None:
        """Note that the reader closed the body, or that the test is over and it never will."""
        self._over("closed_early")

    # the end

    def _over(self, state: State, error: BaseException | None = None) -> None:
        with self._lock:
            if self.finished:
                return
            self.finished = True
        if self.replayed is None:  # else the recording says how it ended
            self.state = state
            if error is not None:
                self.error = faults.described(error)
                self.error_type = faults.error_type(error, in_stream=state == "broken")
            self._measure()
        self._finish(self)

    def _measure(self) -> None:
        if self._slot_at is not None:
            self.queue_wait = round(self._slot_at - self._entered, 6)
        elif self._traced:
            self.queue_wait = round(self.started - self._entered, 6)
        began = datetime.fromtimestamp(self._began + self.started - self._entered, UTC)
        self.time = f"{began.isoformat(timespec='milliseconds')[:-6]}Z"
        self.call.place(self)
        head = self._headers_at
        at = [round(t, 6) for t in self._at]
        # microseconds are what a clock can tell; rounded here, live and replayed times are equal
        self.times = Times(
            headers=None if head is None else round(head, 6),
            first_byte=at[0] if at else None,
            total=round((head or 0.0) + self._waited, 6),
            chunks=tuple((t, len(data)) for t, data in zip(at, self._raw, strict=True)),
        )

    def raw_chunks(self) -> list[bytes]:
        """Return the chunks as they came over the wire."""
        return self._raw

    def pieces(self) -> Iterator[bytes]:
        """Yield the body of a replayed exchange in the sizes in which it came."""
        place = 0
        for _, size in self.times.chunks or ((0.0, len(self.body)),):
            if size:
                yield self.body[place : place + size]
            place += size

    def settle(self, body: bytes, times: Times) -> None:
        """Read the decoded body: set the answer, and correct the state of a stream that was whole.

        Args:
            body: Decoded body as far as it came.
            times: With chunk sizes that fit ``body``.
        """
        self.body, self.times = body, times
        self._raw = []  # decoded by now
        content_type = self.head("content-type") or ""
        stream = is_stream(content_type, body)
        if self.state == "closed_early" and stream and is_terminated(body):
            # a client stops reading at the terminal event; that is the end, whatever the socket holds
            self.state = "complete"
        if self.status_code is None:
            name = self.error_type or "failed"
            self.answer = Answer(faults.status(name), name, (self.error or {}).get("message"), complete=False)
            return
        self.answer = read_response(self.status_code, content_type, body, self.asked.tools)
        if self.status_code < 300:
            self._judge_state()

    def _judge_state(self) -> None:
        answer = self.answer
        if self.state == "broken" and self.error_type:
            message = (self.error or {}).get("message")
            self.answer = replace(
                answer,
                status=faults.status(self.error_type),
                error_type=self.error_type,
                error=message,
                complete=False,
            )
        elif self.state == "closed_early" and answer.error_type == "truncated_stream" and answer.finish_reason:
            # the application stopped reading once it knew why the model had: nothing of the answer is missing
            self.answer = replace(answer, status="success", error_type=None, error=None, complete=True)
        elif self.state == "closed_early" and answer.error_type in ("truncated_stream", "empty_stream"):
            message = "the application closed the stream before its end"
            self.answer = replace(answer, error_type="closed_early", error=message)
        elif self.state == "closed_early" and answer.error_type in ("corrupt_body", "empty_response"):
            message = "the application closed the response before its end"
            self.answer = replace(answer, status="incomplete", error_type="closed_early", error=message)

    @property
    def ttft(self) -> float | None:
        """Seconds to the first chunk that carries content; None without streaming, or if there is none."""
        place = self.answer.first_content
        if place is None:
            return None
        total = 0
        for at, size in self.times.chunks:
            total += size
            if total >= place:
                return at
        return None

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asked to wait, from when its answer came."""
        for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
            if self.head(name) is None:
                continue
            for key, value in self.headers:
                if key.lower() == name:
                    try:
                        return float(value) / scale
                    except ValueError:
                        wait = self._until(value)
                    if wait is not None:
                        return wait
        return self.answer.retry_after

    def _until(self, date: str) -> float | None:
        """Return the seconds until an HTTP date (RFC 9110, section 5.6.7); None where it is none."""
        try:
            then = parsedate_to_datetime(date)
            asked = datetime.fromisoformat(self.time)
        except ValueError:
            return None
        if then.tzinfo is None:  # "-0000", of a server that does not know its zone
            then = then.replace(tzinfo=UTC)
        waited = timedelta(seconds=self.times.headers or 0.0)
        return max(0.0, round((then - asked - waited).total_seconds(), 3))

    @property
    def address(self) -> tuple[str | None, int | None]:
        """Host and port that the request went to; on replay, those of the recording."""
        went = place(self.sent.url if self.replayed is None else self.replayed.request.uri)
        return went.host, went.port

    def head(self, *names: str) -> str | None:
        """Return the value of the first response header with one of these names (lower case), None without one."""
        if self._heads_of is not self.headers:
            self._heads_of, self._heads = self.headers, {k.lower(): v for k, v in reversed(self.headers)}
        for name in names:
            if name in self._heads:
                return self._heads[name]
        return None


class _Waiting:
    """Time one wait for the body, and note what breaks it."""

    __slots__ = ("_before", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._before = 0.0

    def __enter__(self) -> None:
        self._before = clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exchange.waited(clock() - self._before)
        if error is not None:
            self._exchange.broke(error)
