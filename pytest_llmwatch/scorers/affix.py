"""How the answer begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.compare import NO_REFERENCE, wanted
from pytest_llmwatch.scorers.options import option


@dataclass(frozen=True, slots=True)
class StartsWith(Base):
    """Whether the answer begins with the text (or one of the texts): 1 or 0. Outer white space does not count."""

    name = "starts_with"
    at_start = True

    value: str | Sequence[str] | None = option("texts")
    """Text, or texts of which one is enough; None = the case's reference."""
    ignore_case: bool = option("flag", False)

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a text was given."""
        return bool(self.value)

    def score(self, output: Output, case: Case) -> Score:
        """Compare the first (or last) characters; they are evidence."""
        texts = [text for text in wanted(self.value, case) if text.strip()]
        if not texts:
            return self.not_assessable(NO_REFERENCE)
        answer = output.text
        left = len(answer) - len(answer.lstrip())
        right = len(answer.rstrip())
        where = "begins" if self.at_start else "ends"
        for text in texts:
            size = len(text.strip())
            start, end = (left, left + size) if self.at_start else (right - size, right)
            if start >= left and end <= right and self._same(answer[start:end], text.strip()):
                evidence = [Evidence("found", answer[start:end], start=start, end=end)]
                return self.result(1.0, f"The answer {where} with {text.strip()[:60]!r}.", evidence)
        shown = answer[left : left + 40] if self.at_start else answer[max(left, right - 40) : right]
        missing = [Evidence("missing", text[:200], where="item") for text in texts]
        return self.result(0.0, f"The answer {where} with {shown!r}, not {texts[0][:60]!r}.", missing)

    def _same(self, a: str, b: str) -> bool:
        return a.casefold() == b.casefold() if self.ignore_case else a == b


@dataclass(frozen=True, slots=True)
class EndsWith(StartsWith):
    """Whether the answer ends with the text (or one of the texts): 1 or 0. Outer white space does not count."""

    name = "ends_with"
    at_start = False
