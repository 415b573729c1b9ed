"""Groundedness sees one changed detail in a grounded sentence: it costs, and it is named with its span."""

from __future__ import annotations

import json

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output, Score

CONTEXT = (
    "The Harbour Museum opened on 14 May 1998 and was designed by Ines Moreau. A ticket costs 12 euros. "
    "The tour takes 90 minutes and covers 3.5 kilometers. The museum is not open on Mondays. "
    'Its director said: "We will never sell a single painting." '
    "Visitors write to info@harbour.example or read https://harbour.example/visit before they come. "
    "Profit increased by 8% to $4 million in 2021, and 250 volunteers helped with the garden.",
)


def ground(text: str, context: tuple[str, ...] = CONTEXT, asked: str | None = None) -> Score:
    return scorers.get("groundedness").score(Output(text), Case("c", input=asked, context=context))


def flaws(score: Score) -> list[tuple[str, str]]:
    return [(e.kind, e.text) for e in score.evidence if e.kind not in ("unsupported", "support")]


def value(score: Score) -> float:
    assert score.value is not None, score
    return score.value


@pytest.mark.parametrize(
    ("grounded", "flipped", "kind", "span"),
    [
        ("A ticket costs 12 euros.", "A ticket costs 15 euros.", "absent_number", "15"),
        ("A ticket costs 12 euros.", "A ticket costs 250 euros.", "moved_number", "250"),
        ("A ticket costs 12 euros.", "A ticket costs 12 dollars.", "absent_unit", "12"),
        ("A ticket costs €12.", "A ticket costs $12.", "absent_unit", "12"),
        ("The tour takes 90 minutes.", "The tour takes 90 hours.", "absent_unit", "90"),
        ("The tour covers 3.5 km.", "The tour covers 3.5 miles.", "absent_unit", "3.5"),
        ("Profit rose to $4 million.", "Profit rose to $4 billion.", "absent_unit", "4"),
        ("The museum opened on 14 May 1998.", "The museum opened on 14 June 1998.", "absent_name", "June"),
        ("The museum opened on 14 May 1998.", "The museum opened on 16 May 1998.", "absent_number", "16"),
        ("The museum opened in 1998.", "The museum opened in 1989.", "absent_number", "1989"),
        ("It was designed by Ines Moreau.", "It was designed by Ines Laurent.", "absent_name", "Laurent"),
        ("The tour takes 90 minutes.", "The tour does not take 90 minutes.", "absent_negation", "not"),
        ("The museum is not open on Mondays.", "The museum is open on Mondays.", "lost_negation", "open"),
        ("Profit increased by 8%.", "Profit decreased by 8%.", "opposite", "decreased"),
        (
            'He said "We will never sell a single painting".',
            'He said "We will gladly sell a single painting".',
            "absent_quote",
            "We will gladly sell a single painting",
        ),
        (
            "Read https://harbour.example/visit before.",
            "Read https://museum.example/visit before.",
            "absent_url",
            "https://museum.example/visit",
        ),
        ("Write to info@harbour.example.", "Write to help@harbour.example.", "absent_url", "help@harbour.example"),
        ("A ticket costs 12 euros [1].", "A ticket costs 12 euros [7].", "absent_citation", "[7]"),
    ],
)
def test_a_flipped_detail_costs_and_is_named(grounded: str, flipped: str, kind: str, span: str) -> None:
    good, bad = ground(grounded), ground(flipped)
    assert (kind, span) not in flaws(good)
    assert (kind, span) in flaws(bad)
    assert value(bad) < value(good) - 0.1
    (found,) = [e for e in bad.evidence if e.kind == kind and e.text == span]
    assert found.where == "output"
    assert flipped[found.start : found.end] == span
    assert found.note


@pytest.mark.parametrize(
    "text",
    [
        "The museum isn't open on Mondays.",
        "The context does not mention a restaurant.",
        "The museum is closed on Mondays.",
        "The director will not sell a painting.",
        "Not only the garden had 250 volunteers.",
        "It may open on 14 May.",
        "It covers 3.5 kilometres in 90 min.",
        "Profit rose by 8 percent, to 4 million dollars.",
        'He said "We will never sell ... a single painting".',
        'A 5" board.',
    ],
)
def test_what_means_the_same_is_no_flaw_of_these_kinds(text: str) -> None:
    silent = {"absent_negation", "bare_negation", "lost_negation", "absent_unit", "absent_quote", "moved_number"}
    assert [f for f in flaws(ground(text)) if f[0] in silent] == []


def test_a_quote_of_the_question_is_no_quote_of_the_context() -> None:
    asked = "How long does the tour take?"
    text = 'You asked "How long does the tour take": 90 minutes.'
    assert flaws(ground(text, asked=asked)) == []
    assert flaws(ground(text))[0][0] == "absent_quote"


SHOP = {
    "name": "Cafe Roma",
    "attributes": {
        "OutdoorSeating": True,
        "WiFi": "no",
        "Music": None,
        "Ambience": {"trendy": False, "casual": True},
    },
    "seats": 40,
}


@pytest.mark.parametrize(
    "context",
    [json.dumps(SHOP), json.dumps(SHOP, indent=2), str(SHOP), "outdoor seating: yes\nmusic: no\ntrendy: no\n"],
    ids=["json", "indented", "python", "lines"],
)
def test_data_that_say_no_are_understood(context: str) -> None:
    wrong = ground("Cafe Roma offers music and a trendy terrace.", (context,))
    assert {("contrary_data", "music"), ("contrary_data", "trendy")} <= set(flaws(wrong))
    right = ground("Cafe Roma has no music and is not trendy, but has outdoor seating.", (context,))
    assert [f for f in flaws(right) if f[0] in ("contrary_data", "absent_negation")] == []
    assert value(right) > value(wrong) + 0.1


def test_prose_with_a_colon_and_a_no_is_no_data() -> None:
    context = (
        "Note: no refunds after 30 days. Breakfast: none of the rooms include it, but breakfast can be booked.",
    )
    assert flaws(ground("Breakfast can be booked.", context)) == []


def test_one_kind_of_data_said_twice_is_denied_only_where_both_say_no() -> None:
    context = ('{"lunch": {"music": false}, "dinner": {"music": true}}',)
    assert flaws(ground("There is music at dinner.", context)) == []


def test_a_table_is_read_as_words_and_numbers() -> None:
    table = "| city | visitors |\n| --- | --- |\n| Bremen | 1,200 |\n| Leipzig | 900 |\n"
    assert flaws(ground("Bremen had 1200 visitors, Leipzig 900.", (table,))) == []
    assert ("absent_number", "1300") in flaws(ground("The city of Bremen had 1300 visitors.", (table,)))


@pytest.mark.parametrize(
    "text",
    ["{" * 50_000, '"a":' * 50_000, "\n" * 200_000, '"' * 100_000, "[1" * 50_000, "a@" * 50_000, "5 " * 60_000],
)
def test_hostile_texts_are_read_in_linear_time(text: str) -> None:
    for answer, context in ((text, "A ticket costs 12 euros."), ("A ticket costs 12 euros.", text)):
        found = ground(answer, (context,))
        assert found.value is None or 0 <= found.value <= 1
