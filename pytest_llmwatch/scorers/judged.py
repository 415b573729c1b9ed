"""A sentence of an answer, judged: its words, its passage, its flaws and how much each kind counts."""

from __future__ import annotations

from dataclasses import dataclass, field

WEIGHTS: dict[str, float] = {
    "absent_number": 1.5,
    "absent_name": 1.0,
    "absent_unit": 1.0,
    "absent_quote": 0.5,
    "absent_url": 1.0,
    "absent_citation": 1.0,
    "opposite": 1.0,
    "contrary_data": 1.0,
    "absent_negation": 1.0,
    "bare_negation": 0.5,
    "lost_negation": 0.5,
    "moved_number": 1.0,
}
"""Kind of flaw -> its weight: more where the kind is right more often."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A stretch of the answer that the context does not have, or denies."""

    kind: str
    """A key of `WEIGHTS`."""
    start: int
    end: int
    note: str
    """What the context has instead, in a few words."""


@dataclass(slots=True)
class Word:
    """A content word of the answer, and what became of it."""

    start: int
    end: int
    key: str
    weight: float
    """How much it counts in word support."""
    known: bool
    near: bool = True
    """Whether the sentence's best passage holds it."""
    flaw: str | None = None
    """``absent_number``, ``absent_name`` or ``opposite``."""


@dataclass(slots=True)
class Sentence:
    """A sentence of the answer, judged."""

    start: int
    end: int
    text: str
    words: list[Word] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """All its words, function words too, in order."""
    supported: int = 0
    """Content words that occur in the source."""
    flawed: list[Flaw] = field(default_factory=list)
    negations: list[tuple[int, int, int]] = field(default_factory=list)
    """Where it negates: (index into ``keys``, start, end)."""
    numbers: list[tuple[int, Word]] = field(default_factory=list)
    """Its numbers, each with its index into ``keys``."""
    passage: tuple[int, int] | None = None

    @property
    def share(self) -> float:
        """Share of content words that occur in the source."""
        return self.supported / len(self.words) if self.words else 1.0

    @property
    def flaws(self) -> float:
        """The flaws, weighed."""
        return sum([WEIGHTS[flaw.kind] for flaw in self.flawed])

    @property
    def is_weak(self) -> bool:
        """Whether half or more of at least three content words is nowhere in the source."""
        return len(self.words) >= 3 and 2 * self.supported <= len(self.words)
