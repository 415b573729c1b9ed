"""Equals, contains, facts."""

from __future__ import annotations

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output, Score, ScorerSpec


def one(name: str, text: str, case: Case | None = None, **options: object) -> Score:
    return scorers.score(Output(text), case or Case("c"), [ScorerSpec(name, options)])[0]


@pytest.mark.parametrize(
    ("text", "options", "value"),
    [
        ("Paris ", {}, 1),
        ("paris", {}, 0),
        ("paris", {"ignore_case": True}, 1),
        ("Paris ", {"exact": True}, 0),
        ("Paris!", {}, 0),
        ("", {}, 0),
    ],
)
def test_equals(text: str, options: dict[str, object], value: float) -> None:
    assert one("equals", text, Case("c", reference="Paris"), **options).value == value


def test_equals_needs_a_reference() -> None:
    assert one("equals", "x").label == "not_assessable"
    assert one("equals", "x", value="x").value == 1


def test_contains() -> None:
    assert one("contains", "red and blue", all=["red", "blue", "green"]).value == pytest.approx(2 / 3)
    assert one("contains", "red and blue", any=["green", "blue"]).value == 1
    assert one("contains", "red and blue", any=["green"]).value == 0
    assert one("contains", "Red", value="red").value == 0
    assert one("contains", "Red", value="red", ignore_case=True).value == 1
    assert one("contains", "infrared", Case("c", reference="red")).value == 1
    assert one("contains", "x").label == "not_assessable"


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        ("Paris", "It is PARIS."),
        ("Paris|Lutetia", "Old Lutetia"),
        ("3 to 5", "in 3 to\n5 days"),
        ("4.90", "costs 4.90."),
        ("4.90", "€4.90, or more"),
        ("12000", "about 12,000 people"),
        ("café", "the cafe\u0301 there"),
        ("cafe\u0301", "the café there"),
        ("don't", "we don’t know"),
        ("Straße", "STRASSE"),
        ("well-known", "a well‑known one"),
        ("東京", "これは東京です"),
        ("C++", "I like C++."),
        ("2", "[1,2,3]"),
        (r"a\|b", "say a|b"),
        ("ﬁle", "the file"),
    ],
)
def test_a_fact_is_found(fact: str, text: str) -> None:
    found = one("must_mention", text, Case("c", must_mention=(fact,)))
    assert found.value == 1
    assert found.evidence[0].text == text[found.evidence[0].start : found.evidence[0].end]
    assert found.evidence[0].text
    assert one("must_not_mention", text, Case("c", must_not_mention=(fact,))).value == 0


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        ("Paris", "comparison"),
        ("art", "start"),
        ("4.90", "costs 14.90"),
        ("4.90", "costs 4.905"),
        ("4.9", "costs 4.95"),
        ("12", "costs 12,500"),
        ("12", "12.5 km"),
        ("500", "12,500"),
        ("cafe", "café"),
        ("Paris", ""),
        ("not open", "is open"),
    ],
)
def test_a_fact_is_not_found_in_something_else(fact: str, text: str) -> None:
    assert one("must_mention", text, Case("c", must_mention=(fact,))).value == 0
    assert one("must_not_mention", text, Case("c", must_not_mention=(fact,))).value == 1


def test_shares_missing_and_options() -> None:
    case = Case("c", must_mention=("Ada", "Oslo", " "), must_not_mention=("Rome", "Ada"))
    found = one("must_mention", "Ada wrote.", case)
    assert found.value == 0.5
    assert [(e.kind, e.text, e.where) for e in found.evidence] == [
        ("missing", "Oslo", "item"),
        ("mentioned", "Ada", "output"),
    ]
    assert one("must_not_mention", "Ada wrote.", case).value == 0.5
    assert one("must_mention", "b", facts=[["a", "b"]]).value == 1
    assert one("must_mention", "b").label == "not_assessable"
    assert one("must_not_mention", "b").label == "not_assessable"
