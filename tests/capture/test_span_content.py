"""What spans hold: tools, documents, labels, attributes; redacted."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_llmwatch import UsageError, tracing
from pytest_llmwatch.model import Span


def spans_of(bench: Any, act: Callable[[], Any]) -> tuple[Span, ...]:
    return tuple(bench.run(lambda _: act(), "off").watch.spans)


@contextlib.contextmanager
def failing(kind: type[Exception]) -> Iterator[None]:
    with pytest.raises(kind):
        yield


def test_tools_are_matched_to_what_the_model_asked_for(bench: Any, faults: Any) -> None:
    from llmock.scenarios import Reply as Canned
    from llmock.scenarios import ToolCall as Asked

    from pytest_llmwatch.capture.executions import with_executions

    tools = [
        {"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in ("search", "send")
    ]

    @tracing.tool
    def search(query: str, limit: int = 3) -> dict[str, Any]:
        return {"found": query, "limit": limit}

    def act(llm_call: Any) -> None:
        reply = llm_call("go", api="chat", tools=tools)
        search("pears")
        search("apples")
        with tracing.tool("send", id=reply.tool_calls[2].id, side_effect=True) as step:
            step.result = "sent"
        with failing(TimeoutError), tracing.tool("send", {"to": "x"}):
            raise TimeoutError("no answer from jane@example.com")
        with tracing.tool("unasked"):
            pass

    asked = [
        Asked("search", {"query": "apples"}),
        Asked("search", {"query": "pears"}),
        Asked("send", {"to": "x"}),
        Asked("send", {"to": "x"}),
    ]
    faults.add(Canned(tool_calls=asked))
    watch = bench.run(act).watch
    (call,) = with_executions(watch.calls, watch.spans)
    assert [t.name for t in call.tool_calls] == ["search", "search", "send", "send"]
    assert [t.result for t in call.tool_calls] == [
        '{"found": "apples", "limit": 3}',
        '{"found": "pears", "limit": 3}',
        "sent",
        None,
    ]
    error = call.tool_calls[3].error or ""
    assert error.startswith("TimeoutError: no answer from")
    assert "jane@example.com" not in error
    assert all(t.latency is not None for t in call.tool_calls)
    kinds = [(s.name, s.kind, s.error, s.attributes.get("side_effect")) for s in watch.spans]
    assert kinds[2:] == [
        ("send", "tool", None, True),
        ("send", "tool", "TimeoutError", None),
        ("unasked", "tool", None, None),
    ]
    assert with_executions(watch.calls, ()) == list(watch.calls)


class Page:
    """As LangChain's Document."""

    def __init__(self, text: str, **metadata: Any) -> None:
        self.page_content = text
        self.metadata = metadata


class Node:
    """As LlamaIndex's NodeWithScore."""

    class Inner:
        node_id = "n-1"
        text = "a node"
        metadata = None

    node = Inner()
    score = 0.5


def test_documents_of_every_form(bench: Any) -> None:
    def act() -> None:
        tracing.retrieval("q", ["plain text"], top_k=3, source="kb")
        tracing.retrieval("q", [{"id": 7, "text": "of a mapping", "score": 0.9, "source": "wiki"}])
        tracing.retrieval("q", [Page("langchain", id="p", source="web"), Page("other")])
        tracing.retrieval("q", [(Page("with score"), 0.25)])
        tracing.retrieval("q", [Node()])
        tracing.retrieval("q", ["a", "b"], scores=[2, 1])
        tracing.retrieval("q", [])

    spans = spans_of(bench, act)
    found = [s.retrieval for s in spans]
    assert [(r.ids, r.documents, r.scores) for r in found if r] == [
        ((), ("plain text",), ()),
        (("7",), ("of a mapping",), (0.9,)),
        (("p", ""), ("langchain", "other"), ()),
        ((), ("with score",), (0.25,)),
        (("n-1",), ("a node",), (0.5,)),
        ((), ("a", "b"), (2.0, 1.0)),
        ((), (), ()),
    ]
    assert found[0] is not None
    assert (found[0].query, found[0].top_k, found[0].source) == ("q", 3, "kb")
    assert [s.attributes.get("sources") for s in spans[1:3]] == [{"wiki": 1}, {"web": 1}]
    assert {(s.name, s.kind) for s in spans} == {("retrieval", "retrieval")}


def test_a_retrieval_is_a_moment_a_block_or_an_enclosing_spans(bench: Any) -> None:
    @tracing.retrieval
    def lookup(question: str, top_k: int = 2) -> list[str]:
        return ["one", "two"][:top_k]

    def act(llm_call: Any) -> None:
        with tracing.retrieval("slow") as step:
            threading.Event().wait(0.02)
            step.documents = ["late"]
        with tracing.retrieval("known", ["early"]):
            threading.Event().wait(0.02)
        with tracing.span("retrieve", kind="retrieval"):
            tracing.retrieval("inside", ["mine"])
            tracing.retrieval("again", ["its own"])
        llm_call("ask")
        llm_call("ask again")
        lookup("what?", top_k=1)

    watch = bench.run(act).watch
    rows = [(s.name, s.retrieval.query, s.retrieval.documents) for s in watch.spans if s.retrieval]
    assert rows == [
        ("retrieval", "slow", ("late",)),
        ("retrieval", "known", ("early",)),
        ("retrieve", "inside", ("mine",)),
        ("retrieval", "again", ("its own",)),
        ("lookup", "what?", ("one",)),
    ]
    assert all((s.latency or 0) >= 0.02 for s in watch.spans[:2])
    assert watch.spans[4].retrieval is not None
    assert watch.spans[4].retrieval.top_k == 1
    # the next call was given what was found last; the one after it was not
    taken = [c.retrieval and c.retrieval.documents for c in watch.calls]
    assert taken == [("mine",), None]


def test_tags_hold_from_then_on_or_for_a_block_also_in_tasks_and_threads(bench: Any) -> None:
    async def user(llm_call: Any, name: str) -> None:
        with tracing.tag(session=name):
            await asyncio.sleep(0.01)
            await llm_call.aio(f"of {name}")

    def act(llm_call: Any) -> None:
        tracing.tag(feature="chat", ring="blue")
        llm_call("first")
        with tracing.tag(feature="search", tenant="acme"):
            tracing.tag(team="a")
            llm_call("second")
            with tracing.span("work"), ThreadPoolExecutor(1) as pool:
                pool.submit(llm_call, "third").result()
        llm_call("fourth")

        async def users() -> None:
            await asyncio.gather(user(llm_call, "s1"), user(llm_call, "s2"))

        asyncio.run(users())

    watch = bench.run(act).watch
    rows = {(c.input or ""): (c.feature, c.tenant, c.team, c.session, c.tags) for c in watch.calls}
    blue = ("ring=blue",)
    assert rows == {
        "first": ("chat", None, None, None, blue),
        "second": ("search", "acme", "a", None, blue),
        "third": ("search", "acme", "a", None, blue),
        "fourth": ("chat", None, None, None, blue),
        "of s1": ("chat", None, None, "s1", blue),
        "of s2": ("chat", None, None, "s2", blue),
    }
    (span,) = watch.spans
    assert span.labels == {"feature": "search", "ring": "blue", "tenant": "acme", "team": "a"}


def test_what_a_span_holds_is_redacted_and_its_user_hashed(bench: Any) -> None:
    secret = "sk-proj-" + "Zz9yX8wV7uT6sR5qP4oN3mL2kJ1iH0g"
    mail = "jane.doe@example.com"

    def act() -> None:
        with tracing.tag(user=mail), tracing.span("work", note=f"key {secret}", odd=object, deep={"a": [mail]}):
            tracing.retrieval(f"who is {mail}", [{"id": "d", "text": f"write to {mail}"}])
            with tracing.tool("mail", {"to": mail, "key": secret}) as step:
                step.result = {"sent": mail}

    def leaks(spans: tuple[Span, ...]) -> bool:
        return any(word in repr(spans) for word in (secret, mail))

    spans = spans_of(bench, act)
    assert not leaks(spans)
    assert {s.labels["user"] for s in spans} == {spans[0].labels["user"]}
    assert len(spans[0].labels["user"]) == 16
    # the control: the texts are there, and are found where nothing redacts
    from pytest_llmwatch.redact import Redactor

    class Open(Redactor):
        def text(self, s: str) -> str:
            return s

        def value(self, json: Any) -> Any:
            return json

    assert leaks(tuple(bench.run(lambda _: act(), "off", redactor=Open()).watch.spans))


def test_hostile_attributes_are_kept_as_text(bench: Any) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop

    def act() -> None:
        with tracing.span("a", loop=loop, number=float("inf"), key={1: b"x"}):
            pass

    (span,) = spans_of(bench, act)
    assert span.attributes


def test_an_agents_steps_are_the_calls_made_inside(bench: Any) -> None:
    def act(llm_call: Any) -> None:
        with tracing.agent("planner"):
            llm_call("one")
            with tracing.span("act"):
                llm_call("two")

    agent = bench.run(act).watch.spans[0]
    assert (agent.kind, agent.attributes) == ("agent", {"steps": 2})


def test_nothing_is_recorded_outside_of_a_run() -> None:
    with tracing.span("alone") as step, tracing.tag(user="x"):
        step.set(a=1)
    with tracing.retrieval("q", ["d"]), tracing.tool("t") as ran:
        ran.result = 1
    assert tracing.current() is None
    with pytest.raises(UsageError, match="did you mean 'retrieval'"):
        tracing.span("x", kind="retreival")
