"""The thin wrapper on the SDKs' request methods: groups attempts into logical calls.

These modules of the SDKs are private. Where one has moved, capture goes on with one call per attempt; of openai,
the SDK that comes with us, we say so. The others are wrapped once the application has imported them: we never do.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType, TracebackType
from typing import Any

from pytest_llmwatch.capture.logical import LogicalCall
from pytest_llmwatch.capture.options import Problem

_MODULE = "openai._base_client"
_STAINLESS = (
    ("SyncAPIClient", "request", "_sync"),
    ("AsyncAPIClient", "request", "_async"),
    ("BaseClient", "_calculate_retry_timeout", "_no_wait"),
)
_SPEAKEASY = (("BaseSDK", "do_request", "_sync"), ("BaseSDK", "do_request_async", "_async"))
_OTHERS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "anthropic._base_client": _STAINLESS,
    "google.genai._api_client": (
        ("BaseApiClient", "_request", "_sync"),
        ("BaseApiClient", "_async_request", "_async"),
    ),
    "mistralai.client.basesdk": _SPEAKEASY,
    "mistralai.basesdk": _SPEAKEASY,  # before version 2
}
"""Of each other SDK's module: class, the method that makes a request with all attempts, and our wrapper."""


class SdkWrapper:
    """Wrap the SDKs.

    Args:
        open_call: Returns a new logical call, or None outside of any watch.
        current: Holds the call that the running request belongs to.
    """

    def __init__(
        self, open_call: Callable[[], LogicalCall | None], current: ContextVar[LogicalCall | None]
    ) -> None:
        self._open = open_call
        self._current = current
        self._real: list[tuple[type, str, Any, Any]] = []
        self._left = dict(_OTHERS)

    def install(self) -> list[Problem]:
        """Wrap openai, and what else is imported by now; return what of openai is not there."""
        try:
            module = importlib.import_module(_MODULE)
        except ImportError:
            return [_moved(_MODULE)]
        missing = self._wrap(module, _STAINLESS)
        self.catch_up()
        return [_moved(", ".join(missing))] if missing else []

    def catch_up(self) -> None:
        """Wrap what has been imported since; called before each test, so it is cheap."""
        for name in [name for name in self._left if name in sys.modules]:
            self._wrap(sys.modules[name], self._left.pop(name))

    def _wrap(self, module: ModuleType, methods: tuple[tuple[str, str, str], ...]) -> list[str]:
        missing = []
        for cls_name, name, wrapper in methods:
            cls = getattr(module, cls_name, None)
            real = getattr(cls, name, None)
            if cls is None or real is None:
                missing.append(f"{cls_name}.{name}")
                continue
            ours = functools.wraps(real)(getattr(self, wrapper)(real))
            self._real.append((cls, name, real, ours))
            setattr(cls, name, ours)
        return missing

    def remove(self) -> None:
        """Put the real methods back; one that somebody has wrapped since stays, and passes on."""
        for cls, name, real, ours in self._real:
            if getattr(cls, name, None) is ours:
                setattr(cls, name, real)
        self._real.clear()
        self._left.clear()

    def _sync(self, real: Any) -> Any:
        def request(client: Any, *args: Any, **kwargs: Any) -> Any:
            with _Logical(self._open(), self._current):
                return real(client, *args, **kwargs)

        return request

    def _async(self, real: Any) -> Any:
        async def request(client: Any, *args: Any, **kwargs: Any) -> Any:
            with _Logical(self._open(), self._current):
                return await real(client, *args, **kwargs)

        return request

    def _no_wait(self, real: Any) -> Any:
        def calculate_retry_timeout(client: Any, *args: Any, **kwargs: Any) -> Any:
            call = self._current.get()
            # the recorded time counts, so a replay need not sit it out
            return 0.0 if call is not None and call.fast else real(client, *args, **kwargs)

        return calculate_retry_timeout


class _Logical:
    """Let all attempts inside belong to one logical call; nothing outside of any watch (``call`` None)."""

    __slots__ = ("_call", "_current", "_token")

    def __init__(self, call: LogicalCall | None, current: ContextVar[LogicalCall | None]) -> None:
        self._call = call
        self._current = current

    def __enter__(self) -> None:
        if self._call is not None:
            self._token = self._current.set(self._call)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._call
        if call is None:
            return
        self._current.reset(self._token)
        call.release()
        if call.fatal is not None and isinstance(error, Exception):
            # openai 1 and 2 wrap what a transport raises: the user must see the cause itself
            raise call.fatal from None


def _moved(what: str) -> Problem:
    return Problem(
        "sdk-moved",
        f"this openai version has no {what}: retries are counted as calls of their own; upgrade pytest-llmwatch, "
        "or use an openai version that it was tested with",
    )
