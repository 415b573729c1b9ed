"""Stored runs rendered again: one, several as history, or a folder of them as an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pytest_llmwatch import pipeline
from pytest_llmwatch.errors import LlmwatchError, UsageError
from pytest_llmwatch.model import Report

INDEX = "index.html"


def again(refs: Sequence[str], store: str, budget: str | None = None) -> tuple[Report, tuple[str, ...]]:
    """Return the report of the newest of the runs ``refs``, with the others as its history, and notes on them.

    Args:
        refs: RUNs or RECORDS; of one that is named twice the first counts.
        store: Where to look for ids.
        budget: Judge the newest by this budget file; None for the verdicts that it was stored with.

    Raises:
        LlmwatchError: One of them cannot be read.
    """
    from pytest_llmwatch.report import run_json
    from pytest_llmwatch.store.base import head

    found: dict[str, Report] = {}
    notes: list[str] = []
    for ref in refs:
        run, said = pipeline.load_any(ref, store)
        notes.extend(said)
        if run.run_id not in found:
            found[run.run_id] = pipeline.stored_report(run, ref, store)
    ordered = sorted(found.values(), key=lambda r: (r.run.time, r.run.run_id))
    newest = ordered[-1]
    if budget is not None:
        setup = pipeline.load_setup(Path(budget), budget, golden=[Path("golden_sets")])
        newest = pipeline.judge(newest.run, setup.budget)
    if len(ordered) > 1:
        notes.append(f"run {newest.run.run_id} with {len(ordered) - 1} earlier as its history")
    earlier = tuple(head(run_json.render(r)) for r in ordered[:-1])
    return dataclasses.replace(newest, history=earlier or newest.history), tuple(notes)


def write_index(folder: Path, target: Path | None = None, title: str | None = None) -> tuple[Path, int, list[str]]:
    """Write the page that lists the runs below ``folder``; return its path, how many, and what could not be read.

    Raises:
        UsageError: There is no run.
    """
    from pytest_llmwatch import atomic
    from pytest_llmwatch.report import index
    from pytest_llmwatch.store import files

    target = target or folder / INDEX
    runs, unread = [], []
    for file in sorted(folder.rglob("run.json")):
        try:
            data = files.read_run_json(file.parent, display=file.as_posix())
        except LlmwatchError as error:
            unread.append(f"left out: {error}")
            continue
        page = file.parent / "report.html"
        runs.append(index.Found(data, _relative(page, target.parent) if page.is_file() else None))
    if not runs:
        raise UsageError(f"{folder} holds no run.json" + "".join(f"; {u}" for u in unread), slug="index-empty")
    text = index.render(runs, notes=unread, **({"title": title} if title else {}))
    atomic.write_text(target, text)
    return target, len(runs), unread


def _relative(page: Path, base: Path) -> str:
    import os

    return Path(os.path.relpath(page, base)).as_posix()
