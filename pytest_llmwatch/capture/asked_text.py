"""The prompt of a request as text, whatever the vendor calls its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_llmwatch.capture.values import as_dict, as_json, as_list, as_text, dicts

_SYSTEM = ("instructions", "system", "systemInstruction", "system_instruction")
_MESSAGES = ("messages", "input", "prompt", "contents")
_ROLES = {"model": "assistant"}
_DEEPEST = 20
_PLAIN = frozenset({"role", "content"})  # what nearly all messages have


def joined(turns: list[tuple[str, str]]) -> str | None:
    """Return turns as one text; a single one stands alone, several each under its role."""
    turns = [(role, text) for role, text in turns if text]
    if not turns:
        return None
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in turns)


def turns(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (role, text) of each message, the instructions first."""
    out = [("system", content_text(_parts(data[key]))) for key in _SYSTEM if data.get(key)]
    for key in _MESSAGES:
        value = data.get(key)
        if isinstance(value, str):
            out.append(("user", as_text(value) or ""))
        elif isinstance(value, list):
            out += [_turn(item) for item in value]
        elif isinstance(value, dict):
            out.append(_turn(value))
    return out


def _turn(item: Any) -> tuple[str, str]:
    if not isinstance(item, dict):
        return "user", as_text(item) or ""
    if item.keys() == _PLAIN and isinstance(content := item["content"], str) and content.isascii():
        role = as_text(item["role"]) or "user"
        return _ROLES.get(role, role), content
    kind = item.get("type")
    if kind == "function_call":
        return "assistant", _call(item.get("name"), item.get("arguments", ""))
    if kind == "function_call_output":
        return "tool", content_text(item.get("output"))
    text = content_text(item.get("content", item.get("parts")))
    for call in dicts(item.get("tool_calls")):
        function = as_dict(call.get("function"))
        text = f"{text}\n{_call(function.get('name'), function.get('arguments', ''))}".strip()
    role = as_text(item.get("role")) or "user"
    return _ROLES.get(role, role), text


def _call(name: Any, arguments: Any) -> str:
    return f"{as_text(name)}({as_json(arguments)})"


def _parts(content: Any) -> Any:
    # Gemini's contents are objects with parts
    return content.get("parts", [content]) if isinstance(content, dict) else content


def content_text(content: Any, depth: int = 0) -> str:
    """Return a message's content as text; an image or file becomes a short mark, never its bytes."""
    if isinstance(content, str):
        return as_text(content) or ""
    if depth > _DEEPEST:
        return ""
    return "\n".join(_part(part, depth) for part in as_list(content) if isinstance(part, str | dict))


def _part(part: str | dict[str, Any], depth: int) -> str:
    if isinstance(part, str):
        return as_text(part) or ""
    text = as_text(part.get("text")) or as_text(part.get("refusal"))
    if text is not None:
        return text
    kind = part.get("type")
    if kind == "tool_use":
        return _call(part.get("name"), part.get("input") or {})
    if kind == "tool_result":
        return content_text(part.get("content"), depth + 1)
    for key in ("functionCall", "function_call"):
        if isinstance(part.get(key), dict):
            return _call(part[key].get("name"), part[key].get("args") or {})
    for key in ("functionResponse", "function_response"):
        if isinstance(part.get(key), dict):
            return as_json(part[key].get("response"))
    for key in ("inlineData", "inline_data", "fileData", "file_data"):
        if isinstance(part.get(key), dict):
            media = part[key].get("mimeType") or part[key].get("mime_type")
            return f"[{as_text(media) or 'file'}]"
    return f"[{as_text(kind) or 'part'}]"
