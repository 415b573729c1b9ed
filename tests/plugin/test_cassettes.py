"""Recordings over whole runs: which are used, what a shared fixture's failure says, what a killed run leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import cli

BUDGET = "[latency]\np50 = 30\n"
ASK = """
import openai, pytest

def ask(text, model="gpt-4o-mini"):
    client = openai.OpenAI(max_retries=0)
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
"""
OFFLINE = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "CI": "1"}


def write(project: Any, text: str) -> None:
    project.budget(BUDGET)
    (project.path / "test_app.py").write_text(ASK + text)


def check(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    capsys.readouterr()
    assert cli.main(["cassettes", "check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    return [(f["kind"], Path(f["path"]).name) for f in found]


def test_a_run_notes_what_it_used_and_prune_removes_the_rest(
    project: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, "def test_a():\n    ask('A')\n    ask('B')\ndef test_b():\n    ask('C')\n")
    project.run("--llm-budget=budget.toml", "-n2").assert_outcomes(passed=2)
    monkeypatch.chdir(project.path)
    assert check(capsys) == []
    write(project, "def test_a():\n    ask('B')\n")
    project.run("--llm-budget=budget.toml", **OFFLINE).assert_outcomes(passed=1)
    assert check(capsys) == [("unused", "test_a.yaml"), ("orphan", "test_b.yaml")]
    assert cli.main(["cassettes", "prune"]) == 0
    folder = project.path / "cassettes/test_app"
    assert [p.name for p in folder.iterdir()] == ["test_a.yaml"]
    text = (folder / "test_a.yaml").read_text()
    assert text.count("- request:") == 1
    assert '"content": "B"' in text


SHARED = """
@pytest.fixture(scope="module")
def hidden():
    try:
        ask("unknown")
    except Exception:
        pass
    return 1

@pytest.fixture(scope="session")
def open_():
    ask("unknown too")

def test_first(hidden): pass
def test_second(hidden): pass
def test_third(open_): pass
def test_fourth(open_): pass
def test_fifth(): pass
"""


def test_a_missing_recording_in_a_shared_fixture_fails_each_test_that_uses_it(project: Any) -> None:
    write(project, SHARED)
    result = project.run("--llm-budget=budget.toml", **OFFLINE)
    result.assert_outcomes(passed=1, failed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "cassettes/test_app/fixture.open_.yaml: no recording for POST /v1/chat/completions in "
            "test_app.py::[[]fixture open_]*",
            "cassettes/test_app/fixture.hidden.yaml: no recording for POST /v1/chat/completions in "
            "test_app.py::[[]fixture hidden]*",
            "The cassette does not exist yet.",
            "Record it with: pytest test_app.py::test_first --llm-record=new",
        ]
    )


KILLED = """
import time
@pytest.mark.parametrize("n", range(4))
def test_n(n):
    ask(f"question {n}")
    if n == 3:
        open("ready", "w").close()
        time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_what_a_killed_run_recorded_is_merged_by_the_next(project: Any) -> None:
    write(project, KILLED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:llmock", "-p", "no:cacheprovider"]
    run = subprocess.Popen(
        [*command, "--llm-budget=budget.toml", "-n1"],
        cwd=project.path,
        env={**os.environ, **project.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 90
    while not (project.path / "ready").exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    folder = project.path / "cassettes/test_app"
    parts = sorted(p.name for p in folder.iterdir())
    assert len(parts) == 3
    assert all(".part-gw0_" in name for name in parts)
    (project.path / "test_app.py").write_text(
        (project.path / "test_app.py").read_text().replace("n == 3", "n == 9")
    )
    result = project.run("--llm-budget=budget.toml")
    result.assert_outcomes(passed=4)
    assert sorted(p.name for p in folder.iterdir() if ".part-" in p.name) == []
    assert len(list(folder.iterdir())) == 4
    assert project.report()["aggregates"]["calls"] == 4
    modes = [c["capture_mode"] for c in _calls(project)]
    assert sorted(modes) == ["recorded", "replayed", "replayed", "replayed"]


def _calls(project: Any) -> list[dict[str, Any]]:
    import gzip

    path = project.path / "llmwatch-report" / "calls.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


RERUN = """
import pathlib
@pytest.mark.flaky(reruns=1)
def test_x():
    first = not pathlib.Path("tried").exists()
    pathlib.Path("tried").touch()
    ask("same")
    ask("same")
    assert not first
"""


def test_reruns_record_and_replay_their_own_calls(project: Any) -> None:
    write(project, RERUN)
    project.run("--llm-budget=budget.toml").assert_outcomes(passed=1)
    text = (project.path / "cassettes/test_app/test_x.yaml").read_text()
    assert [text.count(f"      attempt: {n}\n") for n in (0, 1)] == [2, 2]
    (project.path / "tried").unlink()
    project.run("--llm-budget=budget.toml", "-n2", **OFFLINE).assert_outcomes(passed=1)
    assert sorted(c.get("attempt", 0) for c in _calls(project)) == [0, 0, 1, 1]
