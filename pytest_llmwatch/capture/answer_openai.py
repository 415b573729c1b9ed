"""Chat Completions and Responses, as OpenAI, Azure, Mistral, OpenRouter and most other servers speak them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_llmwatch.capture.answer_base import Answer, StreamReader, mapped
from pytest_llmwatch.capture.values import as_count, as_dict, as_json, as_list, as_text, dicts, total
from pytest_llmwatch.model import ToolCall, Usage

FINAL = ("response.completed", "response.incomplete", "response.failed")
_FINISH = {"function_call": "tool_calls", "model_length": "length", "max_tokens": "length"}
_DONE = ("transcript.text.done", "speech.audio.done", "image_generation.completed", "image_edit.completed")
_GAVE_UP = "the model stopped with the finish reason error"
_TEXTS = (None, "text", "output_text", "refusal")


def knows(data: dict[str, Any]) -> bool:
    """Whether an object is a completion or a response, or an event of a stream of one."""
    kind = data.get("type")
    return isinstance(data.get("choices"), list) or (isinstance(kind, str) and kind.startswith("response."))


def whole(data: dict[str, Any]) -> Answer:
    """Read a response's JSON object."""
    return _responses_object(data) if "output" in data else _chat_object(data)


def ends(data: dict[str, Any]) -> bool:
    """Whether an event ends its stream."""
    return data.get("type") in (*FINAL, *_DONE) or any(c.get("finish_reason") for c in dicts(data.get("choices")))


def _said(content: Any, between: str = "") -> str:
    """Return the text that a message's content says aloud: no reasoning, no marks for what is not text."""
    if isinstance(content, str):
        return as_text(content) or ""
    parts: list[Any] = []
    for part in as_list(content):
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict) and part.get("type") in _TEXTS:
            parts.append(part.get("text") or part.get("refusal"))
    return between.join(as_text(p) or "" for p in parts)


def _chat_object(data: Mapping[str, Any]) -> Answer:
    base: dict[str, Any] = {
        "usage": read_usage(data.get("usage")),
        "model": as_text(data.get("model")),
        "id": as_text(data.get("id")),
        "system_fingerprint": as_text(data.get("system_fingerprint")),
    }
    choices = data.get("choices")
    if not isinstance(choices, list):
        # a transcription is text; an embedding, an image or a file is none
        return Answer(output=as_text(data.get("text")), **base)
    if not choices or not isinstance(choices[0], dict):
        return Answer("incomplete", "empty_response", "no choices in the response", **base)
    message = as_dict(choices[0].get("message"))
    text = _said(message.get("content")) or as_text(message.get("refusal"))
    answer = Answer(
        output=text or as_text(choices[0].get("text")) or "",
        tool_calls=tuple(_chat_tool(c) for c in dicts(message.get("tool_calls"))),
        finish_reason=mapped(choices[0].get("finish_reason"), _FINISH),
        **base,
    )
    error = choices[0].get("error")
    if isinstance(error, dict) or answer.finish_reason == "error":
        # OpenRouter: the vendor behind it failed half way; Mistral says no more than the finish reason
        told = as_text(as_dict(error).get("message")) or _GAVE_UP
        return replace(answer, status="error", error_type="response_failed", error=told)
    return answer


def _responses_object(data: Mapping[str, Any]) -> Answer:
    items = dicts(data.get("output"))
    tools = tuple(_responses_tool(i) for i in items if i.get("type") == "function_call")
    status, finish = data.get("status"), "tool_calls" if tools else "stop"
    answer = Answer(
        output="\n".join(_said(i.get("content"), "\n") for i in items if i.get("type") == "message"),
        usage=read_usage(data.get("usage")),
        tool_calls=tools,
        finish_reason=finish,
        model=as_text(data.get("model")),
        id=as_text(data.get("id")),
        system_fingerprint=as_text(data.get("system_fingerprint")),
    )
    if status == "incomplete":
        reason = as_dict(data.get("incomplete_details")).get("reason")
        return replace(answer, finish_reason="length" if reason == "max_output_tokens" else as_text(reason))
    if status in ("failed", "cancelled"):
        error = as_dict(data.get("error"))
        return replace(
            answer,
            status="error",
            error_type=f"response_{status}",
            error=as_text(error.get("message")),
            finish_reason=None,
        )
    return answer


class Stream(StreamReader):
    """A stream of Chat Completions or of Responses."""

    def __init__(self) -> None:
        super().__init__()
        self._final: Answer | None = None

    def read(self, data: dict[str, Any], end: int) -> None:
        """Take one event."""
        kind = data.get("type")
        if isinstance(kind, str) and kind.startswith("response."):
            self._responses(kind, data, end)
        elif data.get("error") or kind == "error":
            self.fail(data.get("error") or data)
        elif isinstance(data.get("choices"), list):
            self._chat(data, end)
        elif isinstance(kind, str) and kind.startswith(("transcript.", "speech.", "image_")):
            self._media(kind, data, end)

    def whole(self) -> Answer:
        """Return the response that the terminal event carries, else what came before it."""
        return self._final or super().whole()

    def _media(self, kind: str, data: dict[str, Any], end: int) -> None:
        self.content(end)
        if kind == "transcript.text.delta":
            self.text.append(as_text(data.get("delta")) or "")
        if kind in _DONE:
            self.ended = True
            self.usage = read_usage(data.get("usage"))

    def _chat(self, data: dict[str, Any], end: int) -> None:
        self.model = as_text(data.get("model")) or self.model
        self.id = as_text(data.get("id")) or self.id
        self.print = as_text(data.get("system_fingerprint")) or self.print
        if isinstance(data.get("usage"), dict):
            self.usage = read_usage(data["usage"])
        for choice in dicts(data["choices"]):
            self._choice(choice, end)

    def _choice(self, choice: dict[str, Any], end: int) -> None:
        delta = as_dict(choice.get("delta"))
        text = _said(delta.get("content")) + (as_text(delta.get("refusal")) or "")
        text += as_text(choice.get("text")) or ""
        calls = dicts(delta.get("tool_calls"))
        # Mistral's reasoning comes as an array of content, others' beside it
        if text or calls or delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning"):
            self.content(end)
        if choice.get("index", 0) != 0:
            return
        self.text.append(text)
        if choice.get("finish_reason"):
            self.finish = mapped(choice["finish_reason"], _FINISH) or self.finish
            self.ended = True
            if self.finish == "error":
                self.fail(_GAVE_UP)
        for call in calls:
            function = as_dict(call.get("function"))
            piece = self.tool(self._number(call))
            piece.id = as_text(call.get("id")) or piece.id
            piece.name += as_text(function.get("name")) or ""
            arguments = function.get("arguments")
            piece.arguments += as_json(arguments) if arguments is not None else ""

    def _number(self, call: dict[str, Any]) -> int:
        """Return the number of a tool call; a server that gives all the number 0 tells them apart by id."""
        number = as_count(call.get("index")) or 0
        known, name = self.tools.get(number), as_text(call.get("id"))
        if (
            known is None
            or name is None
            or known.id in (None, name)
            or not as_dict(call.get("function")).get("name")
        ):
            return number
        same = (n for n, piece in self.tools.items() if piece.id == name)
        return next(same, max(self.tools) + 1)

    def _responses(self, kind: str, data: dict[str, Any], end: int) -> None:
        if kind in FINAL:
            self.ended = True
            self._final = _responses_object(as_dict(data.get("response")))
            if self._final.output == "" and self.text:
                self._final = replace(self._final, output="".join(self.text))
            return
        if kind == "response.created" and isinstance(data.get("response"), dict):
            self.model = as_text(data["response"].get("model"))
            self.id = as_text(data["response"].get("id"))
        if kind == "response.output_item.added":
            item = as_dict(data.get("item"))
            if item.get("type") == "function_call":
                piece = self.tool(as_count(data.get("output_index")) or 0)
                piece.name, piece.id = as_text(item.get("name")) or "", as_text(item.get("call_id"))
        delta = as_text(data.get("delta"))
        if not delta or not kind.endswith(".delta"):
            return
        self.content(end)
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self.text.append(delta)
        elif kind == "response.function_call_arguments.delta":
            self.tool(as_count(data.get("output_index")) or 0).arguments += delta


def read_usage(usage: Any) -> Usage:
    """Return the tokens that a ``usage`` object reports, in either API's words; unknown stays None."""
    if not isinstance(usage, dict):
        return Usage()
    details_in = as_dict(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    details_out = as_dict(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    read = as_count(usage.get("input_tokens", usage.get("prompt_tokens")))
    written = as_count(usage.get("output_tokens", usage.get("completion_tokens")))
    cached = details_in.get("cached_tokens")
    if cached is None:  # DeepSeek, Mistral
        cached = usage.get("prompt_cache_hit_tokens", usage.get("num_cached_tokens"))
    sums = as_count(usage.get("total_tokens"))
    return Usage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=total(read, written) if sums is None and read is not None else sums,
        cached_tokens=as_count(cached),
        reasoning_tokens=as_count(details_out.get("reasoning_tokens")),
    )


def _chat_tool(call: Mapping[str, Any]) -> ToolCall:
    function = as_dict(call.get("function") or call.get("custom"))
    arguments = function.get("arguments", function.get("input", ""))
    return ToolCall(as_text(function.get("name")) or "", as_json(arguments), as_text(call.get("id")))


def _responses_tool(item: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        as_text(item.get("name")) or "", as_json(item.get("arguments", "")), as_text(item.get("call_id"))
    )
