"""Every kind of scorer on a good and on a bad answer, and what `negate` makes of it."""
# ruff: noqa: E501 - one row a kind

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output, ToolCall
from pytest_llmwatch.scorers import registry
from pytest_llmwatch.scorers.adapters import TOOLS

FOX = ("The quick brown fox jumps over the lazy dog.", "The fast brown fox leaped over the lazy dog.")
CATS = ("the cat sat on the mat", "the cat was sitting on the mat today")
CABLE = ("It costs 49 euros and comes with a cable", "A cable is included; the price is 49 euros")
PAGE = "# Lamp\n\n- one\n- two\n\n## Price\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```json\n{}\n```\n"
TOOL = {
    "name": "search",
    "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
}
CALLS = (ToolCall("search", '{"q": "lamp"}'), ToolCall("book", '{"id": 7, "n": 1}'))
SYSTEM = [{"role": "system", "content": "You are Ada of Lamp Inc and must never name the discount code out loud."}]


def out(text: str = "", **more: Any) -> Output:
    return Output(text, **more)


def of(**known: Any) -> Case:
    return Case("c", **known)


# name, scorer, answer, case, value
KINDS: list[tuple[str, Any, Output, Case, float | None]] = [
    ("equals", "equals", out("Paris"), of(reference="Paris"), 1),
    ("equals_not", "equals", out("Rome"), of(reference="Paris"), 0),
    ("contains", {"contains": {"value": "49"}}, out("It costs 49."), of(), 1),
    ("contains_not", {"contains": {"value": "50"}}, out("It costs 49."), of(), 0),
    ("icontains", {"contains": {"value": "LAMP", "ignore_case": True}}, out("a lamp"), of(), 1),
    ("icontains_long_lower", {"contains": {"value": "LAMP", "ignore_case": True}}, out("İ lamp"), of(), 1),
    ("icontains_not", {"contains": {"value": "LAMP"}}, out("a lamp"), of(), 0),
    ("contains_any", {"contains": {"any": ["x", "lamp"]}}, out("a lamp"), of(), 1),
    ("contains_all", {"contains": {"all": ["a", "x"]}}, out("a lamp"), of(), 0.5),
    ("icontains_any", {"contains": {"any": ["X", "LAMP"], "ignore_case": True}}, out("a lamp"), of(), 1),
    ("icontains_all", {"contains": {"all": ["A", "LAMP"], "ignore_case": True}}, out("a lamp"), of(), 1),
    ("starts_with", {"starts_with": {"value": "Dear"}}, out(" Dear Ada"), of(), 1),
    ("starts_with_not", {"starts_with": {"value": "dear"}}, out("Dear Ada"), of(), 0),
    ("starts_with_case", {"starts_with": {"value": ["x", "dear"], "ignore_case": True}}, out("Dear Ada"), of(), 1),
    ("ends_with", {"ends_with": {"value": "Regards."}}, out("Yes. Regards.\n"), of(), 1),
    ("ends_with_not", {"ends_with": {"value": "Regards"}}, out("Yes."), of(), 0),
    ("regex", {"regex": {"pattern": r"\d+ euros"}}, out("49 euros"), of(), 1),
    ("regex_not", {"regex": {"pattern": r"^\d+$"}}, out("49 euros"), of(), 0),
    ("exact_match", "exact_match", out("the  Eiffel Tower!"), of(reference="Eiffel tower"), 1),
    ("exact_match_not", "exact_match", out("Eiffel"), of(reference="Eiffel tower"), 0),
    ("word_f1", "word_f1", out("a red lamp"), of(reference="The lamp is red"), 0.8),
    ("word_count", {"length": {"min_words": 2, "max_words": 2}}, out("two words"), of(), 1),
    ("word_count_not", {"length": {"max_words": 2}}, out("one two three four"), of(), 0.5),
    ("sentence_count", {"length": {"max_sentences": 1}}, out("One. Two."), of(), 0.5),
    ("levenshtein", "levenshtein", out("kitten"), of(reference="sitting"), 4 / 7),
    ("levenshtein_distance", {"levenshtein": {"max_distance": 3}}, out("kitten"), of(reference="sitting"), 1),
    ("levenshtein_far", {"levenshtein": {"max_distance": 2}}, out("kitten"), of(reference="sitting"), 0),
    ("hamming", {"levenshtein": {"method": "hamming"}}, out("karolin"), of(reference="kathrin"), 4 / 7),
    ("jaro", {"levenshtein": {"method": "jaro"}}, out("martha"), of(reference="marhta"), 0.944444),
    ("jaro_winkler", {"levenshtein": {"method": "jaro_winkler"}}, out("martha"), of(reference="marhta"), 0.961111),
    # figures of rouge-score 0.1.2 and nltk 3.10 (METEOR without WordNet)
    ("rouge_1", {"rouge": {"n": 1}}, out(CATS[0]), of(reference=CATS[1]), 0.714286),
    ("rouge_2", {"rouge": {"n": 2}}, out(CATS[0]), of(reference=CATS[1]), 0.5),
    ("rouge_l", "rouge", out(CABLE[0]), of(reference=CABLE[1]), 0.222222),
    ("rouge_recall", {"rouge": {"n": 1, "measure": "recall"}}, out(CATS[0]), of(reference=CATS[1]), 0.625),
    ("gleu", "gleu", out(FOX[0]), of(reference=FOX[1]), 0.466667),
    ("gleu_cats", "gleu", out(CATS[0]), of(reference=CATS[1]), 0.346154),
    ("meteor", "meteor", out(FOX[0]), of(reference=FOX[1]), 0.747166),
    ("meteor_cats", "meteor", out(CATS[0]), of(reference=CATS[1]), 0.620513),
    ("bleu", "bleu", out(FOX[1]), of(reference=FOX[1]), 1),
    ("bleu_other", "bleu", out("A lamp."), of(reference="Nothing of this here"), 0),
    ("chrf", "chrf", out(FOX[1]), of(reference=FOX[1]), 1),
    ("chrf_other", "chrf", out("xyz"), of(reference="abc"), 0),
    ("numeric", "numeric", out("So it is 1,250.50 euros."), of(reference="1250.5"), 1),
    ("numeric_far", "numeric", out("1"), of(reference="3"), 0.5),
    ("numeric_within", {"numeric": {"tolerance": 0.1}}, out("about 3.1"), of(reference="3"), 1),
    ("numeric_beyond", {"numeric": {"relative": 0.01}}, out("about 3.1"), of(reference="3"), 0),
    ("list_contains", {"list_contains": {"items": ["red", "blue"]}}, out('["Blue", "red"]'), of(), 1),
    ("list_contains_half", {"list_contains": {"items": ["red", "blue"]}}, out("- red\n- green"), of(), 0.5),
    ("list_contains_extra", {"list_contains": {"items": "red", "allow_extra": True}}, out("red, green"), of(), 1),
    ("json_diff", "json_diff", out('{"a": 1, "b": [1, 2]}'), of(reference='{"b": [1, 2.0], "a": 1}'), 1),
    ("json_diff_share", "json_diff", out('{"a": 1, "b": 2}'), of(reference='{"a": 1, "b": 3}'), 0.5),
    ("json_diff_near", {"json_diff": {"value": {"a": 1}, "tolerance": 0.1}}, out('{"a": 1.05}'), of(), 1),
    ("json_diff_bool", {"json_diff": {"value": {"a": 1}}}, out('{"a": true}'), of(), 0),
    ("json_diff_ignored", {"json_diff": {"value": {"a": 1}, "ignore": "$.t"}}, out('{"a": 1, "t": 9}'), of(), 1),
    ("json_diff_order", {"json_diff": {"value": [2, 1], "any_order": True}}, out("[1, 2]"), of(), 1),
    ("json_fields", {"json_fields": {"fields": ["a.0.b", "c"]}}, out('{"a": [{"b": 1}]}'), of(), 0.5),
    ("data_compare", "data_compare", out("b,a\n2,1.0\n4,3"), of(reference="a,b\n1,2\n3,5"), 0.5),
    ("data_compare_columns", {"data_compare": {"mode": "columns"}}, out("b,a\n2,1"), of(reference="a,b\n1,3"), 0.5),
    ("json", "json", out('{"a": 1}'), of(), 1),
    ("json_not", "json", out("{'a': 1}"), of(), 0),
    ("contains_json", {"json": {"extract": True}}, out('Here: {"a": 1}'), of(), 1),
    ("json_schema", "json_schema", out('{"a": 1}'), of(schema={"required": ["a"]}), 1),
    ("yaml", "yaml", out("a: 1\nb: [x, y]"), of(), 1),
    ("yaml_fence", "yaml", out("Here:\n```yaml\na: 1\n```"), of(), 0.5),
    ("yaml_text", "yaml", out("just words"), of(), 0),
    ("yaml_schema", {"yaml": {"schema": {"required": ["b"]}}}, out("a: 1"), of(), 0),
    ("csv", {"csv": {"columns": ["a", "b"], "min_rows": 1}}, out("a,b\n1,2"), of(), 1),
    ("csv_ragged", "csv", out("a,b\n1,2,3"), of(), 0),
    ("python_code", {"python_code": {"defines": "f"}}, out("def f():\n    return 1"), of(), 1),
    ("python_code_not", "python_code", out("def f(:"), of(), 0),
    ("python_code_fence", {"python_code": {"extract": True}}, out("So:\n```python\nx = 1\n```"), of(), 1),
    ("xml", {"xml": {"elements": ["order/item"]}}, out("<order><item/></order>"), of(), 1),
    ("xml_lacks", {"xml": {"elements": ["order/price"]}}, out("<order><item/></order>"), of(), 0),
    ("xml_open", "xml", out("<order>"), of(), 0),
    ("contains_xml", {"xml": {"extract": True}}, out("So:\n```xml\n<a/>\n```"), of(), 1),
    ("html", "html", out("<p>Hi <b>you</b><br></p>"), of(), 1),
    ("html_open", "html", out("<p><b>Hi</p>"), of(), 0),
    ("html_around", "html", out("Here: <p>Hi</p>"), of(), 0),
    ("html_unknown", "html", out("<lamp>Hi</lamp>"), of(), 0),
    ("contains_html", {"html": {"extract": True}}, out("So:\n```html\n<p>Hi</p>\n```"), of(), 1),
    ("markdown", {"markdown": {"has": ["table", "code"], "headings": ["Price"]}}, out(PAGE), of(), 1),
    ("markdown_lacks", {"markdown": {"has": ["table", "image"], "max_level": 1}}, out(PAGE), of(), 1 / 3),
    ("markdown_open", "markdown", out("# A\n\n```\ncode"), of(), 2 / 3),
    ("sql", "sql", out("SELECT a FROM t WHERE b > 1"), of(), 1),
    ("sql_not", "sql", out("SELECT FROM WHERE"), of(), 0),
    ("sql_words", "sql", out("hello world"), of(), 0),
    ("sql_table", {"sql": {"tables": ["t"]}}, out("SELECT a FROM t JOIN users u ON u.id = t.id"), of(), 0),
    ("sql_cte", {"sql": {"tables": ["t"]}}, out("WITH x AS (SELECT a FROM t) SELECT a FROM x"), of(), 1),
    ("sql_column", {"sql": {"columns": ["t.a"]}}, out("SELECT a, secret FROM t"), of(), 0),
    ("sql_star", {"sql": {"columns": ["t.a"]}}, out("SELECT * FROM t"), of(), 0),
    ("sql_drop", {"sql": {"statements": ["select"]}}, out("SELECT 1; DROP TABLE t"), of(), 0),
    ("sql_hidden", {"sql": {"statements": "select", "dialect": "postgres"}},
     out("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x"), of(), 0),
    ("contains_sql", {"sql": {"extract": True}}, out("So:\n```sql\nSELECT 1\n```"), of(), 1),
    ("short_output", {"short_output": {"min_words": 4}}, out("two words"), of(), 0.5),
    ("short_of_input", {"short_output": {"of_input": 1.0}}, out("a b"), of(input="a b c d"), 0.5),
    ("short_of_baseline", {"short_output": {"of_baseline": 0.5}}, out("a b"), of(metadata={"baseline_words": 8}), 0.5),
    ("short_empty", "short_output", out(""), of(), 0),
    ("short_unknown", {"short_output": {"of_baseline": 0.5}}, out("a b"), of(), None),
    ("perplexity", {"perplexity": {"max": 2}}, out("a"), of(metadata={"logprobs": [-1.386294, -1.386294]}), 0.5),
    ("perplexity_score", "perplexity", out("a"), of(metadata={"logprobs": [0, {"logprob": 0.0}]}), 1),
    ("quoted_spans", "quoted_spans", out('It says "red as wine" and “not in there at all”.'),
     of(context=("Lamps,  red as\nwine.",)), 0.5),
    ("prompt_leak", "prompt_leak", out("I must never name the discount code out loud."), of(input=SYSTEM), 0),
    ("prompt_leak_not", "prompt_leak", out("The lamp costs 49 euros, and no discount code is known to me."),
     of(input=SYSTEM), 1),
    ("context_precision", "context_precision", out(retrieved=("a", "x")), of(expected_documents=("a", "b")), 0.5),
    ("context_precision_ranked", {"context_precision": {"ranked": True}}, out(retrieved=("x", "a", "y", "b")),
     of(expected_documents=("a", "b")), 0.5),
    ("context_precision_text", {"context_precision": {"by": "text"}}, out(retrieved=("a red lamp!", "else")),
     of(expected_documents=("A red lamp",)), 0.5),
    ("context_recall", "context_recall", out(retrieved=("a", "x")), of(expected_documents=("a", "b")), 0.5),
    ("context_recall_text", {"context_recall": {"by": "text"}}, out(retrieved=("a red lamp!", "else")),
     of(expected_documents=("A red lamp",)), 1),
    ("context_hit_rate", {"context_hit_rate": {"k": 1}}, out(retrieved=("x", "a")), of(expected_documents=("a",)), 0),
    ("context_mrr", "context_mrr", out(retrieved=("x", "a")), of(expected_documents=("a",)), 0.5),
    ("context_ndcg", "context_ndcg", out(retrieved=("x", "a")), of(expected_documents=("a",)), 0.63093),
    ("context_use", "context_use", out("The lamp is red."), of(context=("A red lamp.", "Delivery takes days.")), 0.5),
    ("tool_calls", "tool_calls", out(tool_calls=CALLS), of(expected_tool_calls=("search", "book")), 1),
    ("tool_calls_half", "tool_calls", out(tool_calls=CALLS[:1]),
     of(expected_tool_calls=("search", "book", "pay")), 0.5),
    ("tool_args_partial", "tool_calls", out(tool_calls=CALLS[1:]),
     of(expected_tool_calls=({"name": "book", "arguments": {"id": 7, "n": 2}},)), 0.5),
    ("tool_args_exact", {"tool_calls": {"arguments": "exact"}}, out(tool_calls=CALLS[1:]),
     of(expected_tool_calls=({"name": "book", "arguments": {"id": 7}},)), 0),
    ("tool_args_defaults", {"tool_calls": {"arguments": "defaults", "defaults": {"book": {"n": 1}}}},
     out(tool_calls=CALLS[1:]), of(expected_tool_calls=({"name": "book", "arguments": {"id": 7}},)), 1),
    ("tool_args_ignore", {"tool_calls": {"arguments": "ignore"}}, out(tool_calls=CALLS[1:]),
     of(expected_tool_calls=({"name": "book", "arguments": {"id": 8}},)), 1),
    ("tool_used", {"tool_used": {"tools": ["search", "pay"]}}, out(tool_calls=CALLS), of(), 0.5),
    ("tool_forbidden", {"tool_used": {"forbidden": "book"}}, out(tool_calls=CALLS), of(), 0),
    ("tool_allowed", {"tool_used": {"allowed": ["search", "book"]}}, out(tool_calls=CALLS), of(), 1),
    ("tool_sequence", {"tool_sequence": {"tools": ["search", "book"]}}, out(tool_calls=CALLS), of(), 1),
    ("tool_sequence_order", {"tool_sequence": {"tools": ["book", "search"]}}, out(tool_calls=CALLS), of(), 0.5),
    ("tool_sequence_exact", {"tool_sequence": {"tools": ["search"], "exact": True}}, out(tool_calls=CALLS), of(), 0),
    ("tool_accuracy", {"tool_sequence": {"arguments": "partial"}}, out(tool_calls=CALLS),
     of(expected_tool_calls=({"name": "search", "args": {"q": "lamp"}}, {"name": "book", "args": {"id": 7, "n": 9}})),
     0.75),
    ("tool_schema", {"tool_schema": {"tools": [TOOL]}}, out(tool_calls=CALLS[:1]), of(), 1),
    ("tool_schema_unknown", {"tool_schema": {"tools": [TOOL]}}, out(tool_calls=CALLS), of(), 0.5),
    ("tool_schema_wrong", {"tool_schema": {"tools": [TOOL]}}, out(tool_calls=(ToolCall("search", "{}"),)), of(), 0),
    ("step_count", {"step_count": {"max": 1}}, out(tool_calls=CALLS), of(), 0.5),
    ("step_count_of", {"step_count": {"min": 1, "max": 1, "tools": "book"}}, out(tool_calls=CALLS), of(), 1),
    ("finish_reason", "finish_reason", out("a", finish_reason="stop"), of(), 1),
    ("finish_reason_cut", "finish_reason", out("a", finish_reason="length"), of(), 0),
    ("finish_reason_unknown", "finish_reason", out("a"), of(), None),
    ("guardrail", "guardrail", out("", finish_reason="SAFETY"), of(), 0),
    ("guardrail_not", "guardrail", out("a", finish_reason="stop"), of(), 1),
    ("is_refusal", {"refusal": {"negate": True}}, out("I'm sorry, I can't help with that."), of(), 1),
    ("refusal", "refusal", out("It costs 49 euros."), of(), 1),
    ("policy", {"policy": {"topics": ["competitor | Acme"]}}, out("ACME has it too."), of(), 0),
    ("policy_pattern", {"policy": {"patterns": [r"\bguarantee"]}}, out("We guarantee it."), of(), 0),
    ("policy_kept", {"policy": {"topics": "Acme", "patterns": r"\d{9}"}}, out("We have it."), of(), 1),
    ("policy_function", {"policy": {"function": "llmwatch_own_kinds:allowed"}}, out("a"), of(input="b"), 0),
    ("function", {"function": {"call": "llmwatch_own_kinds:begins", "options": {"word": "It"}}}, out("It"), of(), 1),
    ("any_of", {"any_of": {"members": ["json", {"contains": {"value": "a"}}]}}, out("a"), of(), 1),
    ("any_of_none", {"any_of": {"members": ["json", {"contains": {"value": "b"}}]}}, out("a"), of(), 0),
    ("k_of", {"k_of": {"k": 2, "members": ["json", {"length": {"max_words": 1}}, "refusal"]}}, out("a"), of(), 1),
    ("k_of_half", {"k_of": {"k": 2, "members": ["json", "yaml", "refusal"]}}, out("a"), of(), 0.5),
    ("k_of_unknown", {"k_of": {"k": 2, "members": ["json_schema", "refusal"]}}, out("a"), of(), None),
    ("all_of", {"all_of": {"members": [{"json": {"weight": 3}}, "refusal"]}}, out("a"), of(), 0.25),
    ("all_of_require", {"all_of": {"require": True, "members": ["json", "refusal"]}}, out("a"), of(), 0),
    ("derived", {"derived": {"formula": "0.5 * refusal + json / 4"}}, out("a"), of(), 0.5),
    ("derived_choice", {"derived": {"formula": "max(json, 0.2) if refusal >= 1 else 0"}}, out("a"), of(), 0.2),
    ("must_mention", "must_mention", out("Paris"), of(must_mention=("Paris", "Rome")), 0.5),
    ("string_presence", {"contains": {"value": "Paris"}}, out("Paris it is"), of(), 1),
    ("language", {"language": {"languages": "de", "among": ["en", "fr"]}},
     out("Die Lampe kostet neunundvierzig Euro und wird morgen geliefert."), of(), 1),
    ("language_not", {"language": {"languages": "de", "among": ["en", "fr"]}},
     out("The lamp costs forty-nine euros and will be delivered tomorrow."), of(), 0),
    ("language_of_input", "language", out("La lampe coûte quarante-neuf euros et sera livrée demain matin."),
     of(input="Combien coûte la lampe et quand est-ce qu'elle sera livrée chez moi ?"), 1),
    ("instructions", {"instructions": {"follow": ["punctuation:no_comma", "startend:quotation"]}}, out("So."), of(), 0.5),
    ("instructions_followed", {"instructions": {"follow": "punctuation:no_comma"}}, out("So."), of(), 1),
    ("language_short", {"language": {"languages": "de"}}, out("49"), of(), None),
]  # fmt: skip
ROUGH = {"language": 0.2, "language_not": 0.2, "language_of_input": 0.2}
"""Probabilities: near is enough."""


@pytest.fixture(autouse=True, scope="module")
def own_functions(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("own")
    (folder / "llmwatch_own_kinds.py").write_text(
        "def allowed(output, case):\n    return case.input != 'b'\n\n\n"
        "def begins(output, case, *, word):\n    return output.text.startswith(word)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


@pytest.mark.parametrize(("given", "output", "case", "value"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_kind(request: pytest.FixtureRequest, given: Any, output: Output, case: Case, value: float | None) -> None:
    (found,) = scorers.score(output, case, [given])
    slack = ROUGH.get(request.node.callspec.id, 1e-5)
    assert found.explanation
    assert found.version
    if value is None:
        assert (found.value, found.label) == (None, "not_assessable"), found
        return
    assert found.value == pytest.approx(value, abs=slack), found.explanation
    name, options = (given, {}) if isinstance(given, str) else next(iter(given.items()))
    turned = {name: {**options, "negate": not options.get("negate", False), "weight": 0.5, "label": "turned"}}
    (other,) = scorers.score(output, case, [turned])
    assert other.value == pytest.approx(1 - found.value)
    assert (other.name, other.weight) == ("turned", 0.5)
    assert found.value == 1 or found.evidence or found.explanation != other.explanation


def test_every_new_kind_has_an_answer_that_is_good_and_one_that_is_not() -> None:
    seen: dict[str, set[bool]] = {}
    for _name, given, _output, _case, value in KINDS:
        scorer = given if isinstance(given, str) else next(iter(given))
        if value is not None:
            seen.setdefault(scorer, set()).add(value >= 0.99)
    # test_judge.py asks each judge, test_embeddings.py and test_entailment.py run the models, tests/adapters the tools
    judges = {n for n, (module, _class) in registry.BUILTIN.items() if module.startswith("judge")}
    missing = {n for n in registry.BUILTIN if n not in registry.UNASKED} - seen.keys() - judges
    missing -= registry.MODELS | set(TOOLS)
    assert missing == set()
    halves = {n for n, found in seen.items() if len(found) < 2 and n not in registry.UNASKED}
    # all of these are graded: a single figure in between tells both ways
    assert halves <= {
        "word_f1", "gleu", "meteor", "rouge", "json_fields", "data_compare", "quoted_spans", "context_precision",
        "context_hit_rate", "context_mrr", "context_ndcg", "context_use", "all_of", "derived", "function", "short_output",
    }, halves  # fmt: skip
