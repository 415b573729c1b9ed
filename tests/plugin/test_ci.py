"""A run as a step of GitHub Actions, and what JUnit holds."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

BUDGET = """
[model]
model = "gpt-4o-mini"
[latency]
max = "1 ms"
"""
TEST = """
def test_asks(llm_call):
    assert llm_call("hello", api="chat").score("relevance") is not None

def test_fails(llm_call):
    assert llm_call("hello again", api="chat").text == "never"
"""


def test_a_step_of_github_gets_annotations_summary_and_junit(project: Any) -> None:
    root = project.path / "service"
    root.mkdir()
    (root / "test_app.py").write_text(TEST)
    (root / "budget.toml").write_text(BUDGET)
    (root / "pytest.ini").write_text("[pytest]\n")
    summary = project.path / "step.md"
    summary.write_text("earlier step\n")
    env = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(project.path),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    args = ("--rootdir=service", "-c", "service/pytest.ini", "service", "--llm-budget=service/budget.toml")
    result = project.run(*args, "--junitxml=junit.xml", **env)
    assert result.ret == 1
    commands = [line for line in result.outlines if line.startswith("::")]
    assert len(commands) == 2
    assert commands[0].startswith("::error file=service/budget.toml,line=5,title=latency.max broken::")
    assert commands[1].startswith("::error file=service/test_app.py,line=5,title=test_fails::")
    written = summary.read_text()
    assert written.startswith("earlier step\n\n<!-- pytest-llmwatch summary -->\n")
    assert "FAIL" in written

    cases = {c.get("name"): c for c in ET.parse(project.path / "junit.xml").iter("testcase")}
    assert cases["latency.max"].find("failure") is not None
    own = {p.get("name"): p.get("value") for p in cases["test_asks"].iter("property")}
    assert own["llm.calls"] == "1"
    assert float(own["llm.cost_usd"]) > 0
    assert "score.relevance" in own
    rule = {p.get("name"): p.get("value") for p in cases["latency.max"].iter("property")}
    assert rule["verdict"] == "fail"

    summary.write_text("")
    quiet = project.run(*args, LLMWATCH_GITHUB="off", **env)
    assert quiet.ret == 1
    assert not [line for line in quiet.outlines if line.startswith("::")]
    assert summary.read_text() == ""
