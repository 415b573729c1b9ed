"""Tables: rows and columns of a CSV against the expected one."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.overlap import shares
from pytest_llmwatch.scorers.wrapped import overlong, pieces

_MAX_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class DataCompare(Base):
    """F1 of the rows (or columns) of a CSV table against the expected table, whatever the order of both.

    Columns are matched by name; numbers are compared as numbers. As ragas' DataCompyScore.
    """

    name = "data_compare"

    value: str | None = option("text")
    """Expected CSV; None = the case's reference."""
    mode: str = option(("rows", "columns"), "rows")
    measure: str = option(("f", "precision", "recall"), "f")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a table was given."""
        return self.value is not None

    def score(self, output: Output, case: Case) -> Score:
        """Compare; rows or columns that are not there are evidence."""
        wanted = self.value if self.value is not None else case.reference
        if why := overlong(output.text) or overlong(wanted or ""):
            return self.not_assessable(why)
        asked = _table(wanted or "")
        if asked is None:
            return self.not_assessable("No table to compare with: neither an option nor a reference.")
        made = next((t for p in pieces(output.text, ("csv",))[::-1] if (t := _table(p.text))), None)
        if made is None:
            return self.result(0.0, "The answer holds no table.")
        a, b = (self._parts(table, asked[0]) for table in (made, asked))
        precision, recall, f = shares((a & b).total(), a.total(), b.total())
        missing = [Evidence("missing", part[:200], where="item") for part in (b - a)]
        found = {"f": f, "precision": precision, "recall": recall}[self.measure]
        said = f"{(a & b).total():,} of {b.total():,} {self.mode} are there, {(a - b).total():,} besides."
        return self.result(found, said, missing)

    def _parts(self, table: list[list[str]], order: list[str]) -> Counter[str]:
        head, rows = table[0], table[1:]
        if self.mode == "columns":
            return Counter(f"{name}: {', '.join(row[i] for row in rows)}" for i, name in enumerate(head))
        # columns in the expected table's order, further ones behind
        places = sorted(range(len(head)), key=lambda i: (order.index(head[i]) if head[i] in order else 10**6, i))
        return Counter(", ".join(f"{head[i]}={row[i]}" for i in places) for row in rows)


def _table(text: str) -> list[list[str]] | None:
    try:
        rows = [row for row in csv.reader(io.StringIO(text.replace("\x00", ""))) if row][: _MAX_ROWS + 1]
    except csv.Error:
        return None
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return None
    return [[cell.strip() for cell in rows[0]], *([_cell(cell) for cell in row] for row in rows[1:])]


def _cell(cell: str) -> str:
    cell = cell.strip()
    try:
        return f"{float(cell):.12g}" if len(cell) < 40 else cell
    except ValueError:
        return cell
