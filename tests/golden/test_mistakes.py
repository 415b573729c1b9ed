"""Mistakes in a golden set: each is one clean line with file, line, and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmwatch.errors import GoldenError
from pytest_llmwatch.golden import load_set
from pytest_llmwatch.model import ScorerSpec

SET = 'prompt: "{{ input }}"\n'
CASE = '{"id": "a", "input": "x"}\n'


def write(folder: Path, text: str | bytes = SET, cases: str | bytes | None = CASE) -> Path:
    for name, content in (("set.yaml", text), ("cases.jsonl", cases)):
        if content is not None:
            data = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(data)
    return folder


def assert_refused(folder: Path, slug: str, where: str, text: str) -> None:
    with pytest.raises(GoldenError) as caught:
        load_set(folder, display="sets/a/set.yaml")
    message = str(caught.value)
    assert caught.value.slug == slug, message
    assert message.startswith(f"sets/a/{where}: "), message
    assert text in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "slug", "line", "says"),
    [
        (SET + "promt_version: 1\n", "golden-unknown-key", 2, "did you mean 'prompt_version'?"),
        (SET + "colour: red\n", "golden-unknown-key", 2, "known: api, cases"),
        (SET + "\n# why\nrepeats: 0\n", "golden-value", 4, "repeats must be at least 1 (got 0)"),
        (SET + "repeats: two\n", "golden-value", 2, 'repeats must be a whole number (got "two")'),
        (SET + "api: completions\n", "golden-value", 2, "api must be one of responses, chat"),
        (SET + "stream: 'yes'\n", "golden-value", 2, "stream must be true or false"),
        (SET + "model: 4\n", "golden-value", 2, "model must be text (got 4); put it in quotes"),
        (SET + "weights:\n  json: -1\n", "golden-value", 3, "weights.json must be at least 0"),
        (SET + "target: nowhere\n", "golden-value", 2, "module:function"),
        (SET + "target: a.b:c\n", "golden-prompt", 2, "both `prompt` and `target`"),
        ("description: x\n", "golden-prompt", 1, "neither `prompt` nor `target`"),
        (SET + "prompt: y\n", "golden-duplicate-key", 2, "first in line 1"),
        (SET + "a: [1\nb: 2\n", "golden-yaml", 3, "not valid YAML"),
        (SET + "a: &x [*x]\n", "golden-yaml", 2, "contains itself"),
        (SET + "? [a]\n: b\n", "golden-yaml", 2, "a key must be text"),
        (SET + "a: !!python/name:os.system x\n", "golden-yaml", 2, "could not determine a constructor"),
        ("- a\n", "golden-value", 1, "must be a mapping"),
        (SET + "schema: {type: strin}\n", "golden-schema", 2, "not a valid JSON Schema"),
        (SET + "schema: none.json\n", "golden-file", 2, "'none.json' does not exist"),
        (SET + "system: {file: ../x.md}\n", "golden-file", 2, "outside the set's folder"),
        (SET + "system: {fil: x.md}\n", "golden-unknown-key", 2, "unknown key 'fil' in system"),
        (SET + "seed: 1\nparameters: {seed: 2}\n", "golden-value", 2, "`seed` twice"),
        (SET + "parameters:\n  max_tokens: 5\n", "golden-value", 3, "write max_output_tokens"),
        (SET + "api: chat\nparameters: {max_output_tokens: 5}\n", "golden-value", 3, "write max_tokens"),
        ("prompt: '{{ imput }}'\n", "golden-template", 1, "did you mean 'input'?"),
        ("prompt: '{{ a b }}'\n", "golden-template", 1, "is not a variable"),
        (SET + "variants:\n  x:\n    prompt: '{{ y }}'\n", "golden-template", 4, "{{ y }} has no value"),
        (SET + "variants:\n  x: {promt: y}\n", "golden-unknown-key", 3, "did you mean 'prompt'?"),
        (SET + "variants: {a b: {}}\n", "golden-value", 2, "does not match"),
        (SET + "cases: []\n", "golden-empty", None, "has no cases"),
        (SET + "cases:\n- id: a\n  input: x\n- id: a\n  input: y\n", "golden-duplicate-id", 5, "first in line 3"),
        (SET + "cases:\n- id: a\n  inptu: x\n", "golden-unknown-key", 4, "did you mean 'input'?"),
        (SET + "cases:\n- id: 7\n  input: x\n", "golden-value", 3, "id must be text (got 7); put it in quotes"),
        (SET + "scorers: [{}]\n", "golden-scorer", 2, "scorers[0] must be a name"),
        (SET + "scorers:\n- json\n- json\n", "golden-scorer", 4, "'json' is there twice"),
        (SET + "scorers:\n- json\n- length:\n    threshold: 3\n", "golden-value", 4, "must be at most 1"),
        (SET + "scorers:\n- {name: json, required: 1}\n", "golden-value", 3, "required must be true or false"),
    ],
)  # fmt: skip
def test_a_mistake_in_set_yaml(tmp_path: Path, text: str, slug: str, line: int | None, says: str) -> None:
    where = "set.yaml" if line is None else f"set.yaml:{line}"
    assert_refused(write(tmp_path, text), slug, where, says)


@pytest.mark.parametrize(
    ("cases", "slug", "where", "says"),
    [
        (CASE + '{"id": "b"}\n', "golden-value", ":2", "no 'input', which is required"),
        (CASE + "{bad\n", "golden-json", ":2", "not valid JSON"),
        (CASE + "\n[]\n", "golden-value", ":3", "must be a JSON object on one line"),
        (CASE + '{"id": "b", "input": "x", "id": "c"}\n', "golden-duplicate-key", ":2", "'id' is given twice"),
        (CASE + CASE, "golden-duplicate-id", ":2", "first in line 1"),
        (CASE + '{"id": "b", "input": "x", "weight": NaN}\n', "golden-json", ":2", "NaN is not a number"),
        (CASE + '{"id": "b", "input": "x", "weight": 0}\n', "golden-value", ":2", "weight must be greater than 0"),
        (CASE + '{"id": "b", "input": "x", "must_mention": "y"}\n', "golden-value", ":2", "must be a list"),
        (CASE + '{"id": "b", "input": "x", "must_mentoin": []}\n', "golden-unknown-key", ":2", "'must_mention'"),
        (CASE + '{"id": "b", "input": "x", "context": [{"file": "d.md"}]}\n', "golden-file", ":2", "'d.md'"),
        (CASE + '{"id": "b", "input": "x", "context": [3]}\n', "golden-value", ":2", "context[0] must be text"),
        (CASE + '{"id": "b", "input": "x", "schema": {"type": 1}}\n', "golden-schema", ":2", "JSON Schema"),
        (CASE + '{"id": "b", "input": []}\n', "golden-value", ":2", "empty list"),
        (CASE + '{"id": "b", "input": [{"content": "x"}]}\n', "golden-value", ":2", "input[0]"),
        (CASE + '{"id": "b", "input": "x", "expected_tool_calls": [{}]}\n', "golden-value", ":2", "'name'"),
        ("\n", "golden-empty", "", "has no cases"),
        (CASE.encode() + b'{"id": "\xff"}\n', "golden-encoding", ":2", "not UTF-8 (byte 0xff)"),
        (None, "golden-cases", "", "write the cases there, or as `cases:` in sets/a/set.yaml"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_cases(
    tmp_path: Path, cases: str | bytes | None, slug: str, where: str, says: str
) -> None:
    assert_refused(write(tmp_path, SET, cases), slug, f"cases.jsonl{where}", says)


def test_no_set(tmp_path: Path) -> None:
    assert_refused(tmp_path, "golden-missing", "set.yaml", "no such file")
    assert_refused(write(tmp_path, b"prompt: \xe9\n"), "golden-encoding", "set.yaml:1", "save the file as UTF-8")
    assert_refused(write(tmp_path, "# nothing\n"), "golden-value", "set.yaml", "is empty")


def test_scorers_are_checked_by_whoever_knows_them(tmp_path: Path) -> None:
    seen = []

    def validate(spec: ScorerSpec) -> None:
        seen.append(spec.name)
        if spec.name == "jsn":
            raise ValueError("unknown scorer; did you mean 'json'?")

    folder = write(tmp_path, SET + "scorers:\n- json\n- jsn\n")
    with pytest.raises(GoldenError, match=r":4: scorers\[1\] 'jsn': unknown scorer; did you mean 'json'\?"):
        load_set(folder, validate_scorer=validate)
    assert seen == ["json", "jsn"]
    write(tmp_path, SET + "scorers: [json]\n")
    assert load_set(folder, validate_scorer=validate).scorers[0].name == "json"


def test_unknown_variant_and_case(tmp_path: Path) -> None:
    loaded = load_set(write(tmp_path, SET + "variants: {careless: {prompt: x}}\n"))
    with pytest.raises(GoldenError, match="did you mean 'careless'"):
        loaded.variant("carelss")
    with pytest.raises(GoldenError, match="no case 'b'"):
        loaded.case("b")


def test_a_right_set_is_not_refused(tmp_path: Path) -> None:
    assert len(load_set(write(tmp_path)).cases) == 1
