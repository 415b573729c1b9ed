"""``llmwatch judge calibrate``: a perfect judge may gate, a constant one may not, and bad labels are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llmock.scenarios import Reply
from llmock.testing import LLMockServer

from pytest_llmwatch.budget import load_budget
from pytest_llmwatch.cli import main

OPTIONS = json.dumps({"rubric": "Is it right?", "scale": 3})


@pytest.fixture(scope="module")
def loopback() -> Iterator[LLMockServer]:
    with LLMockServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _place(loopback: LLMockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback.state.scenarios.clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.base_url("openai"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback")
    (tmp_path / "budget.toml").write_text('[judge]\nmodel = "gpt-4o"\n[quality]\njudge = 0.5\n')


def labels(tmp_path: Path, given: Sequence[Any], **more: Sequence[Any]) -> str:
    lines = [
        {"id": f"r{i}", "input": "2 + 2?", "output": f"answer {i}", "label": label}
        | {key: values[i] for key, values in more.items()}
        for i, label in enumerate(given)
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "labels.jsonl"


def says(loopback: LLMockServer, grades: Sequence[str]) -> None:
    for grade in grades:
        loopback.state.scenarios.add(Reply(text=json.dumps({"reason": "r", "quotes": [], "grade": grade})))


def run(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    assert main(["judge", "calibrate", *args]) == code
    out, err = capsys.readouterr()
    return err if code else out


def test_a_perfect_judge_has_kappa_one_and_may_gate_also_from_its_recordings(
    capsys: pytest.CaptureFixture[str], loopback: LLMockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    human = [0.0, 0.5, 1.0] * 20
    file = labels(tmp_path, human)
    says(loopback, [str(int(x * 2) + 1) for x in human])
    asked = ["--scorer", "judge", "--options", OPTIONS, "--cassette", "judge.yaml", "--json"]
    found = json.loads(run(capsys, file, *asked))
    assert (found["n"], found["kappa"], found["kappa_ci"], found["may_gate"]) == (60, 1, [1, 1], True)
    assert (found["accuracy"], found["auroc"], found["weighted"], found["calls"]) == (1, 1, True, 60)
    assert found["majority_baseline"] == pytest.approx(1 / 3)
    assert found["confusion"] == {
        "classes": [0, 0.5, 1], "people_by_judge": [[20, 0, 0], [0, 20, 0], [0, 0, 20]],
    }  # fmt: skip
    assert found["cost_usd"] > 0
    judge = load_budget("budget.toml").judge
    assert judge.objection(found["version"]) is None
    assert "nobody has measured" in (judge.objection("judge-000000000000") or "")
    # in CI there is nobody to ask
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    again = json.loads(run(capsys, file, *asked))
    assert {**again, "cost_usd": 0} == {**found, "cost_usd": 0}
    assert "missing-recording" in run(capsys, labels(tmp_path, [0.0, 1.0]), *asked[:-1], "--model=other", code=4)


def test_a_judge_that_always_says_the_same_may_only_warn(
    capsys: pytest.CaptureFixture[str], loopback: LLMockServer, tmp_path: Path
) -> None:
    file = labels(tmp_path, [True, False, False] * 20)
    says(loopback, ["3"] * 60)
    text = run(capsys, file, "--scorer", "judge", "--options", OPTIONS)
    assert "Cohen's kappa      0.000 [0.000, 0.000]" in text
    assert "always naming the most frequent class: 0.667" in text
    assert "This judge may only warn" in text
    assert "its lower bound must reach 0.4. Kept in judge.json" in text
    (entry,) = json.loads((tmp_path / "judge.json").read_text())["judges"].values()
    assert (entry["kappa"], entry["auroc"], entry["confusion"]["people_by_judge"]) == (0, 0.5, [[0, 40], [0, 20]])
    assert entry["ece"] == pytest.approx(2 / 3)
    assert "answer" not in json.dumps(entry)  # no text of the labels is kept


def test_invalid_answers_are_counted_and_repeats_show_consistency(
    capsys: pytest.CaptureFixture[str], loopback: LLMockServer, tmp_path: Path
) -> None:
    file = labels(tmp_path, [True, False] * 3)
    says(loopback, ["3", "3", "1", "3", "9", "9", "1", "1", "3", "3", "1", "1"])
    found = json.loads(run(capsys, file, "--scorer", "judge", "--options", OPTIONS, "--repeats=2", "--json"))
    assert (found["n"], found["missing"]) == (5, {"error": 1})
    assert found["self_consistency"] == {"rate": 0.8, "n": 5}
    assert "compared with 5 labels, fewer than 50" in found["because"]


def test_stored_scores_and_classes_need_nobody(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    people = [True] * 30 + [False] * 30
    scores = [{"tone": 0.9}] * 27 + [{"tone": 0.1}] * 30 + [{"tone": 0.9}] * 3
    file = labels(tmp_path, people, scores=scores)
    text = run(capsys, file, "--score", "tone")
    assert "Cohen's kappa      0.800" in text
    assert "Not kept: which judge made these scores is not known" in text
    assert not (tmp_path / "judge.json").exists()
    named = run(capsys, file, "--score", "tone", "--scorer", "judge", "--options", OPTIONS)
    assert "may fail a build. Kept in judge.json" in named
    classes = labels(tmp_path, ["A", "B", "C"] * 20, judge=["A", "B", "B"] * 20)
    found = json.loads(run(capsys, classes, "--json"))
    assert found["confusion"]["classes"] == ["A", "B", "C"]
    assert found["kappa"] == pytest.approx(0.5)
    assert (found["auroc"], found["weighted"]) == (None, False)


def test_the_judge_of_a_golden_set_is_the_one_that_the_run_uses(
    capsys: pytest.CaptureFixture[str], loopback: LLMockServer, tmp_path: Path
) -> None:
    folder = tmp_path / "golden_sets" / "qa"
    folder.mkdir(parents=True)
    judges = (
        "scorers:\n  - judge: {rubric: Is it right?, label: right, threshold: 0.5}\n  - factuality\n  - refusal\n"
    )
    (folder / "set.yaml").write_text('model: gpt-4o\nprompt: "{{ input }}"\n' + judges)
    (folder / "cases.jsonl").write_text('{"id": "one", "input": "2 + 2?"}\n')
    file = labels(tmp_path, [True, False])
    assert "has not one judge, so --score must name which; it has: right, factuality" in run(
        capsys, file, "--set", str(folder), code=4
    )
    says(loopback, ["5", "1"])
    found = json.loads(run(capsys, file, "--set", str(folder), "--score", "right", "--json"))
    assert (found["name"], found["model"], found["kappa"]) == ("right", "gpt-4o", 1)


def test_both_orders_of_a_pairwise_judge_show_its_bias(
    capsys: pytest.CaptureFixture[str], loopback: LLMockServer, tmp_path: Path
) -> None:
    file = labels(tmp_path, [True, False] * 5, reference=["4"] * 10)
    says(loopback, ["A", "A"] * 4 + ["A", "B"] * 3 + ["B", "A"] * 3)
    found = json.loads(run(capsys, file, "--scorer", "judge_pairwise", "--json"))
    assert found["position_bias"] == {"rate": 0.4, "n": 10}


@pytest.mark.parametrize(
    ("lines", "args", "says_so"),
    [
        (['{"id": "a", "output": "x"}'], (), "labels.jsonl:1: no label"),
        (
            ['{"id": "a", "label": true}', '{"id": "b", "label": 0.5}'],
            (),
            "labels.jsonl:2: label must be true or false",
        ),
        (['{"id": "a", "label": 7}'], (), "labels.jsonl:1: label 7: each line needs"),
        (['{"id": "a", "label": true}', '{"id": "b", "label": true}'], (), "all 2 labels are the same"),
        (['{"id": "a", "label": true}', '{"id": "b", "label": false}'], (), "no judge is named"),
        (['{"id": "a", "label": true}'], ("--scorer", "refusal"), "refusal is no judge"),
        (['{"id": "a", "label": true}'], ("--scorer", "judge", "--options", "{"), "--options must be JSON"),
        (['{"id": "a", "label": true}'], ("--repeats", "0"), "--repeats must be at least 1"),
        (['{"id": "a", "label": true}'], ("--threshold", "2"), "--threshold must be in"),
    ],
)
def test_bad_labels_and_options_are_one_clean_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, lines: list[str], args: tuple[str, ...], says_so: str
) -> None:
    (tmp_path / "labels.jsonl").write_text("\n".join(lines) + "\n")
    said = run(capsys, "labels.jsonl", *args, code=4)
    assert says_so in said
    assert said.count("\n") == 1


def test_a_damaged_calibration_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    for text in (
        "{",
        '{"judges": {"judge-0": {}}}',
        '{"judges": {"j": {"n": 1, "kappa": 7, "kappa_ci": [0, 1]}}}',
    ):
        (tmp_path / "judge.json").write_text(text)
        with pytest.raises(Exception, match=r"judge\.json: is no calibration .*\[llmwatch:judge-calibration\]"):
            load_budget("budget.toml")
    (tmp_path / "judge.json").unlink()
    assert load_budget("budget.toml").judge.known == {}
    (tmp_path / "budget.toml").write_text('[judge]\ncalibration = "gone.json"\n')
    with pytest.raises(Exception, match=r"gone\.json: cannot read the calibration"):
        load_budget("budget.toml")


def test_a_small_real_model_is_a_poor_judge_and_its_calibration_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # recorded from SmolLM2-135M behind llama.cpp's own server
    for file in (Path(__file__).parent / "data" / "judge").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "budget.toml").write_text('[judge]\nmodel = "smollm2-135m-instruct"\nmin_labels = 10\n')
    monkeypatch.setenv("CI", "1")
    judge = ["--scorer", "groundedness_judge", "--options", '{"explain": false}', "--cassette", "smollm2.yaml"]
    found = json.loads(run(capsys, "labels.jsonl", *judge, "--json"))
    assert (found["n"], found["calls"], found["missing"]) == (12, 12, {})
    assert found["kappa"] < 0.4
    assert not found["may_gate"]
    assert "agrees too little with people: kappa" in found["because"]
