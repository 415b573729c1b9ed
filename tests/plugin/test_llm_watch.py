"""``llm_watch`` in real runs of pytest: an application with retrieval, a tool, and two model calls."""

from __future__ import annotations

import gzip
import json
import stat
import sys
from typing import Any

import pytest
from llmock.scenarios import Delay, Reply, ToolCall

APP = """
import json
import openai
from pytest_llmwatch import retrieval, span, tool

TOOLS = [{"type": "function", "function": {"name": "order_status", "parameters": {
    "type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}}}]
PAGES = [{"id": "refunds", "text": "A refund is paid within 14 days.", "source": "handbook"},
         {"id": "orders", "text": "Order 17 was shipped on Monday.", "source": "orders"}]

@retrieval(source="handbook", top_k=2)
def retrieve(question):
    return PAGES

@tool
def order_status(order):
    return {"order": order, "status": "shipped"}

@span
def answer(question, client=None):
    client = client or openai.OpenAI()
    pages = retrieve(question)
    messages = [{"role": "system", "content": "Answer from:\\n" + "\\n".join(p["text"] for p in pages)},
                {"role": "user", "content": question}]
    with span("plan"):
        asked = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=TOOLS)
    message = asked.choices[0].message
    messages.append({"role": "assistant", "content": None, "tool_calls": [
        {"id": t.id, "type": "function", "function": {"name": t.function.name, "arguments": t.function.arguments}}
        for t in message.tool_calls or []]})
    for call in message.tool_calls or []:
        result = order_status(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
    with span("write"):
        done = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    return done.choices[0].message.content
"""
TESTS = """
from app import answer

def test_where_is_my_order(llm_watch):
    with llm_watch.tag(feature="support", user="jane@example.com", shop="north"):
        text = answer("Where is order 17?")
    assert text == "Order 17 was shipped on Monday."
    plan, write = llm_watch.calls
    assert (plan.stage, write.stage) == ("plan", "write")
    assert plan.tool_calls[0].name == "order_status" and plan.tool_calls[0].error is None
    assert plan.tool_calls[0].result == '{"order": "17", "status": "shipped"}'
    assert plan.retrieval.ids == ("refunds", "orders") and write.retrieval is None
    assert [s.name for s in llm_watch.spans] == ["answer", "retrieve", "plan", "order_status", "write"]
    assert llm_watch.errors == () and llm_watch.cost_usd > 0
    assert {c.user for c in llm_watch.calls} == {s.labels["user"] for s in llm_watch.spans}
    scored = llm_watch.score(text)
    assert scored.score("groundedness").value == 1
    scored.assert_quality(min=0.4)
    llm_watch.metric("stars", 4)
    llm_watch.metric("stars", 5)
    llm_watch.outcome(success=True, reask=False, feedback="thumbs_up")

def test_without_a_call(llm_watch):
    assert (llm_watch.calls, llm_watch.spans, llm_watch.cost_usd) == ((), (), 0)
    llm_watch.metric("stars", 3)
    llm_watch.outcome(success=False, reask=True)

def test_without_the_fixture():
    assert answer("And where is order 17 now?")
"""
BUDGET = """
[metric.stars]
mean = 4
min = 3
[outcome]
success_rate = 0.5
reask_rate = 0.6
[scope."stage:plan".latency]
max = {plan}
[scope."stage:write".latency]
max = 20
[scope."stage:answer".cost]
run_usd = 1
[scope."user:jane@example.com".cost]
run_usd = 1
"""


def rules(project: Any) -> dict[str, dict[str, Any]]:
    return {v["rule"]: v for v in project.report()["verdicts"]}


def spans_of(project: Any) -> list[dict[str, Any]]:
    file = project.path / "llmwatch-report" / "spans.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]


@pytest.fixture
def shop(project: Any, loopback: Any) -> Any:
    (project.path / "app.py").write_text(APP)
    (project.path / "test_app.py").write_text(TESTS)
    asked, said = Reply(tool_calls=[ToolCall("order_status", {"order": "17"})]), "Order 17 was shipped on Monday."
    for _ in range(2):
        loopback.state.scenarios.add(asked)
        loopback.state.scenarios.add(Reply(text=said))
    loopback.state.scenarios.add(Delay(0.4))
    return project


def test_an_application_is_watched_live_and_replayed(shop: Any, dead_url: str) -> None:
    shop.budget(BUDGET.format(plan=0.3))
    seen = []
    for args, env in (((), {}), (("--llm-record=none",), {"OPENAI_BASE_URL": dead_url})):
        result = shop.run("--llm-budget=budget.toml", *args, **env)
        result.assert_outcomes(passed=3, failed=1)
        result.stdout.fnmatch_lines(["*stages*", "*Stage *share of the slow tail*", "*plan *"])
        found = rules(shop)
        assert [name for name, v in found.items() if v["verdict"] == "fail"] == ["scope.stage:plan.latency.max"]
        plan = found["scope.stage:plan.latency.max"]
        assert plan["observed"] >= 0.4  # the delay of the first call, recorded
        assert plan["n"] == 2
        assert found["metric.stars.mean"]["observed"] == 4
        assert found["metric.stars.mean"]["n"] == 3
        assert found["outcome.success_rate"]["observed"] == found["outcome.reask_rate"]["observed"] == 0.5
        assert found["scope.user:jane@example.com.cost.run_usd"]["n"] == 2
        assert found["scope.stage:answer.cost.run_usd"]["n"] == 4
        seen.append(plan["observed"])
    assert seen[1] == pytest.approx(seen[0], rel=0.8)

    report = shop.report()
    assert report["spans"] == 10
    stages = report["aggregates"]["stages"]
    assert set(stages) == {"answer", "retrieve", "plan", "order_status", "write"}
    assert stages["plan"]["n"] == 2
    assert 0 < stages["plan"]["tail_share"] <= 1.001
    page = (shop.path / "llmwatch-report" / "report.html").read_text()
    assert '<section id="stages">' in page

    spans = spans_of(shop)
    names = {s["id"]: s["name"] for s in spans}
    first = [s for s in spans if s["nodeid"].endswith("my_order")]
    assert [(s["name"], names.get(s.get("parent_id", ""))) for s in first] == [
        ("answer", None),
        *((name, "answer") for name in ("retrieve", "plan", "order_status", "write")),
    ]
    calls = gzip.decompress((shop.path / "llmwatch-report" / "calls.jsonl.gz").read_bytes()).decode().splitlines()
    lines = [json.loads(line) for line in calls]
    assert [names[line["parent_id"]] for line in lines] == ["plan", "write"] * 2
    assert {line["stage"] for line in lines} == {"plan", "write"}
    assert lines[1]["metrics"] == {"stars": 5.0}
    assert lines[1]["outcome"] == {"success": True, "feedback": "thumbs_up", "reask": False}
    assert lines[0]["tool_calls"][0]["latency"] >= 0
    # the user's id is nowhere, its key only in the store, for its owner alone, out of git's sight
    for file in (f for f in shop.path.joinpath("llmwatch-report").rglob("*") if f.is_file()):
        data = file.read_bytes()
        text = gzip.decompress(data).decode() if file.suffix == ".gz" else data.decode()
        text = text.replace("<wbr>", "")  # where the page may break a rule's id
        assert ("jane@example.com" in text) is (
            file.name in ("run.json", "report.html", "summary.md", "events.jsonl")
        )
        assert "hash-key" not in file.name
    key = shop.path / ".llmwatch" / "hash-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (shop.path / ".llmwatch" / ".gitignore").read_text() == "*\n"


def test_a_stored_run_is_judged_again_by_its_stages(shop: Any, dead_url: str) -> None:
    shop.budget(BUDGET.format(plan=20))
    shop.run("--llm-budget=budget.toml").assert_outcomes(passed=3)
    shop.budget(BUDGET.format(plan=0.3))
    done = shop.pytester.run(
        sys.executable, "-m", "pytest_llmwatch.cli", "gate", "llmwatch-report", "--budget=budget.toml"
    )
    assert done.ret == 1
    done.stdout.fnmatch_lines(["*scope.stage:plan.latency.max*"])
    assert "user:jane@example.com" not in str([line for line in done.outlines if "matches nothing" in line])


def test_spans_survive_workers_and_reruns(project: Any) -> None:
    (project.path / "test_many.py").write_text(
        """
import pytest

@pytest.mark.parametrize("i", range(4))
def test_work(llm_watch, llm_call, i):
    with llm_watch.span("outer", i=i):
        with llm_watch.span("inner"):
            llm_call(f"hello {i}", model="gpt-4o-mini")

@pytest.mark.flaky(reruns=1)
def test_second_try(llm_watch, request):
    with llm_watch.span("try"):
        assert request.node.execution_count == 2
"""
    )
    alone = project.run("--llm-report=llmwatch-report")
    alone.assert_outcomes(passed=5)
    one = spans_of(project)
    several = project.run("--llm-report=llmwatch-report", "-n2", "--llm-record=none")
    several.assert_outcomes(passed=5)
    two = spans_of(project)

    def place(span: dict[str, Any]) -> tuple[Any, ...]:
        return span["id"], span["name"], span.get("parent_id"), span["nodeid"], span.get("attempt", 0)

    assert [place(s) for s in one] == [place(s) for s in two]
    assert len(one) == 10
    tries = [(s.get("attempt", 0), s.get("error")) for s in one if s["name"] == "try"]
    assert tries == [(0, "AssertionError"), (1, None)]
    assert [s["attributes"] for s in one if s["name"] == "outer"] == [{"i": i} for i in range(4)]


def test_finished_spans_survive_a_killed_worker(project: Any) -> None:
    (project.path / "test_dies.py").write_text(
        """
import os

def test_dies(llm_watch):
    with llm_watch.span("finished", kind="tool"):
        pass
    with llm_watch.span("open"):
        os._exit(9)
"""
    )
    result = project.run("--llm-report=llmwatch-report", "-n1", "--max-worker-restart=0")
    assert result.ret != 0
    assert [s["name"] for s in spans_of(project)] == ["finished"]


def test_what_a_test_tells_wrongly_is_one_clear_line(project: Any) -> None:
    (project.path / "test_wrong.py").write_text(
        """
import pytest
from pytest_llmwatch import UsageError

WRONG = [
    (lambda w: w.metric("m", float("nan")), "metric m: must be a finite number"),
    (lambda w: w.metric("m", "12"), "metric m: must be a finite number"),
    (lambda w: w.metric("m", None), "metric m: must be a finite number"),
    (lambda w: w.metric(" ", 1), "a metric needs a name"),
    (lambda w: w.outcome(sucess=True), "did you mean 'success'"),
    (lambda w: w.outcome(success="yes"), "outcome success must be True or False"),
    (lambda w: w.outcome(feedback=True), "outcome feedback must be a word"),
    (lambda w: w.span("x", kind="agnet"), "did you mean 'agent'"),
    (lambda w: w.score("x", case=3), "case must be a golden case or a mapping"),
    (lambda w: w.score("x", case={"contxt": []}), "did you mean 'context'"),
    (lambda w: w.score("x", scorers=["relevanse"]), "relevance"),
]

@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong(llm_watch, number):
    act, says = WRONG[number]
    with pytest.raises(UsageError, match=says):
        act(llm_watch)

def test_right(llm_watch):
    llm_watch.metric("m", True)
    llm_watch.outcome(success=None, feedback="fine")
    llm_watch.outcome(escalated=True)
    scored = llm_watch.score({"output": "Paris."}, case={"input": "Capital?", "must_mention": ["Paris"]})
    assert scored.score("must_mention").value == 1
    named = llm_watch.score("Paris.", case={"must_mention": ["Rome"]}, scorers=["must_mention"])
    assert [s.name for s in named.scores if s.value is not None] == ["must_mention"]
    with pytest.raises(AssertionError, match="could not be assessed|below"):
        named.assert_quality()
"""
    )
    result = project.run("--llm-report=llmwatch-report")
    result.assert_outcomes(passed=12)
    (case,) = project.report()["cases"]
    assert case["metrics"] == {"m": [1.0]}
    assert case["user_outcome"] == {"feedback": "fine", "escalated": True}
    assert case["scores"]["must_mention"]["value"] == 0
