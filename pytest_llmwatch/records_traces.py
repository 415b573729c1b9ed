"""Traces of production, as OTLP JSON, Phoenix and Langfuse export them, as RECORDS: one a call of a model."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import JSON
from pytest_llmwatch.records_langfuse import from_langfuse, is_langfuse
from pytest_llmwatch.records_spans import SpanRow, from_otlp, from_phoenix, is_otlp, is_phoenix, record_of

Format = Literal["auto", "otlp", "phoenix", "langfuse"]
FORMATS: tuple[Format, ...] = ("auto", "otlp", "phoenix", "langfuse")
_LISTS = ("data", "spans", "observations", "traces")


@dataclass(slots=True)
class Imported:
    """What was read: the records, and what of the file became none, by kind."""

    records: list[dict[str, JSON]] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def read_traces(path: Path, form: Format = "auto", *, display: str | None = None) -> Imported:
    """Read an export of traces, gzip or not: one JSON document, or a JSON object a line.

    Spans of retrievals become the context of the calls that come after them in their trace; other spans are
    counted in ``left``.

    Args:
        path: The file.
        form: What it is; ``auto`` looks at each object.
        display: The file as the user named it.

    Raises:
        RecordsError: It cannot be read, is none of the formats, or holds no call of a model.
    """
    shown = display or str(path)
    out = Imported()
    rows: list[SpanRow] = []
    for value in _objects(_text(path, shown), shown):
        kind = _kind(value) if form == "auto" else form
        if kind == "otlp":
            rows += from_otlp(value)
        elif kind == "phoenix":
            rows += from_phoenix(value)
        elif kind == "langfuse":
            for record, what in from_langfuse(value):
                if record is None:
                    out.left[what] += 1
                else:
                    out.records.append(record)
        else:
            out.left["unknown object"] += 1
    _of_rows(rows, out)
    if not out.records:
        found = ", ".join(f"{n} x {what}" for what, n in out.left.most_common(3)) or "nothing"
        raise RecordsError(
            f"holds no call of a model that can be imported (found: {found}); give an export of OTLP JSON, "
            "Phoenix or Langfuse, and --format where it was not recognised",
            slug="import-traces",
            file=shown,
        )
    return out


def _of_rows(rows: list[SpanRow], out: Imported) -> None:
    context: dict[str, list[tuple[float, list[JSON]]]] = {}
    for row in rows:
        if row.documents:
            context.setdefault(row.trace_id or "", []).append((row.start or 0.0, row.documents))
    for row in rows:
        if not row.is_call:
            out.left[row.kind] += 1
            continue
        record = record_of(row)
        before = [d for start, d in context.get(row.trace_id or "", []) if start <= (row.start or 0.0)]
        if before and "context" not in record:
            record["context"] = [_content(d) for found in before for d in found]
        out.records.append(record)


def _content(document: JSON) -> str:
    if isinstance(document, Mapping):
        return str(document.get("content") or document.get("text") or document.get("id") or "")
    return str(document)


def _text(path: Path, shown: str) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordsError(f"cannot be read ({error})", slug="import-traces", file=shown) from None


def _objects(text: str, shown: str) -> Iterator[Mapping[str, Any]]:
    try:
        yield from _opened(json.loads(text))
        return
    except (ValueError, RecursionError):
        pass
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordsError(
                f"is neither a JSON document nor JSON lines ({error})",
                slug="import-traces",
                file=shown,
                line=number,
            ) from None
        yield from _opened(value)


def _opened(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a document: itself, a list's, or those of the page that an API answers with."""
    if isinstance(value, list):
        for item in value:
            yield from _opened(item)
    elif isinstance(value, Mapping):
        inner = next((value[k] for k in _LISTS if isinstance(value.get(k), list) and _kind(value) is None), None)
        if inner is None:
            yield value
        else:
            yield from _opened(inner)


_KINDS: tuple[tuple[Format, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("otlp", is_otlp),
    ("phoenix", is_phoenix),
    ("langfuse", is_langfuse),
)


def _kind(value: Mapping[str, Any]) -> Format | None:
    return next((kind for kind, fits in _KINDS if fits(value)), None)
