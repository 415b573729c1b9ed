"""What extensions bring beside scorers, patterns and prices: channels of alerts, sections of the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main

EXTENSION = """
from pytest_llmwatch.hookspecs import hookimpl

SENT = []

def pager(message):
    SENT.append(message)

def broken(message):
    raise RuntimeError("the pager is out of paper")

@hookimpl
def llmwatch_alert_channels():
    return {"pager": pager, "broken": broken}

@hookimpl
def llmwatch_report_sections(report):
    first = report["verdicts"][0]["rule"]
    return [
        ("Owners <b>", [["rule", "owner"], [first, "<script>alert(1)</script>"]]),
        ("Note", f"judged {report['aggregates']['calls']} calls for ada@example.com"),
    ]
"""
WRONG = """
from pytest_llmwatch.hookspecs import hookimpl

@hookimpl
def llmwatch_report_sections():
    return [("uneven", [["a", "b"], ["c"]])]
"""
BUDGET = """
[plugins]
modules = ["{module}"]
[latency]
max = 0.5
[[alert]]
name = "own"
to = ["plugin:pager", "plugin:broken", "plugin:gone"]
"""
RECORD = '{"id": "a", "latency": 2.0, "status": "success", "output": "yes", "time": "2026-01-02T03:04:05Z"}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "llmwatch_own.py").write_text(EXTENSION)
    (tmp_path / "llmwatch_wrong.py").write_text(WRONG)
    (tmp_path / "calls.jsonl").write_text(RECORD)
    return tmp_path


def gate(folder: Path, module: str) -> str:
    (folder / "budget.toml").write_text(BUDGET.format(module=module))
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["gate", "calls.jsonl", "--budget", "budget.toml", "-o", "out", "--alerts", "on"]))
    assert ended.value.code == 1
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


def test_channels_and_sections_of_an_extension(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = gate(folder, "llmwatch_own")
    told = " ".join(capsys.readouterr().out.split())
    sent: list[dict[str, Any]] = sys.modules["llmwatch_own"].SENT
    assert [(m["kind"], m["severity"], m["rules"]) for m in sent] == [("alert", "SEV2", ("latency.max",))]
    assert "latency.max" in sent[0]["body"]
    assert sent[0]["incident"].startswith("inc-")
    assert "1 message sent to plugin:pager" in told
    assert "not delivered to plugin:broken: RuntimeError: the pager is out of paper" in told
    assert "no extension has a channel 'gone' (known: broken, pager)" in told
    # shown as it is, linked in the contents, and nothing of it is HTML
    assert "<h2>Owners &lt;b&gt;</h2>" in page
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert "judged 1 calls for" in page
    assert "ada@example.com" not in page
    assert 'href="#own-2"' in page


def test_a_wrong_section_is_a_note_and_the_next_run_has_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = gate(folder, "llmwatch_wrong")
    assert "the report has no sections of llmwatch_wrong: ValueError: the rows" in page
    assert 'id="own-1"' not in page
    (folder / "budget.toml").write_text("[latency]\nmax = 9\n")
    assert main(["gate", "calls.jsonl", "--budget", "budget.toml", "-o", "out"]) == 0
    assert "llmwatch_wrong" not in (folder / "out" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
