"""The logical call: all attempts of one SDK request, and the record that is made of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace

from pytest_llmwatch.capture import targets
from pytest_llmwatch.capture.exchange import Exchange
from pytest_llmwatch.capture.labels import HashKey, call_labels
from pytest_llmwatch.capture.span_frame import clock
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.model import Attempt, Call, CaptureMode, Case, Cost, ToolCall, ToolResult, Usage
from pytest_llmwatch.pricing import PriceBook, base_name
from pytest_llmwatch.redact import Redactor


class CallContext:
    """What `LlmCall` knows of the calls made inside it: more labels, the case, and where the records go."""

    __slots__ = ("calls", "case", "labels", "role")

    def __init__(self, labels: Mapping[str, str], case: Case | None, role: str | None = None) -> None:
        self.labels = dict(labels)
        self.case = case
        self.role = role
        self.calls: list[Call] = []


CONTEXT: ContextVar[CallContext | None] = ContextVar("llmwatch_context", default=None)


class LogicalCall:
    """Attempts of one request, in order. Finished when the SDK has returned and every attempt is over."""

    def __init__(self, watch: Watch, done: Callable[[LogicalCall], None]) -> None:
        self.watch = watch
        self.context = CONTEXT.get()
        self.times = watch.trace.call()
        labels = watch.trace.labels()
        labels.update(self.context.labels if self.context else {})
        if self.times.stage is not None:
            labels.setdefault("stage", self.times.stage)
        self.labels = labels
        self.exchanges: list[Exchange] = []
        self.fatal: LlmwatchError | None = None
        """A missing recording or a refusal of ours: no retry can mend it, and it is what the user must see."""
        self.index = -1
        self.returned = False
        self._done = done
        self._finished = False
        self._lock = threading.Lock()

    def attach(self, exchange: Exchange) -> None:
        """Take the next attempt."""
        with self._lock:
            if self.index < 0:
                self.index = self.watch.next_index()
                self.watch.trace.started(self.times)
            exchange.retry = len(self.exchanges)
            self.exchanges.append(exchange)

    def detach(self, exchange: Exchange) -> None:
        """Forget an attempt that was refused before it was sent."""
        with self._lock:
            self.exchanges.remove(exchange)

    def place(self, exchange: Exchange) -> None:
        """Place a live attempt in time; it is over, and so are those before it."""
        if not exchange.retry:
            return
        before = self.exchanges[exchange.retry - 1]
        if before.replayed is not None:
            exchange.offset = before.offset + (before.times.total or 0.0)
            return
        queued = sum(e.queue_wait or 0.0 for e in self.exchanges[1 : exchange.retry + 1])
        exchange.offset = round(max(0.0, exchange.started - self.exchanges[0].started - queued), 6)

    def replays(self, exchange: Exchange) -> None:
        """Tell the spans around it how long the recording of a replayed attempt, and of those before it, took."""
        first, times = self.exchanges[0], exchange.times
        wait = sum(e.queue_wait or 0.0 for e in self.exchanges) + (first.connect or 0.0)
        head = times.total if times.headers is None else times.headers
        self.times.settled(
            first.time,
            wait,
            None if head is None else exchange.offset + head,
            None if times.total is None else exchange.offset + times.total,
        )

    @property
    def fast(self) -> bool:
        """Whether waiting before a retry is pointless: the last attempt was replayed, or nothing can help."""
        return self.fatal is not None or bool(self.exchanges and self.exchanges[-1].replayed is not None)

    def release(self) -> None:
        """Note that the SDK's request has returned or raised."""
        self.returned = True
        self.times.returned = clock()
        self.settle()

    def settle(self) -> None:
        """Hand the call over if it is complete. Called whenever something may have completed it."""
        with self._lock:
            ready = self.returned and self.exchanges and all(e.finished for e in self.exchanges)
            if not ready or self._finished:
                return
            self._finished = True
        self._done(self)


_OURS = frozenset(
    {
        "id", "trace_id", "span_id", "parent_id", "outer", "time", "server_address", "capture_mode",
        "usage", "cost", "operation", "status", "stream", "outcome", "role",
        "repeat", "attempt", "index", "input_chars", "output_chars", "ttft", "cache_hit", "schema_version",
        "input", "context", "reference", "output", "error", "parameters", "retrieval",
    }
)  # fmt: skip
"""Fields of a call that we made, or that name a server: nothing in them can be a secret. The last row is redacted
before it is put there."""


class CallBuilder:
    """Make the immutable record of a finished logical call: redacted and priced.

    Args:
        prices: What models cost.
        redactor: Scrubs every text.
        hash_key: Key of the hash of user ids; None = users are dropped, not kept raw.
    """

    def __init__(self, prices: PriceBook, redactor: Redactor, hash_key: HashKey) -> None:
        self._prices = prices
        self._redactor = redactor
        self._hash_key = hash_key

    def build(self, call: LogicalCall) -> Call:
        """Return the record of ``call``."""
        first, last = call.exchanges[0], call.exchanges[-1]
        answer, asked, watch = last.answer, last.asked, call.watch
        host, port = last.address
        place = targets.place(last.sent.url)
        free = place.free
        usage = Usage(0, 0, 0) if free else answer.usage
        provider = targets.provider(host or "")
        case = call.context.case if call.context and call.context.case else watch.case
        text = self._redactor.text
        prompt = None if asked.input is None else text(asked.input)
        output = None if answer.output is None else text(answer.output)
        response_model = base_name(answer.model) if answer.model else None
        model = base_name(asked.model) if asked.model else None
        call_id = watch.call_id(call.index)
        record = Call(
            id=call_id,
            nodeid=watch.nodeid,
            set=case.set if case else None,
            case=case.id if case else None,
            repeat=watch.repeat,
            attempt=watch.attempt,
            index=call.index,
            trace_id=watch.trace_id,
            span_id=call_id,
            time=first.time or None,
            provider=provider,
            operation=place.operation,
            server_address=host,
            server_port=port,
            model=model,
            response_model=response_model,
            parameters=self._redactor.value(asked.parameters),
            input=prompt,
            context=tuple(text(c) for c in case.context) if case else (),
            reference=text(case.reference) if case and case.reference else None,
            output=output,
            input_chars=None if asked.input is None else len(asked.input),
            output_chars=None if answer.output is None else len(answer.output),
            usage=usage,
            tool_calls=tuple(_redacted(t, text) for t in answer.tool_calls),
            tool_results=tuple(_told(t, text) for t in asked.tool_results),
            finish_reason=answer.finish_reason,
            request_id=answer.id or last.head("x-request-id", "request-id"),
            system_fingerprint=answer.system_fingerprint,
            status=answer.status,
            error_type=answer.error_type,
            error=None if answer.error is None else text(answer.error)[:1000],
            latency=_latency(last),
            ttft=None if last.ttft is None else round(last.offset + last.ttft, 6),
            queue_wait=_queue_wait(call),
            attempts=tuple(_attempt(e) for e in call.exchanges),
            stream=asked.stream,
            cost=Cost(0.0, 0.0, 0.0, "no model runs")
            if free
            else self._prices.cost(model, provider, usage, response_model, first.time or None),
            cache_hit=_cache_hit(answer.usage.cached_tokens),
            rate_limits=_rate_limits(last),
            capture_mode=_mode(call),
            markers=watch.markers,
            parent_id=call.times.span_id,
            outer=call.times.outer,
            retrieval=call.times.retrieval,
            role=call.context.role if call.context else None,
            **call_labels(call.labels, self._hash_key),
        )
        # a server writes what it likes into names and ids too
        return self._redactor.record(record, leave=_OURS)


def _latency(last: Exchange) -> float | None:
    return None if last.times.total is None else round(last.offset + last.times.total, 6)


def _redacted(tool: ToolCall, text: Callable[[str], str]) -> ToolCall:
    return replace(tool, arguments=text(tool.arguments), error=None if tool.error is None else text(tool.error))


def _told(result: ToolResult, text: Callable[[str], str]) -> ToolResult:
    return result if not result.content else replace(result, content=text(result.content))


def _cache_hit(cached: int | None) -> bool | None:
    return None if cached is None else cached > 0


def _attempt(exchange: Exchange) -> Attempt:
    return Attempt(
        status_code=exchange.status_code,
        latency=exchange.times.total,
        error_type=exchange.answer.error_type,
        retry_after=exchange.retry_after,
        request_id=exchange.head("x-request-id", "request-id"),
        queue_wait=exchange.queue_wait,
        connect=exchange.connect,
        injected=exchange.injected,
    )


def _queue_wait(call: LogicalCall) -> float | None:
    waits = [e.queue_wait for e in call.exchanges if e.queue_wait is not None]
    return round(sum(waits), 6) if waits else None


def _rate_limits(exchange: Exchange) -> dict[str, str]:
    wanted = ("x-ratelimit-", "anthropic-ratelimit-")
    found = {
        k.lower(): v for k, v in exchange.headers if k.lower().startswith(wanted) or k.lower() == "retry-after"
    }
    return dict(sorted(found.items()))


def _mode(call: LogicalCall) -> CaptureMode:
    if all(e.replayed is not None for e in call.exchanges):
        return "replayed"  # or met nothing but faults that the test asked for
    return "recorded" if any(e.slot is not None for e in call.exchanges) else "live"
