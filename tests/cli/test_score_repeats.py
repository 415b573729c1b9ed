"""``llmwatch score`` over repeats of a case, and over the calls of judges in a run's own file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main
from pytest_llmwatch.pipeline_score_repeats import MOST, together

Score = Callable[..., tuple[list[Any], list[Any], str]]


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Score:
    """Score rows; returns (value, label) of consistency by line, the ids, and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(rows: list[dict[str, Any]], *args: str) -> tuple[list[Any], list[Any], str]:
        with gzip.open("calls.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        assert main(["score", "calls.jsonl.gz", *(args or ("--scorers", "consistency"))]) == 0
        said = capsys.readouterr()
        lines = [json.loads(line) for line in said.out.splitlines()]
        scores = [line["scores"].get("consistency", {}) for line in lines]
        return [(s.get("value"), s.get("label")) for s in scores], [line["id"] for line in lines], said.err

    return run


def row(output: str, case: str | None = "lamp", **more: Any) -> dict[str, Any]:
    return {"case": case, "output": output, "input": "What does it cost?", **more}


def test_repeats_that_follow_each_other_are_compared(score: Score) -> None:
    found, _, _ = score([row("It costs 49 euros."), row("It costs 49 euros."), row("It costs 59 euros.")])
    assert [label for _value, label in found] == [None] * 3
    assert found[0][0] == found[1][0] > found[2][0] > 0
    assert score([row("Same."), row("Same.")])[0] == [(1.0, None), (1.0, None)]


def test_records_without_a_case_are_repeats_of_their_input(score: Score) -> None:
    same = [{"input": "Hi?", "output": "Hello."}, {"input": "Hi?", "output": "Hello."}]
    assert score([*same, {"input": "Bye?", "output": "Hello."}, {"output": "Hello."}])[0] == [
        (1.0, None),
        (1.0, None),
        (None, "not_assessable"),
        (None, "not_assessable"),
    ]


def test_a_case_of_another_set_and_one_that_stands_apart_are_no_repeats(score: Score) -> None:
    rows = [row("a b", set="x"), row("a b", set="y"), row("a b", set="x")]
    assert score(rows)[0] == [(None, "not_assessable")] * 3


def test_the_answer_of_a_repeat_is_its_last_calls_and_failures_part_nothing(score: Score) -> None:
    rows = [
        row("call a tool", sample=0),
        row("It is red.", sample=0),
        {"case": "lamp", "status": "error", "sample": 1},
        row("call another one", sample=2),
        row("It is red.", sample=2),
    ]
    none = (None, "not_assessable")
    assert score(rows)[0] == [none, (1.0, None), none, none, (1.0, None)]


def test_calls_of_judges_are_not_scored_and_counted(score: Score) -> None:
    rows = [
        row("It is red.", id="a"),
        row('{"grade": 1}', id="b", role="judge"),
        row("It is red.", id="c"),
        row("It is red.", id="d", role="assistant"),
    ]
    found, ids, said = score(rows)
    assert ids == ["a", "b", "c", "d"]
    assert found == [(1.0, None), (None, "not_assessable"), (1.0, None), (1.0, None)]
    assert said == "note: 1 call of a judge not scored: no answers of the application\n"
    assert score(rows, "--scorers", "json")[2] == said


def test_workers_see_the_same_repeats(score: Score) -> None:
    rows = [row(f"answer {i % 3} of {i // 7}", case=str(i // 7)) for i in range(1100)]
    alone = score(rows)
    assert all(label is None for _value, label in alone[0][:-1])
    assert score(rows, "--scorers", "consistency", "--jobs", "2") == alone


def test_chunks_end_with_a_group_and_groups_end() -> None:
    lines = [(i, b"x") for i in range(10)]
    groups = [*"aaabbb", None, *"bbb"]
    assert list(map(len, together(lines, lambda line: groups[line[0]], 2, 99))) == [3, 7]
    endless = [(i, b"x") for i in range(3 * MOST)]
    assert list(map(len, together(endless, lambda line: "a", 2, 99))) == [MOST] * 3
    assert list(map(len, together(lines, lambda line: str(line[0]), 99, 4))) == [4, 4, 2]
