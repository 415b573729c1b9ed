"""Traces of production into RECORDS on disk: read, with texts redacted and users hashed, written whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pytest_llmwatch.model import JSON
from pytest_llmwatch.redact import Redactor

_KEPT = frozenset({"id", "trace_id", "span_id", "parent_id", "time", "status", "model", "response_model", "case"})


class Done(NamedTuple):
    """How many records were written, how many of them hold an answer, and what else the file held, by kind."""

    records: int
    answers: int
    left: dict[str, int]


def import_traces(
    path: Path,
    out: Path,
    *,
    form: str = "auto",
    redactor: Redactor | None = None,
    hash_user: Callable[[str], str] | None = None,
    display: str | None = None,
) -> Done:
    """Write the calls that an export of traces holds to ``out`` as RECORDS; packed where its name ends in ``.gz``.

    Args:
        path: The export.
        out: Where to.
        form: ``auto``, ``otlp``, ``phoenix`` or ``langfuse``.
        redactor: Applied to all texts; None = the standard one.
        hash_user: Applied to ids of users; None = they are left out.
        display: The export as the user named it.

    Raises:
        RecordsError: It cannot be read, or holds no call.
    """
    import gzip

    from pytest_llmwatch import atomic
    from pytest_llmwatch.records_calls import dump_line
    from pytest_llmwatch.records_traces import FORMATS, read_traces

    assert form in FORMATS
    found = read_traces(path, form, display=display)
    if redactor is None:
        redactor = Redactor()
        redactor.learn_environment(os.environ)
    with atomic.replacing(out) as file:
        # no time stamp inside: the same traces give the same bytes
        packed = gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") if out.suffix == ".gz" else None
        sink = packed or file
        for record in found.records:
            line = dump_line(_clean(record, redactor, hash_user))
            sink.write(line.encode("utf-8", "replace"))
        if packed is not None:
            packed.close()
    answers = sum(1 for r in found.records if r.get("output") is not None or "response" in r)
    return Done(len(found.records), answers, dict(found.left.most_common()))


def _clean(record: dict[str, JSON], redactor: Redactor, hash_user: Callable[[str], str] | None) -> dict[str, JSON]:
    user = record.get("user")
    out = {key: value if key in _KEPT else redactor.value(value) for key, value in record.items() if key != "user"}
    if isinstance(user, str) and hash_user is not None:
        out["user"] = hash_user(user)
    return out
