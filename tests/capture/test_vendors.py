"""Bodies as other vendors document them, read as OpenAI's are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmwatch.capture.answer import is_stream, is_terminated, read_response
from pytest_llmwatch.capture.asked import read_request
from pytest_llmwatch.capture.sse import events
from pytest_llmwatch.model import Usage

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


# Anthropic

START = {
    "type": "message_start",
    "message": {
        "id": "msg_01", "type": "message", "role": "assistant", "content": [], "model": "claude-sonnet-4-5",
        "usage": {"input_tokens": 20, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 10,
                  "output_tokens": 1},
    },
}  # fmt: skip


def block(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def piece(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


CLAUDE = (
    START,
    {"type": "ping"},
    block(0, type="thinking", thinking="", signature=""),
    piece(0, "thinking_delta", thinking="hm"),
    piece(0, "signature_delta", signature="abc"),
    {"type": "content_block_stop", "index": 0},
    block(1, type="text", text=""),
    piece(1, "text_delta", text="Let me "),
    piece(1, "text_delta", text="look."),
    block(2, type="tool_use", id="toolu_1", name="get_weather", input={}),
    piece(2, "input_json_delta", partial_json=""),
    piece(2, "input_json_delta", partial_json='{"city": "Pa'),
    piece(2, "input_json_delta", partial_json='ris"}'),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 15}},
    {"type": "message_stop"},
)


def test_a_message_of_anthropic_is_read() -> None:
    answer = read(
        {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "It is "},
                {"type": "text", "text": "warm."},
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
                {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "x"}},
            ],
            "stop_reason": "tool_use",
            "usage": {
                "input_tokens": 20,
                "cache_read_input_tokens": 70,
                "cache_creation_input_tokens": 10,
                "output_tokens": 15,
                "output_tokens_details": {"thinking_tokens": 4},
            },
        }
    )
    assert (answer.status, answer.output, answer.finish_reason) == ("success", "It is warm.", "tool_calls")
    assert (answer.model, answer.id) == ("claude-sonnet-4-5", "msg_01")
    # input includes what was read from the cache and written to it
    assert answer.usage == Usage(100, 15, 115, 70, 4, cache_write_tokens=10)
    (call,) = answer.tool_calls
    assert (call.name, call.id, json.loads(call.arguments), call.valid) == (
        "get_weather", "toolu_1", {"city": "Paris"}, True,
    )  # fmt: skip


def test_a_stream_of_anthropic_is_put_together() -> None:
    body = named(*CLAUDE)
    answer = read(body, STREAM)
    assert (answer.status, answer.output, answer.finish_reason) == ("success", "Let me look.", "tool_calls")
    assert answer.usage == Usage(100, 15, 115, 70, None, cache_write_tokens=10)
    assert (answer.model, answer.id) == ("claude-sonnet-4-5", "msg_01")
    assert [(t.name, t.arguments, t.id, t.valid) for t in answer.tool_calls] == [
        ("get_weather", '{"city": "Paris"}', "toolu_1", True)
    ]
    # reasoning is the first thing that the model wrote
    assert answer.first_content == events(body)[3].end
    assert is_terminated(body)


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_anthropics_reasons_have_our_names_or_keep_theirs(words: str, ours: str) -> None:
    answer = read({"type": "message", "content": [], "stop_reason": words})
    assert answer.finish_reason == ours


@pytest.mark.parametrize(
    ("body", "status", "error_type", "error"),
    [
        (named(*CLAUDE[:-1]), "incomplete", "truncated_stream", "without message_stop"),
        (named(*CLAUDE[:8]) + b'event: content_block_delta\ndata: {"ty', "incomplete", "truncated_stream", ""),
        (named(*CLAUDE[:8]) + b"data: {oops\n\n" + named(CLAUDE[-1]), "error", "corrupt_chunk", "oops"),
        (
            named(*CLAUDE[:8], {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            "error",
            "stream_error",
            "Overloaded",
        ),
        (named({"type": "ping"}), "incomplete", "truncated_stream", ""),
        (b"", "incomplete", "empty_stream", ""),
    ],
)
def test_streams_of_anthropic_that_fail_have_a_name(body: bytes, status: str, error_type: str, error: str) -> None:
    answer = read(body, STREAM)
    assert (answer.status, answer.error_type) == (status, error_type)
    assert error in answer.error
    assert answer.complete == (error_type == "stream_error")


def test_arguments_that_a_stream_cut_off_are_not_valid() -> None:
    (call,) = read(named(*CLAUDE[:12]), STREAM).tool_calls
    assert call.valid is False
    assert "not JSON" in str(call.error)
    (call,) = read(named(*CLAUDE), STREAM, tools={"get_weather": {"required": ["day"]}}).tool_calls
    assert call.valid is False
    assert "'day' is a required property" in str(call.error)
    (call,) = read(named(*CLAUDE), STREAM, tools={"other": None}).tool_calls
    assert "unknown tool" in str(call.error)


def test_what_anthropic_is_asked() -> None:
    asked = read_request(
        json.dumps(
            {
                "model": "claude-sonnet-4-5",
                "max_tokens": 100,
                "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
                "messages": [
                    {"role": "user", "content": "Weather?"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}}
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t1", "is_error": True,
                             "content": [{"type": "text", "text": "no such city"}]},
                            {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
                        ],
                    },
                ],
                "tools": [
                    {"name": "get_weather", "input_schema": WEATHER},
                    {"type": "web_search_20250305", "name": "web_search"},
                ],
                "temperature": 0.5,
                "top_k": 5,
                "stop_sequences": ["END"],
                "thinking": {"type": "enabled", "budget_tokens": 2048},
                "tool_choice": {"type": "any"},
                "stream": True,
            }
        ).encode(),
        "/v1/messages",
    )  # fmt: skip
    assert (asked.model, asked.stream) == ("claude-sonnet-4-5", True)
    assert asked.tools == {"get_weather": WEATHER, "web_search": None}
    assert asked.parameters == {
        "max_tokens": 100,
        "temperature": 0.5,
        "top_k": 5,
        "stop": ["END"],
        "thinking_budget": 2048,
        "tool_choice": {"type": "any"},
        "tools": ["get_weather", "web_search"],
    }
    assert asked.input is not None
    assert asked.input.startswith(
        'system: Be brief.\n\nuser: Weather?\n\nassistant: get_weather({"city": "Paris"})'
    )
    assert "no such city\n[image]" in asked.input
    assert "AAAA" not in asked.input
    assert [(r.id, r.failed) for r in asked.tool_results] == [("t1", True)]


# Gemini


def gemini(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r1", **more}


COUNTS = {
    "promptTokenCount": 10,
    "toolUsePromptTokenCount": 3,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 20,
    "totalTokenCount": 40,
}
CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}
ROW = (
    gemini({"text": "thinking", "thought": True}, usageMetadata={"promptTokenCount": 10}),
    gemini({"text": "It is "}),
    gemini({"text": "warm."}),
    gemini({"text": ""}, finish="STOP", usageMetadata=COUNTS),
)


@pytest.mark.parametrize("form", ["sse", "array", "pretty array"])
def test_a_stream_of_gemini_is_put_together(form: str) -> None:
    kind = STREAM
    body = sse(*ROW)
    if form != "sse":
        kind = "application/json; charset=UTF-8"
        body = json.dumps(ROW, indent=None if form == "array" else 2).encode()
    assert is_stream(kind, body)
    answer = read(body, kind)
    assert (answer.status, answer.output, answer.finish_reason) == ("success", "It is warm.", "stop")
    # thoughts are output, what tools handed over is input
    assert answer.usage == Usage(13, 27, 40, 4, 20)
    assert (answer.model, answer.id) == ("gemini-2.5-flash", "r1")
    assert answer.first_content == events(body)[0].end
    assert len(events(body)) == 4
    assert is_terminated(body)
    cut = body[: events(body)[2].end]
    assert not is_terminated(cut)
    cut_answer = read(cut, kind)
    assert (cut_answer.error_type, cut_answer.output) == ("truncated_stream", "It is warm.")
    in_the_middle = read(body[: events(body)[2].end - 5], kind)
    assert (in_the_middle.error_type, in_the_middle.output) == ("truncated_stream", "It is ")


def test_corrupt_elements_of_an_array_are_named() -> None:
    body = json.dumps(ROW[:2]).encode()[:-1] + b", {oops}, " + json.dumps(ROW[3]).encode() + b"]"
    assert read(body).error_type == "corrupt_chunk"
    # an array that is nobody's stream is none
    assert not is_stream(JSON, b'[{"index": 0, "score": 0.5}]')


def test_an_answer_of_gemini_with_function_calls() -> None:
    answer = read(gemini({"text": "I look."}, CALL, {"functionCall": {"name": "now"}}, finish="STOP"))
    assert (answer.output, answer.finish_reason) == ("I look.", "tool_calls")
    assert [(t.name, t.arguments, t.id, t.valid) for t in answer.tool_calls] == [
        ("get_weather", '{"city": "Paris"}', None, True),
        ("now", "{}", None, False),
    ]


@pytest.mark.parametrize(
    ("body", "status", "error_type", "finish"),
    [
        (gemini({"text": "x"}, finish="MAX_TOKENS"), "success", None, "length"),
        (gemini(finish="SAFETY"), "success", None, "content_filter"),
        (gemini(finish="LANGUAGE"), "success", None, "LANGUAGE"),
        (gemini(finish="MALFORMED_FUNCTION_CALL"), "error", "malformed_tool_call", "MALFORMED_FUNCTION_CALL"),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "error", "prompt_blocked", "content_filter"),
        ({"usageMetadata": {"promptTokenCount": 3}}, "incomplete", "empty_response", None),
        (
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
            "error",
            "response_failed",
            None,
        ),
    ],
)
def test_how_an_answer_of_gemini_ended(
    body: dict[str, Any], status: str, error_type: str | None, finish: str | None
) -> None:
    answer = read(body)
    assert (answer.status, answer.error_type, answer.finish_reason) == (status, error_type, finish)
    if error_type not in ("response_failed", "empty_response"):
        streamed = read(sse(body), STREAM)
        assert (streamed.status, streamed.error_type, streamed.finish_reason) == (status, error_type, finish)


def test_what_gemini_is_asked() -> None:
    picture = {"mimeType": "image/png", "data": "AA"}
    told = {"name": "get_weather", "response": {"degrees": 21}}
    body = {
        "systemInstruction": {"parts": [{"text": "Be brief."}], "role": "user"},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}, {"inlineData": picture}]},
            {"role": "model", "parts": [CALL]},
            {"role": "user", "parts": [{"functionResponse": told}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "get_weather",
                        "parameters": {
                            "type": "OBJECT",
                            "properties": {
                                "city": {"type": "STRING"},
                                "days": {"type": "ARRAY", "items": {"type": "INTEGER"}, "maxItems": "2"},
                                "unit": {"type": "STRING", "nullable": True},
                                "place": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]},
                            },
                            "required": ["city"],
                        },
                    }
                ]
            },
            {"googleSearch": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "temperature": 0, "topP": 0.9, "maxOutputTokens": 50, "stopSequences": ["END"], "candidateCount": 1,
            "responseMimeType": "application/json",
            "thinkingConfig": {"thinkingBudget": 0, "thinkingLevel": "LOW"},
        },
    }  # fmt: skip
    asked = read_request(json.dumps(body).encode(), "/v1beta/models/gemini-2.5-flash:streamGenerateContent")
    assert (asked.model, asked.stream) == ("gemini-2.5-flash", True)
    assert asked.parameters == {
        "temperature": 0, "top_p": 0.9, "max_tokens": 50, "stop": ["END"], "n": 1,
        "response_format": "json_object",
        "thinking_budget": 0, "reasoning_effort": "low", "tool_choice": "required", "tools": ["get_weather"],
    }  # fmt: skip
    assert asked.input == (
        "system: Be brief.\n\nuser: Weather?\n[image/png]\n\n"
        'assistant: get_weather({"city": "Paris"})\n\nuser: {"degrees": 21}'
    )
    assert [(r.id, r.asked) for r in asked.tool_results] == [("get_weather", True)]

    def valid(**arguments: Any) -> bool | None:
        call = {"functionCall": {"name": "get_weather", "args": arguments}}
        return bool(read(gemini(call, finish="STOP"), tools=dict(asked.tools)).tool_calls[0].valid)

    assert valid(city="Paris", days=[1, 2], unit=None, place=4)
    assert not valid(days=[1])
    assert not valid(city="Paris", days=[1, 2, 3])
    assert not valid(city="Paris", days=["one"])
    assert not valid(city=None)


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", False),
        (
            "/v1/projects/p/locations/eu/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
            "gemini-2.5-pro",
            True,
        ),
        (
            "/v1/projects/p/locations/eu/publishers/anthropic/models/claude-x@1:streamRawPredict",
            "claude-x@1",
            True,
        ),
        ("/openai/deployments/my-gpt/chat/completions", "my-gpt", False),
        ("/v1/chat/completions", None, False),
    ],
)
def test_the_path_may_name_the_model(path: str, model: str | None, stream: bool) -> None:
    asked = read_request(b'{"messages": [{"role": "user", "content": "x"}]}', path)
    assert (asked.model, asked.stream) == (model, stream)
