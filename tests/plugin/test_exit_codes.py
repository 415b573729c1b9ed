"""Exit codes in every combination that the interface promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

OK = """
[model]
model = "gpt-4o-mini"
[latency]
max = "60 s"
"""
BROKEN = """
[model]
model = "gpt-4o-mini"
[latency]
max = "1 ms"
"""
TESTS = """
import pytest
{pre}
def test_asks(llm_call):
    assert llm_call("hello", api="chat").text

def test_asks_again(llm_call):
    assert llm_call("hello again", api="chat").text

def test_plain():
    assert True
"""
WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "n2"])


@pytest.fixture
def suite(project: Any) -> Any:
    project.path.joinpath("test_app.py").write_text(TESTS.format(pre=""))
    return project


@WORKERS
def test_green(suite: Any, workers: tuple[str, ...]) -> None:
    suite.budget(OK)
    result = suite.run("--llm-budget=budget.toml", *workers)
    assert result.ret == 0, result.stdout.str()
    result.assert_outcomes(passed=3)
    assert suite.report()["verdict"] == "pass"
    assert suite.report()["exit_code"] == 0


@WORKERS
def test_a_broken_rule_is_1_and_named(suite: Any, workers: tuple[str, ...]) -> None:
    suite.budget(BROKEN)
    result = suite.run("--llm-budget=budget.toml", "--junitxml=junit.xml", *workers)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*llm quality gate: FAIL*", "FAILED budget.toml::latency.max - *", "*1 failed, 3 passed*"]
    )
    junit = (suite.path / "junit.xml").read_text()
    assert 'name="latency.max"' in junit
    assert 'failures="1"' in junit
    assert suite.report()["exit_code"] == 1


@WORKERS
def test_the_exit_code_of_a_broken_rule_can_be_chosen(suite: Any, workers: tuple[str, ...]) -> None:
    suite.budget(BROKEN + "[gate]\nexit_code = 3\n")
    assert suite.run("--llm-budget=budget.toml", *workers).ret == 3


@WORKERS
def test_gate_off_and_defer_leave_the_code_alone(suite: Any, workers: tuple[str, ...]) -> None:
    suite.budget(BROKEN)
    assert suite.run("--llm-budget=budget.toml", "--llm-gate=off", *workers).ret == 0
    deferred = suite.run("--llm-budget=budget.toml", "--llm-gate=defer", *workers)
    assert deferred.ret == 0
    assert suite.report()["aggregates"]["calls"] == 2


@WORKERS
def test_exitfirst_shows_the_report_of_a_partial_run(project: Any, workers: tuple[str, ...]) -> None:
    project.path.joinpath("test_app.py").write_text(TESTS.format(pre="def test_a():\n    assert 0\n"))
    project.budget(BROKEN)
    result = project.run("-x", "--llm-budget=budget.toml", *workers)
    assert result.ret in (1, 2)  # xdist reports an interrupted session
    assert project.report()["partial"] is True


@WORKERS
def test_no_tests_is_5(project: Any, workers: tuple[str, ...]) -> None:
    project.budget(OK)
    assert project.run("--llm-budget=budget.toml", *workers).ret == 5


@WORKERS
def test_nothing_measured_is_7(project: Any, workers: tuple[str, ...]) -> None:
    project.path.joinpath("test_app.py").write_text("def test_plain():\n    assert True\n")
    project.budget(OK)
    result = project.run("--llm-budget=budget.toml", *workers)
    assert result.ret == 7, result.stdout.str()
    project.budget(OK + "[gate]\nallow_empty = true\n")
    assert project.run("--llm-budget=budget.toml", *workers).ret == 0
    project.budget(OK + "[gate]\nexit_code = 1\n")
    assert project.run("--llm-budget=budget.toml", *workers).ret == 1


@WORKERS
def test_a_scope_that_matches_nothing_is_7(suite: Any, workers: tuple[str, ...]) -> None:
    suite.budget(OK + '[scope."feature:nobody".latency]\nmax = "60 s"\n')
    result = suite.run("--llm-budget=budget.toml", *workers)
    assert result.ret == 7
    result.stdout.fnmatch_lines(["*feature*nobody*"])


@WORKERS
def test_a_cost_limit_over_unpriced_calls_is_7_never_a_pass(suite: Any, workers: tuple[str, ...]) -> None:
    suite.budget('[model]\nmodel = "nobody-knows-this-model"\n[cost]\nrun_usd = 100.0\n')
    result = suite.run("--llm-budget=budget.toml", *workers)
    assert result.ret == 7, result.stdout.str()
    assert suite.report()["aggregates"]["unpriced"] == 2
    priced = '[model]\nmodel = "nobody-knows-this-model"\n[cost]\nrun_usd = 100.0\n'
    suite.budget(
        priced + '[prices."nobody-knows-this-model"]\ninput_per_million = 1.0\noutput_per_million = 2.0\n'
    )
    assert suite.run("--llm-budget=budget.toml", *workers).ret == 0


@WORKERS
def test_usage_errors_are_4_with_one_clean_line(suite: Any, workers: tuple[str, ...]) -> None:
    suite.budget("[latency]\np59 = 1\n")
    result = suite.run("--llm-budget=budget.toml", *workers)
    assert result.ret == 4
    assert "budget.toml:2:" in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    missing = suite.run("--llm-budget=nowhere.toml", *workers)
    assert missing.ret == 4
    assert "nowhere.toml" in missing.stderr.str()


@pytest.mark.parametrize(
    "option", ["--llm-repeats=0", "--llm-repeats=often", "--llm-max-cost=-1", "--llm-concurrency=x", "--llm-rpm=0"]
)
def test_wrong_options_are_4(suite: Any, option: str) -> None:
    suite.budget(OK)
    result = suite.run("--llm-budget=budget.toml", option)
    assert result.ret == 4
    assert option.split("=", maxsplit=1)[0] in result.stderr.str()


@WORKERS
def test_a_dead_endpoint_is_7_and_called_infrastructure(
    suite: Any, workers: tuple[str, ...], dead_url: str
) -> None:
    suite.budget(OK + "[errors]\nrate = { fail = 0.01, test = false }\n[quality]\nrelevance = 0.5\n")
    result = suite.run("--llm-budget=budget.toml", *workers, OPENAI_BASE_URL=dead_url)
    assert result.ret == 7, result.stdout.str()
    result.stdout.fnmatch_lines(["*infrastructure*"])
    assert "Traceback" not in result.stdout.str()
    assert not [v for v in suite.report()["verdicts"] if v["verdict"] == "fail"]


def test_no_key_is_named(suite: Any) -> None:
    suite.budget(OK)
    result = suite.run("--llm-budget=budget.toml", OPENAI_API_KEY="", OPENAI_BASE_URL="")
    assert result.ret == 7, result.stdout.str()
    result.stdout.fnmatch_lines(["*OPENAI_API_KEY*llmwatch:no-api-key*"])


def test_a_test_failure_of_its_own_stays_1_beside_a_dead_endpoint(suite: Any, dead_url: str) -> None:
    suite.budget(OK)
    suite.path.joinpath("test_more.py").write_text("def test_wrong():\n    assert 0\n")
    assert suite.run("--llm-budget=budget.toml", OPENAI_BASE_URL=dead_url).ret == 1


def test_interrupted_is_2_and_keeps_what_was_measured(project: Any) -> None:
    project.path.joinpath("test_app.py").write_text(
        TESTS.format(pre="")
        + "\ndef test_stop():\n    raise KeyboardInterrupt\n\ndef test_never():\n    assert 0\n"
    )
    project.budget(OK)
    result = project.run("--llm-budget=budget.toml")
    assert result.ret == 2
    data = project.report()
    assert data["partial"] is True
    assert data["aggregates"]["calls"] == 2


def test_a_killed_worker_loses_nothing_that_was_finished(project: Any) -> None:
    project.path.joinpath("test_app.py").write_text(
        "import os, signal\nimport pytest\n"
        "@pytest.mark.parametrize('i', range(8))\n"
        "def test_asks(llm_call, i):\n"
        "    assert llm_call(f'hello {i}', api='chat').text\n"
        "    if i == 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    project.budget(OK)
    result = project.run("--llm-budget=budget.toml", "-n2")
    assert result.ret == 1
    data = project.report()
    asked = {c["nodeid"] for c in data["cases"]}
    assert data["aggregates"]["calls"] == 8, json.dumps(data["problems"])
    assert len(asked) == 7


def test_max_cost_stops_spending_and_says_what_was_not_run(project: Any) -> None:
    project.path.joinpath("test_app.py").write_text(
        "import pytest\n@pytest.mark.parametrize('i', range(5))\n"
        "def test_asks(llm_call, i):\n    assert llm_call(f'hello {i}', api='chat').text\n"
    )
    project.budget(
        '[model]\nmodel = "m"\n[latency]\nmax = "60 s"\n'
        "[prices.m]\ninput_per_million = 1e6\noutput_per_million = 1e6\n"
    )
    result = project.run("--llm-budget=budget.toml", "--llm-max-cost=1")
    data = project.report()
    assert data["aggregates"]["calls"] == 1
    assert sum(p["kind"] == "not_run" for p in data["problems"]) == 4
    assert data["partial"] is True
    assert result.ret == data["exit_code"] == 7  # green would claim what was not measured
    assert data["verdict"] == "error"
    assert data["sentence"].startswith(
        "the gate could not do its work: 4 tests were not run; on what ran, latency.max"
    )
    result.stdout.fnmatch_lines(["*llm quality gate: ERROR*", "*not run*"])
