"""Lists: which items of the expected list are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.extras import load
from pytest_llmwatch.scorers.format import find_json
from pytest_llmwatch.scorers.options import option

_BULLET = re.compile(r"^(?:[-*+•]|\(?\d{1,4}[.)])[ \t]+")
_MAX_ITEMS = 300
_MAX_ITEM_CHARS = 1_000


def items_of(text: str) -> list[str]:
    """Return the items of a list: a JSON array, else lines without their bullets, else parts between commas."""
    found = find_json(text)
    if not isinstance(found, str) and isinstance(found.value, list):
        values = [v if isinstance(v, str) else str(v) for v in found.value]
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        bullets = [line for line in lines if _BULLET.match(line)]
        values = [_BULLET.sub("", line) for line in bullets] or (lines if len(lines) > 1 else text.split(","))
    return [v.strip()[:_MAX_ITEM_CHARS] for v in values if v.strip()][:_MAX_ITEMS]


@dataclass(frozen=True, slots=True)
class ListContains(Base):
    """How well a list in the answer (JSON array, bullets, lines, commas) covers the expected items.

    Items are paired best first by edit similarity, at least ``similar``. The value is the sum of the pairs'
    similarities over the length of the longer list; with ``allow_extra`` over the expected list.

    Raises:
        UsageError: rapidfuzz is not installed.
    """

    name = "list_contains"

    items: Sequence[str] | str | None = option("texts")
    """Expected items; None = the list in the case's reference."""
    allow_extra: bool = option("flag", False)
    similar: float = option("share", 0.8)
    ignore_case: bool = option("flag", True)

    def __post_init__(self) -> None:
        load("rapidfuzz.distance", self.name)

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether items were given."""
        return bool(self.items)

    def score(self, output: Output, case: Case) -> Score:
        """Pair the items; missing and unexpected ones are evidence."""
        asked = self._asked(case)
        if not asked:
            return self.not_assessable("No items to look for: neither an option nor a list in the reference.")
        made = items_of(output.text)
        pairs = self._pairs(made, asked)
        total = len(asked) if self.allow_extra else max(len(asked), len(made))
        have_asked, have_made = {j for _s, _i, j in pairs}, {i for _s, i, _j in pairs}
        evidence = [Evidence("missing", a, where="item") for j, a in enumerate(asked) if j not in have_asked]
        missing = len(evidence)
        if not self.allow_extra:
            evidence += [Evidence("unexpected", m, where="item") for i, m in enumerate(made) if i not in have_made]
        said = f"{len(pairs)} of {len(asked)} items found, {missing} missing, {len(made) - len(pairs)} besides."
        return self.result(sum(s for s, _i, _j in pairs) / total, said, evidence)

    def _asked(self, case: Case) -> list[str]:
        if self.items is None:
            return items_of(case.reference or "")
        given = [self.items] if isinstance(self.items, str) else self.items
        return [item.strip()[:_MAX_ITEM_CHARS] for item in given if item.strip()][:_MAX_ITEMS]

    def _pairs(self, made: list[str], asked: list[str]) -> list[tuple[float, int, int]]:
        similarity = load("rapidfuzz.distance", self.name).Levenshtein.normalized_similarity
        fold = str.casefold if self.ignore_case else str
        folded = [fold(a) for a in asked]
        found = []
        for i, one in enumerate(map(fold, made)):
            for j, other in enumerate(folded):
                value = similarity(one, other, score_cutoff=self.similar)
                if value > 0 and value >= self.similar:
                    found.append((value, i, j))
        found.sort(key=lambda f: (-f[0], f[1], f[2]))
        out, used_made, used_asked = [], set(), set()
        for value, i, j in found:
            if i not in used_made and j not in used_asked:
                used_made.add(i)
                used_asked.add(j)
                out.append((value, i, j))
        return out
