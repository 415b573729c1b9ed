"""What holds live calls back: spending guards, unpriced models, rate, calls in flight, endpoints that are dead."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from llmock.scenarios import Fail, StreamFault

from pytest_llmwatch.capture.limits import Circuit, RateLimiter, Turns
from pytest_llmwatch.capture.options import CaptureOptions
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.errors import InfrastructureError, SpendLimitReached
from pytest_llmwatch.model import Cost, Price, Usage
from pytest_llmwatch.plugin.spending import Spending
from pytest_llmwatch.plugin.wire import SpendLedger
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Redactor

MODEL = "gpt-4o-mini"


def many(base_url: str, count: int, *, asynchronous: bool) -> Any:
    """Return an act that makes ``count`` calls at once and gives each answer or error."""
    ask = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}

    async def gathered() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
            calls = (client.chat.completions.create(**ask) for _ in range(count))
            return await asyncio.gather(*calls, return_exceptions=True)

    def threaded() -> list[Any]:
        with (
            openai.OpenAI(base_url=base_url, api_key="x", max_retries=0) as client,
            concurrent.futures.ThreadPoolExecutor(count) as pool,
        ):
            futures = [pool.submit(client.chat.completions.create, **ask) for _ in range(count)]
            return [future.exception() or future.result() for future in futures]

    return lambda _: asyncio.run(gathered()) if asynchronous else threaded()


class Counter:
    """Counts the requests that a server has in hand, and holds each until ``free`` says yes."""

    def __init__(self, free: Callable[[Counter], bool]) -> None:
        self.now = self.most = 0
        self._free = free
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.now += 1
            self.most = max(self.most, self.now)
            while not self._changed.wait_for(lambda: self._free(self), timeout=0.02):
                pass
            self._changed.notify_all()
            self.now -= 1


BOTH = pytest.mark.parametrize("asynchronous", [False, True], ids=["threads", "asyncio"])


@pytest.fixture
def journal(llmock_server: Any, faults: Any) -> Callable[[], list[Any]]:
    """What the server saw in this test."""
    found: Callable[[], list[Any]] = llmock_server.state.journal.records
    return found


@BOTH
def test_calls_in_flight_are_limited(bench: Any, api: Any, asynchronous: bool) -> None:
    deadline = time.monotonic() + 30

    def three(counter: Counter) -> bool:
        return counter.most >= 3 or time.monotonic() > deadline

    api.gate = Counter(three)
    free = bench.run(many(api.base_url, 8, asynchronous=asynchronous), "off")
    assert [c.status for c in free.watch.calls] == ["success"] * 8
    assert api.gate.most >= 3, "without a limit they are at the server together"

    # the two that are let in stay there until the other six have stood in the queue for a while
    held_until: list[float] = []

    def queued(counter: Counter) -> bool:
        if counter.most >= 2 and not held_until:
            held_until.append(time.monotonic() + 1.0)
        return time.monotonic() > (held_until[0] if held_until else deadline)

    api.gate = Counter(queued)
    held = bench.run(many(api.base_url, 8, asynchronous=asynchronous), "off", options={"concurrency": 2})
    assert [c.status for c in held.watch.calls] == ["success"] * 8
    assert api.gate.most == 2
    waits = sorted(c.queue_wait or 0.0 for c in held.watch.calls)
    assert waits[2] > 0.1, "six of eight waited while the server had the first two in hand"
    assert all(c.latency >= 0.0 for c in held.watch.calls)
    waited_longest = max(held.watch.calls, key=lambda c: c.queue_wait or 0.0)
    assert waited_longest.latency < waited_longest.queue_wait, "waiting is no latency"


def test_a_call_made_inside_of_an_open_stream_does_not_wait_for_itself(bench: Any) -> None:
    def act(llm_call: Any) -> str:
        for _ in llm_call.stream("One", api="chat"):
            return str(llm_call("Two", api="chat").text)
        return ""

    assert bench.run(act, "off", options={"concurrency": 1}).value


@BOTH
def test_spending_overshoots_by_no_more_than_what_is_in_flight(
    bench: Any, journal: Any, tmp_path: Path, asynchronous: bool
) -> None:
    prices = PriceBook({MODEL: Price(1e6, 1e6)})
    ledger = SpendLedger(tmp_path / "spent.txt", 1.0)
    spending = Spending(ledger, lambda model, usage: prices.cost(model, None, usage))
    session = CaptureSession(
        CaptureOptions(record="all", concurrency=2, priced_only=True),
        prices=prices,
        redactor=Redactor(),
        guard=spending.guard,
        on_call=spending.took,
    )
    result = bench.run(many(bench.base_url, 12, asynchronous=asynchronous), session=session)
    session.stop()
    assert 1 <= len(journal()) <= 2, "each call costs more than the limit; two may be in flight"
    assert len(result.watch.calls) == len(journal()), "what was refused is no call"
    refused = [e for e in result.value if isinstance(e, Exception)]
    assert len(refused) == 12 - len(journal())
    assert {e.slug for e in result.watch.errors} == {"max-cost"}
    assert ledger.read()[0] == pytest.approx(sum(c.cost.usd for c in result.watch.calls))
    assert len(bench.cassette().read_text().split("- request:")) - 1 == len(journal()), "nor is it recorded"


def test_a_model_without_a_price_is_not_called_under_a_limit(bench: Any, journal: Any) -> None:
    act = bench.ask(model="house-model-1", api="chat")
    result = bench.run(act, "off", options={"priced_only": True})
    assert isinstance(result.error, SpendLimitReached)
    assert result.error.slug == "max-cost-unpriced"
    assert '[prices."house-model-1"]' in str(result.error)
    assert journal() == []
    assert bench.run(bench.ask(api="chat"), "off", options={"priced_only": True}).error is None, "a known one is"
    assert bench.run(act, "off").error is None, "and without a limit any"


def test_what_failed_is_counted_as_it_is_billed(bench: Any, faults: Any, tmp_path: Path) -> None:
    prices = PriceBook({MODEL: Price(1.0, 1.0)})
    ledger = SpendLedger(tmp_path / "spent.txt", 1.0)
    spending = Spending(ledger, lambda model, usage: prices.cost(model, None, usage))

    def spent(act: Any, *given: Any) -> tuple[float, Any]:
        before = ledger.read()[0]
        for fault in given:
            faults.add(fault)
        call = bench.run(act, "off").watch.calls[-1]
        spending.took(call)
        return ledger.read()[0] - before, call

    whole, _ = spent(bench.ask(api="chat"))
    assert whole > 0
    assert spent(bench.ask(api="chat"), Fail(503, times=3))[0] == 0, "an error without usage is not billed"
    retried, call = spent(bench.ask(api="chat"), Fail(429, retry_after=0.01))
    assert (call.retries, retried) == (1, whole), "of an attempt and its retry, one was billed"
    cut, call = spent(bench.stream(api="chat"), StreamFault("truncate", after_chunks=3))
    assert (call.status, call.usage.output_tokens) == ("incomplete", None)
    assert cut > 0, "a stream that broke off was billed, and is counted by its length"
    assert ledger.read()[1] is None


def test_what_nobody_can_price_stops_further_calls(bench: Any, tmp_path: Path) -> None:
    ledger = SpendLedger(tmp_path / "spent.txt", 1.0)
    spending = Spending(ledger, lambda model, usage: Cost())
    spending.guard()
    spending.took(bench.run(bench.ask(api="chat", model="house-model-1"), "off").call)
    with pytest.raises(SpendLimitReached, match="house-model-1") as caught:
        spending.guard()
    assert caught.value.slug == "max-cost-unpriced"
    replayed = SpendLedger(tmp_path / "other.txt", 1.0)
    bench.run(bench.ask(api="chat", model="house-model-1"), "once")
    played = bench.run(bench.ask(api="chat", model="house-model-1"), "none").call
    Spending(replayed, lambda model, usage: Cost()).took(played)
    assert replayed.read() == (0.0, None), "a replay costs nothing, whatever the model"


@BOTH
def test_the_rate_holds_by_the_servers_clock(bench: Any, journal: Any, asynchronous: bool) -> None:
    bench.run(many(bench.base_url, 6, asynchronous=asynchronous), "off", options={"rpm": 600})
    begun = sorted(r.started_at for r in journal())
    assert begun[-1] - begun[0] >= 5 * 0.1 - 0.09, "six requests, a tenth of a second apart"


def test_processes_that_share_a_folder_share_rate_and_turns(tmp_path: Path) -> None:
    # as two processes would: two limiters, two sets of turns
    one, two = (RateLimiter(60, tmp_path / "run") for _ in range(2))
    waits = [limiter.reserve() for limiter in (one, two, one, two)]
    assert [round(w) for w in waits] == [0, 1, 2, 3]
    alone = [RateLimiter(60).reserve() for _ in range(2)]
    assert alone == [0, 0], "each for itself would not hold the rate"

    class Held:
        finished = False

    first, second = (Turns(1, tmp_path / "run") for _ in range(2))
    exchange: Any = Held()
    other: Any = Held()
    assert list(first.waits(exchange)) == []
    waiting = iter(threading_waits(second, other))
    assert next(waiting) > 0
    assert next(waiting) > 0
    first.over(exchange)
    assert list(waiting) == []


def threading_waits(turns: Turns, exchange: Any) -> Iterator[float]:
    """Yield the waits as another thread, which holds no turn, meets them."""
    found: list[float | None] = []
    go, done = threading.Semaphore(0), threading.Semaphore(0)

    def other() -> None:
        waits = turns.waits(exchange)
        while not found or found[-1] is not None:
            go.acquire()
            found.append(next(waits, None))
            done.release()

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    while True:
        go.release()
        done.acquire()
        wait = found[-1]
        if wait is None:
            thread.join()
            return
        yield wait


def test_when_an_endpoint_is_given_up() -> None:
    circuit = Circuit(2)
    for _ in range(2):
        circuit.check("a")
        circuit.note("a", "connection_refused", answered=False)
    with pytest.raises(InfrastructureError, match="in 2 calls in a row") as caught:
        circuit.check("a")
    assert caught.value.slug == "endpoint-given-up"
    circuit.note("a", "connection_refused", answered=False)
    with pytest.raises(InfrastructureError, match="in 2 calls in a row"):
        circuit.check("a")  # the same words, so that equal lines are shown as one
    circuit.check("b")
    circuit.attempt("b", None, answered=True)
    for _ in range(7):
        circuit.note("b", "connection_refused", answered=False)
        circuit.check("b")
    circuit.attempt("b", None, answered=True)
    circuit.note("b", "connection_refused", answered=False)
    circuit.check("b")
    for _ in range(7):
        circuit.note("b", "connection_refused", answered=False)
    with pytest.raises(InfrastructureError, match="in 8 calls in a row"):
        circuit.check("b")
    for _ in range(9):
        circuit.note("c", "read_timeout", answered=False)
        circuit.note("c", "http_500", answered=True)
    circuit.check("c")  # slow or broken, but somebody is there


def test_a_connection_that_times_out_is_given_up_by_attempts(bench: Any) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(
                ("127.0.0.1", port)
            )  # nobody accepts: the queue is full, what comes later is dropped
        url = f"http://127.0.0.1:{port}/v1"
        client = openai.OpenAI(base_url=url, api_key="x", max_retries=5, timeout=openai.Timeout(5.0, connect=0.2))
        ask = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
        result = bench.run(lambda _: client.chat.completions.create(**ask), "off")
        client.close()
        for caller in callers:
            caller.close()
    assert isinstance(result.error, InfrastructureError)
    assert "in 2 attempts in a row" in str(result.error)
    assert [a.error_type for a in result.call.attempts] == ["connect_timeout"] * 2, (
        "of six that the SDK would make"
    )


def test_what_a_call_would_cost_is_looked_up_once(bench: Any) -> None:
    asked: list[str] = []

    def extra(model: str, provider: str | None, usage: Usage) -> Cost:
        asked.append(model)
        return Cost(0.0, 0.0, 0.0, "test")

    session = CaptureSession(
        CaptureOptions(record="off", priced_only=True), prices=PriceBook(extra=extra), redactor=Redactor()
    )
    acts = lambda call: [call(f"Q{i}", model="house-model-1", api="chat").text for i in range(3)]  # noqa: E731
    assert bench.run(acts, session=session).error is None
    session.stop()
    assert asked.count("house-model-1") <= 4, "once before, and once for each answer"
