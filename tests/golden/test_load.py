"""Golden sets that are right: what they become, and the requests their cases make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.golden import GoldenSet, cassette_path, load_set, messages, parameters, safe_name
from pytest_llmwatch.model import Case, ScorerSpec

FULL = """\
name: shop
description: Questions.
licence: CC0-1.0
api: chat
model: m
feature: support
team: care
prompt_name: answer
prompt_version: 3
system: {file: system.md}
prompt: |-
  {{ context }}
  Q: {{ input }} for {{ who }}
parameters: {temperature: 0.7}
seed: 5
repeats: 3
structured: true
schema: schemas/answer.json
tags: [smoke]
weights: {json: 0.5}
scorers:
  - json
  - length: {max_words: 30}
    threshold: 0.5
  - name: regex
    pattern: "[0-9]+"
    required: true
    negate: true
    label: no_digits
    weight: 2
  - must_mention:
variants:
  careless:
    system: ""
    prompt: "Say something: {{ input }}"
    prompt_version: bad
    parameters: {temperature: 1.5}
  terse: {}
"""
CASES: list[dict[str, Any]] = [
    {
        "id": "one",
        "input": "Why?",
        "context": [{"file": "docs/a.md"}, "Second."],
        "metadata": {"who": "Ann"},
        "tags": ["hard", "smoke"],
        "weight": 2,
        "cluster": "a",
        "reference": "Because.",
        "must_mention": ["because"],
        "expected_documents": ["a"],
        "expected_tool_calls": ["lookup", {"name": "f", "arguments": {"x": 1}}],
        "format": "json",
    },
    {"id": "two", "input": {"input": "How?", "who": "Bob"}, "schema": {"type": "object"}},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "system.md", "Be brief.\n")
    put(tmp_path / "docs" / "a.md", "First.\n")
    put(tmp_path / "schemas" / "answer.json", '{"title": "An answer", "type": "string"}')
    put(tmp_path / "set.yaml", FULL)
    put(tmp_path / "cases.jsonl", "\n".join(json.dumps(case) for case in CASES) + "\n")
    return tmp_path


def put(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def shop(folder: Path) -> GoldenSet:
    return load_set(folder)


def test_everything_in_set_yaml_arrives(shop: GoldenSet, folder: Path) -> None:
    assert (shop.name, shop.api, shop.model, shop.repeats, shop.seed) == ("shop", "chat", "m", 3, 5)
    assert shop.system == "Be brief."
    assert shop.prompt_version == "3", "a version is text, also where YAML reads a number"
    assert shop.labels == {"feature": "support", "team": "care", "prompt_version": "3", "prompt_name": "answer"}
    assert shop.scorers == (
        ScorerSpec("json", line=22),
        ScorerSpec("length", {"max_words": 30}, threshold=0.5, line=23),
        ScorerSpec("regex", {"pattern": "[0-9]+"}, 2, None, True, True, "no_digits", 25),
        ScorerSpec("must_mention", line=31),
    )
    assert load_set(folder / "set.yaml") == shop


def test_everything_in_a_case_arrives(shop: GoldenSet) -> None:
    assert shop.case("one") == Case(
        id="one",
        input="Why?",
        set="shop",
        reference="Because.",
        must_mention=("because",),
        context=("First.", "Second."),
        schema={"title": "An answer", "type": "string"},
        expected_tool_calls=("lookup", {"name": "f", "arguments": {"x": 1}}),
        expected_documents=("a",),
        format="json",
        tags=("smoke", "hard"),
        weight=2.0,
        cluster="a",
        metadata={"who": "Ann"},
        line=1,
    )
    assert shop.case("two").schema == {"type": "object"}, "a case's own schema wins"
    assert shop.case("two").line == 2


def test_messages_fill_the_template_in(shop: GoldenSet) -> None:
    assert messages(shop, shop.case("one")) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "[1] First.\n\n[2] Second.\nQ: Why? for Ann"},
    ]
    assert messages(shop, shop.case("two"))[1]["content"] == "\nQ: How? for Bob"


def test_filled_in_text_is_not_a_template_again(shop: GoldenSet) -> None:
    case = Case("x", "{{ who }} {{ context }}", context=("doc",), metadata={"who": "{{ input }}"})
    assert messages(shop, case)[1]["content"] == "doc\nQ: {{ who }} {{ context }} for {{ input }}"


def test_chat_messages_pass_through(tmp_path: Path) -> None:
    put(tmp_path / "set.yaml", "api: chat\nsystem: S\ncases:\n- id: a\n  input: [{role: user, content: hi}]\n"
        "- id: b\n  input: [{role: system, content: own}, {role: user, content: hi}]\n")  # fmt: skip
    chat = load_set(tmp_path)
    assert [m["content"] for m in messages(chat, chat.case("a"))] == ["S", "hi"]
    assert [m["content"] for m in messages(chat, chat.case("b"))] == ["own", "hi"]
    assert chat.case("b").line == 6


def test_parameters_seed_each_repeat_and_ask_for_the_schema(shop: GoldenSet) -> None:
    first, third = (parameters(shop, shop.case("one"), repeat) for repeat in (0, 2))
    assert (first["seed"], third["seed"]) == (5, 7)
    assert first["temperature"] == 0.7
    assert first["response_format"]["json_schema"] == {
        "name": "An_answer",
        "schema": {"title": "An answer", "type": "string"},
        "strict": True,
    }


def test_parameters_of_the_responses_api(folder: Path) -> None:
    put(folder / "set.yaml", FULL.replace("api: chat", "api: responses\nseed_per_repeat: false"))
    shop = load_set(folder)
    given = parameters(shop, shop.case("one"), 2)
    assert given["extra_body"] == {"seed": 5}
    assert given["text"]["format"]["type"] == "json_schema"
    assert "seed" not in given


def test_variants_replace_only_what_they_name(shop: GoldenSet) -> None:
    careless, terse = shop.variant("careless"), shop.variant("terse")
    assert messages(careless, shop.case("one")) == [{"role": "user", "content": "Say something: Why?"}]
    assert parameters(careless, shop.case("one"))["temperature"] == 1.5
    assert careless.labels["prompt_version"] == careless.prompt_version == "bad"
    assert (terse.prompt, terse.prompt_version) == (shop.prompt, "3-terse")
    assert shop.variant(None) is shop
    assert careless.cases == shop.cases


def test_cassette_paths_are_portable_and_never_shared(shop: GoldenSet) -> None:
    case = shop.case("one")
    assert cassette_path(shop, case) == shop.folder / "cassettes" / "one.yaml"
    assert cassette_path(shop.variant("careless"), case) == shop.folder / "cassettes" / "careless" / "one.yaml"
    ids = [
        "a",
        "A",
        "a/b",
        "a b",
        "a::b[c]",
        "con",
        "CON",
        "nul.txt",
        "ä",
        "é",
        "..",
        ".",
        "x" * 200,
        "y.",
        "日本",
    ]
    names = [safe_name(text) for text in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert all(len(name) <= 80 and name == name.lower() and not set(name) & set('/\\:[]*?"<>| ') for name in names)
    assert not {"con", "nul.txt", "..", "."} & set(names)
    assert safe_name("refund-2.b") == "refund-2.b", "an ordinary id is its own name"


def test_jsonl_line_separators_inside_text_are_no_line_ends(tmp_path: Path) -> None:
    put(tmp_path / "set.yaml", "prompt: '{{ input }}'\n")
    put(tmp_path / "cases.jsonl", '{"id": "a", "input": "x\u2028y"}\n\n{"id": "b", "input": "z"}\n')
    loaded = load_set(tmp_path)
    assert [(c.id, c.line) for c in loaded.cases] == [("a", 1), ("b", 3)]


def test_dates_and_yes_stay_usable(tmp_path: Path) -> None:
    put(tmp_path / "set.yaml", "prompt: '{{ input }}'\nvariants: {no: {prompt: x}}\nprompt_version: 2026-01-02\n"
        "cases: [{id: a, input: q, metadata: {due: 2026-01-02}}]\n")  # fmt: skip
    loaded = load_set(tmp_path)
    assert loaded.prompt_version == "2026-01-02"
    assert loaded.case("a").metadata == {"due": "2026-01-02"}
    assert list(loaded.variants) == ["no"]


REPOSITORY = Path(__file__).parents[2] / "golden_sets"


@pytest.mark.parametrize("name", ["extraction", "facts", "summaries", "support"])
def test_the_sets_of_this_repository(name: str) -> None:
    loaded = load_set(REPOSITORY / name)
    assert len(loaded.cases) >= 20
    assert loaded.licence == "CC0-1.0"
    assert (loaded.folder / "README.md").is_file()
    careless = loaded.variant("careless")
    for case in loaded.cases:
        assert case.cluster
        assert case.must_mention
        assert messages(loaded, case) != messages(careless, case)
        # what a right answer says is right by the case's own rules
        assert case.reference
        for word in case.must_not_mention:
            assert word.lower() not in case.reference.lower()
