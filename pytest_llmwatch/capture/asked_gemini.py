"""What a request to Gemini asks for: ``contents``, ``generationConfig``, function declarations, the URL's path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_llmwatch.capture import asked_text
from pytest_llmwatch.capture.values import as_dict, as_list, as_text, dicts

_NAMES = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "candidateCount": "n",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_SCHEMAS = ("responseSchema", "responseJsonSchema", "_responseJsonSchema")
_MODEL = re.compile(r"/models/([^/:]+)(?::\w+)?$|/deployments/([^/:]+)/")
_DEEPEST = 40


def knows(data: Mapping[str, Any]) -> bool:
    """Whether a body is one for Gemini."""
    return "contents" in data and "messages" not in data


def model_of(path: str) -> str | None:
    """Return the model that a URL's path names: Gemini, Vertex AI, or an Azure deployment."""
    match = _MODEL.search(path)
    return None if match is None else match[1] or match[2]


def streams(path: str) -> bool:
    """Whether a URL's path asks for a stream."""
    return path.endswith((":streamGenerateContent", ":streamRawPredict"))


def read(data: Mapping[str, Any]) -> tuple[list[tuple[str, str]], dict[str, Any], dict[str, Any]]:
    """Return turns as (role, text), parameters under OpenAI's names, and tools with their schemas."""
    return asked_text.turns(data), _parameters(data), _tools(data.get("tools"))


def _parameters(data: Mapping[str, Any]) -> dict[str, Any]:
    config = as_dict(data.get("generationConfig") or data.get("generation_config"))
    out = {ours: config[theirs] for theirs, ours in _NAMES.items() if config.get(theirs) is not None}
    if any(config.get(name) for name in _SCHEMAS):
        out["response_format"] = "json_schema"
    elif config.get("responseMimeType") == "application/json":
        out["response_format"] = "json_object"
    thinking = as_dict(config.get("thinkingConfig"))
    if thinking.get("thinkingBudget") is not None:
        out["thinking_budget"] = thinking["thinkingBudget"]
    level = as_text(thinking.get("thinkingLevel"))
    if level:
        out["reasoning_effort"] = level.lower()
    mode = as_text(as_dict(as_dict(data.get("toolConfig")).get("functionCallingConfig")).get("mode"))
    if mode:
        out["tool_choice"] = {"ANY": "required"}.get(mode, mode.lower())
    return out


def _tools(tools: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for tool in dicts(tools):
        for function in dicts(tool.get("functionDeclarations") or tool.get("function_declarations")):
            name = as_text(function.get("name"))
            if name is not None:
                out[name] = function.get("parametersJsonSchema") or json_schema(function.get("parameters"))
    return out


def json_schema(schema: Any, depth: int = 0) -> Any:
    """Return Gemini's schema (a part of OpenAPI 3.0) as a JSON Schema, None where it is none."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    out = dict(schema)
    kind = as_text(schema.get("type"))
    if kind is not None:
        out["type"] = kind.lower()
        if kind == "TYPE_UNSPECIFIED":
            del out["type"]
        elif schema.get("nullable") is True:
            out["type"] = [kind.lower(), "null"]
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: json_schema(member, depth + 1) or {} for name, member in as_dict(value).items()}
        elif key == "items":
            out[key] = json_schema(value, depth + 1) or {}
        elif key == "anyOf":
            out[key] = [json_schema(member, depth + 1) or {} for member in as_list(value)]
        elif key.startswith(("min", "max")) and isinstance(value, str) and value.isdigit():
            out[key] = int(value)  # whole numbers of 64 bits travel as texts
    return out
