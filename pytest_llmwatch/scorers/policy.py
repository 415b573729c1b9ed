"""A user's policy: topics, patterns, and a function of the user's that an answer must keep clear of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base, as_score
from pytest_llmwatch.scorers.dotted import resolve
from pytest_llmwatch.scorers.facts import Fact
from pytest_llmwatch.scorers.matching import alternatives, find, normalise
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.text import _compiled


@dataclass(frozen=True, slots=True)
class Policy(Base):
    """1 where the answer keeps to the policy, 0 where it breaks it anywhere.

    ``topics``: words and phrases that may not occur, found as facts are (whole words; ``a | b`` are alternatives).
    ``patterns``: regular expressions. ``function``: ``module:function`` of ``(output, case)`` that returns True or
    a number >= .5 where the answer is allowed. A topic in other words is not seen.

    Raises:
        ValueError: A pattern is no regular expression, or the function cannot be imported.
    """

    name = "policy"

    topics: Sequence[Fact] | str | None = option("facts")
    patterns: Sequence[str] | str | None = option("texts")
    function: str | None = option("text")
    ignore_case: bool = option("flag", True)
    timeout: float = option("seconds", 1.0)
    """Seconds that each pattern may take; beyond, the score is an error."""

    def __post_init__(self) -> None:
        import regex

        for pattern in self._patterns():
            try:
                _compiled(pattern, self.ignore_case)
            except regex.error as error:
                raise ValueError(f"patterns: not a regular expression ({error}; got {pattern!r})") from error
        if self.function is not None:
            resolve(self.function)

    def _patterns(self) -> list[str]:
        return [self.patterns] if isinstance(self.patterns, str) else list(self.patterns or ())

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a policy."""
        return bool(self.topics or self.patterns or self.function)

    def score(self, output: Output, case: Case) -> Score:
        """Search the answer; each breach is evidence.

        Raises:
            TimeoutError: A pattern took longer than ``timeout`` seconds.
        """
        if not self.applies(output, case):
            return self.not_assessable("No policy was given.")
        evidence = [*self._topics(output.text), *self._matches(output.text)]
        if self.function is not None:
            said = as_score(resolve(self.function)(output, case), self.name)
            if said.value is None:
                return self.not_assessable(f"The policy's function gave no value: {said.explanation}")
            if said.value < 0.5:
                evidence.append(Evidence("forbidden", said.explanation[:200], where="item", note=self.function))
        if not evidence:
            return self.result(1.0, "Keeps to the policy.")
        return self.result(0.0, f"Breaks the policy: {evidence[0].text[:80]!r}.", evidence)

    def _topics(self, text: str) -> Iterator[Evidence]:
        topics = [self.topics] if isinstance(self.topics, str) else list(self.topics or ())
        normal = normalise(text)
        for topic in topics:
            span = find(topic, normal)
            if span:
                note = " | ".join(alternatives(topic))
                yield Evidence("forbidden", text[slice(*span)], start=span[0], end=span[1], note=note)

    def _matches(self, text: str) -> Iterator[Evidence]:
        for pattern in self._patterns():
            try:
                found = _compiled(pattern, self.ignore_case).search(text, timeout=self.timeout)
            except TimeoutError as error:
                raise TimeoutError(
                    f"the pattern {pattern[:60]!r} took longer than {self.timeout:g} s; simplify it"
                ) from error
            if found:
                start, end = found.span()
                yield Evidence("forbidden", text[start:end], start=start, end=end, note=pattern[:200])
