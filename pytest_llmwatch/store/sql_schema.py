"""Tables of the store in a database, and how older ones are brought up to date.

``runs`` holds a row per run with what lists and trends need, ``parts`` the run itself in compressed pieces of a
megabyte, as its files would be: append-only, and read back to the same bytes. ``figures`` repeats the totals as
rows for dashboards, ``spent`` what day and month budgets sum, also of runs that were cut off.
``journal`` holds what happened to incidents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    text,
)

from pytest_llmwatch.errors import RecordsError

VERSION = 4
"""Version of the tables.

History:
    1: runs, parts, spent.
    2: ``runs.part`` (a shard that waits for its merge), ``figures``.
    3: ``journal``.
    4: ``spent_by``.
"""

PREFIX = "llmwatch_"
TABLES = MetaData()

VERSIONS = Table(f"{PREFIX}version", TABLES, Column("version", Integer, primary_key=True, autoincrement=False))
RUNS = Table(
    f"{PREFIX}runs",
    TABLES,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("run_id", String(200), nullable=False, unique=True),
    Column("time", String(40), nullable=False, index=True),
    Column("verdict", String(20)),
    Column("branch", Text),
    Column("commit_id", Text),
    Column("part", Boolean, nullable=False, default=False),
    Column("bodies", Boolean, nullable=False, default=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("head", Text, nullable=False),
)
PARTS = Table(
    f"{PREFIX}parts",
    TABLES,
    Column("run_id", String(200), primary_key=True),
    Column("name", String(20), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
FIGURES = Table(
    f"{PREFIX}figures",
    TABLES,
    Column("run_id", String(200), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Float(53), nullable=False),
)
SPENT = Table(
    f"{PREFIX}spent",
    TABLES,
    Column("run_id", String(200), primary_key=True),
    Column("day", String(10), nullable=False, index=True),
    Column("usd", Float(53), nullable=False),
)

SPENT_BY = Table(
    f"{PREFIX}spent_by",
    TABLES,
    Column("run_id", String(200), primary_key=True),
    Column("data", Text, nullable=False),
)
JOURNAL = Table(
    f"{PREFIX}journal",
    TABLES,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("name", String(40), nullable=False),
    Column("entry_id", String(80), nullable=False),
    Column("data", Text, nullable=False),
    UniqueConstraint("name", "entry_id"),
)


def prepare(db: Connection, shown: str) -> None:
    """Make the tables, or bring older ones up to date, in the transaction of ``db``.

    Raises:
        RecordsError: A newer version made them.
    """
    if db.dialect.name == "postgresql":
        # two jobs that start at once must not both make the tables; "llmwatch" in numbers
        db.execute(text("SELECT pg_advisory_xact_lock(7810776116994)"))
    found = version(db)
    if found is None:
        TABLES.create_all(db)
        db.execute(VERSIONS.insert().values(version=VERSION))
        return
    if found > VERSION:
        raise RecordsError(
            f"was made by a newer version (tables {found}, this one reads up to {VERSION}); upgrade "
            "pytest-llmwatch",
            slug="store-version",
            file=shown,
        )
    for number in range(found, VERSION):
        _MIGRATIONS[number](db)
    if found < VERSION:
        db.execute(VERSIONS.update().values(version=VERSION))


def lock_journal() -> Any:
    """Return the statement of PostgreSQL that lets one transaction at a time add to journals."""
    return text("SELECT pg_advisory_xact_lock(7810776116995)")


def version(db: Connection) -> int | None:
    """Return the version of the tables, None where there are none."""
    if not inspect(db).has_table(VERSIONS.name):
        return None
    found = db.execute(VERSIONS.select()).scalar()
    return int(found) if found is not None else None


def figures(aggregates: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a run's totals with dotted names: ``latency.p95``, ``scores.relevance.mean``."""
    for key, value in aggregates.items():
        name = f"{prefix}{key}"[:200]
        if isinstance(value, Mapping):
            yield from figures(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def figure_rows(run_id: str, aggregates: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of ``figures`` for a run; of two names that are cut to the same one, the first."""
    rows: dict[str, float] = {}
    for name, value in figures(aggregates):
        rows.setdefault(name, value)
    return [{"run_id": run_id, "name": name, "value": value} for name, value in rows.items()]


def _from_1(db: Connection) -> None:
    no = "false" if db.dialect.name == "postgresql" else "0"
    db.execute(text(f"ALTER TABLE {RUNS.name} ADD COLUMN part BOOLEAN NOT NULL DEFAULT {no}"))
    FIGURES.create(db, checkfirst=True)
    for run_id, head in db.execute(text(f"SELECT run_id, head FROM {RUNS.name}")).all():  # noqa: S608
        rows = figure_rows(run_id, json.loads(head).get("aggregates") or {})
        if rows:
            db.execute(FIGURES.insert(), rows)


def _from_2(db: Connection) -> None:
    JOURNAL.create(db, checkfirst=True)


def _from_3(db: Connection) -> None:
    SPENT_BY.create(db, checkfirst=True)


_MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _from_1, 2: _from_2, 3: _from_3}
