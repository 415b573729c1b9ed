"""What stands behind the fixtures: monitored calls and clients bound to the test that asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch.errors import InfrastructureError
from pytest_llmwatch.plugin.golden_run import GoldenCase
from pytest_llmwatch.plugin.session import LlmSession
from pytest_llmwatch.plugin.testrun import KEY, TestRun

if TYPE_CHECKING:
    from pytest_llmwatch.capture.llm_call import LlmCall
    from pytest_llmwatch.plugin.watching import WatchFixture


def test_run(request: pytest.FixtureRequest) -> TestRun:
    """Return the running test's record; starts watching where the run was not asked to watch everything."""
    item = request.node
    run: TestRun | None = item.stash.get(KEY, None)
    if run is not None:
        return run
    hooks: Any = request.config.pluginmanager.get_plugin("llmwatch-run")
    opened: TestRun = hooks.open(item)
    request.addfinalizer(lambda: hooks.close(item))
    return opened


test_run.__test__ = False  # type: ignore[attr-defined]


class CallFixture:
    """``llm_call``: calls a model in the name of one test; a golden case can be passed as it is."""

    def __init__(self, call: LlmCall, test: TestRun) -> None:
        self._call = call
        self._test = test

    def __call__(self, prompt: Any, **kwargs: Any) -> Any:
        """Ask and return a ``Reply``; see ``LlmCall.__call__``."""
        return self._call(*self._prepare(prompt, kwargs), **kwargs)

    def stream(self, prompt: Any, **kwargs: Any) -> Any:
        """Ask and yield the answer's chunks; ``.reply`` holds the whole afterwards."""
        return self._call.stream(*self._prepare(prompt, kwargs), **kwargs)

    async def aio(self, prompt: Any, **kwargs: Any) -> Any:
        """Ask asynchronously and return a ``Reply``."""
        return await self._call.aio(*self._prepare(prompt, kwargs), **kwargs)

    def _prepare(self, prompt: Any, kwargs: dict[str, Any]) -> tuple[Any]:
        case = kwargs.get("case")
        golden_case = prompt if isinstance(prompt, GoldenCase) else self._test.golden_case
        if isinstance(case, GoldenCase):
            kwargs["case"] = case.case
        elif case is None and golden_case is not None:
            kwargs["case"] = golden_case.case
        if isinstance(prompt, GoldenCase):
            for name, value in request_of(prompt).items():
                kwargs.setdefault(name, value)
            return (prompt.messages,)
        return (prompt,)


def request_of(case: GoldenCase) -> dict[str, Any]:
    """Return API, model and parameters of a golden case, as ``llm_call`` takes them."""
    out = dict(case.parameters)
    out["api"] = case.set.api
    if case.set.model:
        out["model"] = case.set.model
    return out


def make_call(test: TestRun) -> CallFixture:
    """Return ``llm_call`` for one test."""
    from pytest_llmwatch.capture.llm_call import LlmCall

    session = test.session
    call = LlmCall(
        session.capture,
        session.client,
        test.watch,
        score=test.score,
        rerun_hint=rerun_hint(session, test.item),
    )
    return CallFixture(call, test)


def rerun_hint(session: LlmSession, item: pytest.Item) -> str:
    """Return the command that records the test's calls again."""
    import shlex

    parts = ["pytest", shlex.quote(item.nodeid), "--llm-record=new"]
    if session.settings.variant:
        parts.append(f"--llm-variant={shlex.quote(session.settings.variant)}")
    if session.concurrent is not None:
        parts.append(f"--llm-baseline={shlex.quote(str(session.settings.baseline))}")
    return " ".join(parts)


def ask(test: TestRun, case: GoldenCase) -> Any:
    """Ask the model what a golden case says, streamed where the set says so; return a ``Reply``."""
    prefetched = test.session.live.take(test) if test.session.live is not None else None
    if prefetched is not None:
        return prefetched()
    return ask_now(test, case)


def ask_now(test: TestRun, case: GoldenCase) -> Any:
    """Ask in this thread, and the baseline beside it where the run has one; see :func:`ask`."""
    if test.beside is None:
        return ask_one(test, case)
    from pytest_llmwatch.plugin.concurrent import ask_both

    return ask_both(test, case, ask_one)


def ask_one(test: TestRun, case: GoldenCase) -> Any:
    """Ask one arm of a case."""
    refusals, model = test.session.refusals, case.set.model
    refusals.check(model)
    try:
        reply = _asked(make_call(test), case)
    except InfrastructureError as error:
        refusals.failed(model, error)
        raise
    refusals.answered(model)
    return reply


def _asked(call: CallFixture, case: GoldenCase) -> Any:
    if not case.set.stream:
        return call(case)
    stream = call.stream(case)
    for _ in stream:
        pass
    return stream.reply


def llm_call(request: pytest.FixtureRequest, _: LlmSession) -> CallFixture:
    """Return the fixture's value."""
    return make_call(test_run(request))


def llm_client(request: pytest.FixtureRequest, session: LlmSession) -> Iterator[Any]:
    """Yield a monitored client, closed when the test ends."""
    from pytest_llmwatch.capture.client import open_client

    test_run(request)
    client = open_client(session.capture, session.client)
    yield client
    client.close()


def async_llm_client(request: pytest.FixtureRequest, session: LlmSession) -> Any:
    """Return a monitored asynchronous client; its connections are closed with their event loop."""
    from pytest_llmwatch.capture.client import open_tied_async_client

    test_run(request)
    return open_tied_async_client(session.capture, session.client)


def llm_watch(request: pytest.FixtureRequest, _: LlmSession) -> WatchFixture:
    """Return the fixture's value."""
    from pytest_llmwatch.plugin.watching import WatchFixture

    return WatchFixture(test_run(request))


def llm_fault(request: pytest.FixtureRequest, _: LlmSession) -> Iterator[Any]:
    """Yield the fixture's value."""
    from pytest_llmwatch.plugin import faulting

    yield from faulting.llm_fault(request, test_run(request))


def llm_case(request: pytest.FixtureRequest, _: LlmSession) -> GoldenCase:
    """Return the golden case of a parametrised test.

    Raises:
        pytest.UsageError: The test has no ``llm_golden`` marker.
    """
    case = getattr(request, "param", None)
    if not isinstance(case, GoldenCase):
        raise pytest.UsageError(
            'llm_case needs a golden set: mark the test with @pytest.mark.llm_golden("name of the set")'
        )
    test_run(request)
    return case
