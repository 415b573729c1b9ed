"""Comparison with given texts: equals, contains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option


@dataclass(frozen=True, slots=True)
class Equals(Base):
    """Whether the answer equals the reference: 1 or 0. White space around and between words does not count."""

    name = "equals"

    value: str | None = option("text")
    """Text to equal; None = the case's reference."""
    ignore_case: bool = option("flag", False)
    exact: bool = option("flag", False)
    """Compare every character, white space too."""

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether the case asks for it: most references are one good answer of many."""
        return self.value is not None or (
            (case.format or "") in ("exact", "equals") and case.reference is not None
        )

    def score(self, output: Output, case: Case) -> Score:
        """Compare; where they differ, the first differing place is evidence."""
        wanted = self.value if self.value is not None else case.reference
        if wanted is None:
            return self.not_assessable("The case has no reference.")
        given, wanted = self._comparable(output.text), self._comparable(wanted)
        if given == wanted:
            return self.result(1.0, "Equals the reference.")
        same = next((i for i, (a, b) in enumerate(zip(given, wanted, strict=False)) if a != b), None)
        at = min(len(given), len(wanted)) if same is None else same
        return self.result(
            0.0,
            f"Differs from the reference at character {at + 1}: {given[at : at + 20]!r} instead of "
            f"{wanted[at : at + 20]!r}.",
            [Evidence("expected", wanted[:500], where="item")],
        )

    def _comparable(self, text: str) -> str:
        if not self.exact:
            text = " ".join(text.split())
        return text.casefold() if self.ignore_case else text


@dataclass(frozen=True, slots=True)
class Contains(Base):
    """Whether the answer contains given texts, anywhere, also within words.

    ``all``: the share of them that occurs. ``any``: 1 where one of them occurs, else 0. Both given: the lower
    one. Without options the case's reference is looked for. `must_mention` looks for whole words instead.
    """

    name = "contains"
    version = "2"

    value: str | None = option("text")
    all: str | Sequence[str] | None = option("texts")
    any: str | Sequence[str] | None = option("texts")
    ignore_case: bool = option("flag", False)

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether texts were given."""
        return bool(self.value or self.all or self.any)

    def score(self, output: Output, case: Case) -> Score:
        """Look for each text; found ones are evidence (spans), missing ones items."""
        every = [*_list(self.value), *_list(self.all)]
        some = _list(self.any)
        if not every and not some:
            every = _list(case.reference)
        if not every and not some:
            return self.not_assessable("No text to look for: neither an option nor a reference.")
        found = {needle: self._place(output.text, needle) for needle in (*every, *some)}
        missing = [needle for needle in every if found[needle] is None]
        value = 1 - len(missing) / len(every) if every else 1.0
        if some and all(found[needle] is None for needle in some):
            value = 0.0
            missing += some
        spans = [span for span in found.values() if span]
        evidence = [Evidence("missing", needle[:200], where="item") for needle in missing]
        evidence += [Evidence("found", output.text[a:b], start=a, end=b) for a, b in spans]
        said = (
            "Contains what it must."
            if not missing
            else f"Missing: {', '.join(repr(m[:40]) for m in missing[:5])}."
        )
        return self.result(value, said, evidence)

    def _place(self, text: str, needle: str) -> tuple[int, int] | None:
        if self.ignore_case:
            if len(text.lower()) != len(text):  # lower() keeps lengths but for a handful of letters
                found = re.search(re.escape(needle), text, re.IGNORECASE)
                return found.span() if found else None
            text, needle = text.lower(), needle.lower()
        at = text.find(needle)
        return None if at < 0 else (at, at + len(needle))


def _list(given: str | Sequence[str] | None) -> list[str]:
    return [] if not given else [given] if isinstance(given, str) else [text for text in given if text]
