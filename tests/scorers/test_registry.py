"""The registry: names, options checked early, scorers of users, crashes that are no zeros."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, Score, ScorerSpec
from pytest_llmwatch.scorers import registry

CASE = Case("c", input="What is the capital of France?", must_mention=("Paris",))
ANSWER = Output("Paris is the capital of France.")


@pytest.fixture
def own() -> Iterator[Any]:
    """Register scorers for one test."""
    names = []

    def add(name: str, factory: Any) -> None:
        names.append(name)
        scorers.register(name, factory)

    yield add
    for name in names:
        registry.unregister(name)


@pytest.mark.parametrize("name", registry.BUILTIN)
def test_every_name_of_the_registry_is_a_scorer_that_carries_it(name: str) -> None:
    scorer = scorers.get(name)
    assert isinstance(scorer, scorers.Scorer)
    assert scorer.name == name
    assert scorer.version


def test_the_contract_names_are_there() -> None:
    contract = (
        "json json_schema regex length equals contains must_mention must_not_mention relevance groundedness "
        "markers consistency tool_calls refusal injection secrets pii composite"
    )
    assert set(contract.split()) <= set(scorers.names())


@pytest.mark.parametrize(
    ("spec", "slug", "says"),
    [
        (ScorerSpec("groundednes"), "scorer-unknown", "did you mean 'groundedness'?"),
        (ScorerSpec("zzz"), "scorer-unknown", "known: json"),
        (ScorerSpec("length", {"max_word": 3}), "scorer-option", "did you mean 'max_words'?"),
        (ScorerSpec("length", {"max_words": "3"}), "scorer-option", "whole number"),
        (ScorerSpec("length", {"max_words": True}), "scorer-option", "whole number"),
        (ScorerSpec("length", {"min_words": 4, "max_words": 3}), "scorer-option", "at most max_words"),
        (ScorerSpec("regex", {"pattern": "("}), "scorer-option", "regular expression"),
        (ScorerSpec("regex", {"pattern": "a", "mode": "find"}), "scorer-option", "one of search, match"),
        (ScorerSpec("regex", {"pattern": "a", "timeout": 0}), "scorer-option", "number > 0"),
        (ScorerSpec("json_schema", {"schema": {"type": "objekt"}}), "scorer-option", "not a JSON Schema"),
        (ScorerSpec("tool_calls", {"expected": [{"args": {}}]}), "scorer-option", "`name`"),
        (ScorerSpec("composite", {"weights": {"relevance": -1}}), "scorer-option", "numbers >= 0"),
        (ScorerSpec("relevance", {"depth": 1}), "scorer-option", "takes no options"),
    ],
)
def test_a_wrong_spec_is_refused_before_anything_runs(spec: ScorerSpec, slug: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        scorers.validate(spec)
    assert caught.value.slug == slug
    assert says in caught.value.one_line()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        ScorerSpec("length", {"max_words": 3}),
        ScorerSpec("regex", {"pattern": "a+", "ignore_case": True}),
        ScorerSpec("json_schema", {"schema": {"type": "object"}}),
        ScorerSpec("must_mention", {"facts": ["a|b", ["c", "d"]]}),
        ScorerSpec("composite", {"weights": {"relevance": 1}}),
        ScorerSpec("length", {"max_words": None}),
    ],
)
def test_a_right_spec_passes(spec: ScorerSpec) -> None:
    scorers.validate(spec)
    assert scorers.get(spec.name, spec.options).name == spec.name


def test_a_function_becomes_a_scorer(own: Any) -> None:
    own("polite", lambda output, case: "please" in output.text)
    own("ratio", lambda output, case: 0.25)
    own("whole", lambda output, case: Score("other", 0.5, explanation="half"))
    found = scorers.score(ANSWER, CASE, [ScorerSpec("polite"), ScorerSpec("ratio"), ScorerSpec("whole")])
    assert [(s.name, s.value) for s in found] == [("polite", 0.0), ("ratio", 0.25), ("whole", 0.5)]


def test_a_functions_further_parameters_are_its_options(own: Any) -> None:
    def words(output: Output, case: Case, *, most: int = 3) -> float:
        return float(len(output.text.split()) <= most)

    own("words", words)
    assert scorers.get("words", {"most": 9}).score(ANSWER, CASE).value == 1
    assert scorers.get("words").score(ANSWER, CASE).value == 0
    with pytest.raises(UsageError, match="did you mean 'most'"):
        scorers.validate(ScorerSpec("words", {"mots": 1}))


def test_an_object_and_a_class_become_scorers(own: Any) -> None:
    class Shout:
        version = "7"

        def __init__(self, mark: str = "!") -> None:
            self.mark = mark

        def score(self, output: Output, case: Case) -> float:
            return float(self.mark in output.text)

    own("shout", Shout)
    own("hush", Shout("?"))
    found = scorers.get("shout", {"mark": "."}).score(ANSWER, CASE)
    assert (found.value, found.version) == (1.0, "7")
    assert scorers.get("hush").score(ANSWER, CASE).value == 0
    with pytest.raises(UsageError, match="unknown option"):
        scorers.validate(ScorerSpec("shout", {"loud": 1}))


def test_a_built_in_name_cannot_be_taken() -> None:
    with pytest.raises(UsageError, match="built in") as caught:
        scorers.register("json", lambda output, case: 1)
    assert caught.value.slug == "scorer-name"
    with pytest.raises(UsageError, match="function"):
        scorers.register("mine", 3)


async def _late(output: Output, case: Case) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda output, case: 1 / 0, "ZeroDivisionError"),
        (lambda output, case: 3, "must be in [0, 1]"),
        (lambda output, case: float("nan"), "NaN"),
        (lambda output, case: "good", "must return a float"),
        (lambda output, case: Score("x", None), "label"),
        (lambda output, case: Score("x", 2.0), "must be in [0, 1]"),
        (_late, "not async"),
    ],
)
def test_a_crash_is_an_error_and_never_zero(own: Any, function: Any, says: str) -> None:
    own("broken", function)
    (found,) = scorers.score(ANSWER, CASE, [ScorerSpec("broken", threshold=0.5, required=True)])
    assert found.value is None
    assert found.label == "error"
    assert says in found.explanation
    assert found.passed is None


def test_none_is_unscored(own: Any) -> None:
    own("silent", lambda output, case: None)
    (found,) = scorers.score(ANSWER, CASE, [ScorerSpec("silent")])
    assert (found.value, found.label) == (None, "unscored")


def test_spec_negates_renames_and_limits() -> None:
    spec = ScorerSpec("must_mention", negate=True, label="no_paris", threshold=0.5, required=True, weight=0.0)
    (found,) = scorers.score(ANSWER, CASE, [spec])
    assert (found.name, found.value, found.passed, found.required, found.weight) == (
        "no_paris",
        0.0,
        False,
        True,
        0.0,
    )
    (absent,) = scorers.score(ANSWER, Case("c"), [spec])
    assert (absent.value, absent.label) == (None, "not_assessable")


def test_without_names_all_that_apply_run() -> None:
    full = Case(
        "c",
        input="Which city?",
        must_mention=("Paris",),
        context=("Paris is the capital.",),
        schema={"type": "object"},
    )
    names = {s.name for s in scorers.score(ANSWER, full)}
    assert {"json", "json_schema", "must_mention", "relevance", "groundedness", "markers", "composite"} <= names
    bare = {s.name for s in scorers.score(ANSWER, Case("c"))}
    assert bare.isdisjoint(
        {"json", "json_schema", "must_mention", "relevance", "groundedness", "equals", "composite"}
    )


def test_named_scorers_are_always_present_in_order_with_the_composite_last() -> None:
    specs = [ScorerSpec(n) for n in ("composite", "groundedness", "json_schema", "relevance", "length")]
    found = scorers.score(ANSWER, Case("c"), specs)
    assert [s.name for s in found] == ["groundedness", "json_schema", "relevance", "length", "composite"]
    assert {(s.value, s.label) for s in found} == {(None, "not_assessable")}
