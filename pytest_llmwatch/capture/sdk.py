"""The thin wrapper on the SDK's ``request`` methods: groups attempts into logical calls.

That module of the SDK is private. Where it has moved, capture goes on with one call per attempt, and says so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from pytest_llmwatch.capture.logical import LogicalCall
from pytest_llmwatch.capture.options import Problem

_MODULE = "openai._base_client"


class SdkWrapper:
    """Wrap the OpenAI SDK.

    Args:
        open_call: Returns a new logical call, or None outside of any watch.
        current: Holds the call that the running request belongs to.
    """

    def __init__(
        self, open_call: Callable[[], LogicalCall | None], current: ContextVar[LogicalCall | None]
    ) -> None:
        self._open = open_call
        self._current = current
        self._real: list[tuple[type, str, Any]] = []

    def install(self) -> list[Problem]:
        """Wrap what is there; return what is not."""
        try:
            module = importlib.import_module(_MODULE)
        except ImportError:
            return [_moved(_MODULE)]
        missing = []
        for cls_name, name, make in (
            ("SyncAPIClient", "request", self._sync),
            ("AsyncAPIClient", "request", self._async),
            ("BaseClient", "_calculate_retry_timeout", self._no_wait),
        ):
            cls = getattr(module, cls_name, None)
            real = getattr(cls, name, None)
            if cls is None or real is None:
                missing.append(f"{cls_name}.{name}")
                continue
            self._real.append((cls, name, real))
            setattr(cls, name, functools.wraps(real)(make(real)))
        return [_moved(", ".join(missing))] if missing else []

    def remove(self) -> None:
        """Put the real methods back."""
        for cls, name, real in self._real:
            setattr(cls, name, real)
        self._real.clear()

    def _sync(self, real: Any) -> Any:
        def request(client: Any, *args: Any, **kwargs: Any) -> Any:
            with self._logical():
                return real(client, *args, **kwargs)

        return request

    def _async(self, real: Any) -> Any:
        async def request(client: Any, *args: Any, **kwargs: Any) -> Any:
            with self._logical():
                return await real(client, *args, **kwargs)

        return request

    @contextlib.contextmanager
    def _logical(self) -> Iterator[None]:
        """Let all attempts inside belong to one logical call; nothing outside of any watch."""
        call = self._open()
        if call is None:
            yield
            return
        token = self._current.set(call)
        try:
            yield
        except Exception:
            if call.fatal is not None:
                # openai 1 and 2 wrap what a transport raises: the user must see the cause itself
                raise call.fatal from None
            raise
        finally:
            self._current.reset(token)
            call.release()

    def _no_wait(self, real: Any) -> Any:
        def calculate_retry_timeout(client: Any, *args: Any, **kwargs: Any) -> Any:
            call = self._current.get()
            # the recorded time counts, so a replay need not sit it out
            return 0.0 if call is not None and call.fast else real(client, *args, **kwargs)

        return calculate_retry_timeout


def _moved(what: str) -> Problem:
    return Problem(
        "sdk-moved",
        f"this openai version has no {what}: retries are counted as calls of their own; upgrade pytest-llmwatch, "
        "or use an openai version that it was tested with",
    )
