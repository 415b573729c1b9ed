"""Merging the runs of several jobs: any order, any grouping, any repetition gives the same run."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch import pipeline, pipeline_merge, pipeline_store
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.cli import main
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import Call, CaseResult, Cost, Problem, Run, Score, Span, Usage
from pytest_llmwatch.records import to_records
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


def written(run: Run, folder: Path) -> str:
    files.write_run(folder, run_json.render(pipeline.judge(run, BUDGET)), to_records(run), run.spans)
    return str(folder)


def test_line_by_line_gives_the_bytes_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [job(k, tests, of=3) for k, tests in ((1, [0, 3, 6]), (2, [1, 3, 4]), (3, [2, 5, 7]))]
    names = [written(s, tmp_path / s.run_id) for s in shards]
    store = f"sqlite:///{tmp_path}/x.db" if importlib.util.find_spec("sqlalchemy") else str(tmp_path / "store")
    for shard in shards:
        pipeline_store.keep(pipeline.judge(shard, BUDGET), store, Path())
    memory = tmp_path / "memory"
    done = pipeline_merge.merge_runs(names, "nowhere", memory)
    monkeypatch.setattr(pipeline_merge, "IN_MEMORY", 0)
    orders = {
        "streamed": names,
        "turned": names[::-1],
        "twice": [*names, *names[:2]],
        "stored": [f"{store}#run-1", f"{store}#run-2", names[2]],
        "again": [str(memory), names[1]],
    }
    for folder, refs in orders.items():
        out = tmp_path / folder
        assert pipeline_merge.merge_runs(refs, "nowhere", out) == done
        for file in (files.CALLS, files.SPANS):
            assert (out / file).read_bytes() == (memory / file).read_bytes(), folder
        one, other = (json.loads((f / files.RUN).read_text()) for f in (out, memory))
        told, exact = one.pop("aggregates"), other.pop("aggregates")
        assert one.pop("notes") != other.pop("notes")
        assert one == other
        assert {k: told[k] for k in told if k != "scores"} == {k: exact[k] for k in told if k != "scores"}
        assert files.load_run(out) == files.load_run(memory)
    assert (tmp_path / "streamed" / files.RUN).read_text().count("\n") > 100, "as readable as any run.json"


def test_line_by_line_refuses_what_memory_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_merge, "IN_MEMORY", 0)
    a, b = job(1, [0, 1]), job(2, [1, 2])
    slower = dataclasses.replace(b, calls=(dataclasses.replace(b.calls[0], latency=9.0), *b.calls[1:]))
    failed = dataclasses.replace(b, results=(dataclasses.replace(b.results[0], outcome="failed"), *b.results[1:]))
    spans = dataclasses.replace(b, spans=(dataclasses.replace(b.spans[0], name="other"), *b.spans[1:]))
    turned = dataclasses.replace(b, calls=b.calls[::-1])
    refused = {
        "disagree about call c1 of t.py::test_1": slower,
        "disagree about (call c1|execution t.py::test_1)": failed,
        "disagree about span s1": spans,
        "is not in the order of its tests": turned,
        "different budgets": job(2, [2], budget_hash="other"),
        "shard 2/3 is missing": job(3, [2], of=3),
    }
    first = {"shard 2/3 is missing": job(1, [0], of=3)}
    out = tmp_path / "out"
    for number, (says, other) in enumerate(refused.items()):
        base = tmp_path / str(number)
        names = [written(first.get(says, a), base / "a"), written(other, base / "b")]
        with pytest.raises(RecordsError, match=says):
            pipeline_merge.merge_runs(names, "nowhere", out)
        assert not list(out.glob("*")), "nothing is written, no draft stays"
    torn = tmp_path / "0" / "a" / files.CALLS
    torn.write_bytes(torn.read_bytes()[:-9])
    with pytest.raises(RecordsError, match="cannot be unpacked"):
        pipeline_merge.merge_runs([str(torn.parent), written(job(2, [5]), tmp_path / "z")], "nowhere", out)


@settings(max_examples=15)
@given(PARTS, st.randoms(use_true_random=False))
def test_line_by_line_is_the_union_in_any_order(parts: list[list[int]], rng: object) -> None:
    jobs = [job(i + 1, sorted(tests)) for i, tests in enumerate(parts)]
    whole = merge(jobs)
    shuffled = [*jobs, jobs[0]]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as made:
        sources = [pipeline_merge._source(written(r, Path(made) / str(i)), "") for i, r in enumerate(shuffled)]
        pipeline_merge.stream(sources, Path(made) / "out")
        found = files.load_run(Path(made) / "out")
    assert found == whole
