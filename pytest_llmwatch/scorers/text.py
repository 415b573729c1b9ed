"""Properties of the text alone: regular expression, length."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.sentences import sentences
from pytest_llmwatch.scorers.words import WORD


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str, ignore_case: bool) -> Any:
    import regex

    return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)


@dataclass(frozen=True, slots=True)
class Regex(Base):
    """Whether a regular expression matches (of the ``regex`` package): 1 or 0.

    A search that takes longer than ``timeout`` raises TimeoutError, which makes the score an error.

    Raises:
        ValueError: No pattern, or not a regular expression.
    """

    name = "regex"

    pattern: str = option("text", "")
    mode: str = option(("search", "match", "fullmatch"), "search")
    ignore_case: bool = option("flag", False)
    timeout: float = option("seconds", 1.0)

    def __post_init__(self) -> None:
        import regex

        try:
            _compiled(self.pattern, self.ignore_case)
        except regex.error as error:
            raise ValueError(f"pattern is not a regular expression ({error}; got {self.pattern!r})") from error

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a pattern."""
        return bool(self.pattern)

    def score(self, output: Output, case: Case) -> Score:
        """Search the answer's text; the match is evidence.

        Raises:
            TimeoutError: The search took longer than ``timeout`` seconds.
        """
        if not self.pattern:
            return self.not_assessable("No pattern was given.")
        compiled = _compiled(self.pattern, self.ignore_case)
        try:
            found = getattr(compiled, self.mode)(output.text, timeout=self.timeout)
        except TimeoutError as error:
            raise TimeoutError(
                f"the pattern took longer than {self.timeout:g} s on {len(output.text):,} characters; simplify it"
            ) from error
        if found is None:
            return self.result(0.0, f"Nothing matches {self.pattern!r} ({self.mode}).")
        start, end = found.span()
        evidence = [Evidence("match", output.text[start:end], start=start, end=end)]
        return self.result(1.0, f"Matches {self.pattern!r}.", evidence)


_UNITS = ("chars", "words", "sentences")


@dataclass(frozen=True, slots=True)
class Length(Base):
    """Whether the text is neither too short nor too long: 1 within all limits, else the smallest ratio to a limit.

    A text of 90 words under ``max_words: 45`` scores 0.5, so a drift shows how far, not only that.

    Raises:
        ValueError: A minimum is above its maximum.
    """

    name = "length"

    min_chars: int | None = option("count")
    max_chars: int | None = option("count")
    min_words: int | None = option("count")
    max_words: int | None = option("count")
    min_sentences: int | None = option("count")
    max_sentences: int | None = option("count")

    def __post_init__(self) -> None:
        for unit in _UNITS:
            low, high = self._limits(unit)
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{unit} must be at most max_{unit} (got {low} > {high})")

    def _limits(self, unit: str) -> tuple[int | None, int | None]:
        return getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a limit."""
        return any(limit is not None for unit in _UNITS for limit in self._limits(unit))

    def score(self, output: Output, case: Case) -> Score:
        """Count characters, words and sentences of the answer's text, and compare."""
        if not self.applies(output, case):
            return self.not_assessable("No limit was given.")
        worst, said = 1.0, []
        for unit in _UNITS:
            low, high = self._limits(unit)
            if low is None and high is None:
                continue
            n = count(output.text, unit)
            noun = unit.replace("chars", "characters")
            if low is not None and n < low:
                worst = min(worst, n / low)
                said.append(f"{n:,} {noun}, at least {low:,} wanted")
            elif high is not None and n > high:
                worst = min(worst, high / n)
                said.append(f"{n:,} {noun}, at most {high:,} wanted")
            else:
                said.append(f"{n:,} {noun}")
        return self.result(worst, "; ".join(said) + ".")


def count(text: str, unit: str) -> int:
    """Return how many ``chars``, ``words`` or ``sentences`` the text has (outer white space not counted)."""
    if unit == "chars":
        return len(text.strip())
    if unit == "words":
        return len(WORD.findall(text))
    return len(sentences(text, lines=False))
