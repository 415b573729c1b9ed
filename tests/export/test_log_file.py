"""The log as a file and as log records: sampled, rotated, loaded by query tools."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch import pipeline_telemetry
from pytest_llmwatch.budget_types import TelemetryOptions
from pytest_llmwatch.export import log_file, logs, otlp_json, sampling
from pytest_llmwatch.model import Attempt, CaseResult, Incident, Retrieval, Score, ToolCall
from pytest_llmwatch.plugin.live_log import LiveLog

EVENTS = {
    "run_started", "llm_request_started", "llm_request_completed", "llm_request_failed", "llm_request_retry",
    "llm_request_rate_limited", "llm_parse_failed", "llm_tool", "llm_retrieval", "llm_score", "llm_metric",
    "problem", "llm_gate", "incident_opened", "incident_seen", "incident_resolved", "run_completed",
}  # fmt: skip


def full(factory: ModuleType, calls: int = 60) -> Any:
    """A report that has every kind of event."""
    report = factory.make_report(calls)
    made = list(report.run.calls)
    made[0] = replace(
        made[0], attempts=(Attempt(429, 0.1, None, 1.0), Attempt(200, 0.2)), metrics={"clicks": 2.0},
        retrieval=Retrieval("in-query", (), ("in-document",), (), "index"),
        tool_calls=(ToolCall("lookup", "in-arguments", "t1", False, "in-result", "refused"),),
    )  # fmt: skip
    results = list(report.run.results)
    results[0] = replace(results[0], scores=(Score("json", 0.0, None, "in-explanation"),))
    steps = ("detected", "triaged", "seen", "resolved")
    incident = Incident(
        "inc-1", "SEV2", "latency_spike", "Elevated latency", ("latency.p95",),
        timeline=tuple({"event": e, "time": report.run.time, "run": report.run.run_id} for e in steps),
        affected={"features": {"chat": 3}}, what="in-text",
    )  # fmt: skip
    run = replace(report.run, calls=tuple(made), results=tuple(results))
    return replace(report, run=run, incidents=(incident,))


def read(report: Any, share: float = 1.0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs.render(report, share=share)]


def documented(project_root: Path) -> dict[str, set[str]]:
    page = (project_root / "docs" / "reference" / "outputs.md").read_text(encoding="utf-8")
    table = page.partition("## events.jsonl")[2].partition("\n## ")[0]
    out: dict[str, set[str]] = {}
    for row in table.splitlines():
        cells = [c.strip() for c in row.split("|")[1:-1]]
        if len(cells) == 2 and "`" in cells[0]:
            names = [w.strip("`, ") for w in cells[0].split()]
            for name in names:
                out[name] = {w for part in cells[1].split("`")[1::2] for w in part.split()}
    return out


def test_every_event_is_there_flat_bounded_and_documented(factory: ModuleType, project_root: Path) -> None:
    events = read(full(factory))
    assert {e["event"] for e in events} == EVENTS
    pages = documented(project_root)
    assert set(pages) == EVENTS
    shared = {"schema_version", "run_id", "event", "level", "sample_share"}
    for event in events:
        assert all(isinstance(v, str | int | float | bool) for v in event.values()), event
        assert all(len(v) <= logs.MAX_TEXT + 1 for v in event.values() if isinstance(v, str))
        assert set(event) - shared <= pages[event["event"]], event["event"]
        assert event["level"] in ("info", "warning", "error")
    text = json.dumps(events)
    assert "in-" not in text.replace("in-flight", "")


def test_a_sampled_log_keeps_all_that_failed_and_whole_tests(factory: ModuleType) -> None:
    report = factory.make_report(400, hostile=False)
    whole, some = read(report), read(report, 0.2)
    assert read(report, 0.2) == some
    failed = [e for e in whole if e["event"] == "llm_request_failed"]
    assert [e["call_id"] for e in some if e["event"] == "llm_request_failed"] == [e["call_id"] for e in failed]
    assert [e for e in some if e["event"] == "llm_gate"] == [e for e in whole if e["event"] == "llm_gate"]
    done = [e for e in some if e["event"] == "llm_request_completed"]
    weighed = sum(1 / e.get("sample_share", 1) for e in done)
    true = sum(e["event"] == "llm_request_completed" for e in whole)
    assert len(done) < 0.6 * true
    assert abs(weighed - true) < 0.3 * true
    starts = Counter(e["call_id"] for e in some if e["event"] == "llm_request_started")
    ends = Counter(e["call_id"] for e in some if e["event"].endswith(("_completed", "_failed")) and "call_id" in e)
    assert set(starts) <= set(ends) | {e["call_id"] for e in some if e["event"] == "llm_request_failed"}
    # a trace is thinned by whole tests alike, and by the same ones
    traced = sampling.thinned(report, 0.2).run
    assert {c.id for c in traced.calls} == set(starts)
    assert {r.nodeid for r in report.run.results if not r.passed} <= {r.nodeid for r in traced.results}
    spans = list(otlp_json.pieces(sampling.thinned(report, 0.2)))
    assert len(traced.calls) < len(spans) < 0.6 * len(list(otlp_json.pieces(report)))
    assert sampling.thinned(report, 1.0) is report
    none = read(report, 0.0)
    bad = {r.nodeid for r in report.run.results if not r.passed} | {
        c.nodeid for c in report.run.calls if c.failed or c.retries
    }
    assert {e["nodeid"] for e in none if e["event"] == "llm_request_started"} <= bad


def test_a_log_is_rotated_and_loses_only_what_went_well(factory: ModuleType, tmp_path: Path) -> None:
    lines = list(logs.render(full(factory, 200)))
    path = tmp_path / "events.jsonl"
    assert log_file.write(path, lines, max_bytes=50_000, files=100) == 0
    parts = sorted(tmp_path.glob("events.jsonl*"), key=lambda p: int(p.suffix[1:]) if p.suffix != ".jsonl" else 0)
    assert len(parts) > 3
    assert all(p.stat().st_size <= 50_000 for p in parts)
    together = "".join(p.read_text() for p in reversed(parts))
    assert together.splitlines() == lines

    lost = log_file.write(path, lines, max_bytes=50_000, files=4)
    left = [json.loads(x) for p in tmp_path.glob("events.jsonl*") for x in p.read_text().splitlines()]
    assert lost == len(lines) - len(left) > 0
    worse = [json.loads(x) for x in lines if json.loads(x)["level"] != "info"]
    assert sum(e["level"] != "info" for e in left) == len(worse)
    assert {"run_started", "run_completed"} <= {e["event"] for e in left}

    assert log_file.write(path, lines[:3], max_bytes=50_000, files=4) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["events.jsonl"]


def test_events_reach_handlers_of_the_standard_library(factory: ModuleType, tmp_path: Path) -> None:
    report = full(factory)
    logger = logging.getLogger("llmwatch.events.test")
    logger.setLevel(logging.WARNING)
    assert log_file.emit(logs.events(report), logger) == 0  # nobody listens
    path = tmp_path / "deep" / "app.jsonl"
    handler = log_file.JsonLinesHandler(path, max_bytes=3_000, files=3)
    logger.addHandler(handler)
    try:
        sent = log_file.emit(logs.events(report), logger)
        logger.warning("key sk-proj-abcdefghijklmnopqrstuvwxyz0123456789", extra={"route": "chat", "data": [1]})
    finally:
        logger.removeHandler(handler)
        handler.close()
    wanted = [e for e in read(report) if e["level"] != "info"]
    assert sent == len(wanted) > 0
    files = sorted(path.parent.glob("app.jsonl*"))
    assert 1 < len(files) <= 3
    last = json.loads(path.read_text().splitlines()[-1])
    assert last["route"] == "chat"
    assert "data" not in last
    assert "sk-proj" not in last["event"]
    rest = [json.loads(line) for line in path.read_text().splitlines()[:-1]]
    assert all(e in wanted for e in rest)


def test_calls_are_logged_when_they_end_and_only_once(factory: ModuleType) -> None:
    report = full(factory)
    seen: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.__dict__["llmwatch"])

    live = LiveLog(report.run.run_id, worker=False)
    live.call(report.run.calls[0], TelemetryOptions())
    assert live.told == set()  # nobody listens
    logger, handler = logging.getLogger("llmwatch.events"), Keep()
    logger.addHandler(handler)
    try:
        live.call(report.run.calls[1], TelemetryOptions(log_share=0.5))
        LiveLog("r", worker=True).call(report.run.calls[1], TelemetryOptions())
        assert seen == []
        for call in report.run.calls[:10]:
            live.call(call, TelemetryOptions())
        assert live.told == {c.id for c in report.run.calls[:10]}
        assert seen[0]["event"] == "llm_request_started"
        assert not any("user" in e for e in seen)
        pipeline_telemetry.deliver(report, TelemetryOptions(), live.told)
    finally:
        logger.removeHandler(handler)
    names = Counter((e["event"], e.get("call_id")) for e in seen)
    assert names == Counter((e["event"], e.get("call_id")) for e in read(report))


def test_query_tools_load_the_log(factory: ModuleType, require: Any, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    report = full(factory)
    log_file.write(path, logs.render(report), max_bytes=10_000_000, files=1)
    failed = sum(c.failed for c in report.run.calls)
    jq = shutil.which("jq")
    require(jq, "jq", "apt-get install jq")
    words = 'select(.event == "llm_request_failed") | [.model, .error_type, .latency] | @tsv'
    done = subprocess.run([str(jq), "-r", words, str(path)], capture_output=True, check=True, text=True)
    assert len(done.stdout.splitlines()) == failed
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(
        f"select status, count(*) n, quantile_cont(latency, 0.95) p95 from read_json_auto('{path}') "
        "where event in ('llm_request_completed', 'llm_request_failed') group by all"
    ).fetchall()
    assert sum(n for _, n, _ in found) == len(report.run.calls)
    assert all(p95 > 0 for _, _, p95 in found)


def test_a_test_without_calls_has_its_scores_in_the_log(factory: ModuleType) -> None:
    run = replace(factory.make_run(4), calls=(), results=(CaseResult("n", scores=(Score("json", 0.0),)),))
    kinds = [e["event"] for e in read(run)]
    assert kinds == [
        "run_started",
        "llm_parse_failed",
        "llm_score",
        *["problem"] * len(run.problems),
        "run_completed",
    ]
