"""Day and month budgets sum what runs spent, over the store."""

from __future__ import annotations

from typing import Any

import pytest

PRICES = '[model]\nmodel = "m"\n[prices.m]\ninput_per_million = 1e5\noutput_per_million = 1e5\n'


def test_a_day_budget_counts_earlier_runs_partial_ones_too_and_replays_never(project: Any) -> None:
    project.path.joinpath("test_app.py").write_text(
        "import pytest\n@pytest.mark.parametrize('i', range(2))\n"
        "def test_asks(llm_call, i):\n    assert llm_call(f'hello {i}', api='chat').text\n"
    )
    slices = '[scope."model:m".cost]\nday_usd = 100.0\n[scope."model:other".cost]\nmonth_usd = 1.0\n'
    project.budget(PRICES + '[cost]\nday_usd = 100.0\nmonth_usd = 100.0\n[store]\nurl = ".llmwatch"\n' + slices)
    live = ("--llm-budget=budget.toml", "--llm-record=all")

    def observed(*args: str) -> float:
        assert project.run(*args).ret == 0
        verdicts = {v["rule"]: v["observed"] for v in project.report()["verdicts"]}
        assert verdicts["cost.day_usd"] == verdicts["cost.month_usd"]
        assert verdicts["scope.model:m.cost.day_usd"] == pytest.approx(verdicts["cost.day_usd"])
        assert verdicts["scope.model:other.cost.month_usd"] == 0
        return float(verdicts["cost.day_usd"])

    first = observed(*live)
    assert first > 0
    partial = observed(*live, "-k", "0")
    assert first < partial < 2 * first
    all_of_it = observed(*live)
    assert all_of_it > partial + 0.9 * first
    before = (project.path / ".llmwatch" / "spent.jsonl").read_text()
    assert observed("--llm-budget=budget.toml", "--llm-record=none") == all_of_it
    assert (project.path / ".llmwatch" / "spent.jsonl").read_text() == before


def test_the_budget_names_the_folder_of_the_report(project: Any) -> None:
    project.path.joinpath("test_app.py").write_text(
        "def test_asks(llm_call):\n    assert llm_call('hello', api='chat').text\n"
    )
    project.budget(PRICES + '[latency]\nmax = "60 s"\n[report]\ndir = "out/llm"\n')
    assert project.run("--llm-budget=budget.toml").ret == 0
    assert (project.path / "out" / "llm" / "run.json").exists()
    assert not (project.path / "llmwatch-report").exists()
