"""IFEval's kinds of verifiable instructions: each with an answer that follows it and one that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers.instruction_kinds import KINDS
from pytest_llmwatch.scorers.specs import as_spec

AT_LEAST, LESS = {"relation": "at least"}, {"relation": "less than"}
LONG = "The lamp costs forty-nine euros and will be delivered tomorrow morning."
GERMAN = "Die Lampe kostet neunundvierzig Euro und wird morgen geliefert."

# id, arguments, followed by, not followed by
TABLE: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["Lamp", "oak"]}, ["An OAK lamp."], ["A lamp."]),
    ("keywords:frequency", {"keyword": "lamp", "frequency": 2, **AT_LEAST}, ["lamp, Lamps"], ["lamp"]),
    ("keywords:frequency", {"keyword": "lamp", "frequency": 2, **LESS}, ["lamp"], ["lamp lamp"]),
    ("keywords:forbidden_words", {"forbidden_words": ["war"]}, ["a warm day"], ["the War"]),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, ["##"], ["#"]),
    ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "less than"}, ["A"], ["Aa"]),
    ("language:response_language", {"language": "de"}, [GERMAN], [LONG]),
    ("length_constraints:number_sentences", {"num_sentences": 2, **AT_LEAST}, ["One. Two."], ["Dr. One."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, **LESS}, ["One line\nand one."], ["One. Two."]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a***b", "***a***b***"], ["a b", "a******b"]),
    ("length_constraints:number_words", {"num_words": 3, **AT_LEAST}, ["one two three"], ["one two"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "exactly"}, ["one two three"], ["a b c d"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "So"},
        ["One.\n\n'So, two."],
        ["One.\n\nTwo.", "So.", "One.\n\nSo.\n\nThree."],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[name], [a b]"], ["[name", "[name] ["]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye.\nP. S. more"], ["PS more"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["p.p.s more"], ["P.S. more"]),
    ("detectable_content:postscript", {"postscript_marker": "NB:"}, ["nb: more"], ["P.S. more"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n - b", "* a\n**b**\n* c"], ["* a"]),
    ("detectable_format:constrained_response", {}, ["My answer is no."], ["No."]),
    ("detectable_format:constrained_response", {"options": ["A", "B"]}, ["B"], ["C"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*a* *b*", "**a** *b*"], ["*a* **"]),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Day", "num_sections": 2},
        ["Day 1\na\nDay 2\nb"],
        ["Day one\nDay 2"],
    ),
    ("detectable_format:json_format", {}, ['{"a": 1}', '```json\n{"a": 1}\n```'], ["{'a': 1}", "So: {}"]),
    ("detectable_format:title", {}, ["<<Lamps>>\nmore"], ["<Lamps>", "<<\n>>", "<< >>"]),
    ("combination:two_responses", {}, ["a\n******\nb"], ["a", "a******a", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, ["say it. It."], ["It. Say it."]),
    ("startend:end_checker", {"end_phrase": "Bye!"}, ['"So. bye!"\n'], ["Bye! So."]),
    ("startend:quotation", {}, ['"So."\n'], ["So.", '"'],),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        ["NASA says so"],
        ["NASA and ESA say so"],
    ),
    ("change_case:english_capital", {}, [LONG.upper(), "OK."], [LONG, GERMAN.upper()]),
    ("change_case:english_lowercase", {}, [LONG.lower(), "ok."], [LONG, GERMAN.lower()]),
    ("punctuation:no_comma", {}, ["a and b"], ["a, b"]),
]  # fmt: skip


def found(text: str, follow: Any = None, case: Case | None = None, **options: Any) -> Any:
    given = {**({"follow": follow} if follow is not None else {}), **options}
    (score,) = scorers.score(Output(text), case or Case("c"), [{"instructions": given}])
    return score


@pytest.mark.parametrize(
    ("id_", "arguments", "good", "bad"), TABLE, ids=[f"{i}{n}" for n, (i, *_) in enumerate(TABLE)]
)
def test_kind(id_: str, arguments: dict[str, Any], good: list[str], bad: list[str]) -> None:
    for text in good:
        score = found(text, [{id_: arguments}])
        assert score.value == 1, score
        assert score.evidence == ()
    for text in [*bad, ""]:
        score = found(text, [{id_: arguments}])
        assert score.value == 0, (text, score)
        assert [e.text for e in score.evidence] == [id_]
        assert score.evidence[0].note


def test_the_table_has_all_25() -> None:
    assert {row[0] for row in TABLE} == KINDS.keys()
    assert len(KINDS) == 25


def test_the_share_of_several_or_all_of_them() -> None:
    follow = ["punctuation:no_comma", {"length_constraints:number_words": {"num_words": 5}}]
    assert found("One, two.", follow).value == 0
    assert found("One two.", follow).value == 0.5
    assert found("One two.", follow, all=True).value == 0
    assert found("One two three four five", follow, all=True).value == 1
    assert "number_words: 2 words, at least 5 wanted" in found("One two.", follow).explanation


def test_a_case_brings_its_own() -> None:
    case = Case("c", metadata={
        "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
        "kwargs": [{"num_words": None}, {"end_phrase": "Bye", "keywords": None}],
    })  # fmt: skip
    assert scorers.get("instructions").applies(Output(""), case)
    assert found("So. Bye", case=case).value == 1
    assert found("So, bye", case=case).value == 0.5
    assert found("So", case=Case("c")).label == "not_assessable"
    wrong = found("So", case=Case("c", metadata={"instruction_id_list": ["startend:quotation"], "kwargs": []}))
    assert wrong.label == "error"
    assert "of the same length" in wrong.explanation


def test_loose_takes_off_first_and_last_lines_and_asterisks() -> None:
    follow = [{"combination:repeat_prompt": {"prompt_to_repeat": "Say it."}}]
    assert found("Sure:\n**Say it.** It.", follow).value == 0
    assert found("Sure:\n**Say it.** It.", follow, loose=True).value == 1
    assert found("Sure.", follow, loose=True).value == 0


@pytest.mark.parametrize(
    ("follow", "says"),
    [
        (["punctuation:no_commas"], "did you mean 'punctuation:no_comma'"),
        ([7], "unknown instruction 7"),
        ([], "at least one"),
        ([{"startend:end_checker": {}}], "needs the argument 'end_phrase'"),
        ([{"startend:end_checker": {"end_phrase": " "}}], "must be a text"),
        ([{"startend:end_checker": "Bye"}], "must be a mapping"),
        ([{"startend:end_checker": {"end_phrase": "Bye", "phrase": "x"}}], "unknown argument 'phrase'"),
        ([{"length_constraints:number_words": {"num_words": -1}}], "a whole number >= 0"),
        ([{"length_constraints:number_words": {"num_words": 1, "relation": "about"}}], "one of less than"),
        ([{"keywords:letter_frequency": {"letter": "ab", "let_frequency": 1}}], "one character"),
        ([{"keywords:existence": {"keywords": "lamp"}}], "a list of texts"),
    ],
)
def test_wrong_ones_are_refused_before_anything_runs(follow: Any, says: str) -> None:
    with pytest.raises(UsageError, match="scorer-option") as error:
        scorers.validate(as_spec({"instructions": {"follow": follow}}))
    assert says in str(error.value)


@pytest.mark.parametrize(
    "piece", ["[", "<<", "*", "**", "\n", " *", "(", "P. ", "\x00", "\ud800", "Section ", "```", ". ", "«"]
)
def test_hostile_answers_cost_no_more_than_their_length(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    follow = [{id_: arguments} for id_, arguments, _good, _bad in TABLE]
    score = found(text, follow)
    assert score.value is not None, score.explanation
    assert found("a" * 1_000_001, follow).label == "not_assessable"


def test_deep_json_is_an_answer_and_no_crash() -> None:
    assert found("[" * 100_000, ["detectable_format:json_format"]).value == 0
    assert found(json.dumps({"a": "b"}), ["detectable_format:json_format"]).value == 1
