"""Events of calls on the standard library's logger while the run lasts, for who listens there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_llmwatch.budget_types import TelemetryOptions
    from pytest_llmwatch.model import Call

LOGGER = logging.getLogger("llmwatch.events")


class LiveLog:
    """Logs each call when it ends; ``told`` are the ids of those calls, which the end of the run leaves out.

    Where nobody listens it costs a look at an empty list. A worker of xdist logs nothing: the handlers of its
    controller hear of its calls at the end. Neither does a log that is sampled: which tests fail is not known yet.

    Args:
        run_id: The run.
        worker: Whether this process is a worker.
    """

    def __init__(self, run_id: str, *, worker: bool) -> None:
        self.told: set[str] = set()
        self._run_id = run_id
        self._worker = worker

    def call(self, call: Call, options: TelemetryOptions) -> None:
        """Log a call that has ended; what a handler raises is not the application's trouble."""
        if not LOGGER.handlers or self._worker or options.log_share < 1:
            return
        from pytest_llmwatch import pipeline_telemetry

        if pipeline_telemetry.log_call(self._run_id, call):
            self.told.add(call.id)
