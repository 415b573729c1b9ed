"""``llmwatch plan``: says before money is spent what a set can detect."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Forty cases of three repeats, with noise of .1 at each repeat."""
    rng = random.Random(1)
    rows = [
        {
            "case": f"c{i}",
            "scores": {"relevance": min(1.0, 0.6 + rng.gauss(0, 0.1)), "length": 1.0},
            "latency": rng.lognormvariate(0, 0.2),
            "cost_usd": 0.002,
            "passed": True,
        }
        for i in range(40)
        for _ in range(3)
    ]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def plan(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert main(["plan", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_noise_comes_from_the_repeats_and_more_repeats_detect_less(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looked = {r["metric"]: r for r in plan(capsys, str(records), "--drop", "0.1", "--looks", "5")["looks"]}
    one = plan(capsys, str(records))
    assert looked["relevance"]["power"] > 0.9
    assert looked["relevance"]["share_if_worse"] < 0.8 < looked["relevance"]["share_if_unchanged"]
    relevance = {n["metric"]: n for n in one["needs"]}["relevance"]
    assert relevance["sd"] == pytest.approx(0.141, abs=0.03)
    assert relevance["assumed"] is False
    assert relevance["cases"] > 40
    many = plan(capsys, str(records), "--repeats", "10")
    again = {n["metric"]: n for n in many["needs"]}["relevance"]
    assert again["detects"] < relevance["detects"]
    assert again["power"] > relevance["power"]
    length = {n["metric"]: n for n in one["needs"]}["length"]
    assert (length["sd"], length["enough"]) == (0.0, 1)
    assert one["price"]["usd"] == pytest.approx(0.002)


def test_for_people_it_names_calls_dollars_and_minutes(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(records), "--drop", "0.1", "--looks", "5"]) == 0
    out = capsys.readouterr().out
    assert "40 cases, 5 repeats in the baseline, 1 in a build" in out
    assert "relevance, looked at after each of 5 parts of the cases, one repeat each: finds 0.1 in" in out
    assert "a build takes 40 calls, $0.08" in out
    assert "a baseline of 5: 200 calls, $0.40" in out
    assert "minutes" in out


def test_one_repeat_leaves_the_noise_assumed_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"case": "a", "scores": {"relevance": 0.5}}\n', encoding="utf-8")
    assert main(["plan", str(path)]) == 0
    out = capsys.readouterr().out
    assert "(assumed)" in out
    assert "--llm-repeats=3 measures it" in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--drop", "0"], "--drop must be in (0, 1) (got 0)"),
        (["--power", "1"], "--power must be in (0, 1) (got 1)"),
        (["--repeats", "0"], "--repeats must be at least 1"),
    ],
)
def test_a_bad_option_is_one_line(
    records: Path, capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    assert main(["plan", str(records), *args]) == 4
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
