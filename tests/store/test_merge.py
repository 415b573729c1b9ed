"""Merging the runs of several jobs: any order, any grouping, any repetition gives the same run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch import pipeline
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.cli import main
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import Call, CaseResult, Cost, Problem, Run, Score, Span, Usage
from pytest_llmwatch.report import run_json
from pytest_llmwatch.store import files
from pytest_llmwatch.store.merge import merge, parse_shard

BUDGET = parse_budget("[latency]\nmax = 100\n[quality]\nrelevance = 0.1\n[cost]\nrun_usd = 1\n")


def job(number: int, tests: list[int], *, of: int | None = None, **environment: object) -> Run:
    """A run of some of a suite's tests."""
    calls = tuple(
        Call(
            id=f"c{t}",
            nodeid=f"t.py::test_{t}",
            set="s",
            case=f"k{t}",
            latency=0.1 * (t + 1),
            usage=Usage(10, 5, 15),
            cost=Cost(0.01),
            capture_mode="replayed",
        )
        for t in tests
    )
    results = tuple(
        CaseResult(
            nodeid=f"t.py::test_{t}",
            set="s",
            case=f"k{t}",
            call_ids=(f"c{t}",),
            scores=(Score("relevance", t / 10),),
        )
        for t in tests
    )
    found = {"platform": "Linux", "budget_hash": "b", **environment}
    if of is not None:
        found["shard"] = f"{number}/{of}"
    return Run(
        f"run-{number}",
        f"2026-01-01T00:00:0{number}Z",
        calls=calls,
        results=results,
        spans=tuple(Span(id=f"s{t}", name="step", nodeid=f"t.py::test_{t}") for t in tests),
        problems=(Problem("unpriced", "no price"),),
        duration=float(number),
        environment=found,
    )


PARTS = st.lists(st.lists(st.integers(0, 7), max_size=5, unique=True), min_size=1, max_size=4)


@settings(max_examples=60)
@given(PARTS, st.randoms(use_true_random=False))
def test_order_grouping_and_repetition_change_nothing(parts: list[list[int]], rng: object) -> None:
    jobs = [job(i + 1, sorted(tests), host=f"h{i % 2}") for i, tests in enumerate(parts)]
    whole = merge(jobs)
    shuffled = list(jobs)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge(shuffled) == whole
    assert merge([*jobs, *jobs]) == whole
    assert merge([whole]) == whole
    assert merge([whole, whole]) == whole
    cut = len(jobs) // 2
    if cut:
        assert merge([merge(jobs[:cut]), merge(jobs[cut:])]) == whole


def judged(run: Run) -> dict[str, object]:
    report = pipeline.judge(run, BUDGET)
    data = run_json.render(report)
    for key in ("run_id", "time", "duration", "environment"):
        del data[key]
    return data


def test_the_verdict_of_shards_is_that_of_one_job() -> None:
    shards = [job(k, tests, of=3) for k, tests in ((1, [0, 3, 6]), (2, [1, 4]), (3, [2, 5, 7]))]
    one = job(1, list(range(8)))
    assert judged(merge(shards)) == judged(one)
    assert judged(merge(shards[::-1])) == judged(one)


def test_what_cannot_be_true_at_once_is_refused() -> None:
    a, b = job(1, [0, 1]), job(2, [1, 2])
    assert len(merge([a, b]).calls) == 3, "an identical duplicate counts once"
    other = dataclasses.replace(b, calls=(dataclasses.replace(b.calls[0], latency=9.0), *b.calls[1:]))
    with pytest.raises(RecordsError, match=r"disagree about call c1 of t.py::test_1"):
        merge([a, other])
    failed = dataclasses.replace(b, results=(dataclasses.replace(b.results[0], outcome="failed"), *b.results[1:]))
    with pytest.raises(RecordsError, match=r"disagree about execution t.py::test_1"):
        merge([a, failed])
    with pytest.raises(RecordsError, match="different budgets"):
        merge([a, job(2, [2], budget_hash="other")])


def test_a_missing_shard_is_refused_or_makes_the_run_partial() -> None:
    shards = [job(1, [0], of=3), job(3, [2], of=3)]
    with pytest.raises(RecordsError, match=r"shard 2/3 is missing"):
        merge(shards)
    taken = merge(shards, allow_missing=True)
    assert taken.partial
    assert "2/3" in (taken.partial_reason or "")
    assert not merge([*shards, job(2, [1], of=3)]).partial
    with pytest.raises(RecordsError, match="different splits"):
        merge([job(1, [0], of=3), job(2, [1], of=4)])


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "a/b", "1/", "-1/2"])
def test_a_shard_is_k_of_n(text: str) -> None:
    with pytest.raises(ValueError, match="must be K/N"):
        parse_shard(text)
    assert parse_shard("02/4") == "2/4"


def test_the_command_writes_a_run_that_the_gate_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = []
    for shard in (job(1, [0, 1], of=2), job(2, [5, 6], of=2)):
        folder = tmp_path / shard.run_id
        pipeline.write_outputs(pipeline.judge(shard, BUDGET), folder)
        names.append(str(folder))
    out = tmp_path / "merged"
    assert main(["merge", *names, "-o", str(out)]) == 0
    assert "2 runs, 4 tests, 4 calls" in capsys.readouterr().out
    budget = tmp_path / "budget.toml"
    budget.write_text("[quality]\nrelevance = 0.1\n", encoding="utf-8")
    assert main(["gate", str(out), "--budget", str(budget), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["aggregates"]["calls"] == 4
    assert len(files.load_run(out).spans) == 4
    again = tmp_path / "again"
    assert main(["merge", *names[::-1], str(out), "-o", str(again)]) == 0
    assert (again / files.CALLS).read_bytes() == (out / files.CALLS).read_bytes()
    capsys.readouterr()
    assert main(["merge", names[0], "-o", str(again)]) == 4
    err = capsys.readouterr().err
    assert "shard 2/2 is missing" in err
    assert len(err.splitlines()) == 1
