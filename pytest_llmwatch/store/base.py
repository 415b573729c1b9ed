"""What every store of runs can do, and how a store's name becomes one.

A store is a folder, or a database named by a URL. Both keep whole runs under their ids, never change one, and note
what each run spent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import JSON, Run, Span
from pytest_llmwatch.store.expense import Expense, Facets

LATEST = "latest"
KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Kept:
    """A run in a store: ``size`` in bytes as it is kept, ``bodies`` whether its texts are still there."""

    id: str
    time: str
    size: int
    bodies: bool = True


class Store(Protocol):
    """Runs under their ids. ``shown`` is its name as a user may read it: without a password."""

    shown: str

    def check(self) -> None:
        """Raise an InfrastructureError where the store cannot be reached or written to."""

    def keep(
        self, run_json: Mapping[str, JSON], calls: Iterable[Mapping[str, JSON]], spans: Iterable[Span]
    ) -> str:
        """Keep a run and return where it is, for people. The same run a second time changes nothing.

        Raises:
            RecordsError: The store holds another run of this id.
        """

    def note_spent(self, run_id: str, time: str, usd: float, by: Facets | None = None) -> None:
        """Note what a run spent, in US dollars, and how that divides; once for each run."""

    def spent(self, day: str, without: Collection[str] = ()) -> dict[str, float]:
        """Return US dollars spent on ``day`` (``2026-01-31``, UTC) and in its month, as ``day`` and ``month``."""

    def expenses(self, month: str) -> list[Expense]:
        """Return what each run of a month (``2026-01``) noted."""

    def noted(self, run_ids: Collection[str]) -> float:
        """Return US dollars noted for these runs."""

    def runs(self) -> list[Kept]:
        """Return what is kept, by time."""

    def summaries(self) -> Iterator[Mapping[str, Any]]:
        """Yield the head of each run.json: id, time, verdict, environment, aggregates."""

    def find(self, ref: str) -> str:
        """Return the id of the run that ``ref`` names: an id, its beginning, ``latest``.

        Raises:
            RecordsError: There is none, or several begin so.
        """

    def run_json(self, run_id: str) -> dict[str, Any]:
        """Return a run's run.json."""

    def load(self, run_id: str) -> Run:
        """Return a run."""

    def lines(self, run_id: str, part: str) -> Iterator[str]:
        """Yield the lines of a run's ``calls`` or ``spans``, none of which is kept in memory."""

    def append(self, journal: str, entries: Sequence[Mapping[str, JSON]]) -> None:
        """Add entries to a journal; one whose ``id`` is there already changes nothing.

        Raises:
            OSError: The folder cannot be written, or is full; what was there before stays.
            InfrastructureError: The database cannot be reached.
        """

    def journal(self, journal: str) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of a journal, each once, in the order in which they were added.

        A line that was cut off, or is no object, comes as an empty mapping, so that a reader can count it.
        """

    def remove(self, run_ids: Sequence[str]) -> None:
        """Remove runs; what they spent stays noted."""

    def strip(self, run_id: str) -> None:
        """Remove the texts of a run: what was asked and answered. Its figures stay."""


HEAD = ("schema_version", "run_id", "time", "verdict", "exit_code", "partial", "environment", "aggregates")


def head(run_json: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `Store.summaries` yields of a run.json."""
    return {key: run_json.get(key) for key in HEAD}


def is_url(name: str) -> bool:
    """Whether ``name`` names a database, and not a folder."""
    return "://" in name


def open_store(name: str | Path, root: Path) -> Store:
    """Return the store that a user named.

    Args:
        name: A folder, ``sqlite:///file.db`` or ``postgresql+psycopg://user@host/database``.
        root: What relative paths are relative to.

    Raises:
        UsageError: The URL cannot be understood, is of another kind, or what it needs is not installed.
    """
    text = str(name)
    if not is_url(text):
        from pytest_llmwatch.store.folder import FolderStore

        return FolderStore((root / text).resolve(), text)
    kind = text.partition("://")[0].partition("+")[0]
    if kind not in (*KINDS, "postgres"):
        raise UsageError(
            f"a store {kind}:// is not known; name a folder, sqlite:///file.db or "
            "postgresql+psycopg://user@host/database",
            slug="store-url",
        )
    try:
        from pytest_llmwatch.store.sql import SqlStore
    except ModuleNotFoundError as error:
        raise missing_extra(kind, error) from error
    return SqlStore(text, root)


def missing_extra(kind: str, error: ModuleNotFoundError) -> UsageError:
    """Return the error that names the extra."""
    return UsageError(
        f"a store {kind}:// needs {error.name}: pip install 'pytest-llmwatch[sql]'", slug="store-extra"
    )


def split_ref(ref: str) -> tuple[str | None, str]:
    """Return store and run of ``STORE#RUN``: the store is None where ``ref`` names none, the run ``latest``.

    ``sqlite:///runs.db`` is its newest run; a folder is a store where it holds runs.
    """
    name, sep, run = ref.rpartition("#")
    if sep and (is_url(name) or _holds_runs(Path(name))):
        return name, run or LATEST
    if is_url(ref) or _holds_runs(Path(ref)):
        return ref, LATEST
    return None, ref


def _holds_runs(folder: Path) -> bool:
    return (folder / "runs").is_dir() and not (folder / "run.json").exists()
