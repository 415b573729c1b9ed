"""Every figure of ``[agent]``: what breaks it, what does not, and what makes it "not measured"."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.budget_grammar import RULES
from pytest_llmwatch.measure import figure, slice_of
from pytest_llmwatch.measure_agent_steps import canonical, with_fallbacks, with_results
from pytest_llmwatch.measure_figure import Figure
from pytest_llmwatch.messages import tells_failure, tool_results
from pytest_llmwatch.model import Attempt, Call, CaseResult, Run, Span, ToolCall, ToolResult, UserOutcome

TOOLS = {"tools": ["search", "send_mail"]}
KEYS = [s.key for s in RULES if s.table == "agent"]


def of(run: Run, key: str, extra: str = "") -> Figure:
    budget = parse_budget(f"[agent]\n{key} = 0.5\n{extra}")
    return figure(budget.limits[0], slice_of(run))


def call(i: int, **fields: Any) -> Call:
    base: dict[str, Any] = {"nodeid": "t.py::t", "index": i, "trace_id": "t", "model": "m", "input": f"q{i}"}
    return Call(id=f"c{i}", **(base | fields))


def one_task(*calls: Call, spans: tuple[Span, ...] = (), **result: Any) -> Run:
    done = CaseResult("t.py::t", call_ids=tuple(c.id for c in calls), **result)
    return Run("r", "", calls=calls, results=(done,), spans=spans)


def span(i: int, kind: str = "tool", **fields: Any) -> Span:
    return Span(id=f"s{i}", name=fields.pop("name", "search"), kind=kind, nodeid="t.py::t", trace_id="t", **fields)


SEARCH = ToolCall("search", '{"q": 1}', "a", valid=True)


# what every figure keeps to ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_nothing_is_not_a_comforting_zero(key: str) -> None:
    found = of(Run("r", ""), key)
    assert (found.value, found.reason) == (None, "not_measured")
    assert found.why


@pytest.mark.parametrize(
    "key",
    ["tool_error_rate", "invalid_arguments", "unauthorised_tools", "wrong_tools", "repeated_side_effects",
     "lost_tool_results", "mismatched_tool_results", "tool_retry_rate", "cache_hit_rate", "call_retry_rate",
     "step_time", "step_time_p95"],
)  # fmt: skip
def test_a_bare_call_tells_nothing_of_tools_caches_and_time(key: str) -> None:
    assert of(one_task(call(0)), key).reason == "not_measured"


# tools ------------------------------------------------------------------------------------------------------


def test_the_next_request_tells_what_became_of_a_tool_call() -> None:
    def run(content: str, failed: bool | None = None) -> Run:
        told = (ToolResult("a", content, True, failed),)
        return one_task(call(0, tool_calls=(SEARCH,)), call(1, tool_results=told))

    assert of(run("sunny"), "tool_error_rate").value == 0
    assert of(run('{"error": "down"}'), "tool_error_rate").value == 1
    assert of(run("sunny", failed=True), "tool_error_rate").value == 1
    assert of(run("Error: down"), "tool_error_rate").worst == ("c0",)


def test_a_span_of_the_tool_counts_once_with_the_call_that_asked_for_it() -> None:
    asked = (SEARCH, ToolCall("search", '{"q": 2}', "b"))
    ran = (
        span(0, tool=ToolCall("search", '{ "q":2 }'), error="down", latency=0.5),
        span(1, tool=ToolCall("search", "", "a")),
    )
    run = one_task(call(0, tool_calls=asked, latency=1.0), spans=ran)
    assert of(run, "tool_calls_per_task").value == 2
    assert of(run, "tool_error_rate").value == 0.5
    assert of(run, "step_time").value == 1.5
    alone = one_task(call(0), spans=(span(0), span(1, error="down")))
    assert (of(alone, "tool_calls_per_task").value, of(alone, "tool_error_rate").value) == (2, 0.5)


def test_the_error_of_an_argument_check_is_no_error_of_the_tool() -> None:
    refused = ToolCall("search", "{", valid=False, error="arguments are not JSON")
    run = one_task(call(0, tool_calls=(refused,)))
    assert of(run, "tool_error_rate").reason == "not_measured"
    assert of(run, "invalid_arguments").value == 1
    assert of(one_task(call(0, tool_calls=(replace(refused, valid=None),))), "tool_error_rate").value == 1


def test_arguments_without_a_check_must_at_least_be_an_object() -> None:
    def v(arguments: str) -> float | None:
        return of(one_task(call(0, tool_calls=(ToolCall("search", arguments),))), "invalid_arguments").value

    assert (v("{}"), v("[1]"), v("{")) == (0, 1, 1)
    assert v("") is None


def test_unauthorised_and_wrong_tools() -> None:
    made = (SEARCH, ToolCall("drop_table", "{}", valid=False), ToolCall("send_mail", "{}", valid=True))
    run = one_task(call(0, tool_calls=made, parameters=TOOLS), expected_tools=("search",))
    assert of(run, "unauthorised_tools").value == pytest.approx(1 / 3)
    assert of(run, "wrong_tools").value == pytest.approx(2 / 3)
    assert of(run, "invalid_arguments").value == 0  # a tool without a schema has nothing to break
    unknown = one_task(call(0, tool_calls=made))
    assert of(unknown, "unauthorised_tools").reason == of(unknown, "wrong_tools").reason == "not_measured"
    none = one_task(call(0, tool_calls=made), expected_tools=())
    assert of(none, "wrong_tools").value == 1


def test_loops_count_equal_arguments_however_they_are_written() -> None:
    def v(*arguments: str) -> float | None:
        calls = [call(i, tool_calls=(ToolCall("search", a),)) for i, a in enumerate(arguments)]
        return of(one_task(*calls), "loops").value

    assert v('{"a":1,"b":2}', '{"b": 2, "a": 1}', '{ "a": 1, "b": 2 }') == 1
    assert v('{"a":1}', '{"a":1}', '{"a":2}') == 0
    assert v('{"a":1}', '{"a":1}') == 0


def test_a_repeated_side_effect_is_told_apart() -> None:
    mail = ToolCall("send_mail", '{"to": "x"}')
    twice = one_task(call(0, tool_calls=(mail, SEARCH)), call(1, tool_calls=(mail, SEARCH)))
    named = 'side_effects = ["send_*"]'
    assert of(twice, "repeated_side_effects", named).value == 1
    assert of(twice, "repeated_side_effects", named).worst == ("c1",)
    assert of(twice, "loops").value == 0
    other = one_task(call(0, tool_calls=(mail,)), call(1, tool_calls=(replace(mail, arguments="{}"),)))
    assert of(other, "repeated_side_effects", named).value == 0
    assert of(twice, "repeated_side_effects").reason == "not_measured"
    marked = tuple(span(i, tool=mail, name="send_mail", attributes={"side_effect": True}) for i in range(2))
    assert of(one_task(call(0), spans=marked), "repeated_side_effects").value == 1


def test_a_tool_that_just_failed_and_is_called_again_is_a_retry() -> None:
    bad, good = replace(SEARCH, error="down"), replace(SEARCH, result="x")
    assert of(one_task(call(0, tool_calls=(bad, good))), "tool_retry_rate").value == 0.5
    assert of(one_task(call(0, tool_calls=(good, good))), "tool_retry_rate").value == 0
    other = replace(good, name="send_mail")
    assert of(one_task(call(0, tool_calls=(bad, other, good))), "tool_retry_rate").value == pytest.approx(1 / 3)


def test_retries_of_calls() -> None:
    twice = (Attempt(429), Attempt(200))
    run = one_task(call(0, attempts=twice), call(1, attempts=(Attempt(200),)))
    assert of(run, "call_retry_rate").value == 0.5
    assert of(run, "call_retry_rate").worst == ("c0",)


# results that got lost --------------------------------------------------------------------------------------


def chat(*messages: dict[str, Any]) -> tuple[ToolResult, ...]:
    return tool_results({"messages": list(messages)})


def asks(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": i, "function": {"name": "search"}} for i in ids]}


def tells(i: str, content: str = "x") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": i, "content": content}


def rates(*calls: Call) -> tuple[float | None, float | None]:
    run = one_task(*calls)
    return of(run, "lost_tool_results").value, of(run, "mismatched_tool_results").value


def test_lost_and_mismatched_results() -> None:
    two = call(0, tool_calls=(SEARCH, replace(SEARCH, id="b")))
    good = call(1, tool_results=chat(asks("a", "b"), tells("a"), tells("b")))
    assert rates(two, good) == (0, 0)
    later = call(2, tool_results=chat(asks("a", "b"), tells("a"), tells("b"), asks("c"), tells("c")))
    assert rates(two, good, later) == (0, 0)
    assert rates(two, call(1, tool_results=chat(asks("a", "b"), tells("a")))) == (0.5, 0)
    assert rates(two, call(1, tool_results=chat(asks("a", "b"), tells("a"), tells("z")))) == (0.5, 0.5)
    assert rates(two, call(1, tool_results=chat(asks("a"), tells("a"), tells("a")))) == (0, 0.5)
    assert rates(two) == (None, None)


def test_ids_that_a_server_uses_again_are_no_duplicates() -> None:
    first = call(1, tool_results=chat(asks("0"), tells("0")))
    second = call(2, tool_results=chat(asks("0"), tells("0"), asks("0"), tells("0")))
    asked = tuple(call(i, tool_calls=(replace(SEARCH, id="0"),)) for i in (0, 3))
    assert rates(asked[0], first, asked[1], second) == (0, 0)


def test_results_where_the_provider_keeps_the_history() -> None:
    first = call(0, tool_calls=(SEARCH, replace(SEARCH, id="b")), request_id="resp_1")

    def then(*outputs: str) -> Call:
        items = [{"type": "function_call_output", "call_id": i, "output": "x"} for i in outputs]
        return call(1, parameters={"previous_response_id": "resp_1"}, tool_results=tool_results({"input": items}))

    assert rates(first, then("a", "b")) == (0, 0)
    assert rates(first, then("a")) == (0.5, 0)
    assert rates(first, then("a", "a")) == (0.5, 0.5)
    assert rates(first, then("a", "b", "z")) == (0, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [asks("a", "b"), tells("a")]},
        {"input": [{"type": "function_call", "call_id": "a"}, {"type": "function_call", "call_id": "b"},
                   {"type": "function_call_output", "call_id": "a", "output": "x"}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": i} for i in "ab"]},
                      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}]},
        {"contents": [{"role": "model", "parts": [{"functionCall": {"name": i}} for i in "ab"]},
                      {"role": "user", "parts": [{"functionResponse": {"name": "a", "response": "x"}}]}]},
    ],
)  # fmt: skip
def test_every_vendors_messages_say_the_same(body: Any) -> None:
    assert tool_results(body) == (ToolResult("a", "x"), ToolResult("b"))


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "tool_calls", "id", "type", "parts", "input", "call_id"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSONS)
@settings(max_examples=200, deadline=None)
def test_a_hostile_body_is_read_without_a_crash(body: Any) -> None:
    assert all(isinstance(r, ToolResult) for r in tool_results(body))


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("Error: no such city", True), ("error", True), ("ValueError: bad", True), ("TimeoutError('x')", True),
        ("Error executing tool f: x", True), ('{"error": "x"}', True), ('{"ok": false}', True),
        ('{"status": "failed"}', True), ("Traceback (most recent call last):\n", True),
        ("error rate: 3 %", False), ("Errors found: none", False), ('{"error": null}', False), ("sunny", False),
        ('{"status": "ok"}', False), ("The error was fixed: yes", False), ("", False), ("{broken", False),
    ],
)  # fmt: skip
def test_what_counts_as_a_failed_result(text: str, failed: bool) -> None:
    assert tells_failure(text) is failed


def test_results_are_filled_in_and_what_was_known_stays() -> None:
    told = call(1, tool_results=(ToolResult("a", "later", True, True), ToolResult("b", "x")))
    filled = with_results([call(0, tool_calls=(SEARCH, ToolCall("search", "{}", "b", result="own"))), told])
    assert [(t.result, t.error) for t in filled[0].tool_calls] == [("later", "later"), ("own", None)]
    assert with_results(filled) == filled
    before = with_results([told, call(2, tool_calls=(SEARCH,))])
    assert before[1].tool_calls[0].result is None


# fallbacks and caches ---------------------------------------------------------------------------------------


def test_a_fallback_is_the_same_input_to_another_model_after_a_failure() -> None:
    def flags(*calls: Call) -> list[bool | None]:
        return [c.fallback for c in with_fallbacks(calls)]

    bad = call(0, status="rate_limited", input="q")
    good = call(1, input="q", model="other")
    assert flags(bad, good) == [False, True]
    assert flags(replace(bad, status="success"), good) == [False, False]
    assert flags(bad, replace(good, model="m")) == [False, False]
    assert flags(bad, replace(good, model="m", server_address="eu")) == [False, True]
    assert flags(bad, replace(good, input="another")) == [False, False]
    assert flags(good, bad) == [False, False]
    assert flags(bad, replace(good, fallback=False)) == [False, False]
    assert flags(bad, replace(good, input=None)) == [False, None]
    timed = replace(bad, time="2026-01-01T00:00:00.000Z", latency=2.0)
    race = replace(good, time="2026-01-01T00:00:00.010Z")
    assert flags(timed, race) == [False, False]
    assert flags(timed, replace(race, time="2026-01-01T00:00:02.001Z")) == [False, True]
    run = one_task(bad, good)
    assert (of(run, "fallback_rate").value, of(run, "fallback_rate").worst) == (0.5, ("c1",))


def test_a_lone_record_says_nothing_of_fallbacks() -> None:
    assert of(Run("r", "", calls=(Call("a", model="m", input="q"),)), "fallback_rate").reason == "not_measured"


def test_caches_of_the_provider_and_of_the_application() -> None:
    run = one_task(
        call(0, cache_hit=True), call(1, cache_hit=False), call(2, tags=("cache=miss",), cache_hit=True), call(3),
        spans=(span(0, "internal", attributes={"cache_hit": True}),),
    )  # fmt: skip
    assert of(run, "cache_hit_rate").value == 0.5
    assert of(run, "cache_hit_rate").worst == ("c1", "c2")


# steps, time, success ---------------------------------------------------------------------------------------


def test_steps_are_model_calls_and_tools_side_by_side_count_once() -> None:
    at = "2026-01-01T00:00:{:06.3f}Z".format
    ran = (
        span(0, tool=ToolCall("search", "", "a"), time=at(1.0), latency=2.0),
        span(1, tool=ToolCall("search", "", "b"), time=at(1.5), latency=2.0),
    )
    asked = (SEARCH, replace(SEARCH, id="b"))
    embed = call(2, operation="embeddings", latency=9.0)
    run = one_task(call(0, tool_calls=asked, latency=1.0), call(1, latency=0.5), embed, spans=ran)
    assert of(run, "step_time").value == pytest.approx((1.0 + 2.5 + 0.5) / 2)
    assert of(run, "step_time_p95").worst == ("c0", "c1")
    assert of(run, "steps_per_task").value == 2
    assert of(run, "max_steps").value == 2


def test_task_success_and_reruns() -> None:
    good = CaseResult("a", call_ids=("c0",))
    rerun = CaseResult("b", call_ids=("c1",), outcome="failed", attempt=1)
    told = replace(call(2, nodeid="c"), outcome=UserOutcome(success=False))
    run = Run("r", "", calls=(call(0), call(1), told), results=(good, rerun))
    assert of(run, "task_success").value == 0.5
    assert of(run, "task_success").n == 2


# one view of all sources ------------------------------------------------------------------------------------

NAMES = st.sampled_from(["search", "send_mail", "drop"])
ARGUMENTS = st.sampled_from(["{}", '{"q": 1}', '{"q":1}', "{"])


@st.composite
def tasks(draw: Any) -> Run:
    """A live run of one task: model calls, spans of the tools that ran."""
    calls, spans = [], []
    for i in range(draw(st.integers(1, 4))):
        asked = tuple(
            ToolCall(draw(NAMES), draw(ARGUMENTS), f"t{i}.{j}", draw(st.sampled_from([None, True, False])))
            for j in range(draw(st.integers(0, 2)))
        )
        status = draw(st.sampled_from(["success", "error"]))
        calls.append(
            call(i, tool_calls=asked, parameters=TOOLS, latency=1.0, status=status, model=draw(NAMES), input="q",
                 time=f"2026-01-01T00:00:{i * 10:02d}.000Z")
        )  # fmt: skip
        for j, tool in enumerate(asked):
            if draw(st.booleans()):
                error = draw(st.sampled_from([None, "down"]))
                known = draw(st.sampled_from([tool, replace(tool, id=None)]))
                spans.append(
                    span(len(spans), name=tool.name, tool=known, error=error, latency=0.5,
                         time=f"2026-01-01T00:00:{i * 10 + 2 + j:02d}.000Z")
                )  # fmt: skip
    return one_task(*calls, spans=tuple(spans))


def as_records(run: Run) -> Run:
    """The same task as a production log: a line for each call and each tool, held together by the trace."""
    lines = [replace(c, nodeid=None, index=0) for c in run.calls]
    lines += [
        Call(
            s.id, operation="tool", trace_id="t", time=s.time, latency=s.latency, error=s.error,
            status="error" if s.error else "success", tool_calls=(s.tool,) if s.tool else (),
        )
        for s in run.spans
    ]  # fmt: skip
    lines.sort(key=lambda c: c.time or "")
    results = tuple(CaseResult(c.id, call_ids=(c.id,), outcome="passed") for c in lines)
    return Run("r", "", calls=tuple(lines), results=results)


@given(tasks())
@settings(max_examples=60, deadline=None)
def test_a_live_run_and_its_log_give_the_same_figures(run: Run) -> None:
    log = as_records(run)
    for key in KEYS:
        extra = 'side_effects = "send_mail"'
        live, logged = of(run, key, extra), of(log, key, extra)
        assert (key, live.value, live.n) == (key, logged.value, logged.n)


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=4))
@settings(max_examples=50, deadline=None)
def test_one_spelling_for_equal_arguments(value: dict[str, int]) -> None:
    spread = json.dumps(dict(reversed(value.items())), indent=2)
    assert canonical(spread) == canonical(json.dumps(value))
