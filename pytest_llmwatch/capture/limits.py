"""What a live request has to pass: the circuit breaker, the spending guard, the rate limiter."""

from __future__ import annotations

import threading
import time
from collections import defaultdict

from pytest_llmwatch.capture.faults import DEAD
from pytest_llmwatch.errors import InfrastructureError


class Circuit:
    """Give an endpoint up after some calls in a row found nobody there, unless any call ever succeeded."""

    def __init__(self, dead_after: int) -> None:
        self._dead_after = dead_after
        self._failures: dict[str, int] = defaultdict(int)
        self._alive: set[str] = set()
        self._lock = threading.Lock()

    def check(self, endpoint: str) -> None:
        """Refuse a request to an endpoint that was given up.

        Raises:
            InfrastructureError: It was given up.
        """
        if self._failures.get(endpoint, 0) >= self._dead_after and endpoint not in self._alive:
            raise InfrastructureError(
                f"nobody answered at {endpoint} in {self._failures[endpoint]} calls in a row; no more were made. "
                "Start the server, or correct base_url",
                slug="endpoint-dead",
            )

    def note(self, endpoint: str, error_type: str | None, *, answered: bool) -> None:
        """Count the outcome of a logical call."""
        with self._lock:
            if answered:
                self._alive.add(endpoint)
            elif error_type in DEAD:
                self._failures[endpoint] += 1


class RateLimiter:
    """Space live requests evenly: so many a minute, over all threads.

    Args:
        rpm: Requests a minute, None without a limit.
    """

    def __init__(self, rpm: int | None) -> None:
        self._step = 60.0 / rpm if rpm else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Reserve the next place; return the seconds until it."""
        if not self._step:
            return 0.0
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._step
            return at - now
