"""Stored runs: what is written comes back, byte-stable; damage is one clean line."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pytest_llmwatch import atomic
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import Call, CaseResult, Evidence, Problem, Report, Run, Score, Span
from pytest_llmwatch.records import to_records
from pytest_llmwatch.report import run_json
from pytest_llmwatch.store.files import load_run, pack, resolve, store_run, write_run

RUN = Run(
    run_id="20261121-0001",
    time="2026-11-21T00:00:00.000Z",
    calls=(
        Call(id="a1", nodeid="t::a", set="s", case="a", input="why?", output="so", latency=0.5),
        Call(id="a2", nodeid="t::a", set="s", case="a", index=1, input="why?", output="thus", latency=0.7),
    ),
    results=(
        CaseResult(
            "t::a",
            set="s",
            case="a",
            scores=(Score("relevance", 0.25, None, "weak", (Evidence("missing", "sun", "item"),), threshold=0.5),),
            call_ids=("a1", "a2"),
            input="why?",
            output="thus",
            weight=2.0,
        ),
        CaseResult("t::b", set="s", case="b", outcome="not_run", problem="not_run", reason="spending limit"),
        CaseResult(
            "t::c",
            outcome="failed",
            scores=(Score("json", None, "error", "crashed"), Score("length", 1.0)),
            input="target",
            output="no call",
            context=("d",),
        ),
    ),
    spans=(Span("s1", "retrieve", nodeid="t::a", latency=0.1),),
    problems=(Problem("not_run", "spending limit reached", "t::b"),),
    duration=1.5,
    partial=True,
    partial_reason="spending limit",
    environment={"python": "3.11"},
)
REPORT = Report(run=RUN, verdict="warn", sentence="one rule is close", exit_code=0)


def save(folder: Path) -> Path:
    write_run(folder, run_json.render(REPORT), to_records(RUN), RUN.spans)
    return folder


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    assert load_run(save(tmp_path / "r")) == RUN
    assert load_run(tmp_path / "r" / "run.json") == RUN


def test_the_same_run_gives_the_same_bytes_and_no_leftovers(tmp_path: Path) -> None:
    first, second = save(tmp_path / "one"), save(tmp_path / "two")
    save(first)
    for name in ("run.json", "calls.jsonl.gz"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert sorted(p.name for p in first.iterdir()) == ["calls.jsonl.gz", "run.json", "spans.jsonl.gz"]
    assert pack("x") == pack("x")
    assert pack("x") != pack("y")


def test_resolve(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with pytest.raises(RecordsError, match="holds no runs yet"):
        resolve("latest", root)
    one = store_run(root, {**run_json.render(REPORT), "run_id": "z-old"}, to_records(RUN), RUN.spans)
    two = store_run(root, {**run_json.render(REPORT), "run_id": "a-new"}, to_records(RUN), RUN.spans)
    assert resolve("latest", root) == two
    assert resolve("z-old", root) == one
    assert resolve(str(one), root) == one
    assert resolve(str(one / "run.json"), root) == one
    (root / "latest").write_text("gone")
    assert resolve("latest", root) in (one, two)
    with pytest.raises(RecordsError, match="a-new"):
        resolve("b-missing", root)
    (tmp_path / "bare").mkdir()
    with pytest.raises(RecordsError, match=r"holds no run\.json"):
        resolve(str(tmp_path / "bare"), root)


def test_an_older_or_sparser_run_is_readable(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    sparse = {"run_id": "r", "cases": [{"nodeid": "t", "scores": {"json": 1.0, "length": None}, "cluster": None}]}
    (folder / "run.json").write_text(json.dumps(sparse))
    run = load_run(folder)
    assert [(s.name, s.value) for s in run.results[0].scores] == [("json", 1.0), ("length", None)]


def test_damage_is_one_line(tmp_path: Path) -> None:
    def fails(folder: Path, slug: str, text: str) -> None:
        with pytest.raises(RecordsError) as caught:
            load_run(folder)
        assert caught.value.slug == slug
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)

    fails(tmp_path / "none", "run-missing", "No such file")
    cut = save(tmp_path / "cut")
    (cut / "run.json").write_text((cut / "run.json").read_text()[:200])
    fails(cut, "run-corrupt", "not valid JSON")
    newer = save(tmp_path / "newer")
    data = json.loads((newer / "run.json").read_text())
    (newer / "run.json").write_text(json.dumps({**data, "schema_version": 99}))
    fails(newer, "run-version", "upgrade pytest-llmwatch")
    (newer / "run.json").write_text(json.dumps({**data, "cases": [{"scores": 3}]}))
    fails(newer, "run-corrupt", "not a run as we write it")
    (newer / "run.json").write_text("[]")
    fails(newer, "run-corrupt", "no run_id")
    alone = save(tmp_path / "alone")
    (alone / "calls.jsonl.gz").unlink()
    fails(alone, "run-corrupt", "calls.jsonl.gz is not beside it")
    torn = save(tmp_path / "torn")
    (torn / "calls.jsonl.gz").write_bytes((torn / "calls.jsonl.gz").read_bytes()[:-9])
    fails(torn, "records-gzip", "broken gzip")


def test_an_atomic_write_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    atomic.write_text(file, "old\n")
    with pytest.raises(TypeError):
        atomic.write_bytes(file, "not bytes")  # type: ignore[arg-type]
    assert file.read_text() == "old\n"
    assert [p.name for p in file.parent.iterdir()] == ["a.txt"]
    atomic.write_text(file, "lone \ud83d surrogate")
    assert file.read_text() == "lone ? surrogate"
    assert stat.S_IMODE(file.stat().st_mode) & 0o600 == 0o600
