"""Alerts of ``llmwatch gate``: after one judged run, or after sliding windows of records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_llmwatch.budget import Budget
    from pytest_llmwatch.model import Report
    from pytest_llmwatch.windows import Window


class Teller:
    """Sends what the alerts of a budget ask for.

    Args:
        budget: The rules.
        store: Where what was sent is kept.
        mode: ``on``, ``off`` or ``dry``; None for on in CI and dry elsewhere.
    """

    def __init__(self, budget: Budget, store: str | Path, mode: str | None) -> None:
        self._budget = budget
        self._store = store
        self._mode = mode

    def run(self, report: Report) -> Report:
        """Send what ``report`` calls for and return it with notes on that."""
        return replace(report, notes=(*report.notes, *self._send([(None, report)])))

    @property
    def mode(self) -> str:
        """``on``, ``off`` or ``dry``."""
        from pytest_llmwatch import pipeline_alerts

        return self._mode or pipeline_alerts.default_mode()

    def notes_incidents(self, *, keep: bool) -> bool:
        """Whether the journal takes incidents: with ``--keep``, and where a message names them."""
        return keep or bool(self._budget.alerts and self.mode == "on")

    def windows(
        self, judged: list[tuple[Window, Report]], *, source: str, keep: bool
    ) -> tuple[list[tuple[Window, Report]], tuple[str, ...]]:
        """Open the incidents of windows and send what they call for, by the records' own clock.

        Returns:
            The windows with their incidents, and notes.
        """
        from pytest_llmwatch import pipeline_incidents_windows

        found, notes = pipeline_incidents_windows.attach(
            judged,
            self._budget,
            source=source,
            url=self._store,
            root=Path(),
            folder=Path("llmwatch-report"),
            keep=self.notes_incidents(keep=keep),
        )
        return found, (*notes, *self._send([(w, r) for w, r in found]))

    def _send(self, judged: list[tuple[Window | None, Report]]) -> tuple[str, ...]:
        if not self._budget.alerts:
            return ()
        from pytest_llmwatch import pipeline_alerts as alerts

        steps = [
            alerts.step_of(
                report,
                self._budget,
                at=w.end.timestamp() if w else None,
                run=f"records from {w.start:%Y-%m-%d %H:%M:%S} to {w.end:%H:%M:%S} UTC" if w else None,
            )
            for w, report in judged
        ]
        return alerts.send(steps, self._budget, self._store, Path(), mode=self.mode).notes
