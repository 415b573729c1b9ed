"""run.json has the documented shape, and is JSON whatever the run holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import ModuleType

from pytest_llmwatch.report import run_json

TOP = {
    "schema_version",
    "run_id",
    "verdict",
    "exit_code",
    "partial",
    "environment",
    "aggregates",
    "verdicts",
    "cases",
}
VERDICT = {
    "metric", "verdict", "baseline", "candidate", "delta", "ci", "p", "p_adjusted", "n_cases", "paired", "because",
    "rule", "layer", "kind", "observed", "limit", "tier", "family",
}  # fmt: skip
CASE = {"set", "case", "repeat", "nodeid", "scores", "call_ids"}


def test_the_keys_of_the_contract_are_always_there(factory: ModuleType) -> None:
    data = run_json.render(factory.make_report(60))
    assert set(data) >= TOP
    assert all(set(v) >= VERDICT for v in data["verdicts"])
    assert all(set(c) >= CASE for c in data["cases"])
    assert data["verdict"] == "fail"
    assert data["exit_code"] == 1
    assert data["aggregates"]["calls"] == 60


def test_it_is_strict_json_and_survives_the_way_through_a_file(factory: ModuleType) -> None:
    report = factory.make_report(60)
    odd = replace(report.verdicts[0], observed=math.nan, ci=(math.inf, None), because="\ud800 lone")
    data = run_json.render(replace(report, verdicts=(odd,)))
    text = json.dumps(data, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode("utf-8")) == data
    assert data["verdicts"][0]["observed"] is None
    assert data["verdicts"][0]["ci"] == [None, None]


def test_it_is_the_same_every_time(factory: ModuleType) -> None:
    first, second = (json.dumps(run_json.render(factory.make_report(60))) for _ in range(2))
    assert first == second


def test_bodies_are_left_to_the_calls_file(factory: ModuleType) -> None:
    report = factory.make_report(60, hostile=False)
    secretive = replace(report.run.results[0], output="the body itself")
    kept = replace(report, run=replace(report.run, results=(secretive,)))
    assert "the body itself" not in json.dumps(run_json.render(kept))
    # a result without a call has no other place
    alone = replace(report, run=replace(report.run, results=(replace(secretive, call_ids=()),)))
    assert "the body itself" in json.dumps(run_json.render(alone))


def test_a_score_that_could_not_be_given_is_null_with_its_label(factory: ModuleType) -> None:
    data = run_json.render(factory.make_report(60, hostile=False))
    score = data["cases"][0]["scores"]["json_schema"]
    assert score["value"] is None
    assert score["label"] == "not_assessable"
