"""Groundedness: what it sees, what it must stay silent on, and that its evidence can be checked."""

from __future__ import annotations

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers.grounding import Parts

CONTEXT = (
    "The Aurora lamp costs 49 euros. It was designed by Ines Moreau in 1998 and is made in Bremen. "
    "Standard delivery takes 3 to 5 working days.",
    "Returns are free within 30 days. The shop in Leipzig opens at 9:30 and closes at 20:00.",
)


def ground(text: str, context: tuple[str, ...] = CONTEXT, reference: str | None = None) -> Score:
    return scorers.get("groundedness").score(Output(text), Case("c", context=context, reference=reference))


def kinds(score: Score) -> list[tuple[str, str]]:
    return [(e.kind, e.text) for e in score.evidence if e.kind not in ("unsupported", "support")]


def value(score: Score) -> float:
    assert score.value is not None, score
    return score.value


def test_a_copied_sentence_is_fully_supported() -> None:
    found = ground("The Aurora lamp costs 49 euros.")
    assert value(found) == pytest.approx(1)
    assert found.evidence == ()


def test_a_paraphrase_is_better_than_an_invention() -> None:
    paraphrase = ground("Standard deliveries take three to five working days.")
    invention = ground("Orders arrive overnight by drone from a warehouse in Spain.")
    assert value(paraphrase) > 0.8
    assert value(invention) < 0.3


@pytest.mark.parametrize(
    ("text", "kind", "span"),
    [
        ("The Aurora lamp costs 59 euros.", "absent_number", "59"),
        ("It was designed by Ines Laurent in 1998.", "absent_name", "Laurent"),
        ("It was designed in 2003 and is made in Bremen.", "absent_number", "2003"),
        ("The shop in Leipzig closes at 21:00.", "absent_number", "21:00"),
        ("The shop in Leipzig never opens.", "absent_negation", "never"),
        ("Standard delivery takes 3 to 50 working days.", "absent_number", "50"),
    ],
)
def test_a_changed_detail_is_named_and_lowers_the_score(text: str, kind: str, span: str) -> None:
    found = ground(text)
    assert (kind, span) in kinds(found)
    assert value(found) < 0.85


@pytest.mark.parametrize(
    "text",
    [
        "The Aurora lamp costs forty-nine euros, or 49.00 euros.",
        "Designed by INES MOREAU in Bremen, 1998.",
        "The shop closes at 8 PM and opens at 9:30 AM.",
        "1. Returns are free.\n2. Delivery takes 3 to 5 days.",
        "Delivery takes 3-5 days.",
        "A summary in 12 words: the lamp costs 49 euros.",
    ],
)
def test_other_ways_to_write_a_number_or_name_are_no_flaw(text: str) -> None:
    assert [k for k, _ in kinds(ground(text)) if k != "opposite"] == []


def test_an_opposite_is_seen_where_the_context_says_the_contrary() -> None:
    context = ("Revenue will increase in the third quarter of the year.",)
    assert ("opposite", "decrease") in kinds(ground("Revenue will decrease in the third quarter.", context))
    assert kinds(ground("Revenue will increase in the third quarter.", context)) == []
    assert kinds(ground("Revenue will decrease.", ("Costs will decrease, revenue will increase.",))) == []


def test_a_negation_that_the_context_has_is_no_flaw() -> None:
    assert kinds(ground("The shop is not open.", ("The shop is not open on Sundays.",))) == []
    assert kinds(ground("They can't open.", ("They don't open.",))) == []


def test_the_worst_sentence_comes_first_with_its_best_passage() -> None:
    text = "The Aurora lamp costs 49 euros. Returns are free within 90 days. Unicorns guard every parcel."
    evidence = ground(text).evidence
    spans = [e for e in evidence if e.kind == "unsupported"]
    assert [e.text for e in spans] == ["Unicorns guard every parcel.", "Returns are free within 90 days."]
    (support,) = [e for e in evidence if e.kind == "support"]
    assert (support.where, support.document) == ("context", 1)
    assert support.text == "Returns are free within 30 days."
    assert CONTEXT[1][support.start : support.end] == support.text


def test_json_keys_are_read_as_words() -> None:
    context = ('{"name": "Cafe Roma", "RestaurantsTakeOut": true, "outdoor_seating": true, "WiFi": "free"}',)
    found = ground("Cafe Roma has outdoor seating, free WiFi (wi-fi) and take out.", context)
    assert value(found) > 0.75
    assert kinds(found) == []


def test_without_context_the_reference_counts_and_without_both_nothing_is_said() -> None:
    found = ground("Paris is the capital.", (), "The capital of France is Paris.")
    assert value(found) > 0.7
    assert "no context" in found.explanation
    other = ground("Rome is the capital of Italy.", (), "The capital of France is Paris.")
    assert {e.where for e in other.evidence} == {"output", "item"}
    for context in ((), ("",), ("  ",)):
        none = ground("Paris.", context)
        assert (none.value, none.label) == (None, "not_assessable")
    assert ground("", CONTEXT).label == "not_assessable"
    assert ground("Yes, it is.", CONTEXT).label == "not_assessable"
    assert ground("Paris.", ("...",)).label == "not_assessable"


def test_word_order_across_the_context_costs_a_little_and_never_everything() -> None:
    scattered = ground("The Leipzig lamp takes 30 euros.")
    assert 0.3 < value(scattered) < value(ground("The Aurora lamp costs 49 euros."))


def test_the_formula_can_be_computed_by_hand() -> None:
    assert Parts(1, 1, 1, 0, 0).value == pytest.approx(1)
    assert Parts(0.5, 0.25, 0.75, 0, 0).value == pytest.approx(0.3 * 0.5 + 0.3 * 0.25 + 0.4 * 0.75)
    assert Parts(1, 1, 1, 1, 0).value == pytest.approx(1 - 0.7 * (1 - 0.36787944))
    assert Parts(1, 1, 1, 0, 2).value == pytest.approx(1 - 0.4 * (1 - 0.36787944))
    assert Parts(0, 0, 0, 9, 9).value == 0


def test_a_redacted_text_is_still_comparable() -> None:
    assert value(ground("Write to [EMAIL:1a2b].", ("Please write to [EMAIL:1a2b] for help.",))) > 0.9
    assert value(ground("Write to [EMAIL:9f9f].", ("Please write to [EMAIL:1a2b] for help.",))) < 0.8


def test_a_very_long_answer_says_what_was_judged() -> None:
    found = ground("The lamp costs 49 euros. " * 6_000)
    assert "Only the first 20,000 words" in found.explanation
    assert value(found) > 0.5
