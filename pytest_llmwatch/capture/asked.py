"""What a request asks for: model, parameters, prompt text, tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.messages import tool_results
from pytest_llmwatch.model import ToolResult

_PARAMETERS = (
    "temperature", "top_p", "seed", "n", "stop", "presence_penalty", "frequency_penalty", "logprobs",
    "top_logprobs", "tool_choice", "parallel_tool_calls", "reasoning_effort", "service_tier", "truncation",
    "verbosity", "previous_response_id", "dimensions", "encoding_format",
)  # fmt: skip
_MAX_TOKENS = ("max_output_tokens", "max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's body, read. ``tools`` maps a tool's name to the JSON Schema of its arguments (None if free)."""

    model: str | None = None
    input: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    tools: Mapping[str, Any] = field(default_factory=dict)
    tool_results: tuple[ToolResult, ...] = ()


def read_request(body: bytes) -> Asked:
    """Read a request's body; anything that is not a JSON object gives an empty `Asked`."""
    try:
        data = json.loads(body)
    except ValueError:
        return Asked()
    if not isinstance(data, dict):
        return Asked()
    model = data.get("model")
    return Asked(
        model=model if isinstance(model, str) else None,
        input=_input(data),
        parameters=_parameters(data),
        stream=bool(data.get("stream")),
        tools=_tools(data.get("tools")),
        tool_results=tool_results(data),
    )


def _parameters(data: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {k: data[k] for k in _PARAMETERS if data.get(k) is not None}
    for name in _MAX_TOKENS:
        if data.get(name) is not None:
            out["max_tokens"] = data[name]
            break
    reasoning = data.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        out["reasoning_effort"] = reasoning["effort"]
    response_format = data.get("response_format") or as_dict(data.get("text")).get("format")
    if isinstance(response_format, dict):
        out["response_format"] = response_format.get("type")
    tools = sorted(_tools(data.get("tools")))
    if tools:
        out["tools"] = tools
    return out


def _tools(tools: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for tool in as_list(tools):
        if not isinstance(tool, dict):
            continue
        # Chat Completions nests the function, Responses does not
        function = tool["function"] if isinstance(tool.get("function"), dict) else tool
        if isinstance(function.get("name"), str):
            out[function["name"]] = function.get("parameters") or function.get("input_schema")
    return out


def _input(data: Mapping[str, Any]) -> str | None:
    turns: list[tuple[str, str]] = []
    for key, role in (("instructions", "system"), ("system", "system")):
        if isinstance(data.get(key), str):
            turns.append((role, data[key]))
    for key in ("messages", "input", "prompt", "contents"):
        value = data.get(key)
        if isinstance(value, str):
            turns.append(("user", value))
        elif isinstance(value, list):
            turns += [_turn(item) for item in value]
    turns = [(role, text) for role, text in turns if text]
    if not turns:
        return None
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in turns)


def _turn(item: Any) -> tuple[str, str]:
    if not isinstance(item, dict):
        return "user", item if isinstance(item, str) else ""
    kind = item.get("type")
    if kind == "function_call":
        return "assistant", f"{item.get('name')}({item.get('arguments', '')})"
    if kind == "function_call_output":
        return "tool", content_text(item.get("output"))
    text = content_text(item.get("content", item.get("parts")))
    for call in as_list(item.get("tool_calls")):
        function = as_dict(as_dict(call).get("function"))
        text = f"{text}\n{function.get('name')}({function.get('arguments', '')})".strip()
    return str(item.get("role", "user")), text


def as_dict(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object, else an empty one: bodies are hostile."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return ``value`` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def content_text(content: Any) -> str:
    """Return a message's content as text; an image or file becomes a short mark, never its bytes."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            text = part.get("text") or part.get("refusal")
            parts.append(text if isinstance(text, str) else f"[{part.get('type', 'part')}]")
    return "\n".join(parts)
