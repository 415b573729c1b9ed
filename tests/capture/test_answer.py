"""Bodies of responses, read: the recorder must name every failure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.capture.answer import is_terminated, read_response, read_usage
from pytest_llmwatch.capture.asked import read_request
from pytest_llmwatch.capture.fingerprint import canonical, differences, fingerprint
from pytest_llmwatch.capture.scrub import Scrubber, clean_url
from pytest_llmwatch.capture.sse import events
from pytest_llmwatch.model import Usage
from pytest_llmwatch.redact import Redactor


def sse(*data: Any) -> bytes:
    texts = [d if isinstance(d, str) else json.dumps(d) for d in data]
    return "".join(f"data: {t}\n\n" for t in texts).encode()


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


STREAM = "text/event-stream"
JSON = "application/json"


@pytest.mark.parametrize(
    ("status_code", "kind", "body", "status", "error_type"),
    [
        (200, STREAM, sse(delta("hi"), delta("", "stop"), "[DONE]"), "success", None),
        (200, STREAM, sse(delta("hi"), delta("", "stop")), "success", None),
        (200, STREAM, sse(delta("hi", "length"), "[DONE]"), "success", None),
        (200, STREAM, sse(delta("hi")), "incomplete", "truncated_stream"),
        (200, STREAM, sse(delta("hi")) + b'data: {"choices": [{"del', "incomplete", "truncated_stream"),
        (200, STREAM, sse(delta("hi"), "{broken", delta("x", "stop")), "error", "corrupt_chunk"),
        (200, STREAM, sse(delta("hi"), {"error": {"message": "overloaded"}}), "error", "stream_error"),
        (200, STREAM, b"", "incomplete", "empty_stream"),
        (200, STREAM, b": keep-alive\n\n", "incomplete", "empty_stream"),
        (200, "application/json", b"", "incomplete", "empty_response"),
        (200, "application/json", b"<html>", "error", "corrupt_body"),
        (200, "application/json", b'{"choices": []}', "incomplete", "empty_response"),
        (200, "application/json", b'{"choices": [{"message": {"content": "x"}}]}', "success", None),
        (
            200,
            "application/json",
            b'{"output": [], "status": "failed", "error": {"message": "m"}}',
            "error",
            "response_failed",
        ),
        (
            200,
            "application/json",
            b'{"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 3}}',
            "success",
            None,
        ),
        (429, "application/json", b'{"error": {"message": "slow down"}}', "rate_limited", "http_429"),
        (504, "text/html", b"<html>gateway", "timeout", "http_504"),
        (500, "application/json", b"", "error", "http_500"),
    ],
)
def test_every_failure_has_a_name(
    status_code: int, kind: str, body: bytes, status: str, error_type: str | None
) -> None:
    answer = read_response(status_code, kind, body, {})
    assert (answer.status, answer.error_type) == (status, error_type)


def test_a_responses_stream_is_read_to_its_terminal_event() -> None:
    done = {"status": "completed", "model": "m", "id": "resp_1", "usage": {"input_tokens": 1, "output_tokens": 2}}
    done["output"] = [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]
    body = sse(
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        {"type": "response.completed", "response": done},
    )
    answer = read_response(200, STREAM, body, {})
    assert (answer.output, answer.finish_reason, answer.usage.output_tokens) == ("Hello", "stop", 2)
    assert answer.first_content == events(body)[1].end
    assert is_terminated(body)
    cut = body[: events(body)[2].end]
    assert not is_terminated(cut)
    assert read_response(200, STREAM, cut, {}).error_type == "truncated_stream"
    assert read_response(200, STREAM, cut, {}).output == "Hello"


def test_an_incomplete_response_is_a_success_that_says_why() -> None:
    body = json.dumps(
        {"output": [], "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    ).encode()
    answer = read_response(200, "application/json", body, {})
    assert (answer.status, answer.finish_reason) == ("success", "length")


def test_streamed_tool_calls_are_put_together() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        tool = {"index": index, "id": f"call_{index}" if "name" in function else None, "function": function}
        return {"choices": [{"index": 0, "delta": {"tool_calls": [tool]}}]}

    body = sse(
        call(0, name="a", arguments='{"x"'),
        call(1, name="b", arguments="{}"),
        call(0, arguments=": 1}"),
        delta("", "tool_calls"),
    )
    tools = read_response(200, STREAM, body, {"a": {"required": ["y"]}, "b": None}).tool_calls
    assert [(t.name, t.arguments, t.id) for t in tools] == [("a", '{"x": 1}', "call_0"), ("b", "{}", "call_1")]
    assert [t.valid for t in tools] == [False, True]
    assert "y" in str(tools[0].error)


def test_usage_in_either_apis_words() -> None:
    chat = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    responses = {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    assert read_usage(chat) == read_usage(responses) == Usage(10, 5, 15, 4, 2)
    assert read_usage(None) == Usage()
    assert read_usage({"prompt_tokens": "many", "completion_tokens": True}) == Usage()


@given(
    st.binary(max_size=400), st.sampled_from([STREAM, "application/json", ""]), st.sampled_from([200, 400, 500])
)
def test_hostile_bytes_are_read_without_a_crash(body: bytes, kind: str, status_code: int) -> None:
    answer = read_response(status_code, kind, body, {})
    assert answer.status in ("success", "error", "timeout", "rate_limited", "incomplete")
    assert read_request(body).model is None or body
    Scrubber(Redactor()).stream(body, [len(body)])


KEYS = [
    "choices",
    "delta",
    "type",
    "error",
    "usage",
    "output",
    "content",
    "message",
    "tool_calls",
    "function",
    "model",
    "response",
    "status",
    "text",
    "index",
    "data",
    "messages",
    "input",
    "tools",
    "reasoning",
    "role",
    "arguments",
]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.sampled_from(KEYS), c, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_hostile_json_is_read_without_a_crash(value: Any) -> None:
    body = json.dumps(value).encode()
    for kind, raw in (("application/json", body), (STREAM, b"data: " + body + b"\n\n")):
        answer = read_response(200, kind, raw, {})
        assert answer.output is None or isinstance(answer.output, str)
    cleaned, sizes = Scrubber(Redactor()).stream(b"data: " + body + b"\n\n", [4, len(body) + 4])
    assert sum(sizes) == len(cleaned)
    read_request(body)


def form(**body: Any) -> dict[str, Any]:
    return canonical(
        "post", "https://h/v1/responses?key=abc", json.dumps(body).encode(), "application/json", Redactor()
    )


def test_what_does_not_change_the_answer_does_not_change_the_fingerprint() -> None:
    base = fingerprint(form(model="m", input="x"))
    assert base == fingerprint(form(input="x", model="m", user="u", metadata={"a": 1}, store=True, seed=None))
    assert base == fingerprint(form(model="/models/m", input="x", prompt_cache_key="k", safety_identifier="s"))
    other_host = canonical(
        "POST",
        "http://localhost:1/v1/responses?key=xyz",
        b'{"model": "m", "input": "x"}',
        "application/json",
        Redactor(),
    )
    assert base == fingerprint(other_host)
    for change in ({"seed": 1}, {"n": 2}, {"temperature": 0.1}, {"tools": []}, {"stream": True}, {"input": "y"}):
        assert fingerprint(form(**{"model": "m", "input": "x", **change})) != base


def test_multipart_bodies_match_by_their_parts() -> None:
    def multipart(boundary: str, content: str) -> dict[str, Any]:
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n{content}\r\n'
            f"--{boundary}--\r\n"
        )
        return canonical(
            "POST", "https://h/x", body.encode(), f"multipart/form-data; boundary={boundary}", Redactor()
        )

    assert fingerprint(multipart("aaa", "x")) == fingerprint(multipart("bbb", "x"))
    assert fingerprint(multipart("aaa", "x")) != fingerprint(multipart("aaa", "y"))


def test_differences_are_short_and_say_where() -> None:
    old, new = (
        form(model="m", input="a " * 300 + "old end"),
        form(model="m", input="a " * 300 + "new end", top_p=1),
    )
    found = differences(old, new)
    assert [d.path for d in found] == ["$.body.input", "$.body.top_p"]
    assert found[0].recorded is not None
    assert "[-old-]" in found[0].recorded
    assert len(found[0].recorded) < 60
    assert (found[1].recorded, found[1].asked) == (None, "1")
    assert differences(old, old) == []


def test_urls_lose_their_secrets() -> None:
    assert clean_url("https://u:p@h:1/x?key=abc&v=1", Redactor()) == "https://h:1/x?key=[REDACTED]&v=1"
    assert clean_url("https://h/v1/responses", Redactor()) == "https://h/v1/responses"


@pytest.mark.parametrize("body", [b'{"a": 1, "a": 2}', b"not json", b"\xff"])
def test_a_body_that_would_not_stay_equal_is_not_made_pretty(body: bytes) -> None:
    assert Scrubber(Redactor()).json_text(body) is None
