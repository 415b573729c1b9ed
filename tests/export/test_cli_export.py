"""``llmwatch export``: a stored run printed, written, sent; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch import cli, pipeline


@pytest.fixture
def stored(factory: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pipeline.write_outputs(factory.make_report(20), tmp_path / "report")
    return tmp_path / "report"


def test_it_prints_what_the_run_wrote(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for to, name in (("prometheus", "metrics.prom"), ("logs", "events.jsonl")):
        assert cli.main(["export", "report", "--to", to]) == 0
        again, first = capsys.readouterr().out.splitlines(), (stored / name).read_text().splitlines()
        # the last event holds the cost, which the factory sums in another way
        assert again[:-1] == first[:-1]
    assert cli.main(["export", "report", "--to", "otlp", "-o", "trace.json"]) == 0
    again = json.loads(Path("trace.json").read_text())
    first = json.loads((stored / "trace.otlp.json").read_text())
    assert again["resourceSpans"][0]["scopeSpans"] == first["resourceSpans"][0]["scopeSpans"]
    assert cli.main(["export", "report", "--to", "logs", "--share", "0"]) == 0
    assert len(capsys.readouterr().out) < len((stored / "events.jsonl").read_text())


def test_it_takes_records_and_a_budget(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("budget.toml").write_text("[errors]\nretries_per_call = 9\n[telemetry]\nmax_labels = 1\n")
    words = ["export", "report/calls.jsonl.gz", "--to", "prometheus", "--budget", "budget.toml"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert 'llm_gate_verdict{layer="availability",rule="errors.retries_per_call",verdict="pass"} 1.0' in out
    assert 'model="other"' in out


def test_it_sends_and_says_so(
    stored: Path, receiver: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server = receiver()
    assert cli.main(["export", "report", "--to", "prometheus", "--url", server.url]) == 0
    assert capsys.readouterr().out == f"llmwatch: metrics sent to {server.url}\n"
    assert b"llm_requests_total" in server.posted[0][2]
    words = ["export", "report", "--to", "prometheus", "--url", "http://127.0.0.1:9", "--timeout", "0.5"]
    assert cli.main(words) == 7
    assert "not sent to http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "slug"),
    [
        (["--to", "logs", "--share", "2"], "export-option"),
        (["--to", "logs", "--url", "http://h"], "export-option"),
        (["--to", "otlp", "--url", "http://h", "-o", "x"], "export-option"),
        (["--to", "otlp", "--timeout", "0"], "export-option"),
        (["--to", "prometheus", "--url", "h:1"], "telemetry-url"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], slug: str, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "report", *words]) == 4
    assert f"[llmwatch:{slug}]" in capsys.readouterr().err
