"""The weighted composite: format .3, relevance .3, groundedness .4, renormalised over what could be assessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_llmwatch.model import Case, Output, Score, ScorerSpec
from pytest_llmwatch.scorers.asking import made_of
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option

DEFAULT_WEIGHTS: Mapping[str, float] = {"format": 0.3, "relevance": 0.3, "groundedness": 0.4}
"""The published weights; ``format`` stands for the format scorers that were used."""

FORMAT = ("json_schema", "json", "regex")
"""What ``format`` means, the most telling first: a schema says more than "is JSON"."""

MIN_COVERAGE = 0.5


def table(weights: Mapping[str, float] | None, named: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the weight table: ``weights`` in place of the default, single scorers' own weights on top.

    Names with weight 0 are left out: they are metrics only. A format scorer with a weight of its own takes the
    place of the default's ``format``, so that it does not count twice.
    """
    named = named or {}
    base = weights or {k: w for k, w in DEFAULT_WEIGHTS.items() if k != "format" or not set(FORMAT) & set(named)}
    merged = {**base, **named}
    return {name: float(weight) for name, weight in merged.items() if weight > 0 and name != "composite"}


@dataclass(frozen=True, slots=True)
class Composite(Base):
    """Weighted mean of other scores.

    A part that is not assessable (or crashed) drops out and the rest is renormalised. ``coverage`` is the share of
    weight that was assessed; below ``min_coverage`` the composite is not assessable itself. Informational
    scores are never part of it.
    """

    name = "composite"

    weights: Mapping[str, float] | None = option("weights")
    min_coverage: float = option("share", MIN_COVERAGE)

    def applies(self, output: Output, case: Case) -> bool:
        """Return True: whether enough can be assessed shows afterwards."""
        return True

    def score(self, output: Output, case: Case) -> Score:
        """Score the parts with their default options, then combine them."""
        from pytest_llmwatch.scorers.run import score_one

        weighed = table(self.weights)
        specs = [ScorerSpec(name) for name in self.missing(weighed, (), output, case)]
        return self.combine([(spec, score_one(output, case, spec)) for spec in specs], weighed)

    def missing(
        self, weights: Mapping[str, float], present: Sequence[ScorerSpec], output: Output, case: Case
    ) -> list[str]:
        """Return the scorers that have a weight and apply, but were not asked for by name.

        So the composite is the same whatever else a set lists beside it.
        """
        from pytest_llmwatch.scorers import registry

        have = {name for spec in present for name in (spec.name, spec.label)}
        wanted: list[str] = []
        for name in weights:
            if name == "format":
                wanted += [] if have & set(FORMAT) else FORMAT
            elif name not in have and name in registry.names():
                wanted.append(name)
        return [name for name in wanted if registry.get(name).applies(output, case)]

    def combine(self, parts: Sequence[tuple[ScorerSpec, Score]], weights: Mapping[str, float]) -> Score:
        """Return the weighted mean of ``parts`` (what was asked for, and its score)."""
        total = sum(weights.values())
        said, assessed, value = [], 0.0, 0.0
        for name, weight in weights.items():
            part = _part(name, parts)
            if part is None:
                said.append(f"{name} -")
                continue
            said.append(f"{name} {part:.2f} × {weight:g}")
            assessed += weight
            value += weight * part
        coverage = min(1.0, assessed / total) if total else 0.0
        listed = ", ".join(said) or "no weights"
        if not assessed or coverage < self.min_coverage:
            return self.not_assessable(
                f"Only {coverage:.0%} of the weight could be assessed (needs {self.min_coverage:.0%}): {listed}.",
                coverage=coverage,
            )
        found = self.result(
            value / assessed, f"{listed}; {coverage:.0%} of the weight assessed.", coverage=coverage
        )
        used = [s.version for spec, s in parts if {spec.name, spec.label} & set(weights)]
        return replace(found, version=made_of(found.version, used))


def _part(name: str, parts: Sequence[tuple[ScorerSpec, Score]]) -> float | None:
    """Return the value of the part called ``name``: a label, a scorer (mean where used twice), or ``format``."""
    named = [s for spec, s in parts if (spec.label or spec.name) == name]
    groups = [named or [s for spec, s in parts if spec.name == name]]
    if name == "format" and not groups[0]:
        groups = [[s for spec, s in parts if spec.name == kind] for kind in FORMAT]
    for group in groups:
        values = [s.value for s in group if s.value is not None and not s.informational]
        if values:
            return sum(values) / len(values)
    return None
