"""Small named texts beside the runs of a store, changed by one process at a time: what alerts remember.

A folder keeps them in ``state/NAME.json`` under a lock file, a database in a table of their own under a lock of
the transaction, so that CI machines that live for one build share what was sent.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_llmwatch import atomic
from pytest_llmwatch.errors import InfrastructureError
from pytest_llmwatch.store.base import is_url, open_store

if TYPE_CHECKING:
    from pytest_llmwatch.store.sql_engine import Database

LOCK_SECONDS = 10.0
STALE_SECONDS = 60.0


class States(Protocol):
    """Named texts that survive the process."""

    def update(self, name: str, change: Callable[[str | None], str]) -> str:
        """Replace the text ``name`` by ``change(text)``, None where there is none, and return the new one.

        Of several processes that change one text, each sees what the one before it left.

        Raises:
            InfrastructureError: The store cannot be used, or another process holds the text for too long.
        """


def open_states(name: str | Path, root: Path) -> States:
    """Return the texts of the store ``name``; see `store.base.open_store`."""
    store = open_store(name, root)
    if not is_url(str(name)):
        return FolderStates((root / str(name)).resolve())
    return SqlStates(store._database)  # type: ignore[attr-defined]


class FolderStates:
    """Texts as files below ``folder``; see `States`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "state"

    def update(self, name: str, change: Callable[[str | None], str]) -> str:
        """See `States.update`."""
        file = self._folder / f"{name}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._folder / f".{name}.lock"):
                new = change(file.read_text("utf-8") if file.exists() else None)
                atomic.write_text(file, new)
        except OSError as error:
            raise InfrastructureError(
                f"what was sent cannot be noted ({error.strerror or error})",
                slug="alert-state",
                file=f"state/{name}.json",
            ) from error
        return new


@contextlib.contextmanager
def _locked(lock: Path) -> Iterator[None]:
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE_SECONDS:  # its process was killed
                    lock.unlink()
                    continue
            if time.monotonic() > until:
                raise InfrastructureError(
                    f"another process holds it for more than {LOCK_SECONDS:g} s",
                    slug="alert-state",
                    file=lock.name,
                ) from None
            time.sleep(0.02)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            lock.unlink()


class SqlStates:
    """Texts as rows; see `States`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def update(self, name: str, change: Callable[[str | None], str]) -> str:
        """See `States.update`."""
        from sqlalchemy import Column, MetaData, String, Table, Text, select, text

        table = Table(
            "llmwatch_state", MetaData(), Column("name", String(80), primary_key=True), Column("value", Text)
        )
        with self._database.transaction(write=True) as db:
            if db.dialect.name == "postgresql":
                # held to the end of the transaction: of two jobs that begin at once, one waits
                db.execute(text("SELECT pg_advisory_xact_lock(7810776116995)"))
            table.create(db, checkfirst=True)
            old = db.execute(select(table.c.value).where(table.c.name == name)).scalar()
            new = change(old)
            if old is None:
                db.execute(table.insert().values(name=name, value=new))
            else:
                db.execute(table.update().where(table.c.name == name).values(value=new))
        return new
