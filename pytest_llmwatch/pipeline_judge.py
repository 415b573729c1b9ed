"""What connects judges with the rest: who is asked, and what their scores may do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_llmwatch.budget import Budget
from pytest_llmwatch.gate_calibrated import disarmed
from pytest_llmwatch.model import Score

if TYPE_CHECKING:
    from pytest_llmwatch.capture.client import ClientSettings
    from pytest_llmwatch.capture.judge_client import JudgeClient
    from pytest_llmwatch.capture.session import CaptureSession
    from pytest_llmwatch.capture.watch import Watch

KEY = "LLMWATCH_JUDGE_API_KEY"
"""Variable with the judge's own API key; ``OPENAI_API_KEY`` without it."""


def settings(budget: Budget) -> ClientSettings:
    """Return where judges are: ``[judge]``, then what the application uses."""
    from pytest_llmwatch.capture.client import ClientSettings

    judge, model = budget.judge, budget.model
    return ClientSettings(
        model=judge.model or model.model or os.environ.get("OPENAI_MODEL"),
        base_url=judge.base_url or model.base_url or os.environ.get("OPENAI_BASE_URL"),
        api_key=os.environ.get(KEY) or os.environ.get("OPENAI_API_KEY"),
        api=judge.api,
    )


def client(session: CaptureSession, budget: Budget, watch: Watch) -> JudgeClient:
    """Return who is asked in the name of one execution of a test."""
    from pytest_llmwatch.capture.judge_client import JudgeClient

    return JudgeClient(session, settings(budget), watch, share=budget.judge.share)


def allowed(scores: Sequence[Score], budget: Budget) -> tuple[Score, ...]:
    """Return the scores, without the thresholds of judges that may not fail a test."""
    return tuple(disarmed(s, budget.judge) for s in scores)
