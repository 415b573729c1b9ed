"""What an attacker would send: bombs, endless patterns, ten megabytes; and libraries that are not there."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, ScorerSpec
from pytest_llmwatch.scorers import registry
from pytest_llmwatch.scorers.derived import Formula

LAUGHS = """<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><l>&c;</l>"""
FILE = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>'
YAML_LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
)


def one(spec: Any, text: str, **known: Any) -> Any:
    return scorers.score(Output(text), Case("c", **known), [spec])[0]


@pytest.mark.parametrize("text", [LAUGHS, FILE])
def test_no_entity_is_expanded(text: str) -> None:
    found = one("xml", text)
    assert found.value == 0
    assert "document type declaration" in found.explanation
    assert "root:" not in str(found)


def test_yaml_that_multiplies_and_yaml_that_makes_objects_are_refused() -> None:
    assert "aliases" in one("yaml", YAML_LAUGHS).explanation
    assert one("yaml", "a: !!python/object/apply:os.system [echo]").value == 0
    assert one("yaml", "a: &x [1]\nb: *x").value == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("json", "[" * 1_000_000),
        ("json_diff", '{"a":' * 300 + "1" + "}" * 300),
        ("yaml", "[" * 100_000),
        ("xml", "<a>" * 100_000),
        ("html", "<div>" * 19_000),
        ("python_code", "(" * 100_000),
        ("sql", "SELECT " + "(" * 40_000),
        ("markdown", ">" * 90_000),
    ],
)
def test_what_is_nested_too_deeply_is_refused_and_no_crash(name: str, text: str) -> None:
    found = one(name, text, reference='{"a": 1}')
    assert found.label in (None, "not_assessable")
    assert found.value in (None, 0) or name == "markdown"


@pytest.mark.parametrize(
    "spec",
    [
        ScorerSpec("regex", {"pattern": "(a|aa)+$", "timeout": 0.1}),
        ScorerSpec("policy", {"patterns": "(a|aa)+$", "timeout": 0.1}),
    ],
)
def test_a_catastrophic_pattern_of_the_user_is_stopped_and_is_an_error(spec: ScorerSpec) -> None:
    found = one(spec, "a" * 100_000 + "b")
    assert (found.value, found.label) == (None, "error")
    assert "longer than 0.1 s" in found.explanation


@pytest.mark.parametrize("name", [n for n in registry.BUILTIN if n not in registry.UNASKED | registry.MODELS])
def test_ten_megabytes_are_scored_or_refused(name: str) -> None:
    text = "The lamp costs 49 euros. " * 400_000
    known = {
        "language": {"languages": "en"},
        "policy": {"topics": "lamps", "patterns": "x$"},
        "prompt_leak": {"prompt": "a b c d e f g h i"},
        "any_of": {"members": ["json"]},
        "k_of": {"members": ["json"]},
        "all_of": {"members": ["word_f1"]},
        "derived": {"formula": "word_f1"},
    }
    found = one(
        ScorerSpec(name, known.get(name, {})), text, reference="The lamp costs 49 euros.", context=("a b",)
    )
    asks = registry.BUILTIN[name][0].startswith("judge")  # and there is nobody to ask
    assert found.label in (None, "not_assessable", *(["unscored"] if asks else [])), found
    assert found.value is None or 0 <= found.value <= 1


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "().__class__",
        "relevance.__class__",
        "9**9**9",
        "'a' * 9",
        "[x for x in y]",
        "lambda: 1",
        "relevance[0]",
        "f'{relevance}'",
        "min",
        "min()",
        "open('x')",
        "a if",
        "1 +",
        "min(*a)",
        "x := 1",
        "relevance & 1",
        "+".join("1" * 600),
        "-" * 990 + "1",
        "clip(json, 0, 1)",
    ],
)
def test_a_formula_holds_nothing_else(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        scorers.get("derived", {"formula": text})
    assert caught.value.slug == "scorer-option"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + b * 2", 0.9),
        ("-a + 1", 0.5),
        ("mean(a, b, 1)", 1.7 / 3),
        ("a < b < 1", 0),
        ("a >= .5 and not b", 0),
        ("b or a", 1),
        ("clip(5)", 1),
        ("sqrt(.25)", 0.5),
        ("a if a == .5 else 0", 0.5),
        ("abs(a - 1)", 0.5),
    ],
)
def test_formulas(text: str, value: float) -> None:
    assert Formula(text).value({"a": 0.5, "b": 0.2}) == pytest.approx(value)


@pytest.mark.parametrize(
    ("formula", "says"),
    [("refusal / 0", "ZeroDivisionError"), ("refusal + 1", "use clip"), ("nothing + 1", "is no score here")],
)
def test_a_formula_that_fails_is_an_error_and_never_a_value(formula: str, says: str) -> None:
    found = one({"derived": {"formula": formula}}, "a")
    assert (found.value, found.label) == (None, "error")
    assert says in found.explanation


def test_a_formula_sees_labels_negation_and_other_formulas_and_the_composite_sees_it() -> None:
    specs = [
        {"derived": {"formula": "half + no", "label": "both"}},
        {"contains": {"all": ["a", "x"], "label": "half"}},
        {"json": {"negate": True, "label": "no", "weight": 0}},
        {"derived": {"formula": "clip(half)", "label": "last"}},
        "composite",
    ]
    found = scorers.score(Output("a"), Case("c"), specs, weights={"last": 1.0})
    assert [s.name for s in found] == ["half", "no", "both", "last", "composite"]
    assert [s.label for s in found][:2] == [None, None]
    assert found[2].label == "error"  # 1.5 is no score
    assert found[3].value == found[4].value == 0.5


@pytest.mark.parametrize("name", ["levenshtein", "rouge", "bleu", "chrf", "xml", "markdown", "sql", "language"])
def test_without_its_library_one_line_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_llmwatch.scorers import language
    from pytest_llmwatch.scorers.extras import EXTRAS

    for module in EXTRAS:
        monkeypatch.setitem(sys.modules, module, None)
    registry._cached.cache_clear()
    language._identifier.cache_clear()
    with pytest.raises(UsageError) as caught:
        scorers.validate(ScorerSpec(name))
    assert caught.value.slug == "scorer-extra"
    assert "pip install 'pytest-llmwatch[" in caught.value.one_line()
    assert scorers.get("word_f1").name == "word_f1"


def test_the_extras_are_those_of_the_project(project_root: Any) -> None:
    import tomllib

    from pytest_llmwatch.scorers.extras import EXTRAS

    declared = tomllib.loads((project_root / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    for module, extra in EXTRAS.items():
        package = module.partition(".")[0].replace("_", "-")
        assert any(line.startswith(package) for line in declared[extra] if package != "markdown-it") or any(
            line.startswith("markdown-it-py") for line in declared[extra]
        )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ScorerSpec("k_of", {"members": ["json"], "k": 2}), "k must be from 1 to the number of members, 1"),
        (ScorerSpec("k_of", {"members": "json"}), "members must be a list"),
        (ScorerSpec("any_of", {"members": ["jsn"]}), "did you mean 'json'?"),
        (ScorerSpec("any_of", {"members": ["composite"]}), "cannot be a member"),
        (ScorerSpec("any_of", {"members": [{"json": {"threshold": "high"}}]}), "threshold must be a number"),
        (ScorerSpec("all_of", {"members": [7]}), "a scorer must be a name"),
        (ScorerSpec("function", {"call": "nowhere.at.all:f"}), "cannot import"),
        (ScorerSpec("function", {"call": "json"}), "module:function"),
        (ScorerSpec("function", {"call": "json:nothing"}), "has no 'nothing'"),
        (ScorerSpec("policy", {"patterns": "("}), "not a regular expression"),
        (ScorerSpec("language", {"languages": "english"}), "is no language that is known"),
        (ScorerSpec("sql", {"dialect": "klingon"}), "dialect is not known"),
        (ScorerSpec("sql", {"statements": "truncate all"}), "statements knows select"),
        (ScorerSpec("markdown", {"has": "tables"}), "has and has_not know"),
        (ScorerSpec("rouge", {"n": "X"}), "n must be 1 to 9, or L"),
        (ScorerSpec("csv", {"delimiter": "::"}), "one character"),
        (ScorerSpec("numeric", {"tolerance": -1}), "must be >= 0"),
        (ScorerSpec("yaml", {"schema": {"type": 7}}), "not a JSON Schema"),
        (ScorerSpec("tool_schema", {"tools": [{"parameters": {}}]}), "`name`"),
        (ScorerSpec("tool_calls", {"defaults": [1]}), "defaults must map"),
        (ScorerSpec("context_recall", {"k": 0}), "at least 1"),
        (ScorerSpec("levenshtein", {"method": "jaro", "max_distance": 1}), "counts edits"),
        (ScorerSpec("step_count", {"min": 2, "max": 1}), "min must be at most max"),
        (ScorerSpec("perplexity", {"max": 0.5}), "at least 1"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(spec: ScorerSpec, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        scorers.validate(spec)
    assert says in caught.value.one_line()
    assert "\n" not in str(caught.value)


def test_a_negated_consistency_is_filled_negated() -> None:
    from pytest_llmwatch.model import CaseResult

    results = []
    for repeat in range(2):
        waiting = scorers.score(Output("same"), Case("c"), [{"consistency": {"negate": True}}])
        results.append(CaseResult("n", case="c", repeat=repeat, output="same", scores=waiting))
    assert [r.scores[0].value for r in scorers.over_repeats(results)] == [0.0, 0.0]
