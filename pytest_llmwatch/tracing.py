"""Spans that an application may open in its own code: recorded under a watched test, silent everywhere else.

Standard library only, and nothing of the package but its errors: outside of a run a span costs a look at an empty
list. ``llm_watch.span`` and ``pytest_llmwatch.span`` are the same thing; the first is bound to its test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.tracing_wrap import KINDS, F, Find, Opened, Step, Traced, Tracer, current, here, sources

__all__ = [
    "KINDS", "Opened", "Retrieved", "Step", "Tagged", "Traced", "Tracer", "Tracing", "agent", "current",
    "retrieval", "sources", "span", "tag", "tool",
]  # fmt: skip


class Tagged:
    """What ``tag(...)`` returns: labels hold from the call on; with ``with``, until the end of the block."""

    def __init__(self, labels: Mapping[str, Any], find: Find = current) -> None:
        self._labels = dict(labels)
        self._opened: list[Opened] = []
        self._tracer = find()
        self._undo = None if self._tracer is None else self._tracer.tag(self._labels)

    def __enter__(self) -> None:
        if self._tracer is None:
            return
        if self._undo is not None:
            self._undo()
            self._undo = None
        opened = self._tracer.tagged(self._labels)
        opened.enter()
        self._opened.append(opened)

    def __exit__(self, *_: object) -> None:
        if self._opened:
            opened = self._opened.pop()
            opened.leave()
            opened.end()


class Retrieved(Traced):
    """What ``retrieval(...)`` returns: already recorded where documents were given; also a context manager.

    As a context manager it lasts as long as its block, whose step takes ``documents`` and ``scores``.
    """

    def __init__(self, make: Callable[[str | None], Step], find: Find, *, now: bool) -> None:
        super().__init__(make, find)
        self._moment: tuple[Step, Opened] | None = None
        tracer = find() if now else None
        if tracer is not None:
            step = make(None)
            opened = tracer.retrieved(step)
            self._moment = None if opened is None else (step, opened)

    def __enter__(self) -> Step:
        if self._moment is None:
            return super().__enter__()
        (step, opened), self._moment = self._moment, None
        opened.reopen()
        opened.enter()
        self._entered.append((here(), step, opened))
        return step


class Tracing:
    """How spans are opened: ``span``, ``tool``, ``agent``, ``retrieval``, ``tag``.

    Args:
        find: Where they are recorded; None = not recorded.
    """

    def __init__(self, find: Find) -> None:
        self._find = find

    @overload
    def span(self, name: F) -> F: ...

    @overload
    def span(self, name: str | None = None, *, kind: str = "internal", **attributes: Any) -> Traced: ...

    def span(self, name: Any = None, *, kind: str = "internal", **attributes: Any) -> Any:
        """Return a span: ``with``, ``async with``, or a decorator of any kind of function.

        Args:
            name: Of the stage, as in ``[scope."stage:NAME"]``; a decorated function's own name by default.
            kind: ``internal``, ``tool``, ``retrieval``, ``agent`` or ``chain``.
            **attributes: Kept with the span; texts are redacted.

        Raises:
            UsageError: There is no such kind.
        """
        if kind not in KINDS:
            from difflib import get_close_matches

            near = get_close_matches(str(kind), KINDS, n=1)
            raise UsageError(
                f"a span's kind must be one of {', '.join(KINDS)} (got {kind!r}"
                + (f"; did you mean {near[0]!r}?)" if near else ")"),
                slug="span-kind",
            )
        return self._traced(name, lambda given: Step(given or kind, kind, attributes))

    @overload
    def agent(self, name: F) -> F: ...

    @overload
    def agent(self, name: str | None = None, **attributes: Any) -> Traced: ...

    def agent(self, name: Any = None, **attributes: Any) -> Any:
        """Return a span of kind ``agent``; the model calls made inside are its steps. See `span`."""
        return self._traced(name, lambda given: Step(given or "agent", "agent", attributes))

    @overload
    def tool(self, name: F) -> F: ...

    @overload
    def tool(
        self,
        name: str | None = None,
        arguments: Any = None,
        id: str | None = None,
        side_effect: bool = False,
        **attributes: Any,
    ) -> Traced: ...

    def tool(
        self,
        name: Any = None,
        arguments: Any = None,
        id: str | None = None,
        side_effect: bool = False,
        **attributes: Any,
    ) -> Any:
        """Return a span that records the execution of a tool, and finds the model's tool call that asked for it.

        Args:
            name: Of the tool, as the model calls it.
            arguments: What it is called with: a mapping, or the text that the model wrote. A decorated function's
                own arguments by default.
            id: Id of the model's tool call; without one it is found by name and arguments, in order.
            side_effect: Whether it changes something outside; a repeat of such a call is counted apart.
            **attributes: Kept with the span; texts are redacted.
        """

        def make(given: str | None) -> Step:
            step = Step(given or "tool", "tool", attributes)
            step.arguments, step.id, step.side_effect = arguments, id, side_effect
            return step

        return self._traced(name, make)

    @overload
    def retrieval(self, query: F) -> F: ...

    @overload
    def retrieval(
        self,
        query: str | None = None,
        documents: Sequence[Any] | None = None,
        *,
        top_k: int | None = None,
        source: str | None = None,
        scores: Sequence[float] | None = None,
        name: str | None = None,
    ) -> Traced: ...

    def retrieval(
        self,
        query: Any = None,
        documents: Sequence[Any] | None = None,
        *,
        top_k: int | None = None,
        source: str | None = None,
        scores: Sequence[float] | None = None,
        name: str | None = None,
    ) -> Any:
        """Record what a retrieval step found, as a moment; with ``with`` or as a decorator, with its duration.

        Inside a span of kind ``retrieval`` that has no documents yet, they are that span's.

        Args:
            query: What was searched for; of a decorated function, its first text.
            documents: Best first: texts, mappings with ``text`` (``id``, ``score``, ``source``), objects with
                ``page_content`` or ``text``, or pairs of one of these and a score. None = told inside the block,
                or what the decorated function returns.
            top_k: How many were asked for.
            source: Index or service that was asked.
            scores: One number per document, where the documents carry none.
            name: Of the span; ``retrieval`` by default, a decorated function's own name.
        """
        asked = None if callable(query) else query

        def make(given: str | None) -> Step:
            step = Step(name or given or "retrieval", "retrieval")
            step.query, step.documents, step.scores = asked, documents, scores
            step.source, step.top_k = source, top_k
            return step

        traced = Retrieved(make, self._find, now=documents is not None)
        return traced(query) if callable(query) else traced

    def tag(self, **labels: Any) -> Tagged:
        """Label the calls and spans that start from now on; as a context manager, only those inside.

        Args:
            **labels: ``feature``, ``team``, ``user`` (kept as a keyed hash), ``tenant``, ``environment``,
                ``session``, ``prompt_version``, ``prompt_name``, ``stage``; any other becomes a tag.
        """
        return Tagged(labels, self._find)

    def _traced(self, name: Any, make: Callable[[str | None], Step]) -> Any:
        if callable(name):
            return Traced(make, self._find)(name)
        return Traced(lambda given: make(name or given), self._find)


_ANYWHERE = Tracing(current)
span = _ANYWHERE.span
tool = _ANYWHERE.tool
agent = _ANYWHERE.agent
retrieval = _ANYWHERE.retrieval
tag = _ANYWHERE.tag
