"""Every kind of store does the same: folders, SQLite, a real PostgreSQL."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import pipeline_store
from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.cli import main
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import Call, CaseResult, Cost, Evidence, Report, Run, Score, Span, ToolCall, UserOutcome
from pytest_llmwatch.records import to_records
from pytest_llmwatch.report import run_json
from pytest_llmwatch.store.base import Store, open_store, split_ref

WRITERS = 8
RUNS = 4


def made(run_id: str, *, day: int = 1, score: float = 0.9, **environment: Any) -> Report:
    """A run of two cases with texts in every place that holds one."""
    calls = tuple(
        Call(
            id=f"{run_id}-{case}",
            nodeid=f"t.py::test_{case}",
            set="s",
            case=case,
            input=f"secret question {case}",
            output=f"secret answer {case}",
            context=("secret document",),
            latency=0.5,
            cost=Cost(0.25),
            feature="help",
            tool_calls=(ToolCall("look", '{"for": "secret"}', result="secret"),),
            outcome=UserOutcome(feedback="a secret complaint"),
            time=f"2026-01-{day:02d}T00:00:00.000Z",
        )
        for case in ("a", "b")
    )
    scores = (Score("relevance", score, explanation="secret", evidence=(Evidence("missing", "secret"),)),)
    results = tuple(
        CaseResult(
            c.nodeid or "",
            set="s",
            case=c.case,
            scores=scores,
            call_ids=(c.id,),
            input=c.input,
            output=c.output,
            context=c.context,
            reason="assert 'secret' == ''",
        )
        for c in calls
    )
    spans = (Span("s1", "retrieve", nodeid="t.py::test_a", attributes={"query": "secret"}, latency=0.1),)
    time = f"2026-01-{day:02d}T00:00:00.000Z"
    run = Run(run_id, time, calls=calls, results=results, spans=spans, environment=environment)
    aggregates = {"calls": 2, "executions": 2, "passed": 2, "scores": {"relevance": {"mean": score}}}
    return Report(run, "pass", "all is well", 0, aggregates=aggregates)


def keep(store: Store, report: Report) -> str:
    return store.keep(run_json.render(report), to_records(report.run), report.run.spans)


def test_what_is_kept_comes_back_and_the_same_again_changes_nothing(url: str) -> None:
    store = open_store(url, Path())
    assert store.runs() == []
    with pytest.raises(RecordsError, match="holds no runs yet"):
        store.find("latest")
    first, second = made("run-1"), made("run-2", day=2)
    keep(store, first)
    keep(store, second)
    assert keep(store, first) == keep(store, first)
    assert [(r.id, r.bodies) for r in store.runs()] == [("run-1", True), ("run-2", True)]
    assert store.load("run-1") == first.run
    assert store.run_json("run-2") == run_json.render(second)
    assert pipeline_store.load(f"{url}#run-2", ".nowhere") == second.run
    heads = list(store.summaries())
    assert [h["run_id"] for h in heads] == ["run-1", "run-2"]
    assert heads[0]["aggregates"]["scores"]["relevance"]["mean"] == 0.9
    with pytest.raises(RecordsError, match="another run run-1: one id names one run") as refused:
        keep(store, made("run-1", score=0.5))
    assert refused.value.slug == "store-conflict"
    assert store.load("run-1") == first.run, "what was there stays"


def test_a_run_is_named_by_its_id_the_ids_start_or_latest(url: str) -> None:
    store = open_store(url, Path())
    for name in ("b-1", "a_2", "a-3"):
        keep(store, made(name))
    keep(store, made("z-shard", shard="1/2"))
    assert store.find("latest") == "a-3", "kept last, and no part that waits for its merge"
    assert store.find("b") == "b-1"
    assert store.find("z-s") == "z-shard"
    with pytest.raises(RecordsError, match=r"2 runs of .* begin so: ") as several:
        store.find("a")
    assert several.value.slug == "run-ambiguous"
    with pytest.raises(RecordsError, match=r"no run of this name \(newest in .*z-shard") as missing:
        store.find("A-3")
    assert missing.value.slug == "run-missing"
    assert pipeline_store.load(f"{url}#b", ".nowhere").run_id == "b-1"
    assert pipeline_store.load(url, ".nowhere").run_id == "a-3"
    assert pipeline_store.load("b-1", url).run_id == "b-1"


def test_days_and_months_are_summed_and_a_run_counts_once(url: str) -> None:
    store = open_store(url, Path())
    assert store.spent("2026-03-02") == {"day": 0.0, "month": 0.0}
    for name, time, usd in (
        ("a", "2026-03-02T23:59:59Z", 1.0),
        ("a", "2026-03-02T23:59:59Z", 1.0),
        ("b", "2026-03-01T00:00:00Z", 0.5),
        ("c", "2026-02-28T00:00:00Z", 4.0),
        ("d", "2027-03-02T00:00:00Z", 8.0),
        ("e", "2026-03-02T00:00:00Z", 0.0),
    ):
        store.note_spent(name, time, usd)
    assert store.spent("2026-03-02") == {"day": 1.0, "month": 1.5}
    assert store.spent("2026-03-02", {"a"}) == {"day": 0.0, "month": 0.5}
    assert store.noted(["a", "c", "x"]) == 5.0
    keep(store, made("a", day=2))
    store.remove(["a"])
    assert store.spent("2026-03-02")["day"] == 1.0, "a run that is removed has spent its money"


def test_what_a_run_spent_is_kept_by_feature_and_model(url: str) -> None:
    store = open_store(url, Path())
    by = {"feature": [[["chat"], 1.0], [["search"], 2.0]], "tag": [[["a", "b"], 3.0]]}
    store.note_spent("a", "2026-03-02T10:00:00Z", 3.0, by)
    store.note_spent("b", "2026-03-01T10:00:00Z", 3.0, by)
    store.note_spent("c", "2026-02-01T10:00:00Z", 3.0)
    assert sorted((e.run, e.day, e.usd, e.by) for e in store.expenses("2026-03")) == [
        ("a", "2026-03-02", 3.0, by),
        ("b", "2026-03-01", 3.0, by),
    ]
    now = datetime(2026, 3, 2, tzinfo=UTC)
    scopes = [Scope("feature", "chat"), Scope("feature", "*"), Scope("tag", "b"), Scope("team", "x")]
    found = pipeline_store.spent(url, Path(), now=now, scopes=scopes) or {}
    sums = {"feature:chat": (1.0, 2.0), "feature:*": (3.0, 6.0), "tag:b": (3.0, 6.0), "team:x": (0.0, 0.0)}
    assert {s: (found[f"{s}.day"], found[f"{s}.month"]) for s in sums} == sums
    # a run of an older version did not tell: the day is known, the month is not
    store.note_spent("old", "2026-03-01T12:00:00Z", 1.0)
    found = pipeline_store.spent(url, Path(), now=now, scopes=scopes[:1]) or {}
    assert found == {"day": 3.0, "month": 7.0, "feature:chat.day": 1.0}


def test_a_merged_run_spends_only_what_its_shards_did_not_note(url: str) -> None:
    store = open_store(url, Path())
    one, two = made("one", shard="1/2"), made("two", shard="2/2")
    pipeline_store.keep(one, url, Path())
    whole = dataclasses.replace(
        one.run,
        run_id="merged-1",
        calls=(*one.run.calls, *two.run.calls),
        environment={"shard": "1/2 2/2", "shards": ["one", "two"]},
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert pipeline_store.spent(url, Path(), now=now, run=whole) == {"day": 0.0, "month": 0.0}
    pipeline_store.keep(dataclasses.replace(one, run=whole), url, Path())
    assert store.spent("2026-01-01")["day"] == pytest.approx(1.0), "four calls at 0.25, each once"
    # a merged run brought nothing that its shards had not noted
    noted = [e.by for e in store.expenses("2026-01") if e.by]
    assert sum(usd for by in noted for _, usd in by.get("feature", ())) == pytest.approx(1.0)
    assert pipeline_store.spent(None, Path()) is None


def test_texts_go_and_figures_stay(url: str) -> None:
    store = open_store(url, Path())
    report = made("old")
    keep(store, report)
    assert "secret" in repr(store.load("old"))
    store.strip("old")
    bare = store.load("old")
    assert "secret" not in repr(bare)
    assert "secret" not in json.dumps(store.run_json("old"))
    assert [c.latency for c in bare.calls] == [0.5, 0.5]
    assert [r.scores[0].value for r in bare.results] == [0.9, 0.9]
    assert bare.spans[0].latency == 0.1
    assert [r.bodies for r in store.runs()] == [False]
    keep(store, report)  # the same run again is no news, and brings no text back
    assert "secret" not in repr(store.load("old"))


def test_history_and_its_commands_read_any_store(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(url, Path())
    for i in range(12):
        keep(store, made(f"run-{i:02d}", day=i + 1, score=0.9 - 0.3 * (i >= 8) + 0.001 * (i % 3)))
    keep(store, made("zz", day=20, score=0.1, shard="1/2"))
    assert main(["history", "--store", url, "--metric", "relevance"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("12 runs in "), "a shard is no build"
    assert "worse from run-08" in out
    assert main(["history", "runs", "--store", url]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 14
    args = ["history", "prune", "--store", url, "--keep-runs", "3", "--keep-bodies-days", "1", "--spare", "run-00"]
    assert main([*args, "--dry-run"]) == 0
    assert "would remove 9 runs" in capsys.readouterr().out
    assert len(store.runs()) == 13
    assert main(args) == 0
    assert [r.id for r in store.runs()] == ["run-00", "run-10", "run-11", "zz"]
    assert [r.bodies for r in store.runs()] == [True, False, False, False]
    # texts by size: of what is left nothing fits, and the figures stay
    assert main(["history", "prune", "--store", url, "--keep-bodies-bytes", "0"]) == 0
    assert "texts of 1 run" in capsys.readouterr().out
    assert [r.bodies for r in store.runs()] == [False] * 4
    assert store.load("run-00").results[0].scores[0].value == 0.9
    assert main(["history", "prune", "--store", url]) == 4
    assert "nothing says what to keep" in capsys.readouterr().err


WRITE = """
import importlib.util, sys
from pathlib import Path
from pytest_llmwatch.store.base import open_store
spec = importlib.util.spec_from_file_location("helpers", sys.argv[1])
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
url, writer = sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
store = open_store(url, Path())
for i in range(helpers.RUNS):
    store.note_spent(f"w{writer}-{i}", "2026-01-01T00:00:00Z", 1.0)
    helpers.keep(store, helpers.made(f"w{writer}-{i}", day=writer + 1))
    helpers.keep(store, helpers.made("shared"))
"""


def test_jobs_that_write_at_once_lose_nothing(url: str) -> None:
    command = [sys.executable, "-c", WRITE, __file__, url]
    jobs = [
        subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for n in range(WRITERS)
    ]
    for job in jobs:
        assert job.stdout is not None
        job.stdout.readline()
    # all are loaded: they make the tables and write at the same moment
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write(b"\n")
        job.stdin.flush()
    said = [job.communicate(timeout=300)[1].decode() for job in jobs]
    assert [job.returncode for job in jobs] == [0] * WRITERS, "\n".join(said)
    store = open_store(url, Path())
    wanted = {f"w{n}-{i}" for n in range(WRITERS) for i in range(RUNS)} | {"shared"}
    assert {r.id for r in store.runs()} == wanted
    assert store.load("w3-1") == made("w3-1", day=4).run
    assert store.spent("2026-01-01") == {"day": WRITERS * RUNS, "month": WRITERS * RUNS}


@pytest.mark.parametrize(
    ("ref", "parts"),
    [
        ("latest", (None, "latest")),
        ("sqlite:///a.db", ("sqlite:///a.db", "latest")),
        ("sqlite:///a.db#", ("sqlite:///a.db", "latest")),
        ("sqlite:///a#b.db#r1", ("sqlite:///a#b.db", "r1")),
        ("postgresql://u:p%23@h/d#r1", ("postgresql://u:p%23@h/d", "r1")),
        ("not-a-store#r1", (None, "not-a-store#r1")),
    ],
)
def test_a_reference_names_a_store_and_a_run(ref: str, parts: tuple[str | None, str]) -> None:
    assert split_ref(ref) == parts
