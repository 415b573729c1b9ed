"""A span while it is open, and how one is put around a block or a function of any kind. Standard library only."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("internal", "tool", "retrieval", "agent", "chain")
"""Kinds of spans."""


class Step:
    """One span while it is open: what ``with span(...) as step`` gives.

    Attributes:
        name: Name of the stage.
        kind: One of `KINDS`.
        attributes: What else is to be kept; JSON values, texts redacted.
        arguments: Of a tool: a mapping, or the text that the model wrote.
        id: Of a tool: the id of the model's tool call.
        result: Of a tool: what it returned.
        side_effect: Of a tool: whether it changes something outside.
        query: Of a retrieval: what was searched for.
        documents: Of a retrieval: what was found, best first.
        scores: Of a retrieval: one number per document.
        source: Of a retrieval: index or service that was asked.
        top_k: Of a retrieval: how many documents were asked for.
    """

    def __init__(self, name: str, kind: str = "internal", attributes: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.kind = kind
        self.attributes: dict[str, Any] = dict(attributes or {})
        self.arguments: Any = None
        self.id: str | None = None
        self.result: Any = None
        self.side_effect = False
        self.query: str | None = None
        self.documents: Sequence[Any] | None = None
        self.scores: Sequence[float] | None = None
        self.source: str | None = None
        self.top_k: int | None = None

    def set(self, **attributes: Any) -> None:
        """Add attributes."""
        self.attributes.update(attributes)

    def set_result(self, result: Any) -> None:
        """Set what a tool returned."""
        self.result = result

    def called(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take what a decorated function was called with: a tool's arguments, a retrieval's query."""
        if self.kind not in ("tool", "retrieval"):
            return
        try:
            given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
        except (TypeError, ValueError):
            return  # the call itself will say so
        if next(iter(given), None) in ("self", "cls"):
            del given[next(iter(given))]
        if self.kind == "tool" and self.arguments is None:
            self.arguments = given
        elif self.kind == "retrieval" and self.query is None:
            self.query = next((v for v in given.values() if isinstance(v, str)), None)
            if self.top_k is None:
                asked = given.get("top_k", given.get("k"))
                self.top_k = asked if isinstance(asked, int) else None

    def returned(self, value: Any) -> None:
        """Take what a decorated function returned: a tool's result, a retrieval's documents."""
        if self.kind == "tool" and self.result is None:
            self.result = value
        elif self.kind == "retrieval" and self.documents is None and isinstance(value, list | tuple):
            self.documents = value


class Opened(Protocol):
    """A span that is being recorded."""

    def active(self) -> AbstractContextManager[None]:
        """Make it the parent of what starts inside, for as long as a generator's body runs."""

    def enter(self) -> None:
        """Make it the parent of what starts from now on in this context."""

    def leave(self) -> None:
        """Undo `enter`."""

    def end(self, error: BaseException | None = None) -> None:
        """Record it."""

    def reopen(self) -> None:
        """Start its clock again: it was recorded as a moment, and turns out to be a block."""

    def check(self) -> None:
        """Raise what the test asked this tool to raise (``llm_fault``); nothing for any other span."""


class Tracer(Protocol):
    """Where spans are recorded."""

    def begin(self, step: Step) -> Opened:
        """Start recording ``step``."""

    def retrieved(self, step: Step) -> Opened | None:
        """Record a retrieval as a moment; None where it went to an enclosing span of that kind, which had none."""

    def tag(self, labels: Mapping[str, Any]) -> Callable[[], None]:
        """Label what starts from now on; return what undoes it."""

    def tagged(self, labels: Mapping[str, Any]) -> Opened:
        """Label what starts inside."""


Find = Callable[[], "Tracer | None"]
sources: list[Find] = []
"""How to find where the running test's spans go; the innermost run is last."""


def current() -> Tracer | None:
    """Return where spans are recorded now; None outside of a watched test."""
    for source in reversed(sources):
        found = source()
        if found is not None:
            return found
    return None


class Traced:
    """What ``span(...)`` returns: a context manager, an asynchronous one, and a decorator.

    Args:
        make: Makes the step; takes the name that it has if none was given.
        find: Where it is recorded; asked each time, so that a module may be decorated at import.
    """

    def __init__(self, make: Callable[[str | None], Step], find: Find = current) -> None:
        self._make = make
        self._find = find
        self._entered: list[tuple[object, Step, Opened | None]] = []

    def __enter__(self) -> Step:
        step = self._make(None)
        tracer = self._find()
        opened = None if tracer is None else tracer.begin(step)
        if opened is not None:
            opened.enter()
        self._entered.append((here(), step, opened))
        if opened is not None:
            try:
                opened.check()
            except BaseException as error:
                # nobody calls __exit__ where __enter__ raises
                self.__exit__(type(error), error, None)
                raise
        return step

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened = _pop(self._entered)[2]
        if opened is not None:
            opened.leave()
            opened.end(error)

    async def __aenter__(self) -> Step:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Decorate ``function``: one span per call, named after it unless a name was given."""
        run = _Run(function, self._make, self._find)
        if inspect.isasyncgenfunction(function):
            wrapped: Any = run.asynchronous_generator()
        elif inspect.iscoroutinefunction(function):
            wrapped = run.coroutine()
        elif inspect.isgeneratorfunction(function):
            wrapped = run.generator()
        else:
            wrapped = run.plain()
        return cast("F", wrapped)


def here() -> object:
    """Return what tells this task or thread from others that may hold the same context manager open."""
    task = None
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs here
            task = None
    return threading.get_ident(), id(task)


def _pop(entered: list[tuple[object, Step, Opened | None]]) -> tuple[object, Step, Opened | None]:
    mine = here()
    for place in range(len(entered) - 1, -1, -1):
        if entered[place][0] == mine:
            return entered.pop(place)
    return entered.pop()  # left in another task than it was entered in


class _Run:
    """Wrappers of one function."""

    def __init__(self, function: Callable[..., Any], make: Callable[[str | None], Step], find: Find) -> None:
        self.function = function
        self.make = make
        self.find = find
        self.name = getattr(function, "__name__", None) or type(function).__name__

    def begin(self, tracer: Tracer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Step, Opened]:
        step = self.make(self.name)
        step.called(self.function, args, kwargs)
        return step, tracer.begin(step)

    def plain(self) -> Callable[..., Any]:
        function = self.function

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            tracer = self.find()
            if tracer is None:
                return function(*args, **kwargs)
            step, opened = self.begin(tracer, args, kwargs)
            with _ending(opened), opened.active():
                opened.check()
                result = function(*args, **kwargs)
                step.returned(result)
            return result

        return call

    def coroutine(self) -> Callable[..., Any]:
        function = self.function

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            tracer = self.find()
            if tracer is None:
                return await function(*args, **kwargs)
            step, opened = self.begin(tracer, args, kwargs)
            with _ending(opened), opened.active():
                opened.check()
                result = await function(*args, **kwargs)
                step.returned(result)
            return result

        return call

    def generator(self) -> Callable[..., Any]:
        function = self.function

        @functools.wraps(function)
        def iterate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            inner = function(*args, **kwargs)
            tracer = self.find()
            if tracer is None:
                return (yield from inner)
            step, opened = self.begin(tracer, args, kwargs)
            advance = functools.partial(next, inner)
            with _ending(opened):
                opened.check()
                while True:
                    # the span is the parent of what the body starts, not of what its reader does between two items
                    with opened.active():
                        try:
                            item = advance()
                        except StopIteration as end:
                            step.returned(end.value)
                            return end.value
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with opened.active():
                            inner.close()
                        raise
                    except BaseException as error:
                        advance = functools.partial(inner.throw, error)
                    else:
                        advance = functools.partial(inner.send, sent)

        return iterate

    def asynchronous_generator(self) -> Callable[..., Any]:
        function = self.function

        @functools.wraps(function)
        async def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            inner = function(*args, **kwargs)
            tracer = self.find()
            opened = _NOTHING if tracer is None else self.begin(tracer, args, kwargs)[1]
            advance = inner.__anext__
            with _ending(opened):
                opened.check()
                while True:
                    with opened.active():
                        try:
                            item = await advance()
                        except StopAsyncIteration:
                            return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with opened.active():
                            await inner.aclose()
                        raise
                    except BaseException as error:
                        advance = functools.partial(inner.athrow, error)
                    else:
                        advance = functools.partial(inner.asend, sent)

        return iterate


class _ending:  # noqa: N801 (reads as a verb where it is used)
    """End a span with what leaves the block; a generator that is closed early has not failed."""

    __slots__ = ("_opened",)

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.end(None if isinstance(error, GeneratorExit) else error)


class _Nothing:
    """Stands for a span outside of a run."""

    def active(self) -> AbstractContextManager[None]:
        return _SILENT

    def enter(self) -> None:
        pass

    def leave(self) -> None:
        pass

    def end(self, error: BaseException | None = None) -> None:
        pass

    def reopen(self) -> None:
        pass

    def check(self) -> None:
        pass


class _Silent:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


_NOTHING = _Nothing()
_SILENT = _Silent()
