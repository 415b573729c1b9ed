"""A small server that speaks OpenAI's API on the loopback interface and answers from what it is asked.

The pages of the documentation run against it: it needs no model, answers the same question in the same way, and
takes its words from the prompt, so that golden cases over context documents pass as they do with a real model.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

FIXED = {"good morning": "Bonjour !", "capital of france": "The capital of France is Paris."}


def answer(prompt: str) -> str:
    """Return the fixed answer for ``prompt``, or the sentence of it that shares most words with its last line."""
    for words, text in FIXED.items():
        if words in prompt.lower():
            return text
    lines = [line for line in prompt.splitlines() if line.strip()] or [""]
    asked = _stems(lines[-1])
    sentences = [s for line in lines[:-1] for s in re.split(r"(?<=[.!?])\s+", line.strip())] or lines[-1:]
    return max(sentences, key=lambda s: len(asked & _stems(s)))


def grade(body: dict[str, Any], prompt: str) -> str | None:
    """Return the grade asked of a judge: the best where the answer says more than six words, else the worst."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    grades = schema.get("properties", {}).get("grade", {}).get("enum")
    if grades is None:
        return None
    judged = prompt.rpartition("<<<BEGIN answer")[2].partition("<<<END")[0]
    best = len(judged.split()) > 8
    return json.dumps({"reason": "By its length.", "quotes": [], "grade": grades[-1 if best else 0]})


def _stems(text: str) -> set[str]:
    return {word[:5] for word in re.findall(r"\w{4,}", text.lower())}


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions and /v1/responses, plain or streamed."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        messages = body.get("messages") or body.get("input") or ""
        turns = messages if isinstance(messages, list) else []
        if isinstance(messages, list):
            messages = "\n".join(str(m.get("content") or "") for m in messages)
        text = grade(body, messages) or answer(messages)
        usage = (len(messages.split()), len(text.split()))
        chat = self.path.endswith("/chat/completions")
        make = _chat if chat else _response
        whole = make(body.get("model", "gpt-4o-mini"), text, usage)
        if chat and body.get("tools") and turns and turns[-1].get("role") == "user":
            whole["choices"] = [_tool_call(body["tools"][0]["function"], str(turns[-1].get("content")))]
        if body.get("stream"):
            events = _chat_events(whole, text) if chat else _response_events(whole, text)
            self._send("text/event-stream", "".join(events))
        else:
            self._send("application/json", json.dumps(whole))

    def _send(self, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _chat(model: str, text: str, usage: tuple[int, int]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    tokens = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": model}
    return {**head, "choices": [choice], "usage": tokens}


def _tool_call(function: dict[str, Any], question: str) -> dict[str, Any]:
    """Ask for the first tool, with the number in the question as its first required argument."""
    number = re.search(r"\d+", question)
    name = function["parameters"]["required"][0]
    arguments = json.dumps({name: number[0] if number else ""})
    call = {"id": "call_1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"index": 0, "message": message, "finish_reason": "tool_calls"}


def _chat_events(whole: dict[str, Any], text: str) -> list[str]:
    base = {**whole, "object": "chat.completion.chunk", "usage": None}
    deltas = [{"role": "assistant", "content": text}, {}]
    chunks = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]}
        for delta in deltas
    ]
    chunks.append({**base, "choices": [], "usage": whole["usage"]})
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]


def _response(model: str, text: str, usage: tuple[int, int]) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    tokens = {
        "input_tokens": usage[0],
        "output_tokens": usage[1],
        "total_tokens": sum(usage),
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    head = {"id": "resp_1", "object": "response", "created_at": 1700000000, "status": "completed", "model": model}
    rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return {**head, **rest, "output": [item], "usage": tokens}


def _response_events(whole: dict[str, Any], text: str) -> list[str]:
    started = {**whole, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [
        {"type": "response.created", "response": started},
        {"type": "response.output_text.delta", "delta": text, **place},
        {"type": "response.output_text.done", "text": text, **place},
        {"type": "response.completed", "response": whole},
    ]
    numbered = [{**event, "sequence_number": n} for n, event in enumerate(events)]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in numbered]


@pytest.fixture(scope="session")
def canned_server() -> Iterator[str]:
    """Base URL of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()
