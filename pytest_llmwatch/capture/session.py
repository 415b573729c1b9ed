"""The capture of one run: installed once, asked by the transport for every LLM request."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from pytest_llmwatch import tracing_wrap
from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture import keep, outgoing, sdk, transport
from pytest_llmwatch.capture.cassette import CassetteHandle, Shelf, merge_parts
from pytest_llmwatch.capture.cassette_book import Use
from pytest_llmwatch.capture.cassette_vcr import Beside
from pytest_llmwatch.capture.exchange import Exchange, Sent
from pytest_llmwatch.capture.labels import HashKey, hashed_user
from pytest_llmwatch.capture.limits import Admission, Circuit, RateLimiter, Turns, endpoint_of
from pytest_llmwatch.capture.log_filter import LogFilter
from pytest_llmwatch.capture.logical import CallBuilder, LogicalCall
from pytest_llmwatch.capture.missing import missing_recording
from pytest_llmwatch.capture.options import CaptureOptions, Problem
from pytest_llmwatch.capture.spans import SpanKeeper, Trace
from pytest_llmwatch.capture.targets import Targets
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import CassetteError, InfrastructureError, LlmwatchError
from pytest_llmwatch.model import Call, Span
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Redactor

__all__ = ["NO_KEY", "CaptureOptions", "CaptureSession", "Problem", "merge_parts"]

NO_KEY = "llmwatch-no-key"
"""The key of a client that was given none: good for a replay and for a local server, for nothing else."""
_NO_KEY_SENT = f"Bearer {NO_KEY}"

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 (compared, not bound)


class CaptureSession:
    """Monitor, record and replay the LLM calls of one run.

    Args:
        options: How to capture.
        prices: Adds the cost to each call.
        redactor: Scrubs all that is kept.
        guard: Called before each live attempt; may raise `SpendLimitReached`.
        on_call: Takes each finished logical call, redacted and priced; from whatever thread it ended in.
        on_span: Takes each finished span, redacted; from whatever thread it ended in.
        hash_key: Key of the hash of user ids, or how to get it; None = users are dropped.
    """

    def __init__(
        self,
        options: CaptureOptions,
        *,
        prices: PriceBook,
        redactor: Redactor,
        guard: Callable[[], None] | None = None,
        on_call: Callable[[Call], None] | None = None,
        on_span: Callable[[Span], None] | None = None,
        hash_key: HashKey = None,
    ) -> None:
        self.options = options
        self.problems: list[Problem] = []
        """What the user should know; grows while the run goes on."""
        self.shared: dict[tuple[object, ...], Any] = {}
        """Clients by their settings, see `capture.client`."""
        # of the session, not of the module: a test of a plugin runs one session inside another
        self._watch: ContextVar[Watch | None] = ContextVar("llmwatch_watch", default=None)
        self._call: ContextVar[LogicalCall | None] = ContextVar("llmwatch_call", default=None)
        self._redactor = redactor
        self._hash_key = hash_key
        self._on_call = on_call
        self._targets = Targets(options.base_urls, options.include, options.exclude)
        self._builder = CallBuilder(prices, redactor, hash_key)
        self._spans = SpanKeeper(redactor, hash_key, on_span)
        self._admission = Admission(
            Circuit(options.dead_after),
            RateLimiter(options.rpm, options.shared),
            Turns(options.concurrency, options.shared),
            guard=guard,
            prices=prices if options.priced_only else None,
        )
        self._shelf = Shelf(
            options.record,
            redactor,
            worker=options.worker,
            max_bytes=options.cassette_max_bytes,
            report=self._report,
            run=options.run,
            shared=options.cassettes,
        )
        self._installed: list[transport.Removable] = []
        self._sdk: sdk.SdkWrapper | None = None
        self._logs = LogFilter(redactor)
        self._closers: list[Callable[[], None]] = []
        self._open: dict[int, tuple[Watch, Exchange]] = {}
        self._modules: dict[int, ModuleType] = {}
        self._stack: list[Watch] = []
        self._inside: dict[Watch, Watch] = {}
        self._lock = threading.Lock()

    # the run

    def start(self) -> None:
        """Install the wrappers; harmless when already started."""
        if self._installed:
            return
        beside = Beside(self, self._vcr_opened)
        beside.install()
        self._installed = [*transport.install(self, self._report), beside]
        self._logs = LogFilter(self._redactor)
        self._logs.install()
        self._sdk = sdk.SdkWrapper(self._open_call, self._call)
        for problem in self._sdk.install():
            self._report(problem)
        tracing_wrap.sources.append(self._trace)

    def stop(self) -> None:
        """Remove the wrappers and close the clients that were opened; harmless when not started."""
        with contextlib.suppress(ValueError):
            tracing_wrap.sources.remove(self._trace)
        for installation in reversed(self._installed):
            installation.remove()
        self._installed = []
        self._logs.remove()
        if self._sdk is not None:
            self._sdk.remove()
            self._sdk = None
        while self._closers:
            self._closers.pop()()
        self.shared.clear()

    @contextlib.contextmanager
    def watch(self, watch: Watch, *, over: bool = False) -> Iterator[Watch]:
        """Let ``watch`` collect what is called inside, also in threads that know nothing of it.

        At the end, streams that nobody closed are recorded as far as they came.

        Args:
            watch: Collects.
            over: Collect also what is called by tasks that began under the watch before: a fixture, set up while a
                test is watched, may run in an event loop that is older than it.
        """
        if self._sdk is not None:
            self._sdk.catch_up()
        before = self._current() if over else self._watch.get()
        self._watch.set(watch)
        watch.trace.keeper = self._spans
        with self._lock:
            self._stack.append(watch)
            if over and before is not None:
                self._inside[before] = watch
        try:
            with watch.trace.at_home():
                yield watch
        finally:
            # set, not reset: a fixture's teardown may run in another context
            self._watch.set(before)
            with self._lock:
                self._stack.remove(watch)
                if over and before is not None:
                    self._inside.pop(before, None)
            self.finish(watch)

    def finish(self, watch: Watch) -> None:
        """Finish what ``watch`` has still open; called at the end of `watch`."""
        with self._lock:
            left = [exchange for owner, exchange in self._open.values() if owner is watch]
        for exchange in left:
            exchange.closed()

    def open_cassette(
        self,
        path: Path,
        *,
        repeat: int = 0,
        attempt: int = 0,
        display: str,
        again: bool = False,
        sources: Sequence[Path] = (),
    ) -> CassetteHandle:
        """Open the cassette of one execution; its ``close`` saves what was recorded.

        Args:
            path: The file.
            repeat: Sample number.
            attempt: Rerun number.
            display: The file's name in messages.
            again: Replay what an earlier execution of this session recorded, instead of recording it again.
            sources: Where another program may have recorded the same; the first that exists is replayed from too.

        Raises:
            CassetteError: The file exists and cannot be used.
        """
        return self._shelf.open(
            path, repeat=repeat, attempt=attempt, display=display, again=again, sources=sources
        )

    @property
    def cassette_uses(self) -> dict[Path, Use]:
        """What was done with each cassette that was opened."""
        return self._shelf.uses

    @property
    def cassettes_written(self) -> list[Path]:
        """Cassettes that were saved."""
        return sorted(self._shelf.written)

    def add_base_url(self, base_url: str) -> None:
        """Capture LLM requests below ``base_url`` too."""
        self._targets.add(base_url)

    def at_stop(self, close: Callable[[], None]) -> None:
        """Call ``close`` when the session stops."""
        self._closers.append(close)

    def _report(self, problem: Problem) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _vcr_opened(self, path: Path) -> None:
        """Replay from a cassette that a test opened with vcrpy, too."""
        watch = self._current()
        if watch is None or watch.cassette is None or self.options.record == "all" or not path.is_file():
            return
        try:
            watch.cassette.add_source(path)
        except CassetteError as error:
            watch.note(error)

    def _current(self) -> Watch | None:
        watch, stack = self._watch.get(), self._stack
        if watch is None or watch not in stack:
            # a thread that knows nothing of it, or a task that outlived the test under which it began
            return stack[-1] if stack else None
        while watch in self._inside:
            watch = self._inside[watch]
        return watch

    def _trace(self) -> Trace | None:
        watch = self._current()
        return None if watch is None else watch.trace

    def _open_call(self) -> LogicalCall | None:
        watch = self._current()
        return None if watch is None else LogicalCall(watch, self._finished)

    # what the transport asks

    def wants(
        self, method: str, host: str, port: int | None, path: str, body: Callable[[], bytes] = bytes
    ) -> bool:
        """Whether a request is an LLM call made under a watch."""
        call = self._call.get()
        if call is None and self._current() is None:
            return False
        return self._targets.matches(method, host, port, path, from_sdk=call is not None, body=body)

    def begin(self, sent: Sent, module: ModuleType) -> Exchange:
        """Open an exchange: replayed where there is a recording, live where that is allowed.

        Raises:
            MissingRecording: Neither.
        """
        call = self._call.get()
        if call is None:
            watch = self._current()
            assert watch is not None
            call = LogicalCall(watch, self._finished)
            call.returned = True
        elif call.fatal is not None:
            raise call.fatal
        watch, handle = call.watch, call.watch.cassette
        keep.learn(sent, self._redactor)
        exchange = Exchange(call, sent, functools.partial(_form, sent, self._redactor), self._over)
        exchange.cassette = handle
        judging = call.context is not None and call.context.role is not None
        injected = None if judging else watch.faults.take(sent, exchange.asked)  # faults are for the application
        exchange.injected = injected is not None
        recorded = injected
        if recorded is None and handle is not None and handle.plays:
            recorded = handle.play(exchange.form, exchange.key)
        if recorded is not None:
            call.attach(exchange)
            exchange.replayed = recorded
            body, times = keep.restore(exchange, recorded)
            exchange.settle(body, times)
            call.replays(exchange)
            self._remember(exchange, module)
            return exchange
        if not self._may_go_live(handle):
            call.fatal = missing_recording(watch, handle, exchange.form, call.labels)
            watch.note(call.fatal)
            raise call.fatal
        self._modules[id(exchange)] = module
        return exchange

    def admit(self, exchange: Exchange) -> Iterator[float]:
        """Let a live attempt pass key check and limits; return the waits before it may go, in seconds each.

        Raises:
            InfrastructureError: No key, or the endpoint was given up.
            SpendLimitReached: The guard refused.
        """
        call = exchange.call
        module = self._modules.pop(id(exchange))
        try:
            _check_key(exchange.sent)
            self._admission.check(exchange)
        except LlmwatchError as error:
            call.fatal = error
            call.watch.note(error)
            raise
        call.attach(exchange)
        if exchange.cassette is not None and exchange.cassette.can_record:
            exchange.slot = exchange.cassette.reserve(exchange.form, exchange.key)
            call.times.recorded = True
        self._remember(exchange, module)
        return self._waits(exchange)

    def outgoing(self, exchange: Exchange) -> bytes | None:
        """Return the body with what the option fills in, None where the application's own goes out."""
        kinds, call = self.options.request_metadata, exchange.call
        if not kinds:
            return None
        facts = {"test": call.watch.nodeid, "run": self.options.run}
        facts |= {k: str(call.labels[k]) for k in ("feature", "team", "prompt_version") if k in call.labels}
        user = call.labels.get("user")
        return outgoing.fill(
            exchange.sent,
            kinds,
            facts={k: self._redactor.text(v) for k, v in facts.items()},
            user=hashed_user(str(user), self._hash_key) if user is not None else None,
        )

    def _waits(self, exchange: Exchange) -> Iterator[float]:
        try:
            yield from self._admission.waits(exchange)
        except LlmwatchError as error:
            # refused while it waited: as if it had never been asked for
            exchange.finished = True
            with self._lock:
                self._open.pop(id(exchange), None)
                self._modules.pop(id(exchange), None)
            self._admission.turns.over(exchange)
            call = exchange.call
            call.detach(exchange)
            call.fatal = error
            call.watch.note(error)
            raise

    def _may_go_live(self, handle: CassetteHandle | None) -> bool:
        if handle is None or self.options.record == "off":
            return self.options.record != "none"
        return handle.can_record

    def _remember(self, exchange: Exchange, module: ModuleType) -> None:
        with self._lock:
            self._open[id(exchange)] = (exchange.call.watch, exchange)
            self._modules[id(exchange)] = module

    # what exchanges and calls report

    def _over(self, exchange: Exchange) -> None:
        with self._lock:
            self._open.pop(id(exchange), None)
            module = self._modules.pop(id(exchange), None)
        if exchange.replayed is None and module is not None:
            self._admission.over(exchange)
            body, times = keep.decode(exchange, module)
            exchange.settle(body, times)
            if exchange.error_type == "cancelled":
                exchange.slot = None  # a replay could only wait for ever; the reserved place is dropped
            if exchange.slot is not None and exchange.cassette is not None:
                recording = functools.partial(keep.keep, exchange, self._redactor, body, times)
                exchange.cassette.record(exchange.slot, recording)
        exchange.call.settle()

    def _finished(self, call: LogicalCall) -> None:
        try:
            self._hand_over(call)
        finally:
            # only now: the next call is to know what this one cost
            for exchange in call.exchanges:
                self._admission.turns.over(exchange)

    def _hand_over(self, call: LogicalCall) -> None:
        last = call.exchanges[-1]
        if last.replayed is None:
            answered = last.status_code is not None
            self._admission.circuit.note(endpoint_of(last), last.answer.error_type, answered=answered)
        if last.sent.method != "POST":
            return  # reading or deleting what an earlier call made: kept for the replay, but no call of a model
        record = self._builder.build(call)
        call.times.over(record)
        call.watch.add(record)
        if call.context is not None:
            call.context.calls.append(record)
        if self._on_call is not None:
            self._on_call(record)


def _form(sent: Sent, redactor: Redactor) -> dict[str, Any]:
    return fp.canonical(sent.method, sent.url, sent.body, sent.content_type, redactor)


def _check_key(sent: Sent) -> None:
    if sent.headers.get("authorization") != _NO_KEY_SENT or urlsplit(sent.url).hostname in _LOCAL:
        return
    raise InfrastructureError(
        f"no API key for {urlsplit(sent.url).hostname}: set OPENAI_API_KEY, or replay with --llm-record=none",
        slug="no-api-key",
    )
