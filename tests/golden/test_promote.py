"""Calls that become cases: valid, redacted, unique, each question once, and the file otherwise as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch import cli, golden_promote
from pytest_llmwatch.errors import GoldenError
from pytest_llmwatch.golden import load_set
from pytest_llmwatch.golden_files import read_yaml
from pytest_llmwatch.model import Call

SET = """\
# what the assistant must know
api: chat
prompt: "{{ context }} {{ input }}"  # the template
scorers: [relevance]
"""
INLINE = """\
cases:  # checked by Ann
  # the first one
  - id: one
    input: |
      How long does
      a refund take?
    tags: [refund]   # kept
  - id: two
    input: "Which islands?"

# the end of the cases
repeats: 2  # twice
"""
KEY = "sk-proj-Zx81kQpLm20vBn47TyWs93HdRf65JgUa"
RECORDS = [
    {"id": "a", "input": "Is shipping free?", "output": "Yes.", "scores": {"groundedness": 0.1, "relevance": 0.9}},
    {
        "id": "b",
        "input": "Is  shipping FREE?",
        "output": "Yes!",
        "scores": {"groundedness": 0.2, "relevance": 0.9},
    },
    {
        "id": "c",
        "input": f"My key is {KEY}, why?",
        "output": "?",
        "scores": {"groundedness": 0.3, "relevance": 0.2},
    },
    {"id": "d", "input": "How long does a refund take?", "output": "Long", "scores": {"groundedness": 0.0}},
    {"id": "e", "input": "Which day?", "output": "Any", "scores": {"groundedness": 0.9}, "context": ["Mondays."]},
    {"id": "f", "input": "Down?", "status": "timeout", "scores": {"groundedness": 0.0}},
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "golden_sets" / "qa"
    folder.mkdir(parents=True)
    (folder / "set.yaml").write_text(SET)
    (folder / "cases.jsonl").write_text(
        '{"id": "one", "input": "How long does a refund take?"}\n\n{"id": "two", "input": "x"}'
    )
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS))
    return tmp_path


def run(*args: str) -> int:
    return cli.main(["golden", "add", *args])


def test_the_worst_become_cases_once_redacted_and_valid(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / "golden_sets/qa/cases.jsonl").read_text()
    assert run("log.jsonl", "--worst", "3", "--metric", "groundedness", "--tag", "from-production") == 0
    text = (project / "golden_sets/qa/cases.jsonl").read_text()
    assert text.startswith(before + "\n")
    golden = load_set(project / "golden_sets/qa")
    added = golden.cases[2:]
    assert [c.input_text() for c in added][0::2] == ["Is shipping free?", "Which day?"]
    assert added[2].context == ("Mondays.",)
    assert KEY not in text
    assert all("from-production" in c.tags for c in added)
    assert added[0].metadata["promoted"]["why"] == "groundedness 0.1"
    out = capsys.readouterr().out
    assert "added 3 cases" in out
    assert "asks what case one asks already" in out  # d; and b asks what a asks
    assert "redacted something in 1 case" in out
    assert "must_mention" in out

    # nothing new is left, and a second time changes nothing
    assert run("log.jsonl", "--worst", "9") == 0
    assert (project / "golden_sets/qa/cases.jsonl").read_text() == text


def test_a_call_is_named_by_the_beginning_of_its_id(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.jsonl", "e", "--id", "which-day", "--dry-run") == 0
    assert len(load_set(project / "golden_sets/qa").cases) == 2
    assert '"id": "which-day"' in capsys.readouterr().out
    assert run("log.jsonl", "e", "--id", "which-day") == 0
    assert load_set(project / "golden_sets/qa").case("which-day").input == "Which day?"
    assert run("log.jsonl", "a", "--id", "which-day") == 4
    assert "[llmwatch:golden-duplicate-id]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ("log.jsonl",),
        ("log.jsonl", "a", "--worst", "1"),
        ("log.jsonl", "--worst", "0"),
        ("log.jsonl", "nobody"),
        ("log.jsonl", "a", "b", "--id", "x"),
        ("log.jsonl", "--worst", "1", "--metric", "never_scored"),
    ],
)
def test_what_cannot_be_added_is_one_line_and_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    before = (project / "golden_sets/qa/cases.jsonl").read_bytes()
    assert run(*args) == 4
    error = capsys.readouterr().err
    assert "[llmwatch:golden-add]" in error
    assert error.count("\n") == 1
    assert (project / "golden_sets/qa/cases.jsonl").read_bytes() == before


def test_a_list_in_set_yaml_keeps_its_comments(project: Path) -> None:
    file = project / "golden_sets/qa/set.yaml"
    file.write_text(SET + INLINE)
    assert run("log.jsonl", "--worst", "2") == 0
    text = file.read_text()
    kept = [line for line in text.splitlines() if not line.startswith('  - {"id"')]
    assert kept == (SET + INLINE).splitlines()
    golden = load_set(file)
    assert [c.id for c in golden.cases][:2] == ["one", "two"]
    assert len(golden.cases) == 4
    assert golden.repeats == 2
    assert text.index('- {"id"') < text.index("# the end of the cases")


def test_a_list_in_flow_style_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "golden_sets/qa/set.yaml"
    file.write_text(SET + 'cases: [{id: one, input: "x"}]\n')
    assert run("log.jsonl", "a") == 4
    assert "set.yaml:5:" in capsys.readouterr().err


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_text_can_be_added_to_yaml_and_to_lines(question: str, document: str) -> None:
    case = {"id": "new", "input": question, "context": [document]}
    try:
        text = golden_promote.appended_yaml(SET + INLINE, [case], "set.yaml")
    except GoldenError as error:
        pytest.fail(str(error))
    assert read_yaml(text, "set.yaml").value["cases"][-1] == case
    lines = golden_promote.appended_lines('{"id": "a", "input": "b"}', [case], "cases.jsonl")
    assert json.loads(lines.split("\n")[-2]) == case


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("How long?", "How long?"),
        ("system: Be brief.\n\nuser: How long?", "How long?"),
        ("user: Hi\n\nassistant: Hello\n\nuser: How\nlong?", "How\nlong?"),
        ("the user: nobody", "the user: nobody"),
    ],
)
def test_the_question_is_what_the_user_said_last(prompt: str, question: str) -> None:
    assert golden_promote.asked(prompt) == question


def test_a_set_of_conversations_gets_the_whole_conversation() -> None:
    call = Call("c", input="system: Be brief.\n\nuser: Hi\n\nassistant: Hello\n\nuser: How long?\n\nassistant: 5")
    case = golden_promote.case_of(golden_promote.Source(call, None, "r"), messages=True)
    assert [m["role"] for m in case["input"]] == ["system", "user", "assistant", "user"]
    assert "reference" not in case
