"""The command line, on a run that pytest really made."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import schema
from pytest_llmwatch.cli import main

BUDGET = """
[latency]
max = "60 s"
[quality]
composite = 0.3
"""


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """A report folder, written by replaying one of the repository's golden sets."""
    folder = tmp_path_factory.mktemp("recorded")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "golden_sets/extraction", "-q"),
            *("--llm-budget=budget.toml", "--llm-record=none", f"--llm-report={folder}"),
            *("-p", "no:llmock", "-p", "no:cacheprovider"),
        ],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "run.json").exists(), done.stdout + done.stderr
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_gate_judges_a_stored_run(recorded: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here.joinpath("budget.toml").write_text(BUDGET)
    for ref in (str(recorded), str(recorded / "run.json")):
        assert main(["gate", ref, "--budget", "budget.toml"]) == 0
        assert "PASS" in capsys.readouterr().out
    here.joinpath("budget.toml").write_text('[latency]\nmax = "1 ms"\n')
    assert main(["gate", str(recorded), "--budget", "budget.toml", "-o", "out"]) == 1
    assert "FAIL" in capsys.readouterr().out
    assert json.loads((here / "out" / "run.json").read_text())["verdict"] == "fail"
    assert (here / "out" / "report.html").exists()


def test_gate_takes_records(recorded: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here.joinpath("budget.toml").write_text('[latency]\nmax = "60 s"\n')
    assert main(["gate", str(recorded / "calls.jsonl.gz"), "--budget", "budget.toml"]) == 0
    lines = [{"id": i, "latencyMs": 100.0 + i, "model_name": "m", "output": "x"} for i in range(50)]
    here.joinpath("log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    assert main(["gate", "log.jsonl", "--budget", "budget.toml"]) == 0
    here.joinpath("budget.toml").write_text('[latency]\np50 = "50 ms"\n')
    assert main(["gate", "log.jsonl", "--budget", "budget.toml", "--json"]) == 1
    out = capsys.readouterr().out
    assert json.loads(out[out.rindex("\n{\n") if "\n{\n" in out else 0 :])["verdict"] == "fail"


def test_report_renders_again_with_the_stored_verdicts(recorded: Path, here: Path) -> None:
    assert main(["report", str(recorded), "-o", "again"]) == 0
    first = json.loads((recorded / "run.json").read_text())
    again = json.loads((here / "again" / "run.json").read_text())
    assert again["verdicts"] == first["verdicts"]
    assert again["cases"] == first["cases"]
    assert (here / "again" / "calls.jsonl.gz").read_bytes() == (recorded / "calls.jsonl.gz").read_bytes()


def test_budget_check_with_a_run_tells_flake_rates(
    recorded: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads((recorded / "run.json").read_text())
    observed = next(v["observed"] for v in data["verdicts"] if v["rule"] == "quality.composite")
    here.joinpath("budget.toml").write_text(f"[quality]\ncomposite = {observed - 0.005:.4f}\njson = 0.2\n")
    assert main(["budget", "check", "budget.toml", "--run", str(recorded)]) == 0
    out = capsys.readouterr().out
    assert "! quality.composite" in out
    assert "! quality.json" not in out


def test_what_budget_suggest_proposes_is_valid_and_green(
    recorded: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", "suggest", str(recorded)]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)
    here.joinpath("budget.toml").write_text(text)
    assert main(["gate", str(recorded), "--budget", "budget.toml"]) == 0
    capsys.readouterr()
    assert main(["budget", "check", "budget.toml", "--run", str(recorded)]) == 0
    assert "  ! " not in capsys.readouterr().out


def test_the_published_schema_accepts_a_good_budget_and_refuses_a_bad_one(
    here: Path, capsys: pytest.CaptureFixture[str], project_root: Path
) -> None:
    assert main(["budget", "schema"]) == 0
    published = json.loads(capsys.readouterr().out)
    # dates are strings to JSON Schema, as every TOML editor hands them over
    ours = json.loads(json.dumps(tomllib.loads((project_root / "budget.toml").read_text()), default=str))
    assert schema.is_valid(ours, published)
    assert not schema.is_valid({"latency": {"p59": 1}}, published)


@pytest.mark.parametrize("preset", ["starter", "operations"])
def test_init_scaffolds_what_then_loads_and_never_overwrites(
    here: Path, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here.joinpath("tests").mkdir()
    here.joinpath("tests", "test_llm.py").write_text("mine = 1\n")
    assert main(["init", "--preset", preset]) == 0
    assert (here / "tests" / "test_llm.py").read_text() == "mine = 1\n"
    assert main(["budget", "check"]) == 0
    assert main(["golden", "check"]) == 0
    before = (here / "budget.toml").read_text()
    assert main(["init"]) == 0
    assert (here / "budget.toml").read_text() == before
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "limits" in out
    assert "2 cases" in out


def test_golden_check_names_every_wrong_set(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init"])
    bad = here / "golden_sets" / "bad"
    bad.mkdir()
    bad.joinpath("set.yaml").write_text("promt: x\n")
    assert main(["golden", "check"]) == 4
    out = capsys.readouterr().out
    assert "golden_sets/bad/set.yaml:1:" in out
    assert "golden_sets/support/set.yaml: 2 cases" in out


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["gate", "nowhere", "--budget", "b.toml"], "b.toml"),
        (["report", "nowhere"], "nowhere"),
        (["budget", "check", "nowhere.toml"], "nowhere.toml"),
        (["golden", "check", "nowhere"], "nowhere"),
        (["gate"], "required"),
        (["frobnicate"], "invalid choice"),
    ],
)
def test_mistakes_are_4_with_one_line(
    here: Path, args: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: Any = main(args)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 4
    assert expected in error
    assert "Traceback" not in error


def test_a_damaged_run_is_named(recorded: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = here / "copy"
    copy.mkdir()
    for name in ("run.json", "calls.jsonl.gz"):
        copy.joinpath(name).write_bytes((recorded / name).read_bytes())
    copy.joinpath("calls.jsonl.gz").write_bytes(gzip.compress(b"{broken\n"))
    here.joinpath("b.toml").write_text(BUDGET)
    assert main(["gate", "copy", "--budget", "b.toml"]) == 4
    assert "calls.jsonl.gz:1:" in capsys.readouterr().err
