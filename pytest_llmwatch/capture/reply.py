"""What a monitored call returns to a test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from pytest_llmwatch.model import Call, Case, Output, Score, ToolCall, Usage

ScoreOutput = Callable[[Output, Case | None, Sequence[str] | None], tuple[Score, ...]]
"""``(output, case, names) -> scores``; names None = all that apply, with the composite last."""

_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\r?\n(.*?)(?:\r?\n)?```", re.DOTALL)
_SHOWN_OUTPUT = 600


class Reply:
    """The answer to one monitored call. ``str(reply)`` is its text.

    Attributes:
        call: The record of the call.
        case: The golden case under test, None outside of one.
        raw: The SDK's own response object; None for a stream.
    """

    def __init__(
        self, call: Call, *, text: str, score: ScoreOutput, case: Case | None = None, raw: Any = None
    ) -> None:
        self.call = call
        self.case = case
        self.raw = raw
        self._text = text
        self._score = score
        self._scores: tuple[Score, ...] | None = None

    @property
    def text(self) -> str:
        """The answer's text; empty where the model only called tools."""
        return self._text

    @property
    def json(self) -> Any:
        """The text parsed as JSON, also from inside a code fence.

        Raises:
            ValueError: It is not JSON; the message shows where and what.
        """
        text = self._text.strip()
        candidates = [text, *(m.strip() for m in _FENCE.findall(self._text))]
        first: ValueError | None = None
        for candidate in candidates:
            try:
                return json.loads(candidate)
            except ValueError as error:
                first = first or error
        case = f" of case {self.case.id!r}" if self.case else ""
        raise ValueError(f"the reply{case} is not JSON: {first}. It says: {_shortened(text, 300)!r}") from first

    @property
    def latency(self) -> float | None:
        """Seconds from the first request to the last byte, retries included; recorded time on replay."""
        return self.call.latency

    @property
    def ttft(self) -> float | None:
        """Seconds to the first chunk with content; None without streaming."""
        return self.call.ttft

    @property
    def usage(self) -> Usage:
        """Tokens as the provider reported them."""
        return self.call.usage

    @property
    def cost_usd(self) -> float | None:
        """Dollars, None where the model has no known price."""
        return self.call.cost.usd

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Tools that the model asked for."""
        return self.call.tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped: ``stop``, ``length``, ``tool_calls``, ``content_filter``."""
        return self.call.finish_reason

    @property
    def output(self) -> Output:
        """What is scored."""
        return Output(self._text, self.tool_calls, self.finish_reason, (), self.call.id)

    @property
    def scores(self) -> tuple[Score, ...]:
        """All scores that apply to the case, the composite last; computed once."""
        if self._scores is None:
            self._scores = self._score(self.output, self.case, None)
        return self._scores

    def score(self, name: str) -> Score:
        """Return one score by name; a scorer that does not apply gives a score without a value, labelled why."""
        found = next((s for s in self.scores if s.name == name), None)
        if found is None:
            found = next((s for s in self._score(self.output, self.case, [name]) if s.name == name), None)
        return found or Score(name, None, label="unscored", explanation="no scorer gave this score")

    def assert_quality(self, min: float = 0.7) -> None:
        """Fail unless the composite score is at least ``min``.

        Raises:
            AssertionError: It is lower, or nothing could be assessed. The text shows the case, the output, each
                score with its explanation, and the evidence.
        """
        __tracebackhide__ = True
        composite = self.score("composite")
        if composite.value is None:
            raise AssertionError(self._failure(f"quality could not be assessed ({composite.label})"))
        if composite.value < min:
            raise AssertionError(self._failure(f"quality {composite.value:.4g} is below {min:g}"))

    def _failure(self, headline: str) -> str:
        lines = [headline]
        if self.case is not None:
            where = f"{self.case.set}/{self.case.id}" if self.case.set else self.case.id
            lines.append(f"case: {where}")
            question = self.case.input_text()
            if question:
                lines.append(f"input: {_shortened(question, 300)}")
        lines.append(f"output: {_shortened(self._text, _SHOWN_OUTPUT)}")
        for score in self.scores:
            value = f"{score.value:.4g}" if score.value is not None else f"– ({score.label or 'unscored'})"
            lines.append(f"  {score.name}: {value}  {score.explanation}".rstrip())
            for item in score.evidence[:5]:
                note = f" ({item.note})" if item.note else ""
                lines.append(f"    {item.kind}: {_shortened(item.text, 160)!r}{note}")
            if len(score.evidence) > 5:
                lines.append(f"    and {len(score.evidence) - 5} more")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        parts = [_shortened(self._text, 80).__repr__()]
        if self.call.response_model or self.call.model:
            parts.append(f"model={self.call.response_model or self.call.model}")
        if self.call.latency is not None:
            parts.append(f"latency={self.call.latency:.3g}s")
        if self.call.usage.output_tokens is not None:
            parts.append(f"tokens={self.call.usage.input_tokens}+{self.call.usage.output_tokens}")
        if self.call.cost.usd is not None:
            parts.append(f"cost=${self.call.cost.usd:.2g}")
        if self.call.status != "success":
            parts.append(f"status={self.call.status}")
        return f"<Reply {' '.join(parts)}>"


def _shortened(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
