"""The composite: weights, renormalisation, coverage."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output, Score, ScorerSpec
from pytest_llmwatch.scorers.composite import Composite, table

FULL = Case(
    "c",
    input="What is the capital of France?",
    context=("Paris is the capital of France.",),
    schema={"type": "object"},
)
ANSWER = Output('{"answer": "Paris is the capital of France."}')


def _parts(**values: float | None) -> list[tuple[ScorerSpec, Score]]:
    return [(ScorerSpec(n), Score(n, v, label=None if v is not None else "error")) for n, v in values.items()]


def test_default_weights() -> None:
    found = Composite().combine(_parts(json_schema=1.0, relevance=0.5, groundedness=0.25), table(None))
    assert found.value == pytest.approx(0.3 + 0.15 + 0.1)
    assert found.coverage == 1
    assert "relevance 0.50 × 0.3" in found.explanation


def test_a_part_that_is_not_assessable_drops_out() -> None:
    found = Composite().combine(_parts(json_schema=None, relevance=0.5, groundedness=1.0), table(None))
    assert found.value == pytest.approx((0.15 + 0.4) / 0.7)
    assert found.coverage == pytest.approx(0.7)
    assert "format -" in found.explanation


def test_below_half_of_the_weight_nothing_is_said() -> None:
    found = Composite().combine(_parts(relevance=1.0), table(None))
    assert (found.value, found.label, found.coverage) == (None, "not_assessable", pytest.approx(0.3))
    assert Composite(min_coverage=0.2).combine(_parts(relevance=1.0), table(None)).value == 1


def test_weights_by_name_take_the_place_of_the_default() -> None:
    parts = _parts(must_mention=0.5, relevance=1.0, groundedness=0.0)
    assert Composite().combine(parts, table({"must_mention": 3, "relevance": 1})).value == pytest.approx(0.625)


def test_format_is_the_schema_before_plain_json() -> None:
    weights = {"format": 1.0}
    assert Composite().combine(_parts(json=1.0, json_schema=0.0), weights).value == 0
    assert Composite().combine(_parts(json=1.0, json_schema=None), weights).value == 1


def test_a_format_scorer_with_its_own_weight_does_not_count_twice() -> None:
    assert table(None, {"json": 0.5}) == {"json": 0.5, "relevance": 0.3, "groundedness": 0.4}
    assert table(None, {"markers": 0.0}) == {"format": 0.3, "relevance": 0.3, "groundedness": 0.4}


def test_an_informational_score_is_never_part_of_it() -> None:
    parts = [(ScorerSpec("markers"), Score("markers", 1.0, informational=True)), *_parts(relevance=0.5)]
    assert Composite().combine(parts, {"markers": 1.0, "relevance": 1.0}).value == 0.5


def test_it_is_the_same_whatever_is_listed_beside_it() -> None:
    alone = scorers.score(ANSWER, FULL, [ScorerSpec("composite")])[-1]
    beside = scorers.score(ANSWER, FULL, [ScorerSpec("relevance"), ScorerSpec("length"), ScorerSpec("composite")])
    direct = scorers.get("composite").score(ANSWER, FULL)
    assert alone.value == beside[-1].value == direct.value
    assert alone.value is not None
    assert [s.name for s in beside] == ["relevance", "length", "composite"]


def test_weights_reach_it_from_specs_options_and_argument() -> None:
    by_argument = scorers.score(ANSWER, FULL, [ScorerSpec("composite")], weights={"relevance": 1})[-1]
    by_option = scorers.score(ANSWER, FULL, [ScorerSpec("composite", {"weights": {"relevance": 1}})])[-1]
    relevance = scorers.get("relevance").score(ANSWER, FULL).value
    assert by_argument.value == by_option.value == relevance
    by_spec = scorers.score(ANSWER, FULL, [ScorerSpec("relevance", weight=0.0), ScorerSpec("composite")])[-1]
    assert "relevance" not in by_spec.explanation


def test_a_crash_beside_it_is_left_out_and_shows_in_the_coverage() -> None:
    specs = [ScorerSpec("json_schema"), ScorerSpec("composite")]
    broken = dataclasses.replace(FULL, schema={"type": "objekt"})
    found = scorers.score(ANSWER, broken, specs, weights={"json_schema": 1, "relevance": 1})
    assert [s.label for s in found] == ["error", None]
    assert found[-1].coverage == 0.5
