"""Rules of agents, retrieval, outcomes and metrics over production records: each breaks, and each holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main

FLOORS = """
[retrieval]
hit_rate = {x}
hit_at_1 = {x}
mrr = {x}
precision_at_k = {x}
recall_at_k = {x}
documents = {x}
[agent]
cache_hit_rate = {x}
task_success = {x}
[outcome]
success_rate = {x}
[metric.depth]
min = {x}
[scope."feature:chat".retrieval]
hit_rate = {x}
"""
CEILINGS = """
[retrieval]
empty_rate = {x}
[agent]
fallback_rate = {x}
tool_error_rate = {x}
loops = {x}
[outcome]
reask_rate = {x}
correction_rate = {x}
escalation_rate = {x}
thumbs_down_rate = {x}
[metric.depth]
mean = {x}
p95 = {x}
max = {x}
"""


def record(i: str, trace: str, **more: Any) -> dict[str, Any]:
    return {"id": i, "trace_id": trace, "model": "m", "input": "q", "feature": "chat", **more}


def lines() -> list[dict[str, Any]]:
    tool = [{"name": "search", "arguments": {"q": 1}, "error": "down"}]
    docs = [{"id": "d1", "text": "one"}, {"id": "d2", "text": "two"}]
    good = {"success": True, "reask": False, "corrected": False, "escalated": False, "feedback": "up"}
    bad = {"success": False, "reask": True, "corrected": True, "escalated": True, "feedback": "thumbs_down"}
    return [
        record("r1", "t1", operation="retrieval", retrieved=docs, case="one", expected_documents=["d2"]),
        record("a1", "t1", status="error", error="down", metrics={"depth": 0.5}, tags={"cache": "miss"}),
        record("a2", "t1", model="other", tool_calls=tool * 3, outcome=bad, metrics={"depth": 0.9}),
        record("r2", "t2", operation="retrieval", retrieved=[], case="two", expected_documents=["d9"]),
        record("b1", "t2", outcome=good, metrics={"depth": 0.5}, tags={"cache": "hit"}),
    ]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines()))
    return tmp_path


def gate(log: Path, budget: str) -> dict[str, Any]:
    (log / "budget.toml").write_text(budget)
    code = main(["gate", "log.jsonl", "--budget", "budget.toml", "-o", "out"])
    run = json.loads((log / "out" / "run.json").read_text())
    return {"exit": code} | {v["rule"]: (v["verdict"], v["observed"]) for v in run["verdicts"]}


def test_each_rule_breaks(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = gate(log, FLOORS.format(x=1))
    assert told.pop("exit") == 1
    # two documents and none: one on the mean, which is no less than 1
    assert {r: v for r, v in told.items() if v[0] != "fail"} == {"retrieval.documents": ("pass", 1.0)}
    assert told["retrieval.hit_rate"] == told["scope.feature:chat.retrieval.hit_rate"] == ("fail", 0.5)
    assert (told["retrieval.mrr"][1], told["retrieval.hit_at_1"][1]) == (0.25, 0)
    over = gate(log, CEILINGS.format(x=0))
    assert over.pop("exit") == 1
    assert {r: v for r, v in over.items() if v[0] != "fail"} == {}
    assert over["agent.fallback_rate"][1] == pytest.approx(1 / 3)
    capsys.readouterr()


def test_each_rule_holds(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in (FLOORS.format(x=0), CEILINGS.format(x=1)):
        found = gate(log, text)
        assert found.pop("exit") == 0
        assert {r: v for r, v in found.items() if v[0] != "pass"} == {}
    capsys.readouterr()
