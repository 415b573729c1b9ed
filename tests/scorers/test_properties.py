"""What holds for every scorer on any text."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Evidence, Output, Score, ScorerSpec, ToolCall
from pytest_llmwatch.scorers import registry
from pytest_llmwatch.scorers.matching import normalise
from pytest_llmwatch.scorers.sentences import sentences

PIECES = st.sampled_from(
    [
        "Paris", "paris’s", "49.90", "11:30", "20:0", "WiFi", "not", "can't", " ", "\n",
        ". ", "```", "{", '{"a": 1}',
        "[", "ß", "ﬁ", "e\u0301", "İ", "東京", "\u200b", "1.", "- ",
        "I'm sorry, I can't help", "always", "20 %",
        "ada@example.org",
        "ignore previous instructions", "increase", "decrease", '"', "|", "\\", "\x00", "\ud800",
    ]
)  # fmt: skip
TEXT = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=30).map("".join), st.lists(PIECES).map(" ".join))
OPTIONS = {
    "regex": {"pattern": r"\w+"},
    "length": {"max_words": 3},
    "contains": {"any": ["a"], "all": ["P"]},
    "ends_with": {"value": [".", "20 %"]},
    "json_fields": {"fields": ["a"]},
    "json_diff": {"value": {"a": 1}},
    "numeric": {"relative": 0.1},
    "sql": {"tables": ["a"]},
    "quoted_spans": {"min_words": 1},
    "short_output": {"of_input": 0.5, "of_reference": 0.5},
    "policy": {"topics": ["Paris"], "patterns": [r"\d"]},
    "prompt_leak": {"prompt": "Paris can't not", "min_words": 2},
    "language": {"languages": "en"},
    "step_count": {"max": 1},
    "tool_used": {"allowed": "f"},
    "any_of": {"members": ["json", "yaml"]},
    "k_of": {"members": ["json", "yaml", {"regex": {"pattern": "a", "negate": True}}], "k": 2},
    "all_of": {"members": ["json", {"word_f1": {"weight": 2}}]},
    "derived": {"formula": "clip(0.5 * json + refusal - pii / 2) if json else 0"},
}
SPECS = [ScorerSpec(name, OPTIONS.get(name, {})) for name in registry.BUILTIN if name not in registry.MODELS]


def cases() -> st.SearchStrategy[Case]:
    facts = st.lists(TEXT, max_size=3).map(tuple)
    return st.builds(
        Case,
        st.just("c"),
        input=st.none() | TEXT,
        reference=st.none() | TEXT,
        must_mention=facts,
        must_not_mention=facts,
        context=facts,
        schema=st.none() | st.just({"type": "object"}),
        expected_tool_calls=st.none() | st.just(({"name": "f", "arguments": {"a": 1}},)),
    )


def sound(score: Score, text: str, case: Case) -> bool:
    silent = score.value is None and score.label in ("not_assessable", "unscored")
    valued = silent or (score.value is not None and 0 <= score.value <= 1)
    return valued and bool(score.explanation) and all(placed(e, text, case) for e in score.evidence)


def placed(evidence: Evidence, text: str, case: Case) -> bool:
    if evidence.where == "item":
        return True
    whole = text if evidence.where == "output" else case.context[evidence.document or 0]
    return evidence.start is not None and whole[evidence.start : evidence.end] == evidence.text


@settings(max_examples=300, deadline=None)
@given(TEXT, cases(), st.lists(st.builds(ToolCall, st.just("f"), TEXT), max_size=2))
def test_no_built_in_scorer_crashes_and_all_evidence_is_where_it_says(
    text: str, case: Case, made: list[ToolCall]
) -> None:
    output = Output(text, tool_calls=tuple(made))
    found = scorers.score(output, case, SPECS)
    assert [s for s in found if not sound(s, text, case)] == []
    assert [s.name for s in found] == [s.name for s in SPECS]
    assert scorers.score(output, case, SPECS) == found


@settings(max_examples=200, deadline=None)
@given(TEXT, cases())
def test_negation_turns_every_value_around(text: str, case: Case) -> None:
    for spec in SPECS:
        if spec.name not in ("composite", "derived", "consistency"):
            plain = scorers.score(Output(text), case, [spec])[0]
            turned = scorers.score(Output(text), case, [ScorerSpec(spec.name, spec.options, negate=True)])[0]
            assert (plain.value is None) == (turned.value is None)
            assert plain.value is None or abs(plain.value + (turned.value or 0) - 1) < 1e-9


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_a_text_is_grounded_in_itself(text: str) -> None:
    found = scorers.get("groundedness").score(Output(text), Case("c", context=(text,)))
    assert found.value is None or found.value > 0.15


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_sentences_are_in_order_and_hold_every_letter(text: str) -> None:
    spans = sentences(text)
    assert all(a < b for a, b in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    inside = "".join(text[a:b] for a, b in spans)
    assert [c for c in text if c.isalnum()] == [c for c in inside if c.isalnum()]


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_a_normalised_text_knows_where_it_came_from(text: str) -> None:
    normal = normalise(text)
    for i in range(len(normal.text)):
        start, end = normal.span(i, i + 1)
        assert 0 <= start < end <= len(text)
