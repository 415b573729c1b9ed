"""What the report shows of earlier runs: the history of its figures, and the run that it was compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.model import Report, Run
from pytest_llmwatch.store.base import Store, open_store
from pytest_llmwatch.store.merge import is_part

_MOST = 200  # newest runs that are read


def with_earlier(report: Report, store: str | Path | None, root: Path) -> Report:
    """Return ``report`` with what the store knows of earlier runs; unchanged without a store or where it fails.

    A history that the report has already stays.

    Args:
        report: Of this run.
        store: Folder or URL; None for none.
        root: What a relative path is relative to.
    """
    if store is None:
        return report
    try:
        opened = open_store(store, root)
        heads = [h for h in opened.summaries() if not is_part(h.get("environment") or {})]
        heads = sorted(heads, key=lambda h: str(h.get("time", "")))[-_MOST:]
        before = report.before if report.before is not None else _before(report, opened)
    except (LlmwatchError, OSError):
        # the page is the same without them; what is wrong with the store is told where it is written to
        return report
    own = report.run.run_id
    history = report.history or tuple(h for h in heads if h.get("run_id") != own)
    return replace(report, history=history, before=before)


def _before(report: Report, store: Store) -> Run | None:
    """Return the stored run that a baseline was recorded from: newest session first, None where none is kept."""
    kept = {k.id for k in store.runs()}
    sessions = [s for b in report.baselines.values() for s in b.sessions]
    ids = [str(s.get("run") or "") for s in sorted(sessions, key=lambda s: str(s.get("time", "")))]
    for name in reversed(ids):
        if name in kept and name != report.run.run_id:
            return store.load(name)
    return None
