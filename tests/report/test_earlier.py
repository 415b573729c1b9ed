"""What the report learns of earlier runs from a store, and that a store that fails takes nothing from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from pytest_llmwatch import pipeline_page, pipeline_store
from pytest_llmwatch.model import Baseline, Report


def kept(factory: ModuleType, store: Path, name: str, day: int) -> Report:
    report: Report = factory.make_report(12, hostile=False)
    run = replace(report.run, run_id=name, time=f"2026-11-{day:02d}T02:04:11+00:00")
    report = replace(report, run=run)
    pipeline_store.keep(report, str(store), store.parent)
    return report


def test_the_store_gives_the_history_and_the_answers_of_the_baseline(factory: ModuleType, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    for day in (1, 2):
        kept(factory, store, f"run-{day}", day)
    own = kept(factory, store, "run-3", 3)
    base = Baseline(
        "b", "support", "t", sessions=({"run": "run-2", "time": "2026-11-02"}, {"run": "lost", "time": "z"})
    )
    found = pipeline_page.with_earlier(replace(own, baselines={"support": base}), str(store), tmp_path)
    assert [h["run_id"] for h in found.history] == ["run-1", "run-2"]
    assert found.before is not None
    assert found.before.run_id == "run-2"
    assert found.before.results[0].output


def test_without_a_store_or_with_a_broken_one_the_report_is_the_same(factory: ModuleType, tmp_path: Path) -> None:
    report = factory.make_report(12, hostile=False)
    assert pipeline_page.with_earlier(report, None, tmp_path) is report
    assert pipeline_page.with_earlier(report, "nosuch://x", tmp_path) is report
