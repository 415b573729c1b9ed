"""Formats of data and code: YAML, CSV, Python."""

from __future__ import annotations

import ast
import csv
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch import schema as json_schema
from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.wrapped import Piece, judged, overlong, pieces

_MAX_DEPTH = 100
_MAX_ALIASES = 100


class Syntactic(Base):
    """A scorer that parses: the whole answer, else what stands in a code fence (format drift)."""

    __slots__ = ()

    languages: tuple[str, ...] = ()
    what = ""
    extract: bool

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether the case asks for this format."""
        return (case.format or "").lower() == self.name

    def score(self, output: Output, case: Case) -> Score:
        """Parse; what keeps the answer from being of the format is the explanation."""
        if why := overlong(output.text):
            return self.not_assessable(why)
        if not output.text.strip():
            return self.result(0.0, "The answer is empty.")
        first: str | None = None
        for piece in pieces(output.text, self.languages):
            problem = self.problem(piece)
            if problem is None:
                return judged(self, piece, output.text, self.what, extract=self.extract)
            first = first or problem
        return self.result(0.0, f"Not {self.what}: {first}.", [Evidence("format", first or "", where="item")])

    def problem(self, piece: Piece) -> str | None:
        """Return what is wrong with a piece of text, None where it is good."""
        return None if piece.text else "empty"


@dataclass(frozen=True, slots=True)
class Yaml(Syntactic):
    """Whether the answer is a YAML mapping or list: 1 or 0; 0.5 (``format_drift``) within a code fence.

    Plain text is YAML too (a scalar), and therefore does not count. ``schema`` is a JSON Schema that it must fit.
    More than 100 aliases, and nesting deeper than 100, are refused.
    """

    name = "yaml"
    version = "2"
    languages = ("yaml", "yml")
    what = "YAML"

    schema: Any = option("any")  # noqa: RUF009
    extract: bool = option("flag", False)

    def __post_init__(self) -> None:
        if self.schema is not None:
            try:
                json_schema.issues(None, self.schema)
            except json_schema.InvalidSchema as error:
                raise ValueError(f"schema is not a JSON Schema ({error})") from error

    def problem(self, piece: Piece) -> str | None:
        """Parse in two passes: events first, so that nothing deep or multiplied is ever built."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            if why := _bomb(piece.text, loader):
                return why
            value = yaml.load(piece.text, Loader=loader)  # noqa: S506 - a safe loader
        except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
            return " ".join(str(error).split())[:160] or type(error).__name__
        if not isinstance(value, dict | list):
            return f"a plain {type(value).__name__}, neither a mapping nor a list"
        return None if self.schema is None else _misfit(value, self.schema)


def _misfit(value: Any, schema: Any) -> str | None:
    try:
        issues = json_schema.issues(value, schema)
    except (TypeError, RecursionError) as error:  # keys that are no texts, a value that holds itself
        return " ".join(str(error).split())[:160]
    return f"does not fit the schema, {issues[0].json_path}: {issues[0].message[:160]}" if issues else None


def _bomb(text: str, loader: Any) -> str | None:
    import yaml

    depth = aliases = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > _MAX_DEPTH:
            return f"nested deeper than {_MAX_DEPTH}"
        if aliases > _MAX_ALIASES:
            return f"more than {_MAX_ALIASES} aliases"
    return None


@dataclass(frozen=True, slots=True)
class Csv(Syntactic):
    """Whether the answer is a CSV table: at least two columns, as many cells in each row as in the first.

    1 or 0; 0.5 (``format_drift``) within a code fence. ``columns`` names columns that the first row must have.

    Raises:
        ValueError: ``delimiter`` is not one character.
    """

    name = "csv"
    languages = ("csv", "tsv")
    what = "CSV"

    delimiter: str = option("text", ",")
    columns: Sequence[str] | str | None = option("texts")
    min_rows: int = option("count", 0)
    """Rows without the first."""
    extract: bool = option("flag", False)

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '\r\n"\x00':
            raise ValueError(f"delimiter must be one character (got {self.delimiter!r})")

    def problem(self, piece: Piece) -> str | None:
        """Read all rows and compare their lengths."""
        if "\x00" in piece.text:
            return "a NUL character"
        try:
            rows = [r for r in csv.reader(io.StringIO(piece.text), delimiter=self.delimiter, strict=True) if r]
        except csv.Error as error:
            return str(error)
        columns = [self.columns] if isinstance(self.columns, str) else list(self.columns or ())
        if not rows or (len(rows[0]) < 2 and len(columns) != 1):
            return "a single column"
        width = len(rows[0])
        for number, row in enumerate(rows, 1):
            if len(row) != width:
                return f"row {number} has {len(row)} cells, the first has {width}"
        lacking = [c for c in columns if c not in [cell.strip() for cell in rows[0]]]
        if lacking:
            return f"lacks the column {lacking[0]!r}"
        return f"{len(rows) - 1} rows, at least {self.min_rows} wanted" if len(rows) - 1 < self.min_rows else None


@dataclass(frozen=True, slots=True)
class PythonCode(Syntactic):
    """Whether the answer is Python that parses (it is never run): 1 or 0; 0.5 (``format_drift``) in a code fence.

    ``defines`` names functions or classes that it must define at the top. Plain words that happen to parse (a bare
    name, a number) do not count.
    """

    name = "python_code"
    languages = ("python", "py", "python3")
    what = "Python code"

    defines: Sequence[str] | str | None = option("texts")
    extract: bool = option("flag", False)

    def problem(self, piece: Piece) -> str | None:
        """Parse by ``ast`` of the running Python."""
        if len(piece.text) > 200_000:
            return f"{len(piece.text):,} characters, at most 200,000 are parsed"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes are the answer's, not the user's
                tree = ast.parse(piece.text)
        except SyntaxError as error:
            return f"{error.msg} at line {error.lineno}"
        except (ValueError, RecursionError, MemoryError) as error:
            return " ".join(str(error).split())[:120] or "nested too deeply"
        if all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Name | ast.Constant) for s in tree.body):
            return "no statement"
        names = {s.name for s in tree.body if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
        asked = [self.defines] if isinstance(self.defines, str) else list(self.defines or ())
        lacking = [name for name in asked if name not in names]
        return f"does not define {lacking[0]!r}" if lacking else None
