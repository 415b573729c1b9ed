"""Shapes of other people's log lines: whole provider responses, chats, spans, opened into flat keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_llmwatch import semconv

_RESPONSE_KEYS = ("response", "output", "completion", "raw_response", "response_body")
_REQUEST_KEYS = ("request", "request_body", "raw_request")
_SPAN_OBJECT = "gen_ai"
USAGE_OBJECTS = ("usage", "llm_usage", "token_usage", "usageMetadata", "usage_metadata")
_OPENED = {_SPAN_OBJECT: _SPAN_OBJECT, **dict.fromkeys(USAGE_OBJECTS, "usage")}
_TEXT_PARTS = ("text", "output_text", "input_text")
FILTER_CODES = frozenset({"content_filter", "responsibleaipolicyviolation", "content_policy_violation"})
"""Error codes, in lower case, by which a provider says that its filter refused the request (Azure, OpenAI)."""


_OPEN_KEYS = frozenset(
    {
        *(*_RESPONSE_KEYS, *_REQUEST_KEYS, "choices", "candidates", "content", "promptFeedback", "messages"),
        *("conversation", "attributes", "error", _SPAN_OBJECT),
    }
)
PLAIN = _OPEN_KEYS - {"error"}
"""Keys that hold more only where they hold an object or a list."""


def may_open(key: str) -> bool:
    """Whether a key of a log line may hold more than its own value, see `opened`."""
    return key in _OPEN_KEYS or key.startswith(semconv.INDEXED_PREFIXES)


def opened(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a log line with what whole requests and responses in it say as flat keys beside its own.

    Understood are responses of Chat Completions, Responses, Anthropic Messages and Gemini (as the line itself or
    under ``response``, ``output``, ``completion``), the batch form ``response.body``, requests under ``request``,
    chats under ``messages`` that end with the assistant's answer, and indexed prompts of spans. The line's own
    keys win.
    """
    if not any(
        may_open(key) and (key not in PLAIN or isinstance(item, dict | list)) for key, item in value.items()
    ):
        return value  # flat already, as most logs are
    found: dict[str, Any] = {}
    out = dict(value)
    direct = _response(value)
    if direct is not None:
        for key in ("choices", "candidates", "content", "promptFeedback"):
            out.pop(key, None)
        if isinstance(out.get("output"), list):
            del out["output"]
        found.update(direct)
    for key in _RESPONSE_KEYS:
        inner = value.get(key)
        if not isinstance(inner, Mapping):
            continue
        body = _map(inner.get("body")) or inner
        said = _response(body)
        if said is not None:
            del out[key]
            _add(found, said)
            _add(
                found,
                {"request_id": body.get("id"), "response_model": body.get("model"), "model": body.get("model")},
            )
            break
    for key in _REQUEST_KEYS:
        inner = value.get(key)
        if isinstance(inner, Mapping):
            body = _map(inner.get("body")) or inner
            asked = next((body[k] for k in ("messages", "input", "prompt") if k in body), None)
            if asked is not None:
                del out[key]
                found = {**found, "input": asked, "model": body.get("model") or found.get("model")}
                break
    _chat(out, found)
    _spans(value, found)
    if _filtered(value.get("error")):
        _add(found, {"finish_reason": "content_filter"})
    # what the line says itself wins over what is inside of it
    return {**{k: v for k, v in found.items() if v is not None and out.get(k) is None}, **_present(out, found)}


def _present(out: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in out.items() if item is not None or key not in found}


def _add(found: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, item in more.items():
        if item is not None and found.get(key) is None:
            found[key] = item


def _response(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer that a provider's response holds, None where it is no such thing."""
    if isinstance(body.get("choices"), list):
        return _chat_completion(body)
    if isinstance(body.get("candidates"), list) or isinstance(body.get("promptFeedback"), Mapping):
        return _gemini(body)
    if isinstance(body.get("output"), list) and (body.get("object") == "response" or _typed(body["output"])):
        return _responses(body)
    if isinstance(body.get("content"), list) and ("stop_reason" in body or body.get("type") == "message"):
        return _anthropic(body)
    return None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def _first(value: Any) -> Mapping[str, Any]:
    return next(iter(_maps(value)), {})


def _typed(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(i, Mapping) and "type" in i for i in items)


def _chat_completion(body: Mapping[str, Any]) -> dict[str, Any]:
    first = _first(body["choices"])
    message = _map(first.get("message"))
    text = message.get("content", first.get("text"))
    out = {
        "output": parts_text(text) if isinstance(text, list) else text,
        "finish_reason": first.get("finish_reason"),
        "tool_calls": message.get("tool_calls") or None,
        "usage": body.get("usage"),
        "time": body.get("created"),
    }
    if isinstance(message.get("refusal"), str) and out["output"] is None:
        out["output"], out["finish_reason"] = message["refusal"], "refusal"
    return out


def _responses(body: Mapping[str, Any]) -> dict[str, Any]:
    items = _maps(body["output"])
    parts = [p for i in items if i.get("type") == "message" for p in _maps(i.get("content"))]
    said = [str(p.get("text", "")) for p in parts if p.get("type") == "output_text"]
    refused = [str(p.get("refusal", "")) for p in parts if p.get("type") == "refusal"]
    calls = [i for i in items if i.get("type") == "function_call"]
    reason = _map(body.get("incomplete_details")).get("reason")
    return {
        "output": "".join(said or refused) if said or refused else None,
        "finish_reason": "refusal" if refused and not said else reason or body.get("status"),
        "tool_calls": calls or None,
        "usage": body.get("usage"),
        "time": body.get("created_at"),
    }


def _anthropic(body: Mapping[str, Any]) -> dict[str, Any]:
    blocks = _maps(body["content"])
    said = [str(b.get("text", "")) for b in blocks if b.get("type") == "text"]
    return {
        "output": "".join(said) if said else None,
        "finish_reason": body.get("stop_reason"),
        "tool_calls": [b for b in blocks if b.get("type") == "tool_use"] or None,
        "usage": body.get("usage"),
    }


def _gemini(body: Mapping[str, Any]) -> dict[str, Any]:
    first = _first(body.get("candidates"))
    content = _map(first.get("content"))
    parts = _maps(content.get("parts"))
    said = [str(p["text"]) for p in parts if "text" in p and not p.get("thought")]
    blocked = _map(body.get("promptFeedback")).get("blockReason")
    return {
        "output": "".join(said) if said else None,
        "finish_reason": first.get("finishReason") or blocked,
        "tool_calls": [p["functionCall"] for p in parts if isinstance(p.get("functionCall"), Mapping)] or None,
        "usage": body.get("usageMetadata"),
        "model": body.get("modelVersion"),
    }


def _chat(out: dict[str, Any], found: dict[str, Any]) -> None:
    """A chat log that ends with the assistant's words holds the answer too, where nothing else does."""
    key = next((k for k in ("messages", "conversation") if isinstance(out.get(k), list)), None)
    if key is None:
        return
    chat = out[key]
    last = _map(chat[-1]) if chat else {}
    answered = any(out.get(k) is not None for k in (*_RESPONSE_KEYS, "answer", "output_text", "response_text"))
    if last.get("role") == "assistant" and not answered and found.get("output") is None:
        del out[key]
        found["input"] = chat[:-1]
        _add(found, {"output": parts_text(last.get("content")), "tool_calls": last.get("tool_calls") or None})
    elif key == "conversation":
        out["messages"] = out.pop(key)


def _spans(value: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Read prompts and completions that instrumentations write as indexed attributes."""
    attributes = value.get("attributes")
    source = attributes if isinstance(attributes, Mapping) else value
    if not any(isinstance(k, str) and k.startswith(semconv.INDEXED_PREFIXES) for k in source):
        return
    messages: dict[str, dict[int, dict[str, Any]]] = {"input": {}, "output": {}}
    for key, item in source.items():
        place = semconv.indexed(key)
        if place is not None:
            messages[place.field].setdefault(place.number, {})[place.part] = item
    asked = [
        {"role": m.get("role", "user"), "content": m.get("content")} for _, m in sorted(messages["input"].items())
    ]
    _add(found, {"input": asked or None})
    if messages["output"]:
        answer = messages["output"][min(messages["output"])]
        _add(found, {"output": answer.get("content"), "finish_reason": answer.get("finish_reason")})


def _filtered(error: Any) -> bool:
    if isinstance(error, Mapping):
        nested = _map(error.get("error"))
        codes = (
            error.get("code"),
            error.get("type"),
            _map(error.get("innererror")).get("code"),
            nested.get("code"),
        )
        return any(isinstance(c, str) and c.lower() in FILTER_CODES for c in codes)
    return isinstance(error, str) and error.strip().lower() in FILTER_CODES


def parts_text(value: Any) -> str | None:
    """Return the text of a message's content: text, or the joined texts of a list of parts; else None."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return None
    out = []
    for part in value:
        if isinstance(part, str):
            out.append(part)
        elif isinstance(part, Mapping):
            said = part.get("text", part.get("content") if part.get("type") in _TEXT_PARTS else None)
            out.append(said if isinstance(said, str) else "")
    return "".join(out)


def flatten(value: Mapping[str, Any], rename: Iterable[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield keys and values; ``usage``, ``attributes``, ``gen_ai`` and renamed paths are dotted out of objects.

    Args:
        value: A log line.
        rename: Keys that the user renames; a dotted one reaches into objects.
    """
    dotted = {key.split(".", 1)[0] for key in rename if "." in key}
    for key, item in value.items():
        if not isinstance(item, Mapping):
            yield key, item
        elif key == "attributes":
            yield from flatten(item)
        elif key in _OPENED or key in dotted:
            yield from _dotted(_OPENED.get(key, key), item)
        else:
            yield key, item


def _dotted(prefix: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _dotted(f"{prefix}.{key}", item)
        else:
            yield f"{prefix}.{key}", item


def messages_of(value: Any) -> Any:
    """Return what a span's attribute holds: messages, also as JSON text, with ``content``; all else as it is."""
    if isinstance(value, str) and value[:2] == "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, list) and any("parts" in m for m in _maps(value)):
        return [{**m, "content": parts_text(m["parts"])} if "parts" in _map(m) else m for m in value]
    return value
