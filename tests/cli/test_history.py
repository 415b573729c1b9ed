"""``llmwatch history`` over a store: the trend, the drift, the build that changed it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main


def store(root: Path, values: list[float], latencies: list[float] | None = None) -> Path:
    """A store with one run per value, a day apart."""
    for i, value in enumerate(values):
        folder = root / "runs" / f"run-{i:02d}"
        folder.mkdir(parents=True)
        data: dict[str, Any] = {
            "schema_version": 1,
            "run_id": f"run-{i:02d}",
            "time": f"2026-{1 + i // 28:02d}-{1 + i % 28:02d}T00:00:00.000Z",
            "environment": {"commit": f"{i:040x}"},
            "aggregates": {
                "calls": 10,
                "failed": 0,
                "executions": 10,
                "passed": 9,
                "scores": {"relevance": {"mean": value}},
                "latency": {"p50": latencies[i] if latencies else 1.0},
            },
        }
        (folder / "run.json").write_text(json.dumps(data), encoding="utf-8")
    return root


@pytest.fixture
def steady() -> list[float]:
    rng = random.Random(1)
    return [0.9 + rng.gauss(0, 0.01) for _ in range(40)]


def trends(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, dict[str, Any]]:
    assert main(["history", *args, "--json"]) == 0
    return {t["metric"]: t for t in json.loads(capsys.readouterr().out)}


def test_a_drop_alarms_and_names_the_build(
    tmp_path: Path, steady: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    values = [v - (0.03 if i >= 30 else 0) for i, v in enumerate(steady)]
    found = trends(capsys, "--store", str(store(tmp_path, values)))["relevance"]
    assert found["changed"]["run_id"] == "run-30"
    assert found["worse"] is True
    assert found["alarm"]["run_id"] > "run-30"
    assert "run-28" <= found["since"]["run_id"] <= "run-32"
    assert found["frozen"] == 20
    assert main(["history", "--store", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("40 runs in")
    assert lines[1].split()[0] == "relevance", "what got worse comes first"
    assert "worse from run-30" in lines[1]


def test_a_steady_history_and_a_better_one_do_not_alarm(
    tmp_path: Path, steady: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(2)
    faster = [rng.gauss(1.0, 0.02) - (0.1 if i >= 25 else 0) for i in range(40)]
    found = trends(capsys, "--store", str(store(tmp_path, steady, faster)))
    assert found["relevance"]["alarm"] is None
    assert found["relevance"]["changed"] is None
    assert found["latency"]["alarm"] is None
    assert (found["latency"]["changed"]["run_id"], found["latency"]["worse"]) == ("run-25", False)
    assert found["passed"]["changed"] is None


def test_few_runs_show_their_values_and_judge_nothing(
    tmp_path: Path, steady: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    root = store(tmp_path, steady[:4])
    assert trends(capsys, "--store", str(root))["relevance"]["alarm"] is None
    assert main(["history", "--store", str(root), "--metric", "relevance"]) == 0
    out = capsys.readouterr().out
    assert "drift is judged from 8 runs on" in out
    assert out.count("relevance") == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [(["--metric", "relevnce"], "no stored run has a metric 'relevnce'"), (None, "holds no runs")],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str] | None, says: str
) -> None:
    root = tmp_path if args is None else store(tmp_path, [0.9])
    assert main(["history", "--store", str(root), *(args or [])]) == 4
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
