"""A test run keeps itself in a database, is compared with what lies there, and stops early where it is down."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_llmwatch.store.base import open_store

BUDGET = (
    '[model]\nmodel = "m"\n[prices.m]\ninput_per_million = 1e5\noutput_per_million = 1e5\n'
    "[cost]\nday_usd = 100.0\n[drift]\nmetrics = ['relevance', 'passed']\n"
)
LIVE = ("--llm-budget=budget.toml", "--llm-record=off", "golden_sets")


def test_runs_are_kept_summed_and_compared_in_a_database(project: Any, postgres: str) -> None:
    project.golden()
    project.budget(BUDGET)
    first = project.run(*LIVE, f"--llm-store={postgres}")
    assert first.ret == 0, first.stdout.str()
    spent = {v["rule"]: v["observed"] for v in project.report()["verdicts"]}["cost.day_usd"]
    again = project.run(*LIVE, f"--llm-store={postgres}", "--llm-baseline=latest")
    assert again.ret == 0, again.stdout.str()
    verdicts = {v["rule"]: v for v in project.report()["verdicts"]}
    assert verdicts["cost.day_usd"]["observed"] > 1.9 * spent
    assert verdicts["drift.passed"]["baseline"] == 1.0
    assert verdicts["drift.passed"]["n_cases"] == 3
    assert len(open_store(postgres, project.path).runs()) == 2
    assert "hush" not in again.stdout.str() + (project.path / "llmwatch-report" / "report.html").read_text()


def test_a_dead_store_ends_the_run_before_a_call_is_paid(
    project: Any, dead_url: str, loopback: Any, require: Callable[..., None]
) -> None:
    require(importlib.util.find_spec("sqlalchemy"), "sqlalchemy", "pip install 'pytest-llmwatch[sql]'")
    project.golden()
    project.budget(BUDGET)
    port = dead_url.rpartition(":")[2].partition("/")[0]
    result = project.run(*LIVE, f"--llm-store=postgresql://u:hu%24h@127.0.0.1:{port}/d")
    assert result.ret == 7
    said = result.stdout.str() + result.stderr.str()
    assert "llmwatch:store-down" in said
    assert "hu%24h" not in said
    assert "Traceback" not in said
    assert not (project.path / "llmwatch-report").exists()


def test_a_store_that_fails_at_the_end_is_told_and_the_report_stays(project: Any) -> None:
    project.budget(BUDGET)
    Path(project.path / "test_app.py").write_text(
        "def test_asks(llm_call):\n"
        "    assert llm_call('hello', api='chat').text\n"
        "    open('runs.db', 'w').write('no database any more' * 100)\n"
    )
    result = project.run("--llm-budget=budget.toml", "--llm-record=off", "--llm-store=sqlite:///runs.db")
    assert result.ret == 7, result.stdout.str()
    result.stdout.fnmatch_lines(["*the run is not in the store: sqlite:///runs.db: is no database*"])
    data = project.report()
    assert data["exit_code"] == 7
    assert data["aggregates"]["calls"] == 1
