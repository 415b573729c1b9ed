"""``--llm-baseline=concurrent``: what a session does to the speed of a server cancels, what the candidate does not."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_llmwatch import pipeline

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
alpha = 0.01
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
    """A model whose answers take longer and longer while it is asked, and twice as long where it is to think."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def delay(self, text: str) -> float:
        drift = 0.002 + 0.0004 * len(self.asked)
        return drift + (0.025 if text.startswith("Think") else 0.0)


@pytest.fixture
def server(project: Any) -> Iterator[Server]:
    made, lock = Server(), threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            text = asked["messages"][-1]["content"]
            with lock:
                made.asked.append((asked["model"], text))
                delay = made.delay(text)
            time.sleep(delay)
            choice = {"index": 0, "message": {"role": "assistant", "content": "an answer"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            body = {"id": "c", "created": 1, "object": "chat.completion", "model": asked["model"]}
            data = json.dumps({**body, "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    project.env["OPENAI_BASE_URL"] = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    project.golden("qa", SET, [{"id": f"c{n:02}", "input": f"question {n}"} for n in range(CASES)])
    project.budget(BUDGET)
    try:
        yield made
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


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
    assert report["environment"]["concurrent"] == {"calls": 2 * CASES, "usd": pytest.approx(20 * CASES)}
    spent = json.loads((project.path / "store" / "spent.jsonl").read_text())
    assert spent["usd"] == pytest.approx(40 * CASES)
    # the stored run is judged again by what it holds
    run, _ = pipeline.load_any(str(project.path / "llmwatch-report"), ".")
    assert [len(b.cases) for b in run.concurrent] == [CASES]
    budget = pipeline.load_setup(project.path / "budget.toml").budget
    again = {v.rule: v for v in pipeline.judge(run, budget).verdicts}
    assert again["drift.latency"].verdict == "fail"
    assert again["drift.latency"].p_adjusted == found["drift.latency"]["p_adjusted"]


def _lines(project: Any) -> list[str]:
    import gzip

    return gzip.decompress((project.path / "llmwatch-report" / "calls.jsonl.gz").read_bytes()).decode().splitlines()


def test_equal_arms_stay_green_and_are_replayed_together(project: Any, server: Server) -> None:
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
    done = project.run(*RUN[:2], *args[:2], "--llm-record=none", "-p", "no:xdist")
    assert done.ret == 0
    assert len(server.asked) == 4 * CASES
    again = verdicts(project.report())
    assert again["drift.latency"]["p_adjusted"] == first["drift.latency"]["p_adjusted"]
    assert "baseline.apart" not in again


@pytest.fixture
def one_line(project: Any) -> Callable[..., str]:
    def run(*args: str) -> str:
        done = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=off", "-p", "no:xdist", *args)
        assert done.ret == 4
        lines = [line for line in done.stderr.lines if line.strip()]
        assert len(lines) == 1
        return str(lines[0])

    return run


def test_what_has_no_second_arm_is_one_line(project: Any, server: Server, one_line: Callable[..., str]) -> None:
    assert "has no variant 'nwe'" in one_line("--llm-baseline=concurrent:nwe")
    assert not server.asked
