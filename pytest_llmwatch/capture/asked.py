"""What a request asks for: model, parameters, prompt text, tools.

OpenAI's words and those of the vendors that share them are read here; Gemini's format has a reader of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.capture import asked_gemini, asked_text
from pytest_llmwatch.capture.values import as_dict, as_list, as_text, shared
from pytest_llmwatch.messages import tool_results
from pytest_llmwatch.model import ToolResult

_PARAMETERS = (
    "temperature", "top_p", "top_k", "seed", "n", "stop", "presence_penalty", "frequency_penalty", "logprobs",
    "top_logprobs", "tool_choice", "parallel_tool_calls", "reasoning_effort", "service_tier", "truncation",
    "verbosity", "previous_response_id", "dimensions", "encoding_format", "safe_prompt", "prompt_mode",
)  # fmt: skip
_OTHER_NAMES = {
    "max_tokens": ("max_output_tokens", "max_completion_tokens", "max_tokens"),
    "stop": ("stop_sequences",),  # Anthropic, Cohere
    "seed": ("random_seed",),  # Mistral
    "top_p": ("p",),  # Cohere
    "top_k": ("k",),
}
_RENAMED = frozenset(name for names in _OTHER_NAMES.values() for name in names)
_NESTED = frozenset({"reasoning", "output_config", "thinking", "response_format", "text", "output_format"})
_DIRECT = frozenset(_PARAMETERS)
_GIVEN = _RENAMED | _NESTED | _DIRECT


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's body, read. ``tools`` maps a tool's name to the JSON Schema of its arguments (None if free)."""

    model: str | None = None
    input: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    tools: Mapping[str, Any] = field(default_factory=dict)
    tool_results: tuple[ToolResult, ...] = ()


def read_request(body: bytes, path: str = "") -> Asked:
    """Read a request's body; anything that is not a JSON object gives an empty `Asked`.

    Args:
        body: The body, JSON.
        path: Path of the URL: Gemini, Vertex AI and Azure name the model in it, the first also whether to stream.
    """
    try:
        data = shared(body)
    except ValueError:
        return Asked()
    if not isinstance(data, dict):
        return Asked()
    turns, parameters, tools = _READERS.get(asked_gemini.knows(data), _common)(data)
    if tools:
        parameters["tools"] = sorted(tools)
    return Asked(
        model=as_text(data.get("model")) or asked_gemini.model_of(path),
        input=asked_text.joined(turns),
        parameters=parameters,
        stream=bool(data.get("stream")) or asked_gemini.streams(path),
        tools=tools,
        tool_results=tool_results(data),
    )


Read = tuple[list[tuple[str, str]], dict[str, Any], dict[str, Any]]
"""Turns as (role, text), parameters, tools."""


def _common(data: Mapping[str, Any]) -> Read:
    tools = _tools(data.get("tools"))
    return asked_text.turns(data), _parameters(data), tools


_READERS: dict[bool, Callable[[Mapping[str, Any]], Read]] = {True: asked_gemini.read, False: _common}


def _parameters(data: Mapping[str, Any]) -> dict[str, Any]:
    given = _GIVEN.intersection(data)
    direct = sorted(_DIRECT.intersection(given), key=_PARAMETERS.index)
    out: dict[str, Any] = {k: data[k] for k in direct if data[k] is not None}
    for ours, theirs in _OTHER_NAMES.items() if not given.isdisjoint(_RENAMED) else ():
        if given.isdisjoint(theirs):
            continue
        value = next((data[name] for name in theirs if data.get(name) is not None), None)
        if value is not None:
            out.setdefault(ours, value)
    if given.isdisjoint(_NESTED):
        return out
    reasoning = as_dict(data.get("reasoning"))
    effort = reasoning.get("effort") or as_dict(data.get("output_config")).get("effort")
    if effort:
        out["reasoning_effort"] = effort
    thinking = as_dict(data.get("thinking"))
    budget = thinking.get("budget_tokens") or thinking.get("token_budget") or reasoning.get("max_tokens")
    if budget:
        out["thinking_budget"] = budget
    # Chat Completions, Responses, and Anthropic's two
    form = data.get("response_format") or as_dict(data.get("text")).get("format")
    form = form or as_dict(data.get("output_config")).get("format") or data.get("output_format")
    if isinstance(form, dict):
        out["response_format"] = form.get("type")
    return out


def _tools(tools: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for tool in as_list(tools):
        if not isinstance(tool, dict):
            continue
        # Chat Completions nests the function, Responses and Anthropic do not
        function = tool["function"] if isinstance(tool.get("function"), dict) else tool
        name = as_text(function.get("name"))
        if name is not None:
            out[name] = function.get("parameters") or function.get("input_schema")
    return out
