"""``--llm-baseline=concurrent``: what a session does to a server's speed cancels, what the candidate does not."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_llmwatch import gate, gate_rounds, golden_set, pipeline
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.errors import GoldenError, UsageError
from pytest_llmwatch.model import Call, CaseResult, Report, Run, Verdict
from pytest_llmwatch.plugin import concurrent
from pytest_llmwatch.plugin.wire import Parcel
from pytest_llmwatch.report import run_json
from pytest_llmwatch.stats import permutation
from pytest_llmwatch.stats.samples import Pair, logs
from pytest_llmwatch.store import files

CASES = 12
SET = """\
api: chat
model: m
prompt: "Q: {{ input }}"
prompt_version: v1
repeats: 2
scorers: [{contains: {all: [answer]}}]
variants:
  same: {prompt: "Q: {{ input }}", prompt_version: v2}
  slower: {prompt: "Think. Q: {{ input }}", model: m-2}
"""
BUDGET = """\
[gate]
alpha = 0.001
[prices.m]
input_per_million = 1e6
output_per_million = 1e6
[prices.m-2]
input_per_million = 1e6
output_per_million = 1e6
[cost]
run_usd = 1000
day_usd = 10000
[drift]
metrics = ["latency", "contains"]
"""
RUN = ("golden_sets", "--llm-budget=budget.toml", "--llm-record=off", "--llm-store=store", "-p", "no:xdist")


@dataclass
class Server:
    """A model whose answers take longer and longer while it is asked, and longer where it is to think."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def delay(self, text: str) -> float:
        drift = 0.002 + 0.0004 * len(self.asked)
        return drift + (0.05 if text.startswith("Think") else 0.0)


@pytest.fixture
def server(project: Any, serve: Any) -> Server:
    made, lock = Server(), threading.Lock()

    def answer(asked: dict[str, Any]) -> str:
        text = asked["messages"][-1]["content"]
        with lock:
            made.asked.append((asked["model"], text))
            delay = made.delay(text)
        time.sleep(delay)
        return "an answer"

    serve(answer)
    project.golden("qa", SET, [{"id": f"c{n:02}", "input": f"question {n}"} for n in range(CASES)])
    project.budget(BUDGET)
    return made


def verdicts(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {v["rule"]: v for v in report["verdicts"]}


def test_a_slower_arm_is_red_in_one_session(project: Any, server: Server) -> None:
    done = project.run(*RUN, "--llm-variant=slower", "--llm-baseline=concurrent")
    assert done.ret == 1
    report = project.report()
    found = verdicts(report)
    assert found["drift.latency"]["verdict"] == "fail"
    assert found["drift.latency"]["n_cases"] == CASES
    assert "model m → m-2" in found["drift.latency"]["because"]
    assert found["drift.contains"]["verdict"] != "fail"
    # both arms of every case and repeat were asked, and neither always first
    models = [model for model, _ in server.asked]
    assert models.count("m") == models.count("m-2") == 2 * CASES
    calls = {c["model"] for c in map(json.loads, _lines(project))}
    assert calls == {"m-2"}
    # the run's own figures are the candidate's; the day's spending is of both arms
    assert report["aggregates"]["calls"] == 2 * CASES
    assert found["cost.run_usd"]["observed"] == pytest.approx(20 * CASES)
    told = report["environment"]["concurrent"]
    assert (told["calls"], told["usd"]) == (2 * CASES, pytest.approx(20 * CASES))
    spent = json.loads((project.path / "store" / "spent.jsonl").read_text())
    assert spent["usd"] == pytest.approx(40 * CASES)
    assert spent["by"]["model"] == [[["m"], pytest.approx(20 * CASES)], [["m-2"], pytest.approx(20 * CASES)]]
    note = f"the baseline (set as it is) was asked beside the run: {2 * CASES} calls, $240.00 more"
    assert any(n.startswith(note) for n in report["notes"])
    assert not any("baseline accept" in line for line in done.outlines)
    assert [len(b["cases"]) for b in report["concurrent"]] == [CASES]


def _lines(project: Any) -> list[str]:
    import gzip

    return (
        gzip.decompress((project.path / "llmwatch-report" / "calls.jsonl.gz").read_bytes()).decode().splitlines()
    )


def test_equal_arms_stay_green_and_are_recorded_apart_from_other_runs(project: Any, server: Server) -> None:
    args = ("--llm-variant=same", "--llm-baseline=concurrent", "-n2")
    done = project.run(*RUN[:2], *args, "--llm-record=once")
    assert done.ret == 0
    first = verdicts(project.report())
    assert first["drift.latency"]["verdict"] != "fail"
    assert first["drift.latency"]["n_cases"] == CASES
    assert len(server.asked) == 4 * CASES
    folder = project.path / "golden_sets" / "qa" / "cassettes"
    assert sorted(p.name for p in folder.iterdir()) == ["same", "same.vs.set.yaml"]
    assert len(list((folder / "same.vs.set.yaml").iterdir())) == CASES
    assert "baseline.apart" not in first


def made(*, slower: float = 1.0, at: str = "10:00", mode: Any = "replayed") -> Run:
    """A run of twelve cases, asked twice each, at a time of the day."""
    rng = np.random.default_rng(3)
    calls, results = [], []
    for n in range(12):
        for r in range(2):
            time, name = f"2026-11-01T{at}:{n:02}.{r}00Z", f"c{n}-{r}"
            seconds = slower * float(np.exp(n / 10 + rng.normal(0, 0.05)))
            calls.append(
                Call(id=name, set="qa", case=f"c{n}", repeat=r, time=time, latency=seconds, capture_mode=mode)
            )
            results.append(
                CaseResult(nodeid=name, set="qa", case=f"c{n}", repeat=r, outcome="passed", call_ids=(name,))
            )
    return Run("run-1", f"2026-11-01T{at}:00.000Z", calls=tuple(calls), results=tuple(results))


def beside(run: Run, base: Run) -> Run:
    """Return ``run`` as if ``base`` had been asked beside it, read back from its files."""
    arm = concurrent.Concurrent(SimpleNamespace(), "")  # type: ignore[arg-type]
    for call, result in zip(base.calls, base.results, strict=True):
        arm.collect(Parcel(calls=[call], result=result))
    stored = run_json.render(Report(arm.joined(run), "none", "", 0))
    return replace(files.run_of(stored, [], (), "run.json"), calls=run.calls, results=run.results)


def test_one_session_is_enough_where_both_were_asked_in_it() -> None:
    budget = parse_budget('[drift]\nmetrics = ["latency"]\n')

    def judged(run: Run) -> dict[str, Verdict]:
        return {v.rule: v for v in gate.judge(run, budget, today=date(2026, 11, 2))}

    found = judged(beside(made(slower=1.3), made()))
    assert list(found) == ["drift.latency"]
    assert found["drift.latency"].verdict == "fail"
    assert judged(beside(made(), made()))["drift.latency"].verdict == "pass"
    # the same figures, recorded an hour apart: what a session does is not known
    found = judged(beside(made(slower=1.3), made(at="11:00")))
    assert found["drift.latency"].verdict == "warn"
    assert "the baseline holds 1 session" in found["drift.latency"].because
    assert found["baseline.apart"].verdict == "warn"
    assert "qa (24 executions)" in found["baseline.apart"].because
    # a look at the first round sees the first round of both
    early = gate_rounds.upto(beside(made(), made()), 1)
    assert {len(row) for b in early.concurrent for c in b.cases.values() for row in c.values.values()} == {1}


def test_what_has_no_second_arm_is_one_line(project: Any) -> None:
    golden = pipeline.load_golden(project.golden("qa", SET) / "set.yaml")
    with pytest.raises(GoldenError, match="has no variant 'slow'; did you mean 'slower'"):
        golden_set.beside(golden, "slow", candidate=None)
    with pytest.raises(GoldenError, match="answered by target 'app:answer'"):
        golden_set.beside(replace(golden, target="app:answer"), None, candidate="same")
    for budget, shard, text in (("", None, "add \\[drift\\]"), (BUDGET, "1/2", "1/2 is a part of one")):
        session: Any = SimpleNamespace(budget=parse_budget(budget), settings=SimpleNamespace(shard=shard))
        with pytest.raises(UsageError, match=text):
            concurrent.Concurrent(session, "").check()
    refs = ("concurrent", "concurrent:same", "concurrently", "main:golden_sets", None)
    assert [concurrent.variant_of(r) for r in refs] == ["", "same", None, None, None]


def test_recordings_of_different_hours_are_not_together() -> None:
    def call(time: str, mode: Any = "replayed") -> Call:
        return Call(id=time, set="qa", case="c", time=f"2026-11-01T{time}.000Z", latency=2.0, capture_mode=mode)

    def count(one: Call, other: Call) -> int:
        return sum(concurrent.apart([one], [other]).values())

    assert count(call("10:00:00"), call("10:00:02")) == count(call("10:00:02"), call("10:00:00")) == 0
    assert count(call("10:00:00"), call("11:00:00")) == 1
    assert count(call("10:00:00", "live"), call("10:00:02")) == 1
    assert count(call("10:00:00", "live"), call("11:00:00", "live")) == 0


def test_the_coin_is_fair_and_the_same_for_a_seed() -> None:
    tossed = [concurrent.before("run", f"c{n}", n % 3, 0) for n in range(4000)]
    assert 1850 < sum(tossed) < 2150
    assert tossed == [concurrent.before("run", f"c{n}", n % 3, 0) for n in range(4000)]
    assert tossed != [concurrent.before("other", f"c{n}", n % 3, 0) for n in range(4000)]


def share_red(interleaved: bool, builds: int = 150, cases: int = 20, slower: float = 0.0) -> float:
    """Return how often latency is red at .05 where the server's speed wanders within and between sessions."""
    rng, red = np.random.default_rng(5), 0
    for build in range(builds):
        # a random walk of the log speed: three asks of a case move it by as much as its own noise
        walk = np.cumsum(rng.normal(0, 0.06, 2 * cases))
        pace = rng.normal(0, 0.9, cases)
        first = [concurrent.before(str(build), f"c{i}", 0, 0) for i in range(cases)]
        pairs = []
        for i in range(cases):
            at = (2 * i, 2 * i + 1) if interleaved else (i, cases + i)
            base, candidate = at if first[i] or not interleaved else at[::-1]
            noise = rng.normal(0, 0.1, 2)
            values = np.exp(pace[i] + walk[[base, candidate]] + noise + [0.0, slower])
            pairs.append(Pair(values[:1, None], values[1:, None], str(i)))
        found = permutation.compare(logs(pairs), seed=build, draws=199, higher_is_worse=True)[0]
        red += found.p <= 0.05
    return red / builds


def test_what_a_session_does_raises_no_alarm_where_arms_are_interleaved() -> None:
    assert share_red(interleaved=True) <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    # negative control: one arm after the other, the same server
    assert share_red(interleaved=False, builds=60) > 0.2
    assert share_red(interleaved=True, builds=40, slower=0.2) > 0.9
