"""Sides that are wrong, empty, or say little: each gets a clear verdict or one clear line, never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import cli


def rows(cases: int = 12, repeats: int = 1, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"case": f"c{n}", "input": f"q{n}", "scores": {"relevance": 0.8 + n % 3 / 20}, "passed": True, **fields}
        for n in range(cases)
        for _ in range(repeats)
    ]


def unequal(_: int = 0) -> list[dict[str, Any]]:
    return [row for n, row in enumerate(rows()) for _ in range(1 + n % 4)]


Rows = list[dict[str, Any]]
TABLE: dict[str, tuple[Rows, Rows, int, list[str]]] = {
    "one case, one repeat": (rows(1), rows(1), 0, ["INCONCLUSIVE", "1 paired case, 1+1 repeats cannot reach p"]),
    "one case of five repeats": (rows(1, 5), rows(1), 0, ["cannot reach p", "add cases or repeats"]),
    "no variance": (rows(repeats=5), rows(), 0, ["PASS", "relevance changed +0.000 [+0.000, +0.000]"]),
    "all errors": (
        rows(repeats=5),
        [{"case": f"c{n}", "status": "error"} for n in range(12)],
        1,
        ["error rose +1.000", "not compared, since the candidate has no value of it: passed, relevance"],
    ),
    "not a number": (
        rows(repeats=5),
        rows(scores={"relevance": math.nan}),
        0,
        ["not compared, since the candidate has no value of it: relevance"],
    ),
    "outside [0, 1]": (
        rows(repeats=5),
        rows(scores={"relevance": 1.7}),
        0,
        ["relevance: 12 of the candidate's scores are outside [0, 1] (as 1.7)"],
    ),
    "negative latency": (rows(), rows(latency=-1.0), 4, ["b.jsonl:1: latency must not be negative (got -1.0)"]),
    "endless latency": (rows(), rows(latency=math.inf), 4, ["b.jsonl:1: latency must be a number (got Infinity)"]),
    "unequal repeats": (rows(repeats=5), unequal(), 0, ["PASS", "12 paired cases, 5+1 repeats"]),
    "unequal repeats on both sides": (unequal(), unequal(), 0, ["relevance changed +0.000", "1+1 repeats"]),
    "ids given twice": (rows(), rows(id="same"), 0, ["id 'same' (line 2) is used more than once"]),
    "nothing": (rows(), [], 4, ["b.jsonl: holds no record"]),
    "nothing in common": (rows(), [{"case": "c1", "latency": 1.0}], 0, ["not compared", "passed, relevance"]),
}


@pytest.mark.parametrize("name", TABLE)
def test_compare_says_what_is_wrong_or_what_it_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, candidate, code, texts = TABLE[name]
    monkeypatch.chdir(tmp_path)
    for file, side in (("a.jsonl", base), ("b.jsonl", candidate)):
        Path(file).write_text("".join(json.dumps(r) + "\n" for r in side))
    assert cli.main(["compare", "a.jsonl", "b.jsonl"]) == code
    out, err = capsys.readouterr()
    said = out + err
    for text in texts:
        assert text in " ".join(said.split())  # reasons are wrapped
    assert "inf" not in said.replace("Infinity", "").replace("info", "")
    assert "Traceback" not in said
    if code == 4:
        assert len(err.splitlines()) == 1


def broken(change: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return apply


def first(data: dict[str, Any]) -> dict[str, Any]:
    case: dict[str, Any] = data["cases"][min(data["cases"])]
    return case


BASELINES: dict[str, tuple[Callable[[str], str], int, list[str]]] = {
    "of a newer schema": (broken(lambda d: d.update(schema_version=99)), 4, ["baseline.json", "schema 99"]),
    "of another fingerprint": (
        broken(lambda d: first(d).update(print="0" * 12)),
        0,
        ["1 case changed (input, reference or context) and cannot be compared"],
    ),
    "with a case given twice": (
        lambda text: text.replace('"c1":', '"c0":'),
        4,
        ["baseline.json", "gives 'c0' twice"],
    ),
    "with a value that is none": (
        broken(lambda d: first(d)["values"].update(relevance=["high"])), 4, ["baseline.json", "relevance"],
    ),
    "with NaN": (
        broken(lambda d: first(d)["values"].update(relevance=[math.nan])), 4, ["baseline.json", "relevance"],
    ),
    "with a negative latency": (
        broken(lambda d: first(d)["values"].update(latency=[-1.0])), 4, ["baseline.json", "latency"],
    ),
    "with a score over 1": (
        broken(lambda d: first(d)["values"].update(relevance=[1.5])), 4, ["baseline.json", "relevance"],
    ),
    "without cases": (broken(lambda d: d.update(cases={})), 0, ["relevance", "not measured"]),
    "that is no JSON": (lambda text: text[:40], 4, ["baseline.json", "is not valid JSON"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a good baseline of records."""
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(repeats=5, latency=1.0)))
    assert cli.main(["baseline", "record", str(folder / "a.jsonl"), "-o", str(folder / "baseline.json")]) == 0
    return (folder / "baseline.json").read_text()


@pytest.mark.parametrize("name", BASELINES)
def test_gate_says_what_is_wrong_with_a_baseline(
    name: str, frozen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, code, texts = BASELINES[name]
    monkeypatch.chdir(tmp_path)
    Path("b.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(latency=1.0)))
    Path("budget.toml").write_text('[drift]\nmetrics = ["relevance", "passed"]\n')
    Path("baseline.json").write_text(change(frozen))
    assert cli.main(["gate", "b.jsonl", "--budget", "budget.toml", "--baseline", "baseline.json"]) == code
    out, err = capsys.readouterr()
    for text in texts:
        assert text in " ".join((out + err).split())
    assert "Traceback" not in out + err
    if code == 4:
        assert len(err.splitlines()) == 1
