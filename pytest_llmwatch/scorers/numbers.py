"""Numbers: how far from the right one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option

# digits in groups of three, or plain; a sign that is no hyphen of a range; an exponent
_NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d{1,3}(?:[,\u202f\u00a0']\d{3})+(?!\d)|\d{1,400})(?:\.\d{1,400})?(?:[eE][-+]?\d{1,3}(?!\w))?"
)
_MAX_CHARS = 1_000_000


def find_numbers(text: str) -> list[tuple[float, int, int]]:
    """Return (value, start, end) of the numbers in ``text``: ``-3``, ``1,250.5``, ``2e6``. At most 1,000."""
    out = []
    for found in _NUMBER.finditer(text[:_MAX_CHARS]):
        value = float(re.sub(r"[,\u202f\u00a0']", "", found[0]).replace("−", "-"))
        if math.isfinite(value):
            out.append((value, *found.span()))
        if len(out) == 1_000:
            break
    return out


@dataclass(frozen=True, slots=True)
class Numeric(Base):
    """How near the answer's number is to the right one.

    1 where it differs by at most ``tolerance`` (absolute) or ``relative`` (share of the right one). Beyond, and
    without a tolerance: 1 - |a - b| / (|a| + |b|), as autoevals' NumericDiff; with a tolerance 0.

    ``pick`` says which number of the answer counts: the ``last`` (default: reasoning comes first), the ``first``,
    or the ``nearest``.
    """

    name = "numeric"

    value: float | None = option("number")
    """The right number; None = the first one in the case's reference."""
    tolerance: float | None = option("number")
    relative: float | None = option("number")
    pick: str = option(("last", "first", "nearest"), "last")

    def __post_init__(self) -> None:
        for key in ("tolerance", "relative"):
            given = getattr(self, key)
            if given is not None and given < 0:
                raise ValueError(f"{key} must be >= 0 (got {given!r})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a number was given."""
        return self.value is not None

    def score(self, output: Output, case: Case) -> Score:
        """Compare the numbers; the answer's is evidence."""
        asked = self.value
        if asked is None:
            known = find_numbers(case.reference or "")
            if not known:
                return self.not_assessable(
                    "No number to compare with: neither an option nor one in the reference."
                )
            asked = known[0][0]
        found = find_numbers(output.text)
        if not found:
            return self.result(0.0, f"No number in the answer, {asked:g} wanted.")
        made, start, end = self._picked(found, asked)
        evidence = [Evidence("number", output.text[start:end], start=start, end=end)]
        gap = abs(made - asked)
        said = f"{made:.10g} against {asked:.10g}"
        if self.tolerance is None and self.relative is None:
            total = abs(made) + abs(asked)
            return self.result(1 - gap / total if total else 1.0, f"{said}: they differ by {gap:.6g}.", evidence)
        allowed = max(self.tolerance or 0.0, (self.relative or 0.0) * abs(asked))
        within = gap <= allowed or math.isclose(gap, allowed, rel_tol=1e-9)
        return self.result(
            float(within), f"{said}: they differ by {gap:.6g}, at most {allowed:.6g} allowed.", evidence
        )

    def _picked(self, found: list[tuple[float, int, int]], asked: float) -> tuple[float, int, int]:
        if self.pick == "nearest":
            return min(found, key=lambda f: abs(f[0] - asked))
        return found[0 if self.pick == "first" else -1]
