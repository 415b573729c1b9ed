"""``llmwatch gate RECORDS --window``: the build's rules watch live traffic."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main
from pytest_llmwatch.cli_windows import seconds
from pytest_llmwatch.errors import UsageError

BUDGET = """
[latency]
max = "30 s"
[errors]
rate = 0.05
[cost]
max_call_usd = 0.10
"""


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Gate records in windows; returns the exit code and the JSON."""

    def run(rows: list[dict[str, Any]], *args: str) -> tuple[int, dict[str, Any]]:
        (tmp_path / "budget.toml").write_text(BUDGET, encoding="utf-8")
        log = tmp_path / "log.jsonl"
        log.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        code = main(["gate", str(log), "--budget", str(tmp_path / "budget.toml"), "--json", *args])
        return code, json.loads(capsys.readouterr().out)

    return run


def traffic(minutes: int, *, bad: range = range(0), seed: int = 1) -> list[dict[str, Any]]:
    """Twenty calls a minute; in the bad minutes half of them fail."""
    rng = random.Random(seed)
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = []
    for minute in range(minutes):
        for i in range(20):
            row: dict[str, Any] = {
                "id": f"{minute}-{i}",
                "time": (start + timedelta(minutes=minute, seconds=3 * i)).isoformat(),
                "latency": rng.lognormvariate(0, 0.4),
                "cost_usd": 0.01,
                "output": "an answer",
            }
            if minute in bad and i % 2:
                row |= {"status": "error", "error": "503"}
            rows.append(row)
    return rows


def test_an_outage_of_some_minutes_is_red_in_its_windows_alone(gate: Any) -> None:
    code, found = gate(traffic(30, bad=range(12, 16)), "--window", "5m")
    assert (code, found["verdict"]) == (1, "fail")
    red = [w for w in found["windows"] if "errors.rate" in w["failed"]]
    assert red
    assert all("12:0" in w["start"] or "12:1" in w["start"] for w in red)
    assert found["windows"][0]["failed"] == []
    assert found["windows"][-1]["failed"] == []
    assert all(w["calls"] <= 100 for w in found["windows"])


def test_quiet_traffic_is_not_red_and_facts_count_per_window(gate: Any) -> None:
    rows = traffic(20)
    code, found = gate(rows, "--window", "300")
    assert code == 0
    assert {tuple(w["failed"]) for w in found["windows"]} == {()}
    rows[5]["cost_usd"] = 0.5
    code, found = gate(rows, "--window", "5m")
    assert code == 1
    assert [w["failed"] for w in found["windows"]].count(["cost.max_call_usd"]) == 1


def test_a_window_longer_than_the_records_is_one(gate: Any) -> None:
    _, found = gate(traffic(5), "--window", "1d")
    assert [w["calls"] for w in found["windows"]] == [100]


def test_records_without_a_time_are_counted(gate: Any) -> None:
    rows = traffic(3)
    del rows[0]["time"]
    _, found = gate(rows, "--window", "1h")
    assert found["untimed"] == 1


def test_unusable_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "budget.toml").write_text(BUDGET, encoding="utf-8")
    log = tmp_path / "log.jsonl"
    log.write_text('{"id": "a", "latency": 1}\n', encoding="utf-8")
    base = ["gate", str(log), "--budget", str(tmp_path / "budget.toml"), "--window"]
    assert main([*base, "5m"]) == 4
    assert "no record carries a time" in capsys.readouterr().err
    assert main([*base, "soon"]) == 4
    assert "must be a length such as 30s, 5m, 1h (got 'soon')" in capsys.readouterr().err
    rows = [{"id": str(i), "time": f"20{10 + i}-01-01T00:00:00Z"} for i in range(3)]
    log.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    assert main([*base, "1s"]) == 4
    assert "more than 10,000 windows" in capsys.readouterr().err


def test_for_people_the_windows_with_findings_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "budget.toml").write_text(BUDGET, encoding="utf-8")
    log = tmp_path / "log.jsonl"
    rows = traffic(30, bad=range(12, 16))
    log.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    assert main(["gate", str(log), "--budget", str(tmp_path / "budget.toml"), "--window", "5m"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL: ")
    assert "errors.rate" in out
    assert "windows without a finding" in out


@pytest.mark.parametrize(("text", "length"), [("90", 90), ("30s", 30), ("5m", 300), ("1.5h", 5400), ("1d", 86400)])
def test_lengths(text: str, length: float) -> None:
    assert seconds(text) == length
    with pytest.raises(UsageError):
        seconds("0m")
