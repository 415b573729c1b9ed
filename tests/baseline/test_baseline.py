"""Baselines and drift: made from runs, kept as a file that reads well, compared, replaced only with a reason."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import baseline as frozen
from pytest_llmwatch import baseline_file, gate, pipeline_baseline
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.compare import Options
from pytest_llmwatch.errors import BaselineError, UsageError
from pytest_llmwatch.model import Baseline, Call, CaseResult, Cost, Run, Score, Usage, Verdict

TODAY = date(2026, 6, 10)
Build = Callable[..., Run]


@pytest.fixture
def build() -> Build:
    """Build a run of one golden set: noisy scores, skewed latencies; ``drop`` and ``slower`` make it worse."""

    def make(
        seed: int,
        *,
        drop: float = 0.0,
        slower: float = 1.0,
        cases: int = 60,
        repeats: int = 1,
        mode: str = "replayed",
        prompt: str = "1",
        version: str = "1",
        set_name: str = "support",
        **fields: Any,
    ) -> Run:
        hard, rng = random.Random(3), random.Random(seed)
        levels = [(hard.uniform(0.6, 1.0), hard.lognormvariate(0, 0.8)) for _ in range(cases)]
        calls, results = [], []
        for i, (level, pace) in enumerate(levels):
            for k in range(repeats):
                identity = f"{set_name}-{i}-{k}"
                value = min(1.0, max(0.0, level - drop + rng.gauss(0, 0.1)))
                calls.append(
                    Call(
                        id=identity,
                        set=set_name,
                        case=f"case-{i}",
                        repeat=k,
                        model="m",
                        prompt_version=prompt,
                        latency=pace * slower * rng.lognormvariate(0, 0.2),
                        usage=Usage(100, 20, 120),
                        cost=Cost(0.001),
                        capture_mode=mode,  # type: ignore[arg-type]
                    )
                )
                results.append(
                    CaseResult(
                        nodeid=f"golden_sets/{set_name}/set.yaml::case-{i}[{k}]",
                        set=set_name,
                        case=f"case-{i}",
                        repeat=k,
                        scores=(Score("relevance", value, version=version),),
                        call_ids=(identity,),
                        input=f"question {i}",
                        outcome="passed" if value > 0.5 else "failed",
                    )
                )
        run = Run(f"run-{seed}", "2026-06-01T10:00:00.000Z", calls=tuple(calls), results=tuple(results))
        return dataclasses.replace(run, **fields)

    return make


def judged(run: Run, base: Baseline | None, budget: str = "[drift]\n") -> dict[str, Verdict]:
    baselines = {str(base.set): base} if base is not None else {}
    return {v.rule: v for v in gate.judge(run, parse_budget(budget), today=TODAY, baselines=baselines)}


def five(build: Build, sessions: int = 5, **fields: Any) -> Baseline:
    """A baseline of five repeats, each recorded in a session of its own."""
    if sessions == 1:
        return frozen.make([build(1, repeats=5, **fields)], "support")
    return frozen.make([build(k, **fields) for k in range(1, sessions + 1)], "support")


def test_a_file_reads_back_as_it_was_one_case_a_line(build: Build, tmp_path: Path) -> None:
    base = dataclasses.replace(five(build), reason="first", self_check={"false_alarms": 0.01})
    path = tmp_path / "baseline.json"
    baseline_file.save(base, path)
    assert baseline_file.load(path) == base
    text = path.read_text(encoding="utf-8")
    assert sum('"case-' in line for line in text.splitlines()) == 60
    assert baseline_file.dumps(baseline_file.load(path)) == text
    # an anchor is kept with it
    later = dataclasses.replace(base, id="other", anchor=base)
    baseline_file.save(later, path)
    assert baseline_file.load(path) == later


def test_an_unchanged_run_passes_and_a_worse_one_fails_with_its_cases(build: Build) -> None:
    base = five(build)
    quiet = judged(build(20), base)
    assert {v.verdict for v in quiet.values()} <= {"pass", "inconclusive", "warn"}
    assert quiet["drift.cost_usd"].verdict == "pass"
    worse = judged(build(21, drop=0.12, prompt="2"), base)
    found = worse["drift.relevance"]
    assert (found.verdict, found.family, found.layer, found.kind) == ("fail", "quality", "quality", "test")
    assert found.because.startswith("drift.relevance dropped -0.1")
    assert "prompt 1 → 2" in found.because, "what is being compared is named"
    assert found.worst
    assert set(found.worst) <= {c.id for c in build(21).calls}
    assert found.delta is not None
    assert found.delta < -0.05
    assert worse["drift.cost_usd"].verdict == "pass"


def test_slower_fails_where_sessions_are_known_and_only_warns_where_they_are_not(build: Build) -> None:
    slow = build(30, slower=1.6, mode="recorded")
    assert judged(slow, five(build))["drift.latency"].verdict == "fail"
    alone = judged(slow, five(build, sessions=1))["drift.latency"]
    assert alone.verdict == "warn"
    assert "the baseline holds 1 session" in alone.because


def test_noisy_quality_of_live_calls_warns_below_five_sessions_but_fails_on_a_replay(build: Build) -> None:
    base = five(build, sessions=1)
    assert judged(build(21, drop=0.15, mode="live"), base)["drift.relevance"].verdict == "warn"
    assert judged(build(21, drop=0.15, mode="replayed"), base)["drift.relevance"].verdict == "fail"


def test_sessions_that_differ_widen_the_null(build: Build) -> None:
    steady = five(build)
    moody = frozen.make([build(k, slower=s) for k, s in enumerate((0.7, 1.5, 0.9, 1.3, 1.0), start=1)], "support")
    slow = build(30, slower=1.3, mode="live")
    assert judged(slow, steady)["drift.latency"].verdict == "fail"
    assert judged(slow, moody)["drift.latency"].verdict != "fail"


def test_without_a_baseline_nothing_is_measured_and_nothing_fails(build: Build) -> None:
    found = judged(build(1), None, '[drift]\nmetrics = ["relevance", "latency"]\n')
    assert {(v.rule, v.verdict, v.reason) for v in found.values()} == {
        ("drift.relevance", "inconclusive", "not_measured"),
        ("drift.latency", "inconclusive", "not_measured"),
    }


def test_changed_cases_and_scorers_are_not_compared(build: Build) -> None:
    base = five(build)
    run = build(21, drop=0.12)
    changed = tuple(
        dataclasses.replace(r, input="another question") if i < 3 else r for i, r in enumerate(run.results)
    )
    found = judged(dataclasses.replace(run, results=changed), base)
    assert found["cases.changed"].verdict == "warn"
    assert "3 cases changed" in found["cases.changed"].because
    assert found["drift.relevance"].n_cases == 57
    rescored = judged(build(21, drop=0.12, version="2"), base)
    assert rescored["baseline.scorers"].verdict == "warn"
    assert "drift.relevance" not in rescored
    assert "drift.passed" in rescored


def test_a_case_that_did_not_run_fails_a_full_run_and_not_a_partial_one(build: Build) -> None:
    base, run = five(build), build(21)
    skipped = tuple(dataclasses.replace(r, outcome="skipped") if i < 2 else r for i, r in enumerate(run.results))
    found = judged(dataclasses.replace(run, results=skipped), base)
    assert found["cases.missing"].verdict == "fail"
    assert "support/case-0, support/case-1" in found["cases.missing"].because
    partial = dataclasses.replace(run, results=skipped, partial=True)
    assert "cases.missing" not in judged(partial, base)


def test_an_old_baseline_warns(build: Build) -> None:
    base = dataclasses.replace(five(build), time="2026-01-01T00:00:00Z")
    assert judged(build(2), base)["baseline.stale"].verdict == "warn"
    assert "baseline.stale" not in judged(build(2), five(build))


def test_limits_and_drift_of_one_family_share_its_alpha(build: Build) -> None:
    budget = parse_budget("[latency]\np95 = 60\n[drift]\nmetrics = ['latency']\n")
    run, base = build(30, slower=1.6, mode="recorded"), five(build)
    found = {v.rule: v for v in gate.judge(run, budget, today=TODAY, baselines={"support": base})}
    assert found["drift.latency"].verdict == "fail"
    assert found["latency.p95"].p_adjusted is not None
    assert set(gate.alpha_by_family(budget, list(found.values()))) == {"latency"}


def test_a_slice_only_warns(build: Build) -> None:
    run = build(21, drop=0.15)
    calls = tuple(dataclasses.replace(c, feature="refunds") for c in run.calls)
    found = judged(
        dataclasses.replace(run, calls=calls),
        five(build),
        '[scope."feature:refunds".drift]\nmetrics = ["relevance"]\n',
    )
    verdict = found["scope.feature:refunds.drift.relevance"]
    assert verdict.verdict == "warn"
    assert "a slice is exploratory" in verdict.because


def test_unchanged_builds_are_red_at_most_alpha_over_all_rules(build: Build) -> None:
    red = 0
    for k in range(60):
        base = frozen.make([build(1000 + 10 * k + s, cases=25) for s in range(5)], "support")
        found = judged(build(5000 + k, cases=25), base, "[gate]\nalpha = 0.05\n[drift]\n")
        red += any(v.verdict == "fail" for v in found.values())
    assert red <= 9  # the 99.9 % point of binomial(60, .05)


def test_the_self_check_is_near_alpha(build: Build) -> None:
    found = frozen.self_check(five(build), alpha=0.05, builds=100)
    assert found["builds"] == 100
    assert found["false_alarms"] <= 0.15
    single = frozen.make([build(1)], "support")
    assert frozen.self_check(single, alpha=0.05)["false_alarms"] is None


def test_accepting_needs_a_reason_and_no_loss_against_the_anchor(build: Build) -> None:
    base = five(build, cases=150)
    options = Options(alpha=0.01)
    same = frozen.make([build(40 + k, cases=150) for k in range(5)], "support")
    end = frozen.accept(base, same, reason="new prompt", new_anchor=False, options=options)
    assert end.baseline is not None
    assert end.baseline.anchor == base
    assert end.baseline.accepted[0]["replaced"] == base.id
    # slow decay: each step is small, the anchor remembers
    worse = frozen.make([build(50 + k, cases=150, drop=0.06) for k in range(5)], "support")
    refused = frozen.accept(end.baseline, worse, reason="cheaper model", new_anchor=False, options=options)
    assert refused.baseline is None
    assert "--new-anchor" in refused.because
    taken = frozen.accept(end.baseline, worse, reason="cheaper model", new_anchor=True, options=options)
    assert taken.baseline is not None
    assert taken.baseline.anchor is None
    assert taken.baseline.accepted[-1]["new_anchor"] is True
    with pytest.raises(UsageError, match="needs a reason"):
        frozen.accept(base, same, reason=" ", new_anchor=False, options=options)


def test_a_partial_run_is_no_baseline(build: Build) -> None:
    with pytest.raises(UsageError, match="is partial"):
        frozen.make([build(1, partial=True, partial_reason="-k")], "support")
    with pytest.raises(UsageError, match="holds no case of the golden set other"):
        frozen.make([build(1)], "other")
    with pytest.raises(UsageError, match="version 2"):
        frozen.make([build(1), build(2, version="2")], "support")


def test_two_replays_of_one_recording_are_one_session(build: Build) -> None:
    first = build(1)
    again = dataclasses.replace(first, run_id="again")
    with pytest.raises(UsageError, match="run again replays the recordings of run run-1"):
        frozen.make([first, build(2), again], "support")
    live = [build(k, mode="live") for k in (1, 1)]
    assert len(frozen.make(live, "support").sessions) == 2, "live answers of one seed may be alike"
    assert len(frozen.make([first, build(2)], "support").sessions) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a baseline"),
        ('{"cases": {}, "schema_version": 99}', "newer version"),
        (
            '{"id": "a", "set": "s", "time": "t", "cases": {"c": {"values": {"relevance": [-1]}}}}',
            "must be a number >= 0",
        ),
        ('{"id": "a", "set": "s", "time": "t", "cases": {"c": {"values": {"relevance": ["x"]}}}}', "(got 'x')"),
        ('{"id": "a", "set": "s", "time": "t", "cases": {"c": {"values": {"relevance": [NaN]}}}}', "(got nan)"),
        ('{"cases": {"c": 3}}', "record it again"),
        ('{"cases": {}}', "record it again"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BaselineError) as caught:
        baseline_file.load(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "baseline.json" in str(caught.value)


def test_baselines_are_found_by_name(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "golden_sets" / "support"
    folder.mkdir(parents=True)
    base = five(build)
    baseline_file.save(base, folder / "baseline.json")
    roots = [tmp_path / "golden_sets"]
    drift, none = parse_budget("[drift]\n"), parse_budget("[cost]\nrun_usd = 1\n")

    def load(ref: str | None, budget: Any) -> dict[str, Baseline]:
        return pipeline_baseline.load(ref, budget, roots, base=tmp_path, store=tmp_path / ".llmwatch")

    assert load(None, drift) == {"support": base}
    assert load(None, none) == {}
    assert load("golden_sets/support/baseline.json", none) == {"support": base}
    assert load("golden_sets", none) == {"support": base}
    with pytest.raises(UsageError, match="nowhere"):
        load("nowhere", drift)
    baseline_file.save(base, tmp_path / "golden_sets" / "baseline.json")
    with pytest.raises(BaselineError, match="second baseline of the set support"):
        load(None, drift)


def test_what_a_baseline_was_made_with_is_kept(build: Build) -> None:
    base = five(build)
    assert base.made_with["models"] == ["m"]
    assert base.made_with["prompt_versions"] == ["1"]
    assert [s["run"] for s in base.sessions] == [f"run-{k}" for k in range(1, 6)]
    assert json.loads(baseline_file.dumps(base))["made_with"]["capture"] == ["replayed"]
    assert frozen.repeats(base) == 5
