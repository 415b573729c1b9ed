"""The store that is a database: SQLite or PostgreSQL, with SQLAlchemy Core.

Each method is one transaction on a connection of its own, so jobs that write at once lose nothing and a fork
inherits nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.exc import IntegrityError

from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import JSON, Run, Span
from pytest_llmwatch.records import Reader, dump_line
from pytest_llmwatch.store import files, merge, retention
from pytest_llmwatch.store.base import LATEST, Kept, head
from pytest_llmwatch.store.expense import Expense, Facets
from pytest_llmwatch.store.sql_engine import Database
from pytest_llmwatch.store.sql_schema import (
    FIGURES,
    JOURNAL,
    PARTS,
    RUNS,
    SPENT,
    SPENT_BY,
    figure_rows,
    lock_journal,
    prepare,
)

PART_BYTES = 1 << 20
_CHUNK = 500
"""Ids in one statement: databases limit them."""


class SqlStore:
    """Runs in a database; see `store.base.Store`.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql+psycopg://user@host/database``.
        root: What a relative path of SQLite is relative to.

    Raises:
        UsageError: The URL cannot be understood, or what it needs is not installed.
    """

    def __init__(self, url: str, root: Path) -> None:
        self._database = Database(url, root)
        self._ready = False
        self.shown = self._database.shown

    def check(self) -> None:
        """See `Store.check`; makes the tables where there are none."""
        self._prepare()

    def _prepare(self) -> None:
        if not self._ready:
            with self._database.transaction(write=True) as db:
                prepare(db, self.shown)
            self._ready = True

    def keep(
        self, run_json: Mapping[str, JSON], calls: Iterable[Mapping[str, JSON]], spans: Iterable[Span]
    ) -> str:
        """See `Store.keep`."""
        self._prepare()
        packed = _pack(run_json, calls, spans)
        run_id = _run_id(run_json)
        try:
            with self._database.transaction(write=True) as db:
                _insert(db, run_id, run_json, packed)
        except IntegrityError as error:
            with self._database.transaction() as db:
                known = db.execute(select(RUNS.c.digest).where(RUNS.c.run_id == run_id)).scalar()
            if known != packed.digest:
                raise RecordsError(
                    f"the store holds another run {run_id}: one id names one run",
                    slug="store-conflict",
                    file=self.shown,
                ) from error
        return f"{self.shown}#{run_id}"

    def note_spent(self, run_id: str, time: str, usd: float, by: Facets | None = None) -> None:
        """See `Store.note_spent`."""
        if usd <= 0:
            return
        self._prepare()
        try:
            with self._database.transaction(write=True) as db:
                db.execute(SPENT.insert().values(run_id=_text(run_id), day=_text(time)[:10], usd=usd))
                if by is not None:
                    db.execute(SPENT_BY.insert().values(run_id=_text(run_id), data=json.dumps(by)))
        except IntegrityError:
            pass  # noted before

    def spent(self, day: str, without: Collection[str] = ()) -> dict[str, float]:
        """See `Store.spent`."""
        if self._database.missing:
            return {"day": 0.0, "month": 0.0}
        self._prepare()
        total = func.coalesce(func.sum(SPENT.c.usd), 0.0)
        left_out = SPENT.c.run_id.not_in([_text(i) for i in without])
        month = SPENT.c.day.between(f"{day[:7]}-00", f"{day[:7]}-99")
        with self._database.transaction() as db:
            return {
                "day": float(db.execute(select(total).where(SPENT.c.day == day[:10], left_out)).scalar_one()),
                "month": float(db.execute(select(total).where(month, left_out)).scalar_one()),
            }

    def expenses(self, month: str) -> list[Expense]:
        """See `Store.expenses`."""
        if self._database.missing:
            return []
        self._prepare()
        rows = (
            select(SPENT.c.run_id, SPENT.c.day, SPENT.c.usd, SPENT_BY.c.data)
            .join(SPENT_BY, SPENT_BY.c.run_id == SPENT.c.run_id, isouter=True)
            .where(SPENT.c.day.between(f"{month}-00", f"{month}-99"))
            .order_by(SPENT.c.run_id)
        )
        with self._database.transaction() as db:
            return [
                Expense(run, day, float(usd), None if data is None else json.loads(data))
                for run, day, usd, data in db.execute(rows)
            ]

    def noted(self, run_ids: Collection[str]) -> float:
        """See `Store.noted`."""
        self._prepare()
        ids = [_text(i) for i in run_ids]
        total = func.coalesce(func.sum(SPENT.c.usd), 0.0)
        with self._database.transaction() as db:
            return sum(
                float(db.execute(select(total).where(SPENT.c.run_id.in_(ids[i : i + _CHUNK]))).scalar_one())
                for i in range(0, len(ids), _CHUNK)
            )

    def runs(self) -> list[Kept]:
        """See `Store.runs`."""
        columns = (RUNS.c.run_id, RUNS.c.time, RUNS.c.size, RUNS.c.bodies)
        rows = self._all(select(*columns).order_by(RUNS.c.time, RUNS.c.number))
        return [Kept(run_id, time, size, bool(bodies)) for run_id, time, size, bodies in rows]

    def summaries(self) -> Iterator[Mapping[str, Any]]:
        """See `Store.summaries`."""
        for (found,) in self._all(select(RUNS.c.head).order_by(RUNS.c.time, RUNS.c.number)):
            yield json.loads(found)

    def find(self, ref: str) -> str:
        """See `Store.find`."""
        if ref == LATEST:
            rows = self._all(select(RUNS.c.run_id).order_by(RUNS.c.part, RUNS.c.number.desc()).limit(1))
            if not rows:
                raise RecordsError(
                    f"{self.shown} holds no runs yet; keep them with --llm-store", slug="run-missing"
                )
            return str(rows[0][0])
        begin = RUNS.c.run_id.startswith(_text(ref), autoescape=True)
        rows = self._all(select(RUNS.c.run_id).where(begin).order_by(RUNS.c.number))
        if not any(str(i).startswith(ref) for (i,) in rows):
            newest = self._all(select(RUNS.c.run_id).order_by(RUNS.c.number.desc()).limit(3))
            rows = newest[::-1]
        return files.chosen(ref, [str(i) for (i,) in rows], self.shown)

    def run_json(self, run_id: str) -> dict[str, Any]:
        """See `Store.run_json`."""
        name = f"{self.shown}#{run_id}"
        return files.checked(self._json(run_id, name), name)

    def load(self, run_id: str) -> Run:
        """See `Store.load`."""
        name = f"{self.shown}#{run_id}"
        data = files.checked(self._json(run_id, name), name)
        reader = Reader(f"{name}/{files.CALLS}")
        calls = [reader.parse(line, n) for n, line in enumerate(self.lines(run_id, "calls"), start=1)]
        spans = files.spans_of(self.lines(run_id, "spans"), f"{name}/{files.SPANS}")
        return files.run_of(data, calls, spans, name)

    def lines(self, run_id: str, part: str) -> Iterator[str]:
        """See `Store.lines`; a megabyte at a time is in memory."""
        unpack = zlib.decompressobj()
        rest = b""
        for data in self._part(run_id, part):
            try:
                rest += unpack.decompress(data)
            except zlib.error as error:
                raise RecordsError(
                    f"cannot be unpacked ({error})", slug="run-corrupt", file=f"{self.shown}#{run_id}"
                ) from error
            *lines, rest = rest.split(b"\n")
            yield from (line.decode("utf-8") for line in lines)
        if rest:
            yield rest.decode("utf-8")

    def _part(self, run_id: str, name: str) -> Iterator[bytes]:
        # a transaction each: a merge reads a hundred runs at a time, and a server has so many connections
        for number in itertools.count():
            where = (PARTS.c.run_id == run_id, PARTS.c.name == name, PARTS.c.part == number)
            with self._database.transaction() as db:
                data = db.execute(select(PARTS.c.data).where(*where)).scalar()
            if data is None:
                return
            yield data

    def append(self, journal: str, entries: Sequence[Mapping[str, JSON]]) -> None:
        """See `Store.append`."""
        self._prepare()
        rows = {_text(e["id"]): json.dumps(e, allow_nan=False) for e in entries}
        with self._database.transaction(write=True) as db:
            if db.dialect.name == "postgresql":
                # two jobs that tell the same thing at once: the second waits and finds it there
                db.execute(lock_journal())
            ids = list(rows)
            for i in range(0, len(ids), _CHUNK):
                part = ids[i : i + _CHUNK]
                where = (JOURNAL.c.name == journal, JOURNAL.c.entry_id.in_(part))
                there = {i for (i,) in db.execute(select(JOURNAL.c.entry_id).where(*where))}
                new = [{"name": journal, "entry_id": i, "data": rows[i]} for i in part if i not in there]
                if new:
                    db.execute(JOURNAL.insert(), new)

    def journal(self, journal: str) -> Iterator[Mapping[str, Any]]:
        """See `Store.journal`."""
        for (found,) in self._all(
            select(JOURNAL.c.data).where(JOURNAL.c.name == journal).order_by(JOURNAL.c.number)
        ):
            yield json.loads(found)

    def remove(self, run_ids: Sequence[str]) -> None:
        """See `Store.remove`."""
        with self._database.transaction(write=True) as db:
            for i in range(0, len(run_ids), _CHUNK):
                ids = [_text(run_id) for run_id in run_ids[i : i + _CHUNK]]
                for table in (PARTS, FIGURES, RUNS):
                    db.execute(delete(table).where(table.c.run_id.in_(ids)))

    def strip(self, run_id: str) -> None:
        """See `Store.strip`; the digest stays that of the whole run."""
        data, calls, spans = retention.without_texts(self.run_json(run_id), self.load(run_id))
        packed = _pack(data, calls, spans)
        with self._database.transaction(write=True) as db:
            db.execute(delete(PARTS).where(PARTS.c.run_id == run_id))
            db.execute(PARTS.insert(), packed.rows(run_id))
            db.execute(RUNS.update().where(RUNS.c.run_id == run_id).values(bodies=False, size=packed.size))

    # -- reading

    def _all(self, statement: Any) -> Sequence[Any]:
        if self._database.missing:
            return []
        self._prepare()
        with self._database.transaction() as db:
            return db.execute(statement).all()

    def _json(self, run_id: str, name: str) -> Any:
        text = "".join(line + "\n" for line in self.lines(run_id, "run"))
        try:
            return json.loads(text)
        except ValueError as error:
            raise RecordsError(f"is not valid JSON ({error})", slug="run-corrupt", file=name) from error


@dataclass(frozen=True, slots=True)
class _Packed:
    """A run as its parts: ``parts`` maps a name to compressed pieces; ``digest`` is of the text before."""

    parts: Mapping[str, Sequence[bytes]]
    digest: str

    @property
    def size(self) -> int:
        return sum(len(piece) for pieces in self.parts.values() for piece in pieces)

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return [
            {"run_id": run_id, "name": name, "part": number, "data": piece}
            for name, pieces in self.parts.items()
            for number, piece in enumerate(pieces)
        ]


def _pack(run_json: Mapping[str, JSON], calls: Iterable[Mapping[str, JSON]], spans: Iterable[Span]) -> _Packed:
    digest = hashlib.sha256()
    parts = {
        "run": _pieces([files.run_text(run_json)], digest),
        "calls": _pieces(map(dump_line, calls), digest),
        "spans": _pieces(map(files.span_line, spans), digest),
    }
    return _Packed(parts, digest.hexdigest())


def _pieces(texts: Iterable[str], digest: Any) -> list[bytes]:
    pack = zlib.compressobj(6)
    out: list[bytes] = []
    current = bytearray()
    for text in texts:
        data = text.encode("utf-8", errors="replace")
        digest.update(data)
        current += pack.compress(data)
        while len(current) >= PART_BYTES:
            out.append(bytes(current[:PART_BYTES]))
            del current[:PART_BYTES]
    digest.update(b"\0")
    current += pack.flush()
    return [*out, bytes(current)]


def _insert(db: Connection, run_id: str, run_json: Mapping[str, JSON], packed: _Packed) -> None:
    environment = run_json.get("environment") or {}
    db.execute(
        RUNS.insert().values(
            run_id=run_id,
            time=_text(run_json.get("time"))[:40],
            verdict=_text(run_json.get("verdict"))[:20],
            branch=_text(environment.get("branch")),
            commit_id=_text(environment.get("commit")),
            part=merge.is_part(environment),
            bodies=True,
            size=packed.size,
            digest=packed.digest,
            head=json.dumps(head(run_json), allow_nan=False),
        )
    )
    db.execute(PARTS.insert(), packed.rows(run_id))
    rows = figure_rows(run_id, run_json.get("aggregates") or {})
    if rows:
        db.execute(FIGURES.insert(), rows)


def _run_id(run_json: Mapping[str, JSON]) -> str:
    run_id = _text(run_json["run_id"])
    if not run_id or len(run_id) > 200:
        raise RecordsError(f"a run id has 1 to 200 characters (got {len(run_id)})", slug="run-corrupt")
    return run_id


def _text(value: Any) -> str:
    # no database takes NUL or half a surrogate pair in a text
    return "" if value is None else str(value).replace("\0", "").encode("utf-8", "replace").decode("utf-8")
