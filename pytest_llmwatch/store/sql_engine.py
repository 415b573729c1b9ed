"""Connections to the database of a store: short waits, no password in a message, one error for all failures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pytest_llmwatch.errors import InfrastructureError, RecordsError, UsageError
from pytest_llmwatch.store.base import missing_extra

CONNECT_SECONDS = 5
BUSY_SECONDS = 60
_POSTGRES = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": 15_000,  # ms: a network that went away
    "application_name": "pytest-llmwatch",
}
_SECRET_KEYS = ("password", "passfile", "sslpassword", "sslkey")


class Database:
    """One database: transactions on it, and its name for people.

    Args:
        url: As the user gave it.
        root: What a relative path of SQLite is relative to.

    Raises:
        UsageError: The URL cannot be understood, or what it needs is not installed.
    """

    def __init__(self, url: str, root: Path) -> None:
        parsed = _parse(url)
        self.shown = _shown(parsed)
        self._secrets = _secrets(parsed)
        self._file: Path | None = None
        if parsed.get_backend_name() == "sqlite":
            self._file = _file(parsed, root)
            parsed = parsed.set(database=str(self._file))
        else:
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            self._engine = _engine(parsed)
        except ModuleNotFoundError as error:
            raise missing_extra(parsed.get_backend_name(), error) from error

    @contextlib.contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Connection]:
        """Open a transaction; committed at the end, undone on any error.

        Raises:
            InfrastructureError: The database cannot be reached, or refuses.
            RecordsError: The file is no database.
            IntegrityError: A row of this key is there already.
        """
        if self._file is not None and write:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._engine.connect().execution_options(llmwatch_write=write) as db, db.begin():
                if self._file is None:
                    db.execute(text(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'"))
                yield db
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise self._error(error) from None  # its text may hold the URL

    @property
    def missing(self) -> bool:
        """Whether the database is a file that nobody has made yet."""
        return self._file is not None and not self._file.exists()

    def _error(self, error: SQLAlchemyError) -> Exception:
        said = str(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)
        for secret in self._secrets:
            said = said.replace(secret, "***")
        line = " ".join(said.split())[:300]
        if "file is not a database" in line or "malformed" in line:
            return RecordsError(
                f"is no database that SQLite reads ({line})", slug="store-corrupt", file=self.shown
            )
        return InfrastructureError(f"the store cannot be used ({line})", slug="store-down", file=self.shown)


def _parse(url: str) -> URL:
    given = "postgresql" + url.removeprefix("postgres") if url.startswith("postgres://") else url
    try:
        parsed = make_url(given)
        parsed.port  # noqa: B018 - checks the number
    except (ArgumentError, ValueError):
        scheme = url.partition("://")[0]
        raise UsageError(
            f"the URL of the store {scheme}://... cannot be understood; it reads "
            "postgresql+psycopg://user@host:5432/database, with special characters of a password as %xx",
            slug="store-url",
        ) from None
    driver = parsed.drivername.partition("+")[2]
    if driver not in ("", "psycopg", "pysqlite"):
        raise UsageError(
            f"a store {parsed.drivername}:// is not known; leave the driver {driver!r} out", slug="store-url"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UsageError("a store in memory keeps nothing; name a file: sqlite:///llmwatch.db", slug="store-url")
    return parsed


def _shown(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    where = url.host or "localhost"
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{user}{where}{port}/{url.database or ''}"


def _secrets(url: URL) -> list[str]:
    """Return what must not stand in a message, in every form that it may have there."""
    plain = [str(url.password)] if url.password else []
    plain += [str(v) for key, v in url.query.items() if key in _SECRET_KEYS]
    return sorted({form for s in plain for form in (s, quote(s), quote_plus(s), quote(s, safe=""))}, key=len)[::-1]


def _file(url: URL, root: Path) -> Path:
    return (root / str(url.database)).resolve()


def _engine(url: URL) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    # what the URL says of a time-out wins
    arguments: Mapping[str, Any] = (
        {"timeout": BUSY_SECONDS} if sqlite else {k: v for k, v in _POSTGRES.items() if k not in url.query}
    )
    engine = create_engine(url, poolclass=NullPool, connect_args=dict(arguments), hide_parameters=True)
    if sqlite:
        event.listen(engine, "connect", _plain_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _plain_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us


def _begin_sqlite(db: Connection) -> None:
    # a reader that turns writer half-way fails at once where another job writes; a writer from the start waits
    write = db.get_execution_options().get("llmwatch_write")
    db.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
