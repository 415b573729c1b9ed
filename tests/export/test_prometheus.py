"""Metrics: what they say, how many labels they take, and what a real Prometheus makes of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch import pipeline_telemetry
from pytest_llmwatch.budget_types import TelemetryOptions
from pytest_llmwatch.export import metrics, prometheus
from pytest_llmwatch.model import Call, Cost, Retrieval, Run, ToolCall, Usage

NAMED = (
    "llm_requests_total", "llm_errors_total", "llm_tokens_total", "llm_cost_usd_total", "llm_retries_total",
    "llm_cache_hits_total", "llm_fallbacks_total", "llm_tool_calls_total", "llm_retrievals_total",
    "llm_agent_steps_total", "llm_request_duration_seconds", "llm_time_to_first_token_seconds", "llm_score",
    "llm_gate_verdict", "llm_gate_exit_code",
)  # fmt: skip


def lines(text: str, name: str) -> list[str]:
    return [x for x in text.splitlines() if re.match(rf"{name}[{{ ]", x)]


def value(text: str, name: str, **labels: str) -> float:
    wanted = {f'{k}="{v}"' for k, v in labels.items()}
    return sum(float(x.rsplit(" ", 1)[1]) for x in lines(text, name) if all(w in x for w in wanted))


def test_every_family_is_there_and_adds_up(factory: ModuleType) -> None:
    report = factory.make_report(200)
    calls = report.run.calls
    text = prometheus.render(report)
    assert [n for n in NAMED if f"# TYPE {n} " not in text] == []
    assert value(text, "llm_requests_total") == len(calls)
    assert value(text, "llm_requests_total", status="timeout") == sum(c.status == "timeout" for c in calls)
    assert value(text, "llm_errors_total") == sum(c.failed for c in calls)
    assert value(text, "llm_tokens_total", type="input") == sum(c.usage.input_tokens or 0 for c in calls)
    assert value(text, "llm_cost_usd_total") == pytest.approx(sum(c.cost.usd or 0 for c in calls))
    assert value(text, "llm_request_duration_seconds_count") == sum(c.latency is not None for c in calls)
    assert value(text, "llm_gate_verdict", verdict="fail") == sum(v.verdict == "fail" for v in report.verdicts)
    assert value(text, "llm_gate_exit_code") == report.exit_code
    assert text == prometheus.render(report)


def test_the_budgets_limits_are_bounds_of_buckets(factory: ModuleType) -> None:
    report = factory.make_report(40)
    limits = {v.limit for v in report.verdicts if v.rule == "latency.p95"}
    assert limits
    bounds = re.findall(r'llm_request_duration_seconds_bucket{le="([0-9.]+)"', prometheus.render(report))
    assert limits <= {float(b) for b in bounds}
    assert {0.01, 81.92} <= {float(b) for b in bounds}
    bare = re.findall(r'llm_request_duration_seconds_bucket{le="([0-9.]+)"', prometheus.render(report.run))
    assert len(set(bare)) == 14  # without a budget, the conventions' own


def test_a_hundred_thousand_users_are_no_labels() -> None:
    calls = tuple(
        Call(
            id=f"{n:016x}", model="m", user=f"user-{n}", session=f"session-{n}", feature=f"feature-{n}",
            team=f"team-{n % 70}", prompt_version=f"v{n}", latency=0.1, request_id=f"req-{n}",
        )
        for n in range(100_000)
    )  # fmt: skip
    text = prometheus.render(Run("r", "2026-01-01T00:00:00Z", calls=calls), limit=20)
    assert "user-" not in text
    assert "session-" not in text
    assert "req-" not in text
    features = lines(text, "llm_feature_requests_total")
    assert len(features) == 21
    assert value(text, "llm_feature_requests_total", feature="other") == 100_000 - 20
    assert value(text, "llm_feature_requests_total") == 100_000
    assert len(text.splitlines()) < 400


def test_the_most_frequent_values_keep_their_names_and_a_user_in_a_rule_does_not(factory: ModuleType) -> None:
    report = factory.make_report(40)
    named = replace(report.verdicts[0], rule="scope.user:ann.b@example.org.latency.p95")
    text = prometheus.render(replace(report, verdicts=(named, *report.verdicts[1:])))
    assert "ann.b" not in text
    assert 'rule="scope.user.latency.p95"' in text
    labels = metrics.Labels(2)
    labels.learn("feature", ["c", "b", "b", "a", None, None, None])
    assert [labels.of("feature", v) for v in ("a", "b", "c", None)] == ["other", "b", "other", "unknown"]


def test_hostile_labels_stay_one_line() -> None:
    evil = 'x"} 1\nllm_requests_total{model="fake' + "y" * 9999 + "\ud800"
    run = Run("r", "2026-01-01T00:00:00Z", calls=(Call(id="1", model=evil, feature=evil),))
    text = prometheus.render(run)
    assert value(text, "llm_requests_total") == 1
    assert max(map(len, text.splitlines())) < 400
    assert lines(text, 'llm_requests_total{model="fake') == []


def test_tools_retrievals_steps_judges_and_injected_faults() -> None:
    tool = ToolCall("lookup", "{}", "t1", True, "ok")
    calls = (
        Call(id="1", nodeid="a", model="m", tool_calls=(tool, ToolCall("lookup", "x", "t2", False))),
        Call(id="2", nodeid="a", model="m", retrieval=Retrieval("q", (), (), (), "index"), cache_hit=True),
        Call(id="3", nodeid="b", model="m", retrieval=Retrieval("q", ("1", "2"), source="index"), fallback=True),
        Call(id="4", nodeid="a", model="judge", role="judge", cost=Cost(0.5), usage=Usage(9, 9)),
    )
    text = prometheus.render(Run("r", "2026-01-01T00:00:00Z", calls=calls))
    assert value(text, "llm_tool_calls_total", tool="lookup", status="success") == 1
    assert value(text, "llm_tool_calls_total", tool="lookup", status="invalid") == 1
    assert value(text, "llm_retrievals_total", source="index", status="empty") == 1
    assert value(text, "llm_retrieved_documents_total", source="index") == 2
    assert value(text, "llm_agent_tasks_total") == 1
    assert value(text, "llm_agent_steps_total") == 2
    assert value(text, "llm_fallbacks_total") == value(text, "llm_cache_hits_total") == 1
    assert value(text, "llm_requests_total") == 3
    assert value(text, "llm_judge_requests_total") == 1
    assert value(text, "llm_judge_cost_usd_total") == 0.5


def test_promtool_takes_the_metrics_and_the_rules(factory: ModuleType, require: Any, project_root: Path) -> None:
    program = shutil.which("promtool")
    require(program, "prometheus", "apt-get install prometheus")
    assert program is not None
    text = prometheus.render(factory.make_report(60))
    done = subprocess.run([program, "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    # promtool's advice on names is not an error; what it cannot parse is
    assert b"error while linting" not in done.stderr, done.stderr.decode()
    assert done.returncode in (0, 3), done.stderr.decode()
    folder = project_root / "docs" / "how-to" / "telemetry"
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([program, *words], cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_a_real_prometheus_scrapes_both_ways_and_answers(
    factory: ModuleType,
    pushgateway: str,
    prometheus: Callable[..., Any],
    receiver: Callable[..., Any],
    project_root: Path,
) -> None:
    report = factory.make_report(200)
    sent = pipeline_telemetry.deliver(report, TelemetryOptions(pushgateway=pushgateway, job="shop", timeout=30))
    assert [s.problem for s in sent] == [None]
    file = receiver(text=pipeline_telemetry.text(report, "prometheus", TelemetryOptions()))
    folder = project_root / "docs" / "how-to" / "telemetry"
    query = prometheus(rules=folder / "alerts.yml", gateway=pushgateway, file=file.url)

    calls = report.run.calls
    for job in ("shop", "file"):
        of = f'{{job="{job}"}}'
        assert float(query(f"sum(llm_requests_total{of})")[0]["value"][1]) == len(calls)
        rate = query(f'sum(llm_requests_total{{job="{job}",status!="success"}}) / sum(llm_requests_total{of})')
        assert float(rate[0]["value"][1]) == pytest.approx(sum(c.failed for c in calls) / len(calls))
        p95 = query(f"histogram_quantile(0.95, sum by (le) (llm_request_duration_seconds_bucket{of}))")
        times = sorted(c.latency for c in calls if c.latency is not None)
        true = times[int(0.95 * len(times))]
        bounds = sorted(
            float(r["metric"]["le"]) for r in query(f"sum by (le) (llm_request_duration_seconds_bucket{of})")
        )
        low = max((b for b in bounds if b < true), default=0.0)
        high = min(b for b in bounds if b >= true)
        # a histogram knows the bucket, not the value inside of it
        assert low <= float(p95[0]["value"][1]) <= high
    panels = json.loads((folder / "dashboard.json").read_text())["panels"]
    asked = [t["expr"].replace("$job", "shop") for panel in panels for t in panel["targets"]]
    empty = [e for e in asked if not query(e)]
    assert [e for e in empty if "retrievals" not in e] == []  # this run retrieves nothing
    deadline = time.monotonic() + 30
    while not (fired := {a["labels"]["alertname"] for a in query.alerts()}) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "LLMGateFailed" in fired
    assert "LLMErrorRate" not in fired
