"""Facts that an answer must, or must not, mention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.matching import alternatives, find, normalise
from pytest_llmwatch.scorers.options import option

Fact = str | list[str] | tuple[str, ...]


def _facts(given: Sequence[Fact] | str | None, of_case: Sequence[str]) -> list[Fact]:
    """Return the option's facts, else the case's, without empty ones."""
    facts: Sequence[Fact] = of_case if given is None else ([given] if isinstance(given, str) else given)
    return [fact for fact in facts if alternatives(fact)]


def _said(fact: Fact) -> str:
    return " | ".join(alternatives(fact))


@dataclass(frozen=True, slots=True)
class MustMention(Base):
    """Share of the facts that the answer mentions.

    A fact is a text, found as whole words whatever the case and the Unicode form; ``a | b`` (or a list) is
    mentioned where either is.
    """

    name = "must_mention"

    facts: Sequence[Fact] | None = option("facts")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there are facts."""
        return bool(_facts(self.facts, case.must_mention))

    def score(self, output: Output, case: Case) -> Score:
        """Look for each fact; the missing ones are evidence (items), the found ones spans."""
        facts = _facts(self.facts, case.must_mention)
        if not facts:
            return self.not_assessable("The case names no fact that must be mentioned.")
        text = normalise(output.text)
        missing, found = [], []
        for fact in facts:
            span = find(fact, text)
            if span is None:
                missing.append(Evidence("missing", _said(fact), where="item"))
            else:
                found.append(Evidence("mentioned", output.text[slice(*span)], start=span[0], end=span[1]))
        n = len(facts)
        said = "All facts are mentioned" if not missing else f"{len(found)} of {n} facts mentioned; missing: "
        said += ", ".join(repr(m.text) for m in missing[:5]) + (", …" if len(missing) > 5 else "")
        return self.result(len(found) / n, said + ".", [*missing, *found])


@dataclass(frozen=True, slots=True)
class MustNotMention(Base):
    """Share of the forbidden facts that the answer keeps away from; found as in `MustMention`."""

    name = "must_not_mention"

    facts: Sequence[Fact] | None = option("facts")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there are forbidden facts."""
        return bool(_facts(self.facts, case.must_not_mention))

    def score(self, output: Output, case: Case) -> Score:
        """Look for each forbidden fact; those found are evidence."""
        facts = _facts(self.facts, case.must_not_mention)
        if not facts:
            return self.not_assessable("The case names no fact that must not be mentioned.")
        text = normalise(output.text)
        spans = [span for fact in facts if (span := find(fact, text))]
        evidence = [Evidence("forbidden", output.text[a:b], start=a, end=b) for a, b in spans]
        n = len(facts)
        if not spans:
            return self.result(1.0, f"None of {n} forbidden facts is mentioned." if n > 1 else "Not mentioned.")
        said = ", ".join(repr(e.text) for e in evidence[:5])
        return self.result(1 - len(spans) / n, f"Mentions what it must not: {said}.", evidence)
