"""Runs of several jobs joined into one: in memory where they are small, else line by line."""

from __future__ import annotations

import array
import contextlib
import functools
import gzip
import itertools
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pytest_llmwatch import atomic, pipeline, pipeline_store
from pytest_llmwatch.budget import empty_budget
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure import quantile
from pytest_llmwatch.model import Report, Run
from pytest_llmwatch.report import run_json
from pytest_llmwatch.store import files, merge, merge_stream
from pytest_llmwatch.store.merge_stream import Source

IN_MEMORY = 20_000
"""Calls up to which the whole is held in memory, its totals are exact and its report is written."""

_TIMED = frozenset({"success", "incomplete", "timeout"})


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written: numbers, and why the run is partial (None: it is whole)."""

    calls: int
    tests: int
    partial: str | None


def merge_runs(refs: Sequence[str], store: str | Path, folder: Path, *, allow_missing: bool = False) -> Merged:
    """Write the union of the named runs into ``folder``.

    Raises:
        RecordsError: A run cannot be read, or the runs contradict each other; nothing was written.
    """
    sources = [_source(ref, store) for ref in refs]
    if sum(_size(source) for source in sources) > IN_MEMORY:
        return stream(sources, folder, allow_missing=allow_missing)
    runs = [pipeline_store.load(ref, store) for ref in refs]
    whole = merge.merge(runs, allow_missing=allow_missing)
    pipeline.write_outputs(pipeline.judge(whole, empty_budget()), folder)
    return Merged(len(whole.calls), len(whole.results), whole.partial_reason)


def _source(ref: str, store: str | Path) -> Source:
    place, name = pipeline_store.find(ref, store)
    if place is not None:
        shown = f"{place.shown}#{name}"
        return Source(shown, functools.partial(place.run_json, name), functools.partial(place.lines, name))
    folder = files.resolve(ref, Path(pipeline_store.DEFAULT))
    return Source(
        ref, functools.partial(files.read_run_json, folder, display=ref), functools.partial(files.lines, folder)
    )


def _size(source: Source) -> int:
    calls = (source.data().get("aggregates") or {}).get("calls")
    return calls if isinstance(calls, int) else 0


def stream(sources: Sequence[Source], folder: Path, *, allow_missing: bool = False) -> Merged:
    """Write the union of ``sources`` into ``folder`` with one line of each in memory.

    Raises:
        RecordsError: See `merge_runs`.
    """
    with tempfile.TemporaryDirectory(prefix="llmwatch-merge-") as made:
        spools = [Path(made) / f"{number}.gz" for number in range(len(sources))]
        heads = [merge_stream.head_of(source, spool) for source, spool in zip(sources, spools, strict=True)]
        head = merge.merge(heads, allow_missing=allow_missing)
        totals = Totals()
        cases = Path(made) / "cases.gz"
        with gzip.open(cases, "wt", encoding="utf-8", compresslevel=1) as spooled:
            for entry in merge_stream.cases(spools, [source.shown for source in sources]):
                totals.add_case(entry.item)
                spooled.write(entry.line)
        with contextlib.ExitStack() as stack:
            # each takes its place when all are written, run.json last
            main = stack.enter_context(atomic.replacing(folder / files.RUN))
            _write_spans(sources, folder, totals, stack)
            calls = stack.enter_context(_packed(folder / files.CALLS))
            for entry in merge_stream.calls(sources):
                totals.add_call(entry.item)
                calls.write(entry.line.encode())
            for piece in _run_json(head, totals, cases):
                main.write(piece.encode())
    return Merged(totals.calls, totals.cases, head.partial_reason)


@contextlib.contextmanager
def _packed(path: Path) -> Iterator[IO[bytes]]:
    with atomic.replacing(path) as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        yield packed  # type: ignore[misc]


def _write_spans(sources: Sequence[Source], folder: Path, totals: Totals, stack: contextlib.ExitStack) -> None:
    found = merge_stream.spans(sources)
    first = next(found, None)
    if first is None:
        stack.callback((folder / files.SPANS).unlink, missing_ok=True)
        return
    out = stack.enter_context(_packed(folder / files.SPANS))
    for entry in itertools.chain([first], found):
        totals.spans += 1
        out.write(entry.line.encode())


def _run_json(head: Run, totals: Totals, cases: Path) -> Iterator[str]:
    """Yield the text of run.json, its cases read from ``cases``."""
    note = f"{plural(totals.calls, 'call')} merged line by line: totals of scores come with `llmwatch gate`"
    report = Report(head, "none", "no budget: measured, not judged", 0, aggregates=totals.told(), notes=(note,))
    data = run_json.render(report)
    data["spans"] = totals.spans
    before, after = files.run_text(data).split('\n  "cases": []', 1)
    yield before + '\n  "cases": ['
    with gzip.open(cases, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            text = json.dumps(json.loads(line), indent=2, ensure_ascii=False)
            yield ("," if number else "") + "\n    " + text.replace("\n", "\n    ")
    yield ("\n  ]" if totals.cases else "]") + after


@dataclass(slots=True)
class Totals:
    """Totals of a run whose calls pass by: eight bytes a call are kept for each quantile and sum."""

    calls: int = 0
    failed: int = 0
    cases: int = 0
    executions: int = 0
    passed: int = 0
    spans: int = 0
    unpriced: int = 0
    cost: array.array[float] = field(default_factory=lambda: array.array("d"))
    latency: array.array[float] = field(default_factory=lambda: array.array("d"))
    ttft: array.array[float] = field(default_factory=lambda: array.array("d"))
    tokens: dict[str, int] = field(default_factory=dict)

    def add_call(self, item: dict[str, Any]) -> None:
        """Take in a line of calls.jsonl.gz."""
        self.calls += 1
        status = item.get("status", "success")
        self.failed += status != "success"
        cost = item.get("cost_usd")
        if cost is not None:
            self.cost.append(cost)
        elif status in ("success", "incomplete") or "input_tokens" in item or "output_tokens" in item:
            self.unpriced += 1
        for name in ("input_tokens", "output_tokens"):
            if item.get(name) is not None:
                self.tokens[name] = self.tokens.get(name, 0) + item[name]
        if status in _TIMED and not any(a.get("injected") for a in item.get("attempts", ())):
            for name in ("latency", "ttft"):
                if item.get(name) is not None:
                    getattr(self, name).append(item[name])

    def add_case(self, item: dict[str, Any]) -> None:
        """Take in a case of run.json."""
        self.cases += 1
        if item.get("attempt", 0) == 0:
            self.executions += 1
            self.passed += bool(item.get("passed"))

    def told(self) -> dict[str, Any]:
        """Return them with the names of run.json."""
        return {
            "calls": self.calls,
            "failed": self.failed,
            "cost_usd": math.fsum(self.cost) if self.cost or not self.calls else None,
            "unpriced": self.unpriced,
            "input_tokens": self.tokens.get("input_tokens"),
            "output_tokens": self.tokens.get("output_tokens"),
            "latency": _spread(self.latency),
            "ttft": _spread(self.ttft),
            "executions": self.executions,
            "passed": self.passed,
            "scores": {},
        }


def _spread(values: array.array[float]) -> dict[str, Any]:
    n = len(values)
    shown = {f"p{round(100 * q)}": quantile(values, q) for q in (0.50, 0.95, 0.99)}
    return {"mean": math.fsum(values) / n if n else None, **shown, "n": n}
