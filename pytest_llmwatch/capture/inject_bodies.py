"""What an injected answer says, in the words of the API that was asked: OpenAI's two, Anthropic's, Gemini's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmwatch.capture.asked import Asked

_TEXT = "This answer was injected by a test"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
}


def api(url: str) -> str:
    """Return whose words a URL wants: ``chat``, ``responses``, ``anthropic`` or ``gemini``."""
    path = url.partition("?")[0]
    if path.endswith("/messages"):
        return "anthropic"
    if "enerateContent" in path.rpartition(":")[2]:
        return "gemini"
    return "responses" if path.endswith("/responses") else "chat"


def error(url: str, status: int, message: str | None) -> bytes:
    """Return the body of an error answer."""
    kind = {429: "rate_limit_error", 503: "overloaded_error"}.get(status) or _TYPES.get(status, "server_error")
    text = message or f"Injected by llm_fault: HTTP {status}"
    dialect = api(url)
    if dialect == "anthropic":
        return _json({"type": "error", "error": {"type": kind, "message": text}})
    if dialect == "gemini":
        words = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
        return _json({"error": {"code": status, "message": text, "status": words.get(status, "INTERNAL")}})
    code = {429: "rate_limit_exceeded", 503: "service_unavailable"}.get(status)
    return _json({"error": {"message": text, "type": kind, "param": None, "code": code}})


def answer(url: str, asked: Asked, kind: str) -> bytes:
    """Return a whole answer: ``plain``, ``content_filter`` or ``invalid_tool_arguments``; a stream where asked."""
    tool = next(iter(asked.tools), "tool") if kind == "invalid_tool_arguments" else None
    dialect = api(url)
    if asked.stream:
        return b"".join([*chunks(url, asked, tool=tool, end=kind), *_done(dialect)])
    make = {"chat": _chat, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}[dialect]
    return _json(make(asked.model or "unknown", kind, tool))


_BROKEN_ARGUMENTS = '{"city": "Par'


def _chat(model: str, kind: str, tool: str | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if tool else _TEXT}
    if tool:
        function = {"name": tool, "arguments": _BROKEN_ARGUMENTS}
        message["tool_calls"] = [{"id": "call_llmfault", "type": "function", "function": function}]
    finish = "tool_calls" if tool else "content_filter" if kind == "content_filter" else "stop"
    if finish == "content_filter":
        message["content"] = ""
    return {
        "id": "chatcmpl-llmfault",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
    }


def _responses(model: str, kind: str, tool: str | None) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "message",
        "id": "msg_llmfault",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": _TEXT, "annotations": []}],
    }
    if tool:
        item = {"type": "function_call", "id": "fc_llmfault", "call_id": "call_llmfault", "name": tool}
        item |= {"arguments": _BROKEN_ARGUMENTS, "status": "completed"}
    filtered = kind == "content_filter"
    return {
        "id": "resp_llmfault",
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": "incomplete" if filtered else "completed",
        "incomplete_details": {"reason": "content_filter"} if filtered else None,
        "output": [] if filtered else [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _anthropic(model: str, kind: str, tool: str | None) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": _TEXT}]
    if tool:
        # this API sends arguments as JSON: what can be wrong is what they say
        content = [{"type": "tool_use", "id": "toolu_llmfault", "name": tool, "input": {"unexpected": None}}]
    stop = "tool_use" if tool else "refusal" if kind == "content_filter" else "end_turn"
    return {
        "id": "msg_llmfault",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [] if stop == "refusal" else content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _gemini(model: str, kind: str, tool: str | None) -> dict[str, Any]:
    part: dict[str, Any] = {"text": _TEXT}
    if tool:
        part = {"functionCall": {"name": tool, "args": {"unexpected": None}}}
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    if kind == "content_filter":
        candidate = {"finishReason": "SAFETY", "index": 0}
    return {"candidates": [candidate], "modelVersion": model}


def chunks(url: str, asked: Asked, *, tool: str | None = None, end: str = "") -> list[bytes]:
    """Return the events of a stream, one per chunk; its last event only with ``end`` (how it ends)."""
    model, dialect = asked.model or "unknown", api(url)
    words = [] if tool or end == "content_filter" else [w + " " for w in _TEXT.split()]
    if dialect == "responses":
        return _responses_chunks(model, words, tool, end)
    if dialect == "anthropic":
        return _anthropic_chunks(model, words, tool, end)
    if dialect == "gemini":
        parts = [{"candidates": [{"content": {"role": "model", "parts": [{"text": w}]}}]} for w in words]
        return [_event(p) for p in [*parts, *([_gemini(model, end, tool)] if end else [])]]
    return _chat_chunks(model, words, tool, end)


def _chat_chunks(model: str, words: list[str], tool: str | None, end: str) -> list[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": w} for w in words)]
    if tool:
        function = {"name": tool, "arguments": _BROKEN_ARGUMENTS}
        deltas = [{"tool_calls": [{"index": 0, "id": "call_llmfault", "type": "function", "function": function}]}]
    finish = "tool_calls" if tool else "content_filter" if end == "content_filter" else "stop"
    choices: list[dict[str, Any]] = [{"index": 0, "delta": d, "finish_reason": None} for d in deltas]
    if end:
        choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    head = {"id": "chatcmpl-llmfault", "object": "chat.completion.chunk", "created": 0, "model": model}
    return [_event({**head, "choices": [c]}) for c in choices]


def _responses_chunks(model: str, words: list[str], tool: str | None, end: str) -> list[bytes]:
    whole = _responses(model, end, tool)
    begun = {**whole, "status": "in_progress", "output": []}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    place = {"item_id": "msg_llmfault", "output_index": 0, "content_index": 0}
    events += [{"type": "response.output_text.delta", **place, "delta": w, "logprobs": []} for w in words]
    if tool:
        item = {"item_id": "fc_llmfault", "output_index": 0}
        events.append({"type": "response.function_call_arguments.delta", **item, "delta": _BROKEN_ARGUMENTS})
    if end:
        kind = "response.incomplete" if end == "content_filter" else "response.completed"
        events.append({"type": kind, "response": whole})
    return [_event({**e, "sequence_number": i}, str(e["type"])) for i, e in enumerate(events)]


def _anthropic_chunks(model: str, words: list[str], tool: str | None, end: str) -> list[bytes]:
    whole = _anthropic(model, end, tool)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    ]
    block: dict[str, Any] = {"type": "text", "text": ""}
    if tool:
        block = {"type": "tool_use", "id": "toolu_llmfault", "name": tool, "input": {}}
    if words or tool:
        events.append({"type": "content_block_start", "index": 0, "content_block": block})
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}} for w in words
    ]
    delta: dict[str, Any]
    if tool:
        delta = {"type": "input_json_delta", "partial_json": '{"unexpected": null}'}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    if end:
        if words or tool:
            events.append({"type": "content_block_stop", "index": 0})
        delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}})
        events.append({"type": "message_stop"})
    return [_event(e, str(e["type"])) for e in events]


def _done(dialect: str) -> list[bytes]:
    return [b"data: [DONE]\n\n"] if dialect == "chat" else []


def _event(value: dict[str, Any], name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
