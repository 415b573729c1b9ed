"""The store that is a folder: ``runs/<run id>/run.json``, ``spent.jsonl``, ``latest``, ``journals/``."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmwatch.errors import InfrastructureError
from pytest_llmwatch.model import JSON, Run, Span
from pytest_llmwatch.store import files, journals, retention
from pytest_llmwatch.store.base import Kept, head
from pytest_llmwatch.store.expense import Expense, Facets

JOURNALS = "journals"


class FolderStore:
    """Runs as folders of files; see `store.base.Store`.

    Args:
        root: The folder; made when something is kept.
        shown: The folder as the user named it.
    """

    def __init__(self, root: Path, shown: str) -> None:
        self.root = root
        self.shown = shown

    def check(self) -> None:
        """See `Store.check`: a file where the folder should be."""
        if self.root.exists() and not self.root.is_dir():
            raise InfrastructureError("is a file, not a folder of runs", slug="store-down", file=self.shown)

    def keep(
        self, run_json: Mapping[str, JSON], calls: Iterable[Mapping[str, JSON]], spans: Iterable[Span]
    ) -> str:
        """See `Store.keep`."""
        return str(files.store_run(self.root, run_json, calls, spans))

    def note_spent(self, run_id: str, time: str, usd: float, by: Facets | None = None) -> None:
        """See `Store.note_spent`."""
        files.add_spent(self.root, time, usd, run_id, by)

    def expenses(self, month: str) -> list[Expense]:
        """See `Store.expenses`."""
        return files.expenses(self.root, month)

    def spent(self, day: str, without: Collection[str] = ()) -> dict[str, float]:
        """See `Store.spent`."""
        return files.spent(self.root, day, without)

    def noted(self, run_ids: Collection[str]) -> float:
        """See `Store.noted`."""
        return files.noted(self.root, run_ids)

    def runs(self) -> list[Kept]:
        """See `Store.runs`."""
        found = []
        for folder in files.stored(self.root):
            size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
            time = str(files.read_run_json(folder).get("time", ""))
            found.append(Kept(folder.name, time, size, not (folder / files.NO_BODIES).exists()))
        return sorted(found, key=lambda run: (run.time, run.id))

    def summaries(self) -> Iterator[Mapping[str, Any]]:
        """See `Store.summaries`."""
        for folder in files.stored(self.root):
            yield head(files.read_run_json(folder))

    def find(self, ref: str) -> str:
        """See `Store.find`."""
        return files.by_id(files.folder_name(ref), self.root).name

    def run_json(self, run_id: str) -> dict[str, Any]:
        """See `Store.run_json`."""
        return files.read_run_json(self.root / files.RUNS / run_id)

    def load(self, run_id: str) -> Run:
        """See `Store.load`."""
        return files.load_run(self.root / files.RUNS / run_id)

    def lines(self, run_id: str, part: str) -> Iterator[str]:
        """See `Store.lines`."""
        return files.lines(self.root / files.RUNS / run_id, part)

    def append(self, journal: str, entries: Sequence[Mapping[str, JSON]]) -> None:
        """See `Store.append`."""
        journals.append(self.root / JOURNALS / f"{journal}.jsonl", entries)

    def journal(self, journal: str) -> Iterator[Mapping[str, Any]]:
        """See `Store.journal`."""
        return journals.read(self.root / JOURNALS / f"{journal}.jsonl")

    def remove(self, run_ids: Sequence[str]) -> None:
        """See `Store.remove`; run.json goes first, so that a folder cut off half-way is no run."""
        for run_id in run_ids:
            folder = self.root / files.RUNS / run_id
            (folder / files.RUN).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)

    def strip(self, run_id: str) -> None:
        """See `Store.strip`."""
        folder = self.root / files.RUNS / run_id
        data, calls, spans = retention.without_texts(self.run_json(run_id), self.load(run_id))
        (folder / files.NO_BODIES).write_text("removed by `llmwatch history prune`\n", encoding="utf-8")
        files.write_run(folder, data, calls, spans)
