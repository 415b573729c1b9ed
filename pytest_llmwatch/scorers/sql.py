"""SQL: does it parse, and what does it touch (sqlglot)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.scorers.documents import Syntactic
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.wrapped import Piece

_MAX_CHARS = 50_000
_MAX_DEPTH = 60
_STATEMENTS = {
    "select": ("Select", "SetOperation", "Subquery", "With"),
    "insert": ("Insert",),
    "update": ("Update",),
    "delete": ("Delete",),
    "merge": ("Merge",),
    "create": ("Create",),
    "alter": ("Alter", "AlterTable"),
    "drop": ("Drop", "TruncateTable"),
}


@dataclass(frozen=True, slots=True)
class Sql(Syntactic):
    """Whether the answer is SQL of the dialect that touches only what it may: 1 or 0.

    0.5 (``format_drift``) within a code fence. ``statements`` lists the kinds that are allowed (``select``, ...),
    ``tables`` and ``columns`` names that may occur (``t``, ``schema.t``; ``column`` or ``table.column``). With
    ``columns``, ``*`` is refused. The text is parsed and never run: types, and whether a table exists, are not
    known.

    Raises:
        UsageError: sqlglot is not installed.
        ValueError: An unknown dialect or kind of statement.
    """

    name = "sql"
    languages = ("sql", "postgresql", "mysql", "sqlite", "tsql")
    what = "SQL"

    dialect: str | None = option("text")
    """``postgres``, ``mysql``, ``sqlite``, ``tsql``, ``bigquery``, ...; None = what most have in common."""
    statements: Sequence[str] | str | None = option("texts")
    tables: Sequence[str] | str | None = option("texts")
    columns: Sequence[str] | str | None = option("texts")
    extract: bool = option("flag", False)

    def __post_init__(self) -> None:
        sqlglot = load("sqlglot", self.name)
        try:
            sqlglot.Dialect.get_or_raise(self.dialect)
        except ValueError as error:
            raise ValueError(f"dialect is not known to sqlglot (got {self.dialect!r})") from error
        for kind in _names(self.statements) or ():
            if kind not in _STATEMENTS:
                raise ValueError(f"statements knows {', '.join(_STATEMENTS)} (got {kind!r})")

    def problem(self, piece: Piece) -> str | None:
        """Parse all statements and look at what they touch."""
        if len(piece.text) > _MAX_CHARS:
            return f"{len(piece.text):,} characters, at most {_MAX_CHARS:,} are parsed"
        if _depth(piece.text) > _MAX_DEPTH:
            return f"nested deeper than {_MAX_DEPTH}"
        sqlglot = load("sqlglot", self.name)
        try:
            parsed = [s for s in sqlglot.parse(piece.text, dialect=self.dialect) if s is not None]
        except sqlglot.errors.SqlglotError as error:
            return _said(error)
        except (RecursionError, ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
            # sqlglot's own slips on odd input: whatever they are, this is no SQL that it understands
            return f"it cannot be parsed ({type(error).__name__})"
        if not parsed:
            return "no statement"
        for statement in parsed:
            try:
                if why := self._judge(statement, sqlglot.exp):
                    return why
            except RecursionError:
                return "nested too deeply"
        return None

    def _judge(self, statement: Any, exp: Any) -> str | None:
        kind = _kind(statement, exp)
        if kind is None:
            return f"no statement that is known ({statement.key})"
        # WITH x AS (DELETE ...) SELECT: what stands inside counts too
        inner = {k for node in statement.walk() if (k := _kind(node, exp))}
        allowed = _names(self.statements)
        if allowed is not None and (bad := sorted(inner - set(allowed))):
            return f"{bad[0]} is not allowed"
        return self._tables(statement, exp) or self._columns(statement, exp)

    def _tables(self, statement: Any, exp: Any) -> str | None:
        allowed = _names(self.tables)
        if allowed is None:
            return None
        own = {cte.alias_or_name.lower() for cte in statement.find_all(exp.CTE)}
        for table in statement.find_all(exp.Table):
            name = table.name.lower()
            full = ".".join(p for p in (table.catalog.lower(), table.db.lower(), name) if p)
            if full == name and name in own:
                continue
            if full not in allowed:
                return f"table {(full or table.sql())[:80]!r} is not allowed"
        return None

    def _columns(self, statement: Any, exp: Any) -> str | None:
        allowed = _names(self.columns)
        if allowed is None:
            return None
        for star in statement.find_all(exp.Star):
            if not isinstance(star.parent, exp.Count):
                return "* is not allowed where columns are listed"
        aliases = {a.alias.lower() for a in statement.find_all(exp.Alias)}
        real = {t.alias.lower(): t.name.lower() for t in statement.find_all(exp.Table) if t.alias}
        only = {t.name.lower() for t in statement.find_all(exp.Table)}
        for column in statement.find_all(exp.Column):
            name, table = column.name.lower(), column.table.lower()
            owners = {real.get(table, table)} if table else only
            full = {f"{owner}.{name}" for owner in owners}
            if name not in allowed and not full & set(allowed) and (table or name not in aliases):
                return f"column {name[:80]!r} is not allowed"
        return None


def _names(given: Sequence[str] | str | None) -> list[str] | None:
    if given is None:
        return None
    return [name.lower() for name in ([given] if isinstance(given, str) else given)]


def _kind(node: Any, exp: Any) -> str | None:
    for kind, classes in _STATEMENTS.items():
        if isinstance(node, tuple(getattr(exp, name) for name in classes if hasattr(exp, name))):
            return kind
    return None


def _depth(text: str) -> int:
    """Return how deep parentheses and CASE are nested, roughly: the parser recurses, and can be slow on them."""
    depth = deepest = 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        deepest = max(deepest, depth)
    return max(deepest, text.lower().count("case ") // 4)


def _said(error: Exception) -> str:
    found = getattr(error, "errors", None)
    if found:
        return f"{found[0].get('description', 'error')} at line {found[0].get('line', 1)}"[:160]
    return " ".join(str(error).split())[:160]
