"""Journals of a folder store: a file of JSON lines that is only ever added to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmwatch.model import JSON


def append(path: Path, entries: Sequence[Mapping[str, JSON]]) -> None:
    """Add ``entries`` as lines in one write; a write that fails half-way harms no line that was there.

    Raises:
        OSError: The folder cannot be written, or is full.
    """
    known = {e.get("id") for e in read(path)}
    lines = [json.dumps(e, allow_nan=False) + "\n" for e in entries if e["id"] not in known]
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(lines).encode("utf-8", errors="replace")
    # appended in one piece: jobs that write at once do not tear each other's lines
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            data = b"\n" + data  # an earlier write was cut off; its line is lost, not this one
        written = 0
        while written < len(data):
            written += os.write(handle, data[written:])
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a journal, each id once; an unreadable line as an empty mapping."""
    if not path.is_file():
        return
    seen: set[str] = set()
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                yield {}
                continue
            if not isinstance(entry, dict):
                yield {}
                continue
            name = str(entry.get("id"))
            if name not in seen:
                seen.add(name)
                yield entry
