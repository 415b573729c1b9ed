"""Fixtures wider than a function: their calls have a cassette and ids of their own, whichever test comes first."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.plugin.session import LlmSession, problem_of
from pytest_llmwatch.plugin.testrun import KEY
from pytest_llmwatch.plugin.wire import Parcel

if TYPE_CHECKING:
    from pytest_llmwatch.capture.watch import Watch

_KEY = "llmwatch"
_THEIRS = ("_pytest.", "xdist.", "pytest_llmwatch.")


class WideFixtures:
    """Watches each set-up and teardown of a fixture of class, module, package or session scope.

    Registered beside the run's hooks; a worker hands over what was called when it ends.
    """

    def __init__(self, session: LlmSession) -> None:
        self._session = session
        self._watches: list[Watch] = []
        self._latest: dict[Any, Watch] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Let the fixture's own watch collect what its set-up and its teardown call."""
        item = getattr(request, "_pyfuncitem", None)
        if fixturedef.scope == "function" or not self._watched(item, fixturedef):
            return (yield)
        watch = self._open(fixturedef, request, item)
        stack = contextlib.ExitStack()

        def enter() -> None:
            stack.enter_context(self._session.capture.watch(watch, over=True))

        def leave() -> None:
            stack.close()
            self._save(watch, close=True)

        # finalizers run last in, first out: this one after the fixture's own, the other before it
        fixturedef.addfinalizer(leave)
        enter()
        try:
            result = yield
        finally:
            stack.close()
            self._save(watch)
        fixturedef.addfinalizer(enter)
        return result

    def _watched(self, item: Any, fixturedef: pytest.FixtureDef[Any]) -> bool:
        if str(getattr(fixturedef.func, "__module__", "")).startswith(_THEIRS):
            return False
        return self._session.captures_everything or (item is not None and KEY in item.stash)

    def _open(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest, item: Any) -> Watch:
        from pytest_llmwatch.capture.watch import Watch
        from pytest_llmwatch.plugin.fixtures import rerun_hint

        session = self._session
        where = Definition(fixturedef, request, item, session.settings.rootdir)
        redact = session.setup.redactor.text
        handle = None
        if session.settings.record != "off":
            path = where.cassette(redact)
            handle = session.capture.open_cassette(path, display=session.display(path), again=True)
        labels: dict[str, str] = {}
        for marker in reversed(list(request.node.iter_markers("llm"))):
            labels.update({k: str(v) for k, v in marker.kwargs.items()})
        watch = Watch(
            redact(where.nodeid(request)),
            labels=labels,
            cassette=handle,
            rerun_hint=rerun_hint(session, item) if item is not None else None,
        )
        self._watches.append(watch)
        self._latest[fixturedef] = watch
        return watch

    def _save(self, watch: Watch, *, close: bool = False) -> None:
        if watch.cassette is None:
            return
        try:
            if close:
                watch.cassette.close(complete=not watch.errors)
            else:
                watch.cassette.save()  # a run that is killed before the teardown loses nothing
        except LlmwatchError as error:
            watch.note(error)

    def errors(self, item: pytest.Item) -> list[LlmwatchError]:
        """Return what went wrong in the wide fixtures of a test, however an application hid it."""
        info = getattr(item, "_fixtureinfo", None)
        used = [d for defs in getattr(info, "name2fixturedefs", {}).values() for d in defs]
        return [e for d in used if d in self._latest for e in self._latest[d].errors]

    # -- to the run

    def parcels(self) -> list[Parcel]:
        """Return what the fixtures of this process called."""
        from pytest_llmwatch.capture.executions import with_executions
        from pytest_llmwatch.measure_agent_steps import with_fallbacks, with_results

        out = []
        for watch in self._watches:
            calls = list(with_results(with_fallbacks(with_executions(watch.calls, watch.spans))))
            problems = [problem_of(e, watch.nodeid) for e in watch.errors]
            if calls or watch.spans or problems:
                out.append(Parcel(calls=calls, spans=list(watch.spans), problems=problems))
        return out

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Hand over, in a worker, what reports of tests do not carry."""
        session = self._session
        if session.is_worker:
            output: dict[str, Any] = getattr(session.config, "workeroutput", {})
            output[_KEY] = json.dumps(
                {
                    "parcels": [p.dumps() for p in self.parcels()],
                    "problems": session.capture_problems(),
                    "uses": session.cassettes.dumps(),
                }
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take in, on the controller, what a worker hands over."""
        text = (getattr(node, "workeroutput", None) or {}).get(_KEY)
        if text:
            data = json.loads(text)
            self._session.collect_wide([Parcel.loads(p) for p in data["parcels"]], data["problems"])
            self._session.cassettes.loads(data["uses"])


class Definition:
    """Where a fixture is written, and how this set-up of it is told from others."""

    def __init__(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest, item: Any, root: Path
    ) -> None:
        self._name = fixturedef.argname + _parameter(fixturedef, request)
        self._root = root
        self._file = _file(fixturedef, item)
        self._stem = self._file.stem if self._file else str(fixturedef.func.__module__)

    def cassette(self, redact: Any) -> Path:
        """Return ``cassettes/<module or conftest>/fixture.<name>[param].yaml`` beside the file that defines it."""
        from pytest_llmwatch.golden import safe_name

        folder = self._file.parent if self._file else self._root
        name = safe_name(redact(f"fixture.{self._name}"))
        return folder / "cassettes" / safe_name(self._stem) / f"{name}.yaml"

    def nodeid(self, request: pytest.FixtureRequest) -> str:
        """Return ``<where it is set up>::[fixture <name>]``; the same in every run and worker."""
        home = self._stem
        if self._file is not None:
            home = self._file.as_posix()
            with contextlib.suppress(ValueError):
                home = self._file.relative_to(self._root).as_posix()
        if request.scope in ("class", "module", "package"):
            scope = request.node.nodeid
            if scope.split("::")[0] != home:
                return f"{scope or '.'}::[fixture {self._name} of {home}]"
            return f"{scope}::[fixture {self._name}]"
        return f"{home}::[fixture {self._name}]"


def _file(fixturedef: pytest.FixtureDef[Any], item: Any) -> Path | None:
    """Return the test module or conftest.py that defines a fixture; None for one of a plugin."""
    if ".py" in fixturedef.baseid and item is not None:
        return Path(item.path)
    try:
        file = inspect.getsourcefile(inspect.unwrap(fixturedef.func))
    except TypeError:
        return None
    return Path(file) if file and Path(file).name == "conftest.py" else None


def _parameter(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> str:
    if not hasattr(request, "param"):
        return ""
    value, index = request.param, getattr(request, "param_index", 0)
    if isinstance(value, str | int | float | bool | None):
        return f"[{value}]"
    ids = getattr(fixturedef, "ids", None)
    given = ids(value) if callable(ids) else ids[index] if ids and index < len(ids) else None
    if isinstance(given, str | int | float | bool):
        return f"[{given}]"
    text = repr(value)
    return f"[{index}]" if " at 0x" in text else f"[{text}]"
