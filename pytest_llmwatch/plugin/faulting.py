"""``llm_fault``: the next calls meet a fault, so that a team can test its fallback, retries, and error message."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch.capture.inject import KINDS, Fault, ToolFault, status_of
from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_llmwatch.capture.asked import Asked
    from pytest_llmwatch.capture.exchange import Sent
    from pytest_llmwatch.plugin.testrun import TestRun

TOOL_DOWN = "tool_down"


class Injected:
    """One fault that was asked for; as a context manager it holds inside the block only.

    Attributes:
        kind: What the calls meet.
        optional: Whether it is no failure that nothing met it.
    """

    def __init__(self, kind: str, fault: Fault | ToolFault, *, optional: bool) -> None:
        self.kind = kind
        self.optional = optional
        self._fault = fault

    @property
    def used(self) -> int:
        """How many attempts (or tool runs) met it so far."""
        return self._fault.used

    def close(self) -> None:
        """Let no further call meet it."""
        self._fault.closed = True

    def __enter__(self) -> Injected:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FaultFixture:
    """``llm_fault(kind, ...)``: see `__call__`."""

    def __init__(self, test: TestRun, monkeypatch: pytest.MonkeyPatch) -> None:
        self._test = test
        self._monkeypatch = monkeypatch
        self._asked: list[Injected] = []

    def __call__(
        self,
        kind: str | int,
        *,
        times: int | None = 1,
        model: str | None = None,
        path: str | None = None,
        when: Callable[[str], bool] | None = None,
        retry_after: float | None = None,
        after_chunks: int = 1,
        message: str | None = None,
        tool: str = "*",
        error: BaseException | None = None,
        optional: bool = False,
    ) -> Injected:
        """Let the next LLM calls of this test meet a fault.

        Args:
            kind: ``timeout``, ``connect_timeout``, ``refused``, ``dns``, ``reset``, ``disconnected``; an HTTP
                status (429, "503"), ``rate_limit`` (429), ``overloaded`` (503), ``server_error`` (500); of a
                stream ``dropped``, ``truncated``, ``corrupt``, ``empty``; in an answer ``invalid_tool_arguments``,
                ``content_filter``; ``tool_down``: a tool under ``llm_watch.tool`` raises.
            times: Attempts that meet it, retries of the SDK included; None = all. For ``tool_down`` None is usual.
            model: Only calls of this model (``*`` matches anything).
            path: Only URLs whose path matches this glob.
            when: Only prompts (as text) for which this returns true.
            retry_after: Seconds that a 429 or 503 asks to wait.
            after_chunks: Chunks of a stream that come before it breaks.
            message: What the error says.
            tool: For ``tool_down``: its name.
            error: For ``tool_down``: what it raises; a ConnectionError by default.
            optional: Whether it is fine that nothing meets it; else such a test fails, since it proves nothing.

        Raises:
            UsageError: There is no such kind, or a value cannot be.
        """
        name = _kind(kind)
        if times is not None and times < 1:
            raise UsageError(
                f"llm_fault: times must be at least 1, or None for all (got {times})", slug="fault-times"
            )
        fault: Fault | ToolFault
        if name == TOOL_DOWN:
            raised = error or ConnectionError(message or f"{tool} is down (injected by llm_fault)")
            fault = ToolFault(tool, raised, times)
            self._test.watch.faults.tools.append(fault)
        else:
            fault = Fault(name, times, _matcher(model, path, when), retry_after, after_chunks, message)
            self._test.watch.faults.calls.append(fault)
        injected = Injected(name, fault, optional=optional)
        self._asked.append(injected)
        return injected

    def tool(self, target: str, error: BaseException | None = None) -> None:
        """Replace a function by its dotted path, for the rest of the test, by one that raises.

        For an application without spans: ``llm_fault.tool("shop.tools:search")``.

        Raises:
            UsageError: There is no such function.
        """
        module, sep, name = target.partition(":")
        if not sep:
            module, _, name = target.rpartition(".")
        try:
            owner = importlib.import_module(module)
            real = getattr(owner, name)
        except (ImportError, AttributeError, ValueError) as problem:
            raise UsageError(
                f'llm_fault.tool takes "module:function" that can be imported (got {target!r}: {problem})',
                slug="fault-tool",
            ) from problem
        raised = error or ConnectionError(f"{name} is down (injected by llm_fault)")
        self._monkeypatch.setattr(owner, name, _down(real, raised))

    def unmet(self) -> list[str]:
        """Return the kinds that nothing met, and that were not optional."""
        return [i.kind for i in self._asked if not i.used and not i.optional]


def _down(real: Any, error: BaseException) -> Any:
    import functools
    import inspect

    if inspect.iscoroutinefunction(real):

        @functools.wraps(real)
        async def afails(*_: Any, **__: Any) -> Any:
            raise error

        return afails

    @functools.wraps(real)
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    return fails


def _kind(kind: str | int) -> str:
    name = str(kind)
    if name in KINDS or name == TOOL_DOWN or status_of(name) is not None:
        return name
    near = get_close_matches(name, [*KINDS, TOOL_DOWN], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        f"llm_fault knows {', '.join((*KINDS, TOOL_DOWN))} and HTTP statuses from 400 to 599 (got {kind!r}{hint})",
        slug="fault-kind",
    )


def _matcher(
    model: str | None, path: str | None, when: Callable[[str], bool] | None
) -> Callable[[Sent, Asked], bool] | None:
    if model is None and path is None and when is None:
        return None

    def matches(sent: Sent, asked: Asked) -> bool:
        from urllib.parse import urlsplit

        if model is not None and not fnmatch.fnmatchcase(asked.model or "", model):
            return False
        if path is not None and not fnmatch.fnmatchcase(urlsplit(sent.url).path, path):
            return False
        return when is None or bool(when(asked.input or ""))

    return matches


def llm_fault(request: pytest.FixtureRequest, test: TestRun) -> Iterator[FaultFixture]:
    """Yield the fixture's value; a fault that nothing met fails the test."""
    fixture = FaultFixture(test, request.getfixturevalue("monkeypatch"))
    yield fixture
    for injected in fixture._asked:
        injected.close()
    unmet = fixture.unmet()
    if unmet and not test.failed:
        pytest.fail(
            f"llm_fault: no call met {', '.join(unmet)}, so this test proves nothing about it; check the order "
            "and the filters, or pass optional=True",
            pytrace=False,
        )
