"""Why the answer ended, and whether the provider's guardrails stepped in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option

FILTERED = frozenset(
    [
        "content_filter",
        "content_filtered",
        "refusal",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "guardrail_intervened",
        "blocked",
        "error_toxic",
    ]
)
"""Finish reasons, in lower case, by which a provider says that a filter of its own cut the answer.

OpenAI and Azure: content_filter; Anthropic: refusal; Gemini: SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT,
SPII, IMAGE_SAFETY; Bedrock: content_filtered, guardrail_intervened; Cohere: ERROR_TOXIC.
"""

GOOD = ("stop", "end_turn", "tool_calls", "tool_use", "completed", "complete", "stop_sequence")
"""What a finished answer ends with at the providers, where no option says otherwise."""


@dataclass(frozen=True, slots=True)
class FinishReason(Base):
    """Whether the answer ended as it should: 1 or 0. By default it was finished, neither cut off nor filtered."""

    name = "finish_reason"

    allowed: Sequence[str] | str = option("texts", GOOD)

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: a limit on tokens may be meant."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Compare the provider's finish reason."""
        if not output.finish_reason:
            return self.not_assessable("The finish reason is not known.")
        allowed = [self.allowed] if isinstance(self.allowed, str) else list(self.allowed)
        made = output.finish_reason
        good = made.lower() in [reason.lower() for reason in allowed]
        said = f"Ended by {made[:60]!r}" + ("." if good else f", wanted: {', '.join(allowed)}.")
        return self.result(float(good), said, [Evidence("finish_reason", made[:60], where="item")])


@dataclass(frozen=True, slots=True)
class Guardrail(Base):
    """1 where no guardrail of the provider stepped in, 0 where its content filter cut or refused the answer.

    ``negate`` where the filter should. It sees what the finish reason says; filters that only annotate are not
    seen, nor are refusals in the model's own words (`refusal`).
    """

    name = "guardrail"

    reasons: Sequence[str] | str = option("texts", ())
    """Further finish reasons that mean a guardrail."""

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: it is part of `refusal` already."""
        return False

    def score(self, output: Output, case: Case) -> Score:
        """Look at the finish reason."""
        if not output.finish_reason:
            return self.not_assessable("The finish reason is not known.")
        more = [self.reasons] if isinstance(self.reasons, str) else self.reasons
        made = output.finish_reason
        if made.lower() not in FILTERED | {reason.lower() for reason in more}:
            return self.result(1.0, f"No guardrail stepped in (finish reason {made[:60]}).")
        evidence = [Evidence("guardrail", made[:60], where="item")]
        return self.result(0.0, f"The provider's guardrail stepped in (finish reason {made[:60]}).", evidence)
