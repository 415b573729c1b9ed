"""Long and hostile texts: every scorer answers, in time that grows with their length (else this takes hours)."""

from __future__ import annotations

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers import registry

HOSTILE = {
    "one word": "a" * 1_000_000,
    "many words": "a " * 100_000,
    "full stops": "." * 300_000,
    "digits and dots": "1." * 150_000,
    "dots within": "A" + "b.C" * 100_000,
    "empty lines": "\n" * 200_000 + "x",
    "negations": "Not " * 50_000,
    "no spaces": "東京" * 50_000,
    "camel": "aB" * 150_000,
    "brackets": "[" * 100_000 + "Yes",
    "objects": '{"a":' * 50_000,
    "fences": "```\n" * 50_000,
    "apologies": "I'm sorry " * 30_000,
    "ignore": "ignore all " * 40_000,
    "mail": "a@" * 100_000,
    "money": "$1," * 100_000,
    "combining": "\u0301" * 150_000,
    "sharp s": "ß" * 150_000,
    "tabs": "\t" * 300_000 + "1.",
    "quotes": "'’" * 100_000,
    "tags": "<a " * 60_000,
    "deep tags": "<a>" * 100_000,
    "comments": "<!--" * 40_000,
    "subqueries": "SELECT (SELECT " * 3_000,
    "minus": "SELECT " + "-" * 40_000 + "1",
    "backticks": "".join("`" * i + " " for i in range(400)),
    "table": "|" * 90_000,
    "nul": "\x00" * 100_000,
    "surrogates": "\ud800 " * 60_000,
    "emoji": "👩‍👩‍👧" * 50_000,
    "Thai": "ภาษาไทย" * 20_000,
    "right to left": "العربية " * 20_000,
}
OPTIONS = {
    "regex": {"pattern": "x+$"},
    "length": {"max_words": 3, "max_sentences": 1},
    "contains": {"any": ["q"]},
    "starts_with": {"value": "a"},
    "json_fields": {"fields": ["a.b"]},
    "json_diff": {"value": {"a": 1}},
    "data_compare": {"value": "a,b\n1,2"},
    "numeric": {"value": 1},
    "sql": {"tables": ["a"], "columns": ["a"]},
    "quoted_spans": {"min_words": 1},
    "short_output": {"of_input": 1.0},
    "policy": {"topics": ["a b"], "patterns": ["x+$"]},
    "prompt_leak": {"prompt": "a b c d e f"},
    "language": {"languages": "en"},
    "step_count": {"max": 1},
    "tool_used": {"tools": "f"},
    "any_of": {"members": ["json", "xml"]},
    "k_of": {"members": ["json", "xml"], "k": 2},
    "all_of": {"members": ["json", "sql"]},
    "derived": {"formula": "json + 0"},
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("name", [n for n in registry.BUILTIN if n not in registry.MODELS])
def test_a_hostile_answer_and_a_hostile_case_are_scored(name: str, text: str) -> None:
    scorer = scorers.get(name, OPTIONS.get(name, {}))
    plain = "The lamp costs 49 euros."
    answered = scorer.score(
        Output(text),
        Case("c", input=plain, context=(plain,), reference=plain, must_mention=("a b",), must_not_mention=("ß",)),
    )
    asked = scorer.score(Output(plain), Case("c", input=text, context=(text,), reference=text))
    for found, output in ((answered, text), (asked, plain)):
        assert found.value is None or 0 <= found.value <= 1
        spans = [e for e in found.evidence if e.where == "output"]
        assert all(output[e.start : e.end] == e.text for e in spans)
