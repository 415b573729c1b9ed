"""Groundedness: is what the answer says supported by the context."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.sentences import sentences
from pytest_llmwatch.scorers.words import content_words, stem


@dataclass(frozen=True, slots=True)
class Groundedness(Base):
    """Share of the answer's content words that the context (else the reference) supports."""

    name = "groundedness"

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a context or a reference."""
        return any(map(str.strip, case.context)) or bool((case.reference or "").strip())

    def score(self, output: Output, case: Case) -> Score:
        """Compare each sentence with the context; the worst sentences come first as evidence."""
        if not self.applies(output, case):
            return self.not_assessable("No context and no reference to compare with.")
        source = case.context if any(map(str.strip, case.context)) else (case.reference or "",)
        known = {stem(w) for text in source for w in set(content_words(text))}
        found = []
        total = supported = 0
        for start, end in sentences(output.text):
            words = content_words(output.text[start:end])
            if words:
                hits = sum(stem(w) in known for w in words)
                total += len(words)
                supported += hits
                found.append((hits / len(words), start, end))
        if not total:
            return self.not_assessable("The answer has no content words.")
        found.sort()
        evidence = [
            Evidence("unsupported", output.text[a:b], start=a, end=b, note=f"{share:.0%} of its words supported")
            for share, a, b in found
            if share < 1
        ]
        return self.result(supported / total, f"{supported} of {total} content words supported.", evidence)
