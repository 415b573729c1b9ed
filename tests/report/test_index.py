"""index.html: every run of a folder, newest first, static, and inert whatever the files say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch import cli, pipeline
from pytest_llmwatch.report import index

PAYLOADS = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "\u202egnp",
)


def head(n: int, **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"run-{n}", "time": f"2026-11-{n:02d}T10:00:00.000Z", "verdict": "pass", "sentence": "all hold",
        "environment": {"branch": "main", "commit": "abcdef0123456789"},
        "aggregates": {"calls": 10 * n, "failed": 0, "cost_usd": 0.1 * n, "latency": {"p95": 1.0 + n},
                       "executions": 10, "passed": 9, "scores": {"composite": {"mean": 0.8}}},
        **more,
    }  # fmt: skip


def test_runs_are_listed_newest_first_with_links_and_curves() -> None:
    page = index.render([index.Found(head(n), f"r{n}/report.html" if n != 2 else None) for n in (2, 3, 1)])
    assert re.findall(r">(run-\d)<", page) == ["run-3", "run-2", "run-1"]
    assert re.findall(r'href="([^"]+)"', page) == ["./r3/report.html", "./r1/report.html"]
    assert page.count("<polyline") == 4
    assert "main abcdef0123<" in page
    assert "<script" not in page


def test_nothing_that_a_file_says_is_markup() -> None:
    hostile = [
        head(n, run_id=p, sentence=p, verdict=p, environment={"branch": p, "commit": p})
        for n, p in enumerate(PAYLOADS)
    ]
    odd = head(9, aggregates={"calls": "many", "scores": [], "latency": "<b>", "executions": 0, "passed": True})
    page = index.render([*(index.Found(h, f"{h['run_id']}/report.html") for h in hostile), index.Found(odd, None)])
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert all(href.startswith("./") for href in re.findall(r'href="([^"]*)"', page))
    policy = re.search(r"default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'", page)
    assert policy is not None


def test_the_command_lists_a_folder_and_names_what_it_cannot_read(
    factory: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for n, calls in enumerate((20, 30)):
        pipeline.write_outputs(factory.make_report(calls), tmp_path / "site" / f"build {n}")
    (tmp_path / "site" / "half").mkdir()
    (tmp_path / "site" / "half" / "run.json").write_text("{")
    assert cli.main(["index", "site"]) == 0
    out = capsys.readouterr().out
    assert "site/index.html: 2 runs" in out
    assert "left out: site/half" in out
    page = (tmp_path / "site" / "index.html").read_text()
    assert 'href="./build%200/report.html"' in page
    assert cli.main(["index", "site/half"]) == 4
    assert "[llmwatch:index-empty]" in capsys.readouterr().err


def test_several_runs_are_one_report_with_a_history(
    factory: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from pytest_llmwatch import pipeline_report

    monkeypatch.chdir(tmp_path)
    first = factory.make_report(20)
    for n in range(3):
        run = replace(first.run, run_id=f"run-{n}", time=f"2026-11-0{n + 1}T00:00:00.000Z")
        pipeline.write_outputs(replace(first, run=run), tmp_path / f"r{n}")
    report, notes = pipeline_report.again(["r2", "r0", "r1", "r2"], ".llmwatch")
    assert report.run.run_id == "run-2"
    assert [h["run_id"] for h in report.history] == ["run-0", "run-1"]
    assert report.history[0]["aggregates"]["calls"] == report.aggregates["calls"]
    assert report.verdict == first.verdict
    assert any("2 earlier" in n for n in notes)
    assert cli.main(["report", "r1", "r2", "-o", "again", "--junit", "junit.xml"]) == 0
    assert json.loads((tmp_path / "again" / "run.json").read_text())["run_id"] == "run-2"
    assert "<testsuite " in (tmp_path / "junit.xml").read_text()
