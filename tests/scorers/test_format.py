"""JSON, JSON Schema, regular expressions, length."""

from __future__ import annotations

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output, Score, ScorerSpec

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "items": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name"],
}


def one(name: str, text: str, case: Case | None = None, **options: object) -> Score:
    return scorers.score(Output(text), case or Case("c"), [ScorerSpec(name, options)])[0]


@pytest.mark.parametrize("text", ['{"a": 1}', " [1, 2]\n", '"text"', "3", "null", '{"a": "```"}'])
def test_json(text: str) -> None:
    assert one("json", text).value == 1


@pytest.mark.parametrize(
    "text",
    ['```json\n{"a": 1}\n```', 'Sure: {"a": 1}', "Here:\n```\n[1]\n```\nDone.", '{"a": 1} {"b": 2}'],
)
def test_json_in_a_wrapping_is_format_drift(text: str) -> None:
    found = one("json", text)
    assert (found.value, found.label) == (0.5, "format_drift")
    assert all(text[e.start : e.end] == e.text for e in found.evidence)
    assert one("json", text, extract=True).value == 1


@pytest.mark.parametrize("text", ["", "no", '{"a": 1', "{'a': 1}", '{"a": NaN}', "[" * 100_000, "see [here] {x}"])
def test_not_json(text: str) -> None:
    found = one("json", text)
    assert (found.value, found.label) == (0, None)
    assert found.explanation.startswith("Not JSON")


def test_the_longest_value_in_the_prose_is_taken() -> None:
    case = Case("c", schema=SCHEMA)
    assert one("json_schema", 'For [1] the answer is {"name": "Ada"}.', case).label == "format_drift"


def test_schema() -> None:
    case = Case("c", schema=SCHEMA)
    assert one("json_schema", '{"name": "Ada", "items": [1]}', case).value == 1
    wrong = one("json_schema", '{"items": [1, "x"]}', case)
    assert wrong.value == 0
    assert {e.text.split(":")[0] for e in wrong.evidence} == {"$", "$.items[1]"}
    assert one("json_schema", "no", case).value == 0
    assert one("json_schema", "{}").label == "not_assessable"
    assert one("json_schema", "{}", schema={"type": "array"}).value == 0
    assert one("json_schema", "{}", Case("c", schema={"type": "objekt"})).label == "error"


def test_schema_checks_formats() -> None:
    case = Case("c", schema={"type": "string", "format": "date"})
    assert one("json_schema", '"2026-02-30"', case).value == 0
    assert one("json_schema", '"2026-02-20"', case).value == 1
    assert one("json_schema", '"2026-02-30"', case, formats=False).value == 1


def test_regex() -> None:
    found = one("regex", "order 4711 is open", pattern=r"\d+")
    assert (found.value, found.evidence[0].text, found.evidence[0].start) == (1, "4711", 6)
    assert one("regex", "order", pattern=r"\d+").value == 0
    assert one("regex", "order", pattern="ORDER").value == 0
    assert one("regex", "order", pattern="ORDER", ignore_case=True).value == 1
    assert one("regex", "an order", pattern="order", mode="fullmatch").value == 0
    assert one("regex", "order").label == "not_assessable"


def test_a_catastrophic_pattern_ends_as_an_error() -> None:
    found = one("regex", "a" * 5_000 + "!", pattern=r"(?:a|a?)+$", timeout=0.05)
    assert (found.value, found.label) == (None, "error")
    assert "simplify" in found.explanation


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"max_words": 3}, 1.0),
        ({"max_words": 2}, 2 / 3),
        ({"min_words": 4}, 0.75),
        ({"min_chars": 11, "max_chars": 11}, 1.0),
        ({"max_sentences": 1}, 0.5),
        ({"max_words": 0}, 0.0),
    ],
)
def test_length(options: dict[str, int], value: float) -> None:
    assert one("length", " It's on. Ok ", **options).value == pytest.approx(value)


def test_length_of_nothing() -> None:
    assert one("length", "", min_words=1).value == 0
    assert one("length", "", max_words=1).value == 1
    assert one("length", "text").label == "not_assessable"
