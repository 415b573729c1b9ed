"""Mistral, Cohere and gateways; errors, hosts, prices; secrets and hostile bodies in every vendor's format."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmock.scenarios import StreamFault

from pytest_llmwatch.capture.answer import is_stream, is_terminated, read_response
from pytest_llmwatch.capture.asked import read_request
from pytest_llmwatch.capture.fingerprint import canonical
from pytest_llmwatch.capture.scrub import Scrubber
from pytest_llmwatch.capture.sse import events
from pytest_llmwatch.capture.targets import Targets, is_free, operation, provider
from pytest_llmwatch.model import Usage
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Redactor

STREAM, JSON = "text/event-stream", "application/json"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"get_weather": WEATHER}


def named(*data: dict[str, Any]) -> bytes:
    """Events with names, as Anthropic sends them."""
    return "".join(f"event: {d['type']}\ndata: {json.dumps(d)}\n\n" for d in data).encode()


def sse(*data: Any) -> bytes:
    return "".join(f"data: {d if isinstance(d, str) else json.dumps(d)}\r\n\r\n" for d in data).encode()


def read(body: Any, kind: str = JSON, code: int = 200, tools: dict[str, Any] = TOOLS) -> Any:
    return read_response(code, kind, body if isinstance(body, bytes) else json.dumps(body).encode(), tools)


START = {"type": "message_start", "message": {"id": "msg_01", "model": "claude-sonnet-4-5", "content": []}}
CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}


def piece(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def gemini(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r1", **more}


CLAUDE = (
    START,
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    piece(0, "text_delta", text="Hello "),
    piece(0, "text_delta", text="there."),
    {"type": "content_block_start", "index": 1,
     "content_block": {"type": "tool_use", "id": "t", "name": "get_weather", "input": {}}},
    piece(1, "input_json_delta", partial_json='{"city": '),
    piece(1, "input_json_delta", partial_json='"Paris"}'),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 15}},
    {"type": "message_stop"},
)  # fmt: skip
ROW = (gemini({"text": "It is "}), gemini({"text": "warm."}), gemini(CALL), gemini({"text": ""}, finish="STOP"))


# Mistral and others that speak nearly as OpenAI does


def test_mistrals_ways_are_read() -> None:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c1", "model": "mistral-small", "choices": [choice], **more}

    calls = [
        {"id": "D681PevKs", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}, "index": 0},
        {"id": "aB3dE6gH9", "function": {"name": "get_weather", "arguments": {"city": "Rome"}}, "index": 0},
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "num_cached_tokens": 2}
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    body = sse(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": thinking}),
        chunk({"content": [{"type": "text", "text": "Let me"}, {"type": "reference", "reference_ids": [1]}]}),
        chunk({"content": " look."}),
        chunk({"tool_calls": calls}, "tool_calls", usage=usage),
        "[DONE]",
    )
    answer = read(body, STREAM)
    assert (answer.status, answer.output, answer.finish_reason) == ("success", "Let me look.", "tool_calls")
    assert answer.usage == Usage(5, 7, 12, 2)
    assert answer.first_content == events(body)[1].end
    # the same number for two calls: their ids tell them apart
    assert [(t.id, json.loads(t.arguments), t.valid) for t in answer.tool_calls] == [
        ("D681PevKs", {"city": "Paris"}, True),
        ("aB3dE6gH9", {"city": "Rome"}, True),
    ]
    whole = {"message": {"content": [*thinking, {"type": "text", "text": "Yes"}]}, "finish_reason": "model_length"}
    answer = read({"id": "c2", "choices": [whole]})
    assert (answer.output, answer.finish_reason) == ("Yes", "length")
    answer = read({"choices": [{"message": {"content": "Y"}, "finish_reason": "error"}]})
    assert (answer.status, answer.error_type, answer.output) == ("error", "response_failed", "Y")
    assert read_request(b'{"model": "mistral-small", "messages": [], "random_seed": 7}').parameters == {"seed": 7}


def test_a_gateway_that_fails_half_way_is_heard() -> None:
    failed = {"id": "gen-1", "error": {"code": 502, "message": "Provider disconnected"},
              "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}  # fmt: skip
    body = b": OPENROUTER PROCESSING\n\n" + sse({"choices": [{"index": 0, "delta": {"content": "Hi"}}]}, failed)
    answer = read(body, STREAM)
    assert (answer.error_type, answer.error, answer.output) == ("stream_error", "Provider disconnected", "Hi")
    error = {"code": 502, "message": "no luck"}
    answer = read({"choices": [{"error": error, "message": {"content": None}, "finish_reason": "error"}]})
    assert (answer.status, answer.error) == ("error", "no luck")


def test_cohere_is_read() -> None:
    usage = {
        "billed_units": {"input_tokens": 5},
        "tokens": {"input_tokens": 71, "output_tokens": 9},
        "cached_tokens": 8,
    }
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}],
               "tool_calls": [{"id": "c1", "type": "function", "function": function}]}  # fmt: skip
    whole = read({"id": "1", "finish_reason": "TOOL_CALL", "message": message, "usage": usage})

    def event(kind: str, **message: Any) -> dict[str, Any]:
        return {"type": kind, "index": 0, "delta": {"message": message}}

    start = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
    body = named(
        {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant"}}},
        event("content-start", content={"type": "text", "text": ""}),
        event("content-delta", content={"text": "Hel"}),
        event("content-delta", content={"text": "lo"}),
        event("tool-call-start", tool_calls=start),
        event("tool-call-delta", tool_calls={"function": {"arguments": '{"city": '}}),
        event("tool-call-delta", tool_calls={"function": {"arguments": '"Paris"}'}}),
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": usage}},
    )
    streamed = read(body, STREAM)
    for answer in (whole, streamed):
        assert (answer.status, answer.output, answer.finish_reason) == ("success", "Hello", "tool_calls")
        assert answer.usage == Usage(71, 9, 80, 8)
        assert [(t.name, t.arguments, t.id, t.valid) for t in answer.tool_calls] == [
            ("get_weather", '{"city": "Paris"}', "c1", True)
        ]
    assert streamed.first_content == events(body)[2].end
    assert is_terminated(body)
    cut = body[: events(body)[-2].end]
    assert read(cut, STREAM).error_type == "truncated_stream"
    assert not is_terminated(cut)
    failed = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "out of order"}}
    assert read(named(failed), STREAM).error == "out of order"


def test_a_spoken_stream_is_text() -> None:
    body = sse(
        {"type": "transcript.text.delta", "delta": "Hel"},
        {"type": "transcript.text.delta", "delta": "lo"},
        {"type": "transcript.text.done", "text": "Hello", "usage": {"input_tokens": 14, "output_tokens": 2}},
    )
    answer = read(body, STREAM)
    assert (answer.status, answer.output, answer.usage.input_tokens) == ("success", "Hello", 14)
    assert is_terminated(body)
    assert read(body[:60], STREAM).error_type == "truncated_stream"


# all of them


@pytest.mark.parametrize(
    ("code", "body", "message", "retry_after"),
    [
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "q"},
         "Overloaded", None),
        (429, {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED",
                         "details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "34.5s"}]}},
         "Quota", 34.5),
        (429, [{"error": {"code": 429, "message": "Quota"}}], "Quota", None),
        (403, {"object": "error", "message": "not in your tier", "type": "tier_not_allowed", "code": "1910"},
         "not in your tier", None),
        (422, {"object": "error", "message": {"detail": [{"loc": ["body", "store"], "msg": "Extra inputs"}]}},
         "body.store: Extra inputs", None),
        (422, {"detail": [{"type": "x", "loc": ["body", "n"], "msg": "wrong"}]}, "body.n: wrong", None),
        (401, {"detail": "Unauthorized"}, "Unauthorized", None),
        (400, {"id": "1", "message": "invalid request: tools"}, "invalid request: tools", None),
        (400, {"error": "a text"}, "a text", None),
        (500, {"error": {"code": 1}}, None, None),
    ],
)  # fmt: skip
def test_every_vendors_errors_tell_why(
    code: int, body: Any, message: str | None, retry_after: float | None
) -> None:
    answer = read(body, code=code)
    assert (answer.error_type, answer.error, answer.retry_after) == (f"http_{code}", message, retry_after)
    assert answer.status == ("rate_limited" if code == 429 else "error")
    assert answer.id == ("q" if code == 529 else None)


@pytest.mark.parametrize(
    ("host", "path", "name", "asks"),
    [
        ("api.anthropic.com", "/v1/messages", "anthropic", "chat"),
        ("generativelanguage.googleapis.com", "/v1beta/models/g:generateContent", "gcp.gemini", "chat"),
        ("generativelanguage.googleapis.com", "/v1beta/models/e:batchEmbedContents", "gcp.gemini", "embeddings"),
        ("europe-west1-aiplatform.googleapis.com", "/v1/models/g:streamGenerateContent", "gcp.vertex_ai", "chat"),
        ("aiplatform.googleapis.com", "/v1/models/claude:streamRawPredict", "gcp.vertex_ai", "chat"),
        ("api.mistral.ai", "/v1/chat/completions", "mistral_ai", "chat"),
        ("api.mistral.ai", "/v1/agents/completions", "mistral_ai", "chat"),
        ("api.mistral.ai", "/v1/embeddings", "mistral_ai", "embeddings"),
        ("api.cohere.com", "/v2/chat", "cohere", "chat"),
        ("api.cohere.com", "/v2/embed", "cohere", "embeddings"),
        ("mine.openai.azure.com", "/openai/deployments/d/chat/completions", "azure.ai.openai", "chat"),
        ("mine.services.ai.azure.com", "/models/chat/completions", "azure.ai.inference", "chat"),
        ("openrouter.ai", "/api/v1/chat/completions", "openrouter.ai", "chat"),
        ("eu.api.openai.com", "/v1/responses", "openai", "responses"),
    ],
)  # fmt: skip
def test_vendors_are_known_by_their_hosts(host: str, path: str, name: str, asks: str) -> None:
    assert Targets().matches("POST", host, None, path, from_sdk=False)
    assert (provider(host), operation(path)) == (name, asks)
    assert not is_free(path)


def test_counting_tokens_costs_nothing() -> None:
    assert is_free("/v1/messages/count_tokens")
    assert is_free("/v1beta/models/gemini-2.5-pro:countTokens")
    assert is_free("/v1/models")
    # the guest book of somebody else
    assert not Targets().matches(
        "POST", "guests.example", None, "/v1/messages", from_sdk=False, body=lambda: b"{}"
    )


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("anthropic", "claude-sonnet-4-5"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("gcp.vertex_ai", "gemini-2.5-flash"),
        ("mistral_ai", "mistral-large-latest"),
        ("cohere", "command-r-plus"),
        ("azure.ai.openai", "gpt-4o"),
        ("openrouter.ai", "anthropic/claude-sonnet-4"),
    ],
)
def test_vendors_models_have_prices(name: str, model: str) -> None:
    assert PriceBook().cost(model, name, Usage(1000, 1000)).usd


def test_writing_to_a_cache_is_priced_as_such() -> None:
    book = PriceBook()
    plain = book.cost("claude-sonnet-4-5", "anthropic", Usage(10_000, 0)).usd
    kept = book.cost("claude-sonnet-4-5", "anthropic", Usage(10_000, 0, cache_write_tokens=10_000)).usd
    assert plain is not None
    assert kept == pytest.approx(1.25 * plain)


# secrets

KEY = "sk-proj-" + "aB3dE5fG7hI9" * 4


def test_secrets_that_vendors_streams_split_are_hidden() -> None:
    halves = [KEY[:20], KEY[20:]]
    streams = [
        (named(*[piece(1, "text_delta", text=h) for h in halves]), STREAM),
        (named(*[piece(2, "input_json_delta", partial_json=h) for h in halves]), STREAM),
        (sse(*[gemini({"text": h}) for h in halves]), STREAM),
        (json.dumps([gemini({"text": h}) for h in halves], indent=2).encode(), JSON),
    ]
    for body, kind in streams:
        assert is_stream(kind, body)
        sizes = [events(body)[0].end, len(body) - events(body)[0].end]
        cleaned, moved = Scrubber(Redactor()).stream(body, sizes)
        text = cleaned.decode()
        assert halves[0] not in text
        assert halves[1] not in text
        assert sum(moved) == len(cleaned)
        assert len(events(cleaned)) == 2
        assert read(cleaned, kind).error_type == "truncated_stream"  # as before, so still readable


def test_a_stream_without_secrets_keeps_its_bytes() -> None:
    for body in (named(*CLAUDE), sse(*ROW), json.dumps(ROW, indent=2).encode()):
        assert Scrubber(Redactor()).stream(body, [len(body)]) == (body, [len(body)])


# hostile bodies

WORDS = st.sampled_from(
    [
        "type", "message", "content", "index", "delta", "text", "usage", "input_tokens", "output_tokens",
        "candidates", "parts", "functionCall", "args", "name", "finishReason", "usageMetadata",
        "promptTokenCount", "promptFeedback", "blockReason", "choices", "tool_calls", "function",
        "arguments", "message_start", "content_block_start", "content_block_delta", "message_delta",
        "message_stop", "content_block", "tool_use", "id", "input_json_delta", "partial_json", "text_delta",
        "thinking_delta", "error", "stop_reason", "STOP", "message-end", "tool-call-delta", "finish_reason",
        "response", "response.completed", "output", "contents", "systemInstruction", "tools",
        "functionDeclarations", "parameters", "properties", "items", "anyOf", "generationConfig", "detail",
        "loc", "msg", "details", "retryDelay", "\ud800",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=25
)


@settings(max_examples=300)
@given(st.lists(VALUES, max_size=5))
def test_bodies_of_any_shape_are_read_without_a_crash(values: list[Any]) -> None:
    texts = [json.dumps(v) for v in values]
    lines = "".join(f"data: {t}\n\n" for t in texts).encode()
    for body in (lines, json.dumps(values).encode(), *(t.encode() for t in texts)):
        for kind in (STREAM, JSON, ""):
            for code in (200, 429):
                answer = read_response(code, kind, body, {"name": {"type": "object"}})
                for text in (answer.output, answer.error, answer.model, answer.finish_reason):
                    assert text is None or text.encode() is not None
        asked = read_request(body, "/v1beta/models/m:generateContent")
        assert asked.input is None or asked.input.encode() is not None
        read_response(200, JSON, json.dumps(gemini(CALL, finish="STOP")).encode(), asked.tools)
        assert is_terminated(body) in (True, False)


@settings(max_examples=200)
@given(st.data())
def test_streams_cut_anywhere_are_read_without_a_crash(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([named(*CLAUDE), sse(*ROW), json.dumps(ROW).encode()]))
    place = data.draw(st.integers(0, len(whole)))
    answer = read(whole[:place], JSON if whole.startswith(b"[") else STREAM)
    assert answer.status == "success" or answer.error_type in (
        "truncated_stream", "empty_stream", "corrupt_body", "empty_response",
    )  # fmt: skip
    noise = data.draw(st.binary(max_size=20))
    read(whole[:place] + noise + whole[place:], STREAM)


@pytest.mark.parametrize("depth", [150, 500, 3_000, 100_000])
def test_deep_bodies_are_no_trap(depth: int) -> None:
    deep = b'{"type":' * depth + b"1" + b"}" * depth
    arrays = b'[{"candidates":' + b"[" * depth + b"]" * depth + b"}]"
    for body in (deep, arrays, b'{"content":' + deep + b"}", b"data: " + deep + b"\n\n"):
        for kind in (STREAM, JSON):
            for code in (200, 500):
                assert read_response(code, kind, body, {}).status != ""
        assert read_request(body).model is None
        assert Scrubber(Redactor()).stream(body, [len(body)])[0].endswith(body[-2:])
        assert Scrubber(Redactor()).json_text(body) is None or depth < 200
        assert canonical("POST", "https://h/v1/messages", body, JSON, Redactor())["body"]
    tools = b'{"contents":[],"tools":[{"functionDeclarations":[{"name":"f","parameters":' + deep + b"}]}]}"
    assert set(read_request(tools).tools) <= {"f"}


def test_a_huge_stream_is_read_once() -> None:
    body = named(START, *[piece(0, "text_delta", text="word ")] * 20_000, CLAUDE[-1])
    answer = read(body, STREAM)
    assert len(answer.output or "") == 100_000
    array = b"[" + b",\n".join([json.dumps(ROW[1]).encode()] * 20_000) + b"]"
    assert len(read(array).output or "") == 100_000


# a reader that knows when it has enough


@pytest.mark.parametrize(
    ("enough", "status"), [("message_delta", "success"), ("content_block_start", "incomplete")]
)
def test_a_stream_left_after_its_stop_reason_is_whole(
    bench: Any, llmock_server: Any, faults: Any, enough: str, status: str
) -> None:
    body = {"model": "claude-sonnet-4-6", "max_tokens": 50, "stream": True}
    body["messages"] = [{"role": "user", "content": "Say something about apples"}]
    if status == "incomplete":
        faults.add(StreamFault("stall", after_chunks=2, stall_seconds=0.3))

    def act(_: Any) -> str:
        with httpx.stream("POST", llmock_server.base_url("anthropic") + "/v1/messages", json=body) as response:
            return next(line for line in response.iter_lines() if line == f"event: {enough}")

    live, replayed = bench.both(act)
    assert live.error is None
    assert (live.call.status, live.call.model) == (status, "claude-sonnet-4-6")
    assert (live.call.error_type is None) == (status == "success")
    assert dataclasses.replace(replayed.call, capture_mode="recorded") == live.call
