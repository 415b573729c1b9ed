"""Spans: where they belong and how long they took, live and replayed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llmock.scenarios import Delay

import pytest_llmwatch
from pytest_llmwatch import tracing
from pytest_llmwatch.model import Span


def by_name(spans: tuple[Span, ...]) -> dict[str, Span]:
    return {s.name: s for s in spans}


def parents(spans: tuple[Span, ...]) -> dict[str, str | None]:
    names = {s.id: s.name for s in spans}
    return {s.name: names.get(s.parent_id or "") for s in spans}


def spans_of(bench: Any, act: Callable[[], Any]) -> tuple[Span, ...]:
    return tuple(bench.run(lambda _: act(), "off").watch.spans)


def test_calls_and_spans_know_what_they_are_inside_of(bench: Any) -> None:
    def act(llm_call: Any) -> None:
        llm_call("outside")
        with tracing.span("handle", kind="chain", tenant_size=3) as step:
            step.set(found=True)
            with tracing.span("plan"):
                llm_call("inside")
        with tracing.tag(stage="named"), tracing.span("other"):
            llm_call("tagged")

    watch = bench.run(act).watch
    spans = by_name(watch.spans)
    assert parents(watch.spans) == {"handle": None, "plan": "handle", "other": None}
    outside, inside, tagged = watch.calls
    assert (outside.parent_id, outside.stage) == (None, None)
    assert (inside.parent_id, inside.stage) == (spans["plan"].id, "plan")
    assert (tagged.parent_id, tagged.stage) == (spans["other"].id, "named")
    assert {s.trace_id for s in watch.spans} == {c.trace_id for c in watch.calls}
    handle = spans["handle"]
    assert (handle.kind, handle.attributes, handle.index) == ("chain", {"tenant_size": 3, "found": True}, 0)
    assert handle.nodeid == inside.nodeid
    assert handle.latency is not None
    assert inside.latency is not None
    assert handle.latency >= inside.latency


def test_ids_are_the_same_in_every_run_and_differ_by_repeat_and_attempt(bench: Any) -> None:
    def act(_: Any) -> None:
        with tracing.span("a"), tracing.span("b"):
            pass

    first, again = (bench.run(act, "off").watch.spans for _ in range(2))
    repeat = bench.run(act, "off", repeat=1).watch.spans
    rerun = bench.run(act, "off", attempt=1).watch.spans
    assert [s.id for s in first] == [s.id for s in again]
    assert len({s.id for s in (*first, *repeat, *rerun)}) == 6


@contextlib.contextmanager
def failing(kind: type[Exception]) -> Iterator[None]:
    with pytest.raises(kind):
        yield


def test_every_kind_of_function_is_decorated(bench: Any) -> None:
    @pytest_llmwatch.span
    def plain(x: int) -> int:
        return x + 1

    @pytest_llmwatch.span("renamed", kind="chain")
    def named() -> int:
        return plain(1)

    @pytest_llmwatch.span()
    async def coroutine() -> int:
        await asyncio.sleep(0)
        return plain(2)

    @pytest_llmwatch.span
    def generator() -> Iterator[int]:
        got = yield plain(1)
        assert got == "sent"
        yield 2

    @pytest_llmwatch.span
    async def stream() -> AsyncIterator[int]:
        for i in range(2):
            await asyncio.sleep(0)
            yield plain(i)

    @pytest_llmwatch.span
    def broken() -> None:
        raise KeyError("x")

    async def use() -> list[int]:
        return [await coroutine(), *[i async for i in stream()]]

    def act() -> None:
        assert named() == 2
        assert asyncio.run(use()) == [3, 1, 2]
        steps: Any = generator()
        assert next(steps) == 2
        with tracing.span("between"):
            assert steps.send("sent") == 2
        steps.close()
        with failing(KeyError):
            broken()

    act()  # outside of a run they are what they were
    spans = spans_of(bench, act)
    names = {s.id: s.name for s in spans}
    pairs = [(s.name, names.get(s.parent_id or ""), s.error) for s in spans]
    assert pairs == [
        ("renamed", None, None),
        ("plain", "renamed", None),
        ("coroutine", None, None),
        ("plain", "coroutine", None),
        ("stream", None, None),
        ("plain", "stream", None),
        ("plain", "stream", None),
        ("generator", None, None),
        ("plain", "generator", None),
        ("between", None, None),
        ("broken", None, "KeyError"),
    ]
    assert plain.__name__ == "plain"


def test_a_generator_is_driven_as_without_a_span(bench: Any) -> None:
    def body() -> Iterator[Any]:
        try:
            yield 1
        except ValueError:
            yield "thrown"
        return "end"

    def drive(function: Callable[[], Any]) -> list[Any]:
        first: Any = function()
        seen = [next(first), first.throw(ValueError())]
        with pytest.raises(StopIteration) as stop:
            next(first)
        seen.append(stop.value.value)
        second = function()
        next(second)
        second.close()
        third = function()
        next(third)
        with pytest.raises(RuntimeError):
            third.throw(RuntimeError())
        return seen

    wanted = drive(body)
    seen: list[Any] = []
    spans = spans_of(bench, lambda: seen.extend(drive(tracing.span(body))))
    assert seen == wanted == [1, "thrown", "end"]
    assert [s.error for s in spans] == [None, None, "RuntimeError"]


def test_threads_and_tasks(bench: Any) -> None:
    @tracing.span
    def work(name: str) -> None:
        with tracing.span(f"in {name}"):
            barrier.wait(5)

    async def task(name: str) -> None:
        async with tracing.span(f"task {name}"):
            await asyncio.sleep(0.01)
            with tracing.span(f"under {name}"):
                await asyncio.sleep(0.01)

    async def tasks() -> None:
        with tracing.span("gather"):
            await asyncio.gather(*(task(str(i)) for i in range(3)))
            await asyncio.to_thread(in_thread)

    def in_thread() -> None:
        with tracing.span("to_thread"):
            pass

    def act() -> None:
        with tracing.span("pool"), ThreadPoolExecutor(2) as pool:
            for f in [pool.submit(work, str(i)) for i in range(2)]:
                f.result()
        asyncio.run(tasks())
        with tracing.span("copied"):
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(in_copy,))
            thread.start()
            thread.join()

    def in_copy() -> None:
        with tracing.span("copy"):
            pass

    barrier = threading.Barrier(2)
    spans = spans_of(bench, act)
    names = {s.id: s.name for s in spans}
    # two workers open theirs at the same time: neither is taken for the parent of the other
    assert [names[s.parent_id or ""] for s in spans if s.name == "work"] == ["pool", "pool"]
    found = parents(spans)
    assert found["in 0"] == found["in 1"] == "work"
    assert [found[f"task {i}"] for i in range(3)] == ["gather"] * 3
    assert [found[f"under {i}"] for i in range(3)] == [f"task {i}" for i in range(3)]
    assert found["to_thread"] == "gather"
    assert found["copy"] == "copied"


def test_a_thread_without_context_takes_what_encloses_all_that_is_open(bench: Any) -> None:
    def in_thread(name: str) -> None:
        def run() -> None:
            with tracing.span(name):
                pass

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    async def ambiguous() -> None:
        both = asyncio.Barrier(2)

        async def one(name: str) -> None:
            with tracing.span(name):
                await both.wait()
                in_thread(f"thread in {name}")
                await both.wait()

        await asyncio.gather(one("a"), one("b"))

    def act() -> None:
        in_thread("alone")
        with tracing.span("outer"), tracing.span("inner"):
            in_thread("nested")
        asyncio.run(ambiguous())

    found = parents(spans_of(bench, act))
    assert found["alone"] is None
    assert found["nested"] == "inner"
    assert found["thread in a"] is None  # a and b are open, and nothing is around both


def test_one_context_manager_may_be_open_in_many_tasks(bench: Any) -> None:
    shared = tracing.span("shared")

    async def one(pause: float) -> None:
        with shared as step:
            await asyncio.sleep(pause)
            step.set(pause=pause)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(p) for p in (0.03, 0.01, 0.02)))

    spans = spans_of(bench, lambda: asyncio.run(all_of_them()))
    assert [s.attributes["pause"] for s in spans] == [0.03, 0.01, 0.02]
    assert all((s.latency or 0) >= s.attributes["pause"] * 0.9 for s in spans)


# time


def test_a_replayed_span_takes_as_long_as_when_it_was_recorded(bench: Any, faults: Any) -> None:
    """Own time is measured anew, calls take what they took when they were recorded, at once counted once."""

    def act(llm_call: Any) -> None:
        with tracing.span("one"):
            llm_call("first")
            threading.Event().wait(0.05)
        with tracing.span("two at once"):

            async def both() -> None:
                await asyncio.gather(llm_call.aio("second"), llm_call.aio("third"))

            asyncio.run(both())
        with tracing.span("no call"):
            pass

    for seconds in (0.4, 1.0, 1.0):
        faults.add(Delay(seconds))
    recorded, replayed = bench.both(act)
    live, again = by_name(recorded.watch.spans), by_name(replayed.watch.spans)
    first, second, third = ((c.latency or 0) + (c.queue_wait or 0) for c in replayed.watch.calls)
    for name in ("one", "two at once"):
        assert (live[name].capture_mode, again[name].capture_mode) == ("recorded", "replayed")
    # measured anew: nothing but the application's own time, here 0.05 s and what Python takes
    assert first + 0.05 <= (again["one"].latency or 0) < first + 0.5
    assert max(second, third) <= (again["two at once"].latency or 0) + 0.002 < second + third
    assert all((live[name].latency or 0) >= 0.4 for name in ("one", "two at once"))
    assert again["no call"].capture_mode == "live"
    # on the clock of the recording, in the order in which things happened
    began = replayed.watch.calls[0].time
    assert again["one"].time is not None
    assert began is not None
    assert again["one"].time <= began < (again["two at once"].time or "") < (again["no call"].time or "")


def test_a_span_around_the_head_of_a_stream_ends_with_it(bench: Any, faults: Any) -> None:
    def act(llm_call: Any) -> None:
        with tracing.span("ask"):
            stream = llm_call.stream("tell me", api="chat")
        with tracing.span("whole"):
            for _ in llm_call.stream("tell me more", api="chat"):
                pass
        for _ in stream:
            pass

    faults.add(Delay(0.3))
    recorded, replayed = bench.both(act)
    live, again = (by_name(r.watch.spans)["ask"] for r in (recorded, replayed))
    assert (live.capture_mode, again.capture_mode) == ("recorded", "replayed")
    assert (live.latency or 0) >= 0.3
    assert 0.3 <= (again.latency or 0) < (live.latency or 0) + 0.5
    for result in (recorded, replayed):
        assert [c.stage for c in result.watch.calls] == ["ask", "whole"]
    assert replayed.watch.calls[1].latency is not None
    assert (by_name(replayed.watch.spans)["whole"].latency or 0) >= replayed.watch.calls[1].latency


def test_a_recording_without_times_leaves_the_span_unmeasured(bench: Any) -> None:
    def act(llm_call: Any) -> None:
        with tracing.span("outer"), tracing.span("inner"):
            llm_call("hello")

    bench.run(act)
    file = bench.cassette()
    kept, skipping = [], False
    for line in file.read_text("utf-8").splitlines(keepends=True):
        indent = len(line) - len(line.lstrip())
        if line.strip() == "x-llmwatch:":
            skipping, level = True, indent
            continue
        skipping = skipping and indent > level
        if not skipping:
            kept.append(line)
    file.write_text("".join(kept), "utf-8")
    replayed = bench.run(act, "none")
    assert replayed.error is None
    assert [(s.latency, s.capture_mode) for s in replayed.watch.spans] == [(None, "replayed")] * 2


def test_time_between_two_items_of_a_generator_is_its_readers(bench: Any) -> None:
    @tracing.span
    def items() -> Iterator[int]:
        threading.Event().wait(0.05)
        yield 1
        yield 2

    def act() -> None:
        for _ in items():
            threading.Event().wait(0.6)

    (span,) = spans_of(bench, act)
    # the reader took 1.2 s; the machine may be busy
    assert 0.05 <= (span.latency or 0) < 0.9
