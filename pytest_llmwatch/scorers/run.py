"""Score one answer by all scorers that were asked for, the composite last."""

from __future__ import annotations

import dataclasses
import functools
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_llmwatch.model import Case, Output, Score, ScorerSpec
from pytest_llmwatch.scorers import registry
from pytest_llmwatch.scorers.base import NEGATED, Scorer, as_score
from pytest_llmwatch.scorers.specs import as_spec

_MADE_OF_OTHERS = ("derived", "composite")


def score(
    output: Output,
    case: Case,
    specs: Sequence[ScorerSpec | str | Mapping[str, Any]] | None = None,
    *,
    weights: Mapping[str, float] | None = None,
) -> tuple[Score, ...]:
    """Score ``output`` against ``case``.

    Args:
        output: The answer.
        case: What was asked, and what is known about a good answer.
        specs: Scorers to use, each named one is in the result: specs, names, or ``{name: {options}}`` as in a
            golden set; None = all that apply, and a composite.
        weights: Of the composite, by scorer name or label; None = format .3, relevance .3, groundedness .4.

    Returns:
        One score per scorer in the order asked for, then derived ones, composites last. A scorer that crashes
        yields a score without a value, label ``error``; it never counts as 0.

    Raises:
        UsageError: A scorer is not known, or its options are wrong.
    """
    if specs is None:
        return Prepared(applicable(output, case), weights, all_that_apply=True).score(output, case)
    return Prepared(tuple(map(as_spec, specs)), weights).score(output, case)


class Prepared:
    """Scorers looked up once, to score many answers by."""

    __slots__ = ("_all", "_composites", "_derived", "_parts", "names", "specs", "weights")

    def __init__(
        self,
        specs: Sequence[ScorerSpec],
        weights: Mapping[str, float] | None = None,
        *,
        all_that_apply: bool = False,
    ) -> None:
        """Look up the scorers.

        Args:
            specs: What to score by.
            weights: Of the composite, see `score`.
            all_that_apply: Nobody asked for these by name, so a composite without a value is left out.

        Raises:
            UsageError: A scorer is not known, or its options are wrong.
        """
        self.specs = tuple(specs)
        self.weights = weights
        self._all = all_that_apply
        self._parts = [(s, registry.get(s.name, s.options)) for s in self.specs if s.name not in _MADE_OF_OTHERS]
        self._derived = [s for s in self.specs if s.name == "derived"]
        self._composites = [s for s in self.specs if s.name == "composite"]
        ordered = (*(s for s, _ in self._parts), *self._derived, *self._composites)
        self.names = tuple(s.label or s.name for s in ordered)
        """Names of the scores, in their order."""

    def score(self, output: Output, case: Case) -> tuple[Score, ...]:
        """Return the scores of one answer, in the order of `names`."""
        weights = self.weights
        scores = [finish(_guarded(scorer, output, case), spec, weights) for spec, scorer in self._parts]
        if not self._derived and not self._composites:
            return tuple(scores)
        known = list(zip((s for s, _ in self._parts), scores, strict=True))
        for spec in self._derived:
            known.append((spec, _derived(output, case, spec, known, weights)))
        scores = [found for _spec, found in known]
        for spec in self._composites:
            found = _composite(output, case, spec, known, weights)
            if not self._all or found.value is not None:
                scores.append(found)
        return tuple(scores)


def applicable(output: Output, case: Case) -> tuple[ScorerSpec, ...]:
    """Return all scorers that have something to say about this answer, and need not be asked for."""
    found = []
    for name in registry.unasked():
        try:
            applies = registry.get(name).applies(output, case)
        except Exception:  # a custom scorer's own fault shows when it scores
            applies = True
        if applies:
            found.append(_plain(name))
    return tuple(found)


@functools.lru_cache(maxsize=256)
def _plain(name: str) -> ScorerSpec:
    return ScorerSpec(name)


def score_one(output: Output, case: Case, spec: ScorerSpec, weights: Mapping[str, float] | None = None) -> Score:
    """Score by one scorer: its value negated, renamed and limited as ``spec`` says.

    Raises:
        UsageError: The scorer is not known, or its options are wrong.
    """
    scorer = registry.get(spec.name, spec.options)
    return finish(_guarded(scorer, output, case), spec, weights)


def finish(found: Score, spec: ScorerSpec, weights: Mapping[str, float] | None = None) -> Score:
    """Apply a spec's label, negation, weight and threshold to a score."""
    name = spec.label or spec.name
    plain = spec.weight is None and spec.threshold is None and not spec.negate and not spec.required
    if plain and not weights and name == found.name:
        return found  # nothing to apply
    value, explanation = found.value, found.explanation
    if spec.negate and value is not None:
        value, explanation = 1 - value, NEGATED + explanation
    elif spec.negate and found.label == "unscored":
        explanation = NEGATED + explanation  # the value comes at the end of the run
    weight = spec.weight
    if weight is None:
        weight = (weights or {}).get(name, found.weight)
    return dataclasses.replace(
        found,
        name=name,
        value=value,
        explanation=explanation,
        weight=weight,
        threshold=found.threshold if spec.threshold is None else spec.threshold,
        required=found.required or spec.required,
    )


def _guarded(scorer: Scorer, output: Output, case: Case) -> Score:
    try:
        return as_score(scorer.score(output, case), scorer.name, scorer.version)
    except Exception as error:  # a scorer's crash is data, not the end of the run
        return crashed(scorer, error)


def crashed(scorer: Scorer, error: Exception) -> Score:
    """Return the score of a scorer that raised: no value, label ``error``, and where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    message = " ".join(str(error).split())[:300]
    return Score(
        scorer.name,
        None,
        label="error",
        explanation=f"The scorer raised {type(error).__name__}: {message}{where}",
        version=scorer.version,
        informational=scorer.informational,
    )


def _derived(
    output: Output,
    case: Case,
    spec: ScorerSpec,
    parts: Sequence[tuple[ScorerSpec, Score]],
    weights: Mapping[str, float] | None,
) -> Score:
    from pytest_llmwatch.scorers.derived import Derived

    scorer = registry.get(spec.name, spec.options)
    assert isinstance(scorer, Derived)
    try:
        return finish(scorer.combine(parts, output, case), spec, weights)
    except Exception as error:  # a formula that divides by zero, or leaves [0, 1]
        return finish(crashed(scorer, error), spec, weights)


def _composite(
    output: Output,
    case: Case,
    spec: ScorerSpec,
    parts: Sequence[tuple[ScorerSpec, Score]],
    weights: Mapping[str, float] | None,
) -> Score:
    from pytest_llmwatch.scorers.composite import Composite, table

    scorer = registry.get(spec.name, spec.options)
    assert isinstance(scorer, Composite)
    named = {s.label or s.name: s.weight for s, _score in parts if s.weight is not None}
    weighed = table(scorer.weights or weights, named)
    try:
        known = list(parts)
        for name in scorer.missing(weighed, [s for s, _score in parts], output, case):
            known.append((ScorerSpec(name), score_one(output, case, ScorerSpec(name))))
        return finish(scorer.combine(known, weighed), spec)
    except Exception as error:
        return finish(crashed(scorer, error), spec)
