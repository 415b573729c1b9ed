"""events.jsonl: one line per event, no bodies, no secrets."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from types import ModuleType

from pytest_llmwatch.export import logs
from pytest_llmwatch.model import ToolCall


def test_every_life_cycle_event_has_its_line(factory: ModuleType) -> None:
    report = factory.make_report(200)
    events = [json.loads(line) for line in logs.render(report)]
    kinds = Counter(e["event"] for e in events)
    failed = sum(c.failed for c in report.run.calls)
    assert failed > 0
    assert kinds["run_started"] == kinds["run_completed"] == 1
    assert kinds["llm_request_started"] == 200
    assert kinds["llm_request_failed"] == failed
    assert kinds["llm_request_completed"] == 200 - failed
    assert kinds["llm_gate"] == len(report.verdicts)
    assert kinds["llm_score"] == sum(len(r.scores) for r in report.run.results)
    assert events[0]["event"] == "run_started"
    assert events[-1]["event"] == "run_completed"
    assert events[-1]["exit_code"] == 1
    assert {e["run_id"] for e in events} == {report.run.run_id}


def test_fields_carry_our_names_and_absent_ones_are_left_out(factory: ModuleType) -> None:
    run = factory.make_run(8, hostile=False)
    done = next(e for line in logs.render(run) if (e := json.loads(line))["event"] == "llm_request_completed")
    assert {"call_id", "model", "prompt_version", "latency", "ttft", "input_tokens", "status"} <= set(done)
    assert "tenant" not in done
    assert None not in done.values()


def test_no_body_reaches_the_log(factory: ModuleType) -> None:
    report = factory.make_report(60, hostile=False)
    tool = ToolCall("lookup", '{"secret": "in-arguments"}', result="in-result")
    marked = tuple(
        replace(c, input="in-input", output="in-output", context=("in-context",), tool_calls=(tool,))
        for c in report.run.calls
    )
    results = tuple(replace(r, input="in-input", output="in-output") for r in report.run.results)
    text = "\n".join(logs.render(replace(report, run=replace(report.run, calls=marked, results=results))))
    assert '"lookup"' in text  # what was called is worth a field, with what is not
    assert "in-" not in text.replace("in-flight", "")


def test_a_line_stays_a_line_whatever_an_error_says(factory: ModuleType) -> None:
    run = factory.make_run(4)
    evil = "first\nsecond\r\u2028third \ud800" + "x" * 5000
    run = replace(run, calls=(replace(run.calls[0], status="error", error=evil),))
    lines = list(logs.render(run))
    assert all(line.isascii() and "\n" not in line for line in lines)
    assert all(len(line) < 3000 for line in lines)


def test_an_unknown_end_is_not_invented(factory: ModuleType) -> None:
    run = factory.make_run(4, hostile=False)
    run = replace(run, calls=(replace(run.calls[0], latency=None), replace(run.calls[1], latency=1.5)))
    ends = [e for line in logs.render(run) if (e := json.loads(line))["event"] == "llm_request_completed"]
    assert "time" not in ends[0]
    assert ends[1]["time"] == "2026-11-20T02:04:12.593Z"
