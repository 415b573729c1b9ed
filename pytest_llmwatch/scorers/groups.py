"""Groups of scorers: k of n, any, all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Evidence, Output, Score, ScorerSpec
from pytest_llmwatch.scorers.asking import made_of
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.specs import as_spec

PASS = 1.0
"""What a member must reach where it has no threshold of its own."""

_MAX_DEPTH = 8


class Group(Base):
    """Members, scored one by one."""

    __slots__ = ()

    members: Any

    def specs(self) -> list[ScorerSpec]:
        """Return the members as specs, checked.

        Raises:
            ValueError: A member is none, or what a run must see as a whole.
            UsageError: A member is not known, or its options are wrong.
        """
        from pytest_llmwatch.scorers import registry

        if self.members is None:
            return []
        if not isinstance(self.members, list | tuple) or not self.members:
            raise ValueError(f"members must be a list of scorers (got {self.members!r:.100})")
        if _depth(self.members) > _MAX_DEPTH:
            raise ValueError(f"members may be nested {_MAX_DEPTH} deep")
        specs = [as_spec(member) for member in self.members]
        for spec in specs:
            if spec.name in ("composite", "derived", "consistency"):
                raise ValueError(f"{spec.name} cannot be a member: it is made of other scores")
            try:
                registry.validate(spec)
            except UsageError as error:
                raise ValueError(f"members: {error.message}") from error
        return specs

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there are members."""
        return self.members is not None

    def scored(self, output: Output, case: Case) -> list[tuple[ScorerSpec, Score]]:
        """Return each member with its score."""
        from pytest_llmwatch.scorers.run import score_one

        return [(spec, score_one(output, case, spec)) for spec in self.specs()]


def _depth(value: Any) -> int:
    if isinstance(value, Mapping):
        return max(map(_depth, value.values()), default=0)
    if isinstance(value, list | tuple):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _limit(spec: ScorerSpec) -> float:
    return PASS if spec.threshold is None else spec.threshold


def _evidence(found: Sequence[tuple[ScorerSpec, Score]]) -> list[Evidence]:
    out = []
    for spec, score in found:
        shown = f"{score.name} {score.label}" if score.value is None else f"{score.name} {score.value:.3g}"
        kind = "unknown" if score.value is None else "met" if score.value >= _limit(spec) else "missed"
        out.append(Evidence(kind, shown, where="item", note=score.explanation[:200]))
    return out


def _made_of(score: Score, found: Sequence[tuple[ScorerSpec, Score]]) -> Score:
    return replace(score, version=made_of(score.version, (s.version for _spec, s in found)))


@dataclass(frozen=True, slots=True)
class KOf(Group):
    """Whether at least ``k`` of the members meet their thresholds: 1, else the share of ``k`` that does.

    A member without a threshold must be 1. A member without a value is neither met nor missed: where it could
    decide, the group is not assessable.

    Raises:
        ValueError: No list of members, a wrong member, or ``k`` beyond their number.
    """

    name = "k_of"

    members: Any = option("any")  # noqa: RUF009
    """Scorers as in a golden set: a name, or ``{name: {options, threshold, negate, label}}``."""
    k: int = option("count", 1)

    def __post_init__(self) -> None:
        n = len(self.specs())
        if n and not 1 <= self.k <= n:
            raise ValueError(f"k must be from 1 to the number of members, {n} (got {self.k})")

    def score(self, output: Output, case: Case) -> Score:
        """Score all members; each is evidence."""
        found = self.scored(output, case)
        if not found:
            return self.not_assessable("No members were given.")
        met = sum(s.value is not None and s.value >= _limit(spec) for spec, s in found)
        unknown = sum(s.value is None for _spec, s in found)
        if met < self.k <= met + unknown:
            return self.not_assessable(
                f"{met} of {len(found)} members met, {self.k} wanted, {unknown} could not be scored."
            )
        said = f"{met} of {len(found)} members met, {self.k} wanted."
        return _made_of(self.result(min(1.0, met / self.k), said, _evidence(found)), found)


@dataclass(frozen=True, slots=True)
class AnyOf(KOf):
    """Whether at least one of the members meets its threshold: 1 or 0. See `k_of`."""

    name = "any_of"

    def __post_init__(self) -> None:
        self.specs()
        if self.k != 1:
            raise ValueError(f"any_of takes no k, k_of does (got {self.k})")


@dataclass(frozen=True, slots=True)
class AllOf(Group):
    """Weighted mean of the members, a named metric of several scorers; give it a ``label``.

    Members that are not assessable drop out, and below ``min_coverage`` of the weight so does the group. With
    ``require`` a member below its threshold makes the whole 0.

    Raises:
        ValueError: No list of members, or a wrong member.
    """

    name = "all_of"

    members: Any = option("any")  # noqa: RUF009
    require: bool = option("flag", False)
    min_coverage: float = option("share", 0.5)

    def __post_init__(self) -> None:
        self.specs()

    def score(self, output: Output, case: Case) -> Score:
        """Score all members; each is evidence."""
        found = self.scored(output, case)
        if not found:
            return self.not_assessable("No members were given.")
        weights = [1.0 if spec.weight is None else spec.weight for spec, _s in found]
        known = [(w, s.value) for w, (_spec, s) in zip(weights, found, strict=True) if s.value is not None]
        total, assessed = sum(weights), sum(w for w, _v in known)
        coverage = assessed / total if total else 0.0
        if not assessed or coverage < self.min_coverage:
            return self.not_assessable(f"Only {coverage:.0%} of the weight could be assessed.", coverage=coverage)
        value = sum(w * v for w, v in known) / assessed
        missed = [s.name for spec, s in found if s.value is not None and s.value < _limit(spec)]
        said = f"Mean {value:.3f} of {len(known)} members"
        if self.require and missed:
            value, said = 0.0, f"{said}; missed: {', '.join(missed)}"
        return _made_of(self.result(value, said + ".", _evidence(found), coverage=coverage), found)
