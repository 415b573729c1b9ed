"""The demo, sent to Phoenix and read back: spans, parents, tokens, evaluations; and imported again."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest


def read(base: str, project: str = "default") -> list[dict[str, Any]]:
    """Return all spans of a project, page by page."""
    out: list[dict[str, Any]] = []
    cursor = ""
    while True:
        url = f"{base}/v1/projects/{project}/spans?limit=500" + (f"&cursor={cursor}" if cursor else "")
        with urllib.request.urlopen(url, timeout=60) as answer:
            page = json.load(answer)
        out += page["data"]
        cursor = page.get("next_cursor") or ""
        if not cursor:
            return out


def arrived(base: str, n: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 120
    while len(found := read(base)) < n:
        if time.monotonic() > deadline:
            pytest.fail(f"{len(found)} of {n} spans arrived")
        time.sleep(1)
    return found


def test_the_demo_is_read_back(phoenix: str, project_root: Path, tmp_path: Path) -> None:
    shutil.copytree(project_root / "golden_sets", tmp_path / "golden_sets")
    budget = (project_root / "budget.toml").read_text(encoding="utf-8")
    telemetry = '\n[telemetry]\nbodies = true\ntimeout = 60\njob = "demo"\n'
    (tmp_path / "budget.toml").write_text(budget + telemetry, encoding="utf-8")
    command = [
        sys.executable, "-m", "pytest", "-p", "no:llmock", "-p", "no:cacheprovider", "golden_sets",
        "--llm-budget=budget.toml", "--llm-record=none",
    ]  # fmt: skip
    environment = {**os.environ, "LLMWATCH_OTLP_ENDPOINT": phoenix}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "not sent" not in done.stdout

    report = tmp_path / "llmwatch-report"
    file = json.loads((report / "trace.otlp.json").read_text())
    written = {s["spanId"]: s for s in file["resourceSpans"][0]["scopeSpans"][0]["spans"]}
    run = json.loads((report / "run.json").read_text())
    with gzip.open(report / "calls.jsonl.gz", "rt", encoding="utf-8") as lines:
        calls = [json.loads(line) for line in lines]
    spans = {s["context"]["span_id"]: s for s in arrived(phoenix, len(written))}
    assert set(spans) == set(written)
    for own, span in written.items():
        assert spans[own]["context"]["trace_id"] == span["traceId"]
        assert spans[own]["parent_id"] == span.get("parentSpanId")
        assert spans[own]["name"] == span["name"]
        assert len(spans[own]["events"]) == len(span.get("events", ()))

    chats = [s for s in spans.values() if s["span_kind"] == "LLM"]
    assert len(chats) == len(calls) == run["aggregates"]["calls"]
    # what Phoenix itself understood of the conventions' names
    for ours, theirs in (("input_tokens", "prompt"), ("output_tokens", "completion")):
        assert sum(s["attributes"][f"llm.token_count.{theirs}"] for s in chats) == run["aggregates"][ours]
    assert {s["attributes"]["llm.model_name"] for s in chats} == {c["model"] for c in calls}
    evaluations = [e for s in chats for e in s["events"] if e["name"] == "gen_ai.evaluation.result"]
    scores = [(n, x) for c in run["cases"] for n, x in c["scores"].items()]
    assert len(evaluations) == len(scores)
    told = sorted(
        (e["attributes"]["gen_ai.evaluation.name"], e["attributes"]["gen_ai.evaluation.score.value"])
        for e in evaluations
        if "gen_ai.evaluation.score.value" in e["attributes"]
    )
    assert told == sorted((n, x["value"]) for n, x in scores if x["value"] is not None)
    print(
        f"\nPhoenix gave back {len(spans)} spans ({len(chats)} LLM), {len(evaluations)} evaluations, "
        f"{run['aggregates']['input_tokens']} prompt tokens",
    )

    export = tmp_path / "phoenix.json"
    export.write_text(json.dumps({"data": list(spans.values())}), encoding="utf-8")
    out = tmp_path / "records.jsonl"
    imported = subprocess.run(
        [sys.executable, "-m", "pytest_llmwatch.cli", "import", str(export), "-o", str(out)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert imported.returncode == 0, imported.stderr
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(records) == len(calls)
    assert sum(r["input_tokens"] for r in records) == run["aggregates"]["input_tokens"]
    assert {r["output"] for r in records} == {c["output"] for c in calls}
