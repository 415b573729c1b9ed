"""What a live request has to pass: circuit breaker, price, spending guard, rate limiter, its turn.

Workers of one run share the rate limiter and the turns through files in a folder of the run.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pytest_llmwatch.capture import targets
from pytest_llmwatch.capture.faults import DEAD
from pytest_llmwatch.errors import InfrastructureError, SpendLimitReached
from pytest_llmwatch.model import Usage
from pytest_llmwatch.pricing import PriceBook, base_name

if TYPE_CHECKING:
    from pytest_llmwatch.capture.exchange import Exchange

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows: each worker counts for itself
    _fcntl = None

_LATER = 4
"""How many times as many failures in a row an endpoint is allowed that has answered before."""
_POLL = 0.01
"""Seconds between two looks for a free turn."""


class Circuit:
    """Give an endpoint up after some calls in a row found nobody there; later where it has answered before.

    A refused connection is told at once, and the SDK's retries may still meet a server that is starting: calls
    count. A connection that times out takes seconds each time: there each attempt counts.
    """

    def __init__(self, dead_after: int) -> None:
        self._dead_after = dead_after
        self._calls: dict[str, int] = defaultdict(int)
        self._timeouts: dict[str, int] = defaultdict(int)
        self._alive: set[str] = set()
        self._given_up: dict[str, str] = {}
        self._lock = threading.Lock()

    def check(self, endpoint: str) -> None:
        """Refuse a request to an endpoint that was given up.

        Raises:
            InfrastructureError: It was given up.
        """
        allowed = self._dead_after * (_LATER if endpoint in self._alive else 1)
        calls, timeouts = self._calls.get(endpoint, 0), self._timeouts.get(endpoint, 0)
        if calls < allowed and timeouts < allowed:
            return
        with self._lock:
            # said once: calls in flight still come back, and equal lines are shown as one
            text = self._given_up.setdefault(
                endpoint,
                f"nobody answered at {endpoint} in {calls if calls >= allowed else timeouts} "
                f"{'calls' if calls >= allowed else 'attempts'} in a row; no more were made. "
                "Start the server, or correct base_url",
            )
        raise InfrastructureError(text, slug="endpoint-given-up")

    def attempt(self, endpoint: str, error_type: str | None, *, answered: bool) -> None:
        """Count the outcome of one attempt."""
        with self._lock:
            if answered:
                self._alive.add(endpoint)
                self._calls.pop(endpoint, None)
                self._timeouts.pop(endpoint, None)
            elif error_type == "connect_timeout":
                self._timeouts[endpoint] += 1

    def note(self, endpoint: str, error_type: str | None, *, answered: bool) -> None:
        """Count the outcome of a logical call."""
        if not answered and error_type in DEAD:
            with self._lock:
                self._calls[endpoint] += 1


class RateLimiter:
    """Space live requests evenly: so many a minute, over all threads, and over all processes that share a folder.

    Args:
        rpm: Requests a minute, None without a limit.
        shared: Folder of the run, None where this process is the only one.
    """

    def __init__(self, rpm: int | None, shared: Path | None = None) -> None:
        self._step = 60.0 / rpm if rpm else 0.0
        self._next = 0.0
        self._lock = threading.Lock()
        self._file = None if shared is None or _fcntl is None else shared / "rate.txt"

    def reserve(self) -> float:
        """Reserve the next place; return the seconds until it."""
        if not self._step:
            return 0.0
        with self._lock, self._shared() as file:
            now = time.monotonic()  # one clock for all processes of a machine
            if file is not None:
                self._next = float(file.read() or 0.0)
            at = max(now, self._next)
            self._next = at + self._step
            if file is not None:
                file.seek(0)
                file.truncate()
                file.write(repr(self._next))
            return at - now

    @contextlib.contextmanager
    def _shared(self) -> Iterator[TextIO | None]:
        if self._file is None:
            yield None
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+", encoding="ascii") as file:
            _fcntl.flock(file, _fcntl.LOCK_EX)
            file.seek(0)
            yield file


class Turns:
    """At most so many live requests in flight, over all threads, tasks and processes that share a folder.

    A request holds its turn until its body is at its end and its cost is known. One that is made while its own
    task or thread still reads another answer needs none: it would wait for itself.

    Args:
        count: How many at once, None without a limit.
        shared: Folder of the run, None where this process is the only one.
    """

    def __init__(self, count: int | None, shared: Path | None = None) -> None:
        self._count = count
        self._folder = shared if _fcntl is not None else None
        self._held: dict[int, int | None] = {}
        self._lock = threading.Lock()
        self._inside: ContextVar[Exchange | None] = ContextVar("llmwatch_turn", default=None)

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._count is not None

    def waits(self, exchange: Exchange) -> Iterator[float]:
        """Yield the seconds to wait, again and again, until ``exchange`` has its turn."""
        if self._count is None:
            return
        around = self._inside.get()
        if around is not None and not around.finished:
            return
        while not self._take(exchange):
            yield _POLL
        self._inside.set(exchange)

    def over(self, exchange: Exchange) -> None:
        """Give the turn of ``exchange`` back, if it has one."""
        if self._held:
            with self._lock:
                handle = self._held.pop(id(exchange), None)
            if handle is not None:
                os.close(handle)  # which unlocks

    def _take(self, exchange: Exchange) -> bool:
        with self._lock:
            if len(self._held) >= (self._count or 0):
                return False
            handle = None
            if self._folder is not None:
                handle = self._lock_one(self._folder)
                if handle is None:
                    return False
            self._held[id(exchange)] = handle
            return True

    def _lock_one(self, folder: Path) -> int | None:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(self._count or 0):
            handle = os.open(folder / f"turn{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
            else:
                return handle
        return None


class Admission:
    """All limits of a session in one place.

    Args:
        circuit: Of this process.
        limiter: Spaces requests.
        turns: Limits those in flight.
        guard: Called before each live attempt; may raise `SpendLimitReached`.
        prices: Refuse models that it has no price for; None = any model may be called.
    """

    def __init__(
        self,
        circuit: Circuit,
        limiter: RateLimiter,
        turns: Turns,
        *,
        guard: Callable[[], None] | None,
        prices: PriceBook | None,
    ) -> None:
        self.circuit = circuit
        self.limiter = limiter
        self.turns = turns
        self._guard = guard
        self._prices = prices
        self._priced: dict[tuple[str, str | None], bool] = {}

    def check(self, exchange: Exchange) -> None:
        """Refuse a request that must not be made.

        Raises:
            InfrastructureError: Its endpoint was given up.
            SpendLimitReached: There is no money left, or nobody knows what it would cost.
        """
        self.circuit.check(endpoint_of(exchange))
        if self._prices is not None:
            self._check_price(exchange, self._prices)
        if self._guard is not None:
            self._guard()

    def waits(self, exchange: Exchange) -> Iterator[float]:
        """Yield the seconds to wait, one after another, before the request may go.

        Raises:
            InfrastructureError: Its endpoint was given up meanwhile.
            SpendLimitReached: The money went meanwhile.
        """
        # a turn that is free at once may be one that was given back since the first look: look again
        pause, waited = self.limiter.reserve(), self.turns.limited
        if pause > 0:
            waited = True
            yield pause
        for pause in self.turns.waits(exchange):
            waited = True
            yield pause
        if waited:
            self.check(exchange)

    def over(self, exchange: Exchange) -> None:
        """Take note of how a live attempt ended; one that was answered keeps its turn until its call is paid."""
        answered = exchange.status_code is not None
        if exchange.status_code is None or exchange.status_code >= 400:
            self.turns.over(exchange)
        self.circuit.attempt(endpoint_of(exchange), exchange.error_type, answered=answered)

    def _check_price(self, exchange: Exchange, prices: PriceBook) -> None:
        place = targets.place(exchange.sent.url)
        model = exchange.asked.model
        if model is None or exchange.sent.method != "POST" or place.free:
            return  # what an answer cost that named no model is known once it is there
        key = (base_name(model), targets.provider(place.host or ""))
        if key not in self._priced:
            self._priced[key] = prices.cost(*key, Usage(1, 1, 2)).usd is not None
        if not self._priced[key]:
            raise SpendLimitReached(
                f'not called: the price of {key[0]!r} is not known, so --llm-max-cost cannot hold; add [prices."'
                f'{key[0]}"] to budget.toml (0 for a model of your own), or leave --llm-max-cost out',
                slug="max-cost-unpriced",
            )


def endpoint_of(exchange: Exchange) -> str:
    """Return scheme, host and port that a request goes to."""
    return targets.place(exchange.sent.url).endpoint
