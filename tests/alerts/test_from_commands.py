"""Alerts from windows of records and from a test run, with everything real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main

pytest_plugins = ["pytester"]
BUDGET = """
[errors]
rate = { fail = 0.05, test = false }
[[alert]]
to = "env:HOOK_URL"
consecutive = 2
"""


def test_windows_of_records_alert_once_and_recover(
    receiver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOK_URL", f"json://{receiver.host}/hook")
    Path("budget.toml").write_text(BUDGET)
    lines = [
        {
            "id": str(minute * 10 + i),
            "time": f"2026-01-01T00:{minute:02}:{i:02}Z",
            "status": "error" if 5 <= minute < 15 else "success",
        }
        for minute in range(24)
        for i in range(10)
    ]
    Path("calls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    gate = ["gate", "calls.jsonl", "--budget", "budget.toml", "--window", "5m", "--store", "runs"]
    assert main([*gate, "--alerts", "dry"]) == 1
    assert "would be sent to env:HOOK_URL" in capsys.readouterr().out
    assert receiver.got == []
    assert main([*gate, "--alerts", "on"]) == 1
    assert "sent to env:HOOK_URL" in capsys.readouterr().out
    titles = [body["title"] for _, _, body in receiver.got]
    assert titles[-1].startswith("[RESOLVED]")
    assert titles[0] == "[SEV1] Outage"
    alerts = [body for _, _, body in receiver.got if body["kind"] == "alert"]
    assert len(alerts) == len(titles) - 1
    assert len(alerts) <= 3  # ten bad minutes, and a cool-down of five
    # messages and incidents name each other
    assert main(["incidents", "list", "--store", "runs", "--json"]) == 0
    (incident,) = json.loads(capsys.readouterr().out)
    assert (incident["severity"], incident["state"], incident["branch"]) == (
        "SEV1",
        "resolved",
        "records calls.jsonl",
    )
    assert incident["since"]["time"] == "2026-01-01T00:02:30.000Z"
    assert {body["incident"] for _, _, body in receiver.got} == {incident["id"]}
    assert incident["id"] in alerts[0]["message"]
    assert [s["event"] for s in incident["timeline"]] == ["detected", "triaged", "seen", "resolved"]
    # the same records again: nothing is sent, opened or noted
    before, journal = len(receiver.got), Path("runs/journals/incidents.jsonl").read_bytes()
    assert main([*gate, "--alerts", "on", "--json"]) == 1
    assert len(receiver.got) == before
    assert Path("runs/journals/incidents.jsonl").read_bytes() == journal
    # the log has grown by another bad stretch: an incident that names the first
    lines += [
        {"id": f"n{m}{i}", "time": f"2026-01-01T00:{m:02}:{i:02}Z", "status": "error"}
        for m in range(30, 34)
        for i in range(10)
    ]
    Path("calls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    assert main([*gate, "--alerts", "off", "--json", "--keep"]) == 1
    told = json.loads(capsys.readouterr().out)
    (again,) = {name for window in told["windows"] for name in window["incidents"]} - {incident["id"]}
    assert again in told["notes"][0]
    assert main(["incidents", "show", again, "--store", "runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["earlier"] == incident["id"]


def test_a_test_run_alerts_and_keeps_its_exit_code(
    receiver: Any, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", f"json://{receiver.host}/hook")
    monkeypatch.setenv("REFUSED_URL", "json://127.0.0.1:9/")
    pytester.makefile(
        ".toml",
        budget='[metric.x]\nmax = 1\n[[alert]]\nto = ["env:HOOK_URL", "env:REFUSED_URL", "env:UNSET_URL"]\n',
    )
    pytester.makepyfile(
        """
        def test_one(llm_watch):
            llm_watch.metric("x", 2)
        """
    )
    result = pytester.runpytest_subprocess(
        "--llm-budget=budget.toml", "--llm-store=runs", "--llm-alerts=on", "-p", "no:llmock"
    )
    assert result.ret == 1, result.outlines
    (path, _, body), *rest = receiver.got
    assert rest == []
    assert (path, body["rules"]) == ("/hook", "metric.x.max")
    said = " ".join(" ".join(result.outlines).split())
    assert "sent to env:HOOK_URL" in said
    assert "not delivered to env:REFUSED_URL" in said
    assert "UNSET_URL is not set" in said
