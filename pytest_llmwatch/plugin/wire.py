"""Records on their way from where a test runs to where the run is put together.

Per test as JSON text on its reports (works alone and under xdist, where only plain values survive), and as a
line-buffered spool file per process, so that a killed worker loses nothing that was finished.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pytest_llmwatch.codec import decode, encode
from pytest_llmwatch.model import Call, CaseResult, Problem, Span


@dataclass(slots=True)
class Parcel:
    """What one report carries: new calls and spans, problems, and on the last report of a test its result.

    A call or a span that comes again is the same one, better known.
    """

    calls: list[Call] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    result: CaseResult | None = None
    beside: Parcel | None = None
    """Of the baseline that is asked beside the test."""

    @property
    def full(self) -> bool:
        """Whether there is anything to send."""
        return bool(self.calls or self.spans or self.problems or self.result is not None or self.beside)

    def dumps(self) -> str:
        """Return the parcel as JSON text."""
        data: dict[str, Any] = {"calls": encode(self.calls), "problems": encode(self.problems)}
        if self.spans:
            data["spans"] = encode(self.spans)
        if self.result is not None:
            data["result"] = encode(self.result)
        if self.beside is not None:
            data["beside"] = self.beside.dumps()
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> Parcel:
        """Read what :meth:`dumps` wrote."""
        data = json.loads(text)
        return cls(
            calls=[decode(Call, c) for c in data.get("calls", ())],
            spans=[decode(Span, s) for s in data.get("spans", ())],
            problems=[decode(Problem, p) for p in data.get("problems", ())],
            result=decode(CaseResult, data["result"]) if data.get("result") else None,
            beside=cls.loads(data["beside"]) if data.get("beside") else None,
        )


class Spool:
    """One process's append-only file of finished calls and spans; opened at the first."""

    def __init__(self, folder: Path, worker: str | None) -> None:
        self._path = folder / f"{worker or 'main'}-{os.getpid()}.jsonl"
        self._file: TextIO | None = None

    def write(self, record: Call | Span) -> None:
        """Append one call or span and hand it to the operating system at once."""
        data = encode(record)
        if isinstance(record, Span):
            data = {"span": data}
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._file.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Close the file; it stays on disk for the controller."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_spool(folder: Path, known: Iterable[str]) -> Iterator[Call]:
    """Yield the spooled calls whose ids are not ``known``; a torn last line is passed over."""
    seen = set(known)
    for data in _spooled(folder):
        with contextlib.suppress(ValueError, TypeError):
            call = decode(Call, data)
            if call.id not in seen:
                seen.add(call.id)
                yield call


def read_spooled_spans(folder: Path, known: Iterable[str]) -> list[Span]:
    """Return the spooled spans whose ids are not ``known``; of a span that was written twice, the later."""
    passed = set(known)
    found: dict[str, Span] = {}
    for data in _spooled(folder):
        with contextlib.suppress(ValueError, TypeError):
            if isinstance(data.get("span"), dict):
                span = decode(Span, data["span"])
                if span.id not in passed:
                    found[span.id] = span
    return list(found.values())


def _spooled(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    data = json.loads(line)
                except ValueError:
                    continue  # the process died in the middle of this line
                if isinstance(data, dict):
                    yield data


def clear_spool(folder: Path) -> None:
    """Remove the spool folder and its files."""
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()


class SpendLedger:
    """Money spent by all processes of a run: each appends its live costs, all read the sum.

    Args:
        path: The shared file.
        limit: US dollars, None for no limit.
    """

    def __init__(self, path: Path, limit: float | None) -> None:
        self.limit = limit
        self._path = path

    def add(self, usd: float) -> None:
        """Record that ``usd`` were spent."""
        self._write(repr(usd))

    def add_unknown(self, model: str) -> None:
        """Record that a call of ``model`` was billed, and nobody can say how much."""
        self._write(f"?{json.dumps(model)}")

    def _write(self, line: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="ascii") as out:
            out.write(line + "\n")

    def read(self) -> tuple[float, str | None]:
        """Return what all processes have spent so far, and a model whose cost nobody can tell, or None."""
        try:
            found = self._path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return 0.0, None
        unknown = next((json.loads(line[1:]) for line in found if line.startswith("?")), None)
        return math.fsum(float(line) for line in found if not line.startswith("?")), unknown
