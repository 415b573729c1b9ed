"""The store of one test run: opened before anything is paid for, written at the end; failures are told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmwatch import pipeline_store
from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.store.base import is_url

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_llmwatch.budget import Budget
    from pytest_llmwatch.budget_types import Scope
    from pytest_llmwatch.model import Report, Run


class Storing:
    """Keeps the run, and says what earlier ones spent.

    Args:
        url: The store that was asked for, None for none.
        root: What a relative path is relative to.
    """

    def __init__(self, url: str | None, root: Path) -> None:
        self.url = url
        self.root = root
        self.failures: list[str] = []

    @property
    def place(self) -> str | Path:
        """Where runs are looked up by id: this store, else the folder that commands look into."""
        if self.url is not None:
            return self.url if is_url(self.url) else (self.root / self.url).resolve()
        return self.root / pipeline_store.DEFAULT

    def check(self) -> None:
        """Raise where the store cannot be used; see `pipeline_store.check`."""
        pipeline_store.check(self.url, self.root)

    def spent(self, run: Run, scopes: Collection[Scope] = ()) -> dict[str, float] | None:
        """Return what earlier runs spent ``day`` and ``month``, also by scope; None where nobody can tell."""
        try:
            return pipeline_store.spent(self.url, self.root, run=run, scopes=scopes)
        except LlmwatchError as error:
            self.failures.append(str(error))
            return None

    def keep(self, report: Report) -> None:
        """Keep the run; where that fails the report stays, and the failure is noted."""
        if self.url is None:
            return
        try:
            pipeline_store.keep(report, self.url, self.root)
        except (LlmwatchError, OSError) as error:
            self.failures.append(f"the run is not in the store: {error}")

    def alert(self, report: Report, budget: Budget, mode: str | None) -> Report:
        """Send what the budget's alerts ask for; return ``report`` with notes on it, its verdict as it was."""
        if not budget.alerts:
            return report
        from pytest_llmwatch import pipeline_alerts

        mode = mode or pipeline_alerts.default_mode()
        done = pipeline_alerts.send_report(report, budget, self.place, self.root, mode=mode)
        return dataclasses.replace(report, notes=(*report.notes, *done.notes))

    def noted(self, report: Report, code: int) -> Report:
        """Return ``report`` with what failed, and with exit code ``code`` where it says that all is well."""
        if not self.failures:
            return report
        return dataclasses.replace(
            report, exit_code=report.exit_code or code, notes=(*report.notes, *dict.fromkeys(self.failures))
        )
