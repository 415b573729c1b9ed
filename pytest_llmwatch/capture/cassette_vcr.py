"""vcrpy in use beside us: in the same test, LLM calls are ours and everything else stays vcrpy's.

While one of its cassettes is open, vcrpy stands in front of every transport, ours included: it would play LLM
calls that nobody measures, and hold back streams that it records. So ours is put in front again for LLM calls, and
what vcrpy's cassette holds of them is replayed by us.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vcr.cassette import CassetteContextDecorator

from pytest_llmwatch.capture.transport import Gate, _wanted


class Beside:
    """Keeps our wrapper in front of vcrpy's while a session runs.

    Args:
        gate: Says which requests are LLM calls.
        entered: Called with the file of each cassette that is opened.
    """

    def __init__(self, gate: Gate, entered: Callable[[Path], None]) -> None:
        self._gate = gate
        self._entered = entered
        self._real: Any = None

    def install(self) -> None:
        """Wrap the opening of vcrpy's cassettes."""
        if self._real is not None:
            return
        real = self._real = CassetteContextDecorator.__enter__

        @functools.wraps(real)
        def enter(context: Any) -> Any:
            before = _transports()
            cassette = real(context)
            for (cls, name), ours in before.items():
                theirs = getattr(cls, name)
                if theirs is not ours:  # put back by vcrpy when the cassette is closed
                    setattr(cls, name, _route(self._gate, ours, theirs))
            path = getattr(cassette, "_path", None)
            if path is not None:
                with contextlib.suppress(OSError):
                    self._entered(Path(str(path)))
            return cassette

        CassetteContextDecorator.__enter__ = enter

    def remove(self) -> None:
        """Put vcrpy's own method back."""
        if self._real is not None:
            CassetteContextDecorator.__enter__ = self._real
            self._real = None


def _transports() -> dict[tuple[Any, str], Any]:
    out = {}
    for library in ("httpx", "httpx2"):
        if importlib.util.find_spec(library):
            module = importlib.import_module(library)
            for cls, name in (
                (module.HTTPTransport, "handle_request"),
                (module.AsyncHTTPTransport, "handle_async_request"),
            ):
                out[(cls, name)] = getattr(cls, name)
    return out


def _route(gate: Gate, ours: Any, theirs: Any) -> Any:
    # both are called alike, and what an asynchronous one returns is awaited by the caller
    @functools.wraps(ours)
    def handle(self: Any, request: Any) -> Any:
        return (ours if _wanted(request, gate) else theirs)(self, request)

    return handle
