"""Golden sets as tests: collected from set.yaml without Python, or parametrised through the marker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.errors import GoldenError, LlmwatchError
from pytest_llmwatch.plugin.entry import activate
from pytest_llmwatch.plugin.golden_run import GoldenCase, call_target, load_target
from pytest_llmwatch.plugin.named import golden_roots
from pytest_llmwatch.plugin.session import LlmSession, clean_usage_errors
from pytest_llmwatch.plugin.testrun import KEY


def collect_set(file_path: Path, parent: pytest.Collector) -> pytest.Collector:
    """Return the collector of a ``set.yaml`` whose calls this run may start."""
    activate(parent.config)
    return GoldenFile.from_parent(parent, path=file_path)


class GoldenFile(pytest.File):
    """A golden set: one test per case and repeat."""

    def collect(self) -> Iterator[pytest.Item]:
        session: LlmSession = activate(self.config)
        golden_set = session.try_golden(lambda: self.path)
        if golden_set is None:
            return
        self.add_marker(pytest.mark.llm(**dict(golden_set.labels)))
        repeats = session.repeats_of(golden_set)
        for case in golden_set.cases:
            for repeat in range(repeats):
                name = case.id if repeats == 1 else f"{case.id}[{repeat}]"
                yield GoldenItem.from_parent(
                    self, name=name, golden_case=GoldenCase(golden_set, case, repeat, session)
                )


class GoldenItem(pytest.Item):
    """One case and repeat of a golden set."""

    def __init__(self, *, golden_case: GoldenCase, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.golden_case = golden_case
        for tag in golden_case.case.tags:
            self.extra_keyword_matches.add(tag)

    def runtest(self) -> None:
        """Ask, score, check."""
        from pytest_llmwatch.plugin import fixtures

        test = self.stash[KEY]
        golden_set = self.golden_case.set
        if golden_set.target:
            with clean_usage_errors():
                target = load_target(golden_set, self.config.rootpath)
            answer = call_target(target, self.golden_case.case)
        else:
            answer = fixtures.ask(test, self.golden_case)
        self.golden_case.check(answer)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what broke, not how we got there."""
        error = excinfo.value
        if isinstance(error, LlmwatchError):
            return error.one_line()
        if isinstance(error, AssertionError | pytest.UsageError):
            return str(error)
        if self.golden_case.set.target:
            return super().repr_failure(excinfo, style)
        return f"{type(error).__name__}: {error}"

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return file, line of the case, and title."""
        line = self.golden_case.case.line
        return (
            self.path.parent / "cases.jsonl",
            line - 1 if line else None,
            f"{self.golden_case.set.name}: {self.name}",
        )


def parametrize_golden(metafunc: pytest.Metafunc, marker: pytest.Mark) -> None:
    """Parametrise ``llm_case`` with each case and repeat of the set that the marker names.

    Raises:
        pytest.UsageError: The marker or the set is wrong.
    """
    session: LlmSession = activate(metafunc.config)
    name, repeats = _marker_arguments(marker)
    golden_set = session.try_golden(lambda: _set_file(session, metafunc.config, name))
    if "llm_case" not in metafunc.fixturenames:
        metafunc.fixturenames.append("llm_case")
    if golden_set is None:
        metafunc.parametrize("llm_case", [], indirect=True)
        return
    count = session.repeats_of(golden_set, repeats)
    values, ids = [], []
    for case in golden_set.cases:
        for repeat in range(count):
            values.append(GoldenCase(golden_set, case, repeat, session))
            ids.append(case.id if count == 1 else f"{case.id}-{repeat}")
    metafunc.parametrize("llm_case", values, ids=ids, indirect=True)


def _marker_arguments(marker: pytest.Mark) -> tuple[str, int | None]:
    unknown = set(marker.kwargs) - {"repeats", "set"}
    name = marker.args[0] if marker.args else marker.kwargs.get("set")
    repeats = marker.kwargs.get("repeats")
    if unknown or not isinstance(name, str) or len(marker.args) > 1:
        raise pytest.UsageError(
            'llm_golden takes a set name and repeats=N: @pytest.mark.llm_golden("support", repeats=5)'
        )
    if repeats is not None and (not isinstance(repeats, int) or repeats < 1):
        raise pytest.UsageError(f"llm_golden: repeats must be a whole number >= 1 (got {repeats!r})")
    return name, repeats


def _set_file(session: LlmSession, config: pytest.Config, name: str) -> Path:
    found = find_set(config, name)
    if session.concurrent is not None:
        raise GoldenError(
            f"the set {name!r} is run by a test of its own, which asks once; run the set itself to ask a "
            "concurrent baseline beside it",
            slug="baseline-concurrent",
        )
    return found / "set.yaml"


def find_set(config: pytest.Config, name: str) -> Path:
    """Return the folder of the golden set ``name``.

    Raises:
        GoldenError: No golden path holds such a set.
    """
    roots = golden_roots(config)
    for root in roots:
        if (root / name / "set.yaml").is_file():
            return root / name
    import difflib

    known = sorted(p.parent.name for root in roots if root.is_dir() for p in root.glob("*/set.yaml"))
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known sets: {', '.join(known) or 'none'}"
    shown = ", ".join(str(r.name) for r in roots)
    raise GoldenError(f"no golden set {name!r} below {shown}; {hint}", slug="golden-unknown-set")


def drop_duplicates(items: list[pytest.Item]) -> None:
    """Drop collected sets that a marked test runs as well: a set runs once."""
    marked = {
        item.callspec.params["llm_case"].set.folder  # type: ignore[attr-defined]
        for item in items
        if isinstance(getattr(getattr(item, "callspec", None), "params", {}).get("llm_case"), GoldenCase)
    }
    if marked:
        items[:] = [i for i in items if not (isinstance(i, GoldenItem) and i.golden_case.set.folder in marked)]
