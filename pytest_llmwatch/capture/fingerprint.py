"""What makes two requests the same: a canonical form, its hash, and the differences between two of them."""

from __future__ import annotations

import difflib
import email.parser
import email.policy
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pytest_llmwatch.capture.values import shared
from pytest_llmwatch.pricing import base_name
from pytest_llmwatch.redact import Redactor

IGNORED = frozenset(
    {
        "user", "metadata", "store", "stream_options", "prompt_cache_key", "prompt_cache_retention",
        "prompt_cache_options", "safety_identifier", "client_metadata",
    }
)  # fmt: skip
"""Top-level members of a request body that do not change the answer."""

SECRET_QUERY = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "token", "sig", "signature"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two requests: a JSON path, and both values as short text (None = absent)."""

    path: str
    recorded: str | None
    asked: str | None


def canonical(method: str, url: str, body: bytes, content_type: str, redactor: Redactor) -> dict[str, Any]:
    """Return the canonical form of a request: method, path without host, query less keys, and its body.

    The body is redacted first, so that the hash of the form tells nothing that the cassette hides.
    """
    parts = urlsplit(url)
    text = redactor.text
    query = sorted((text(k), text(v)) for k, v in parse_qsl(parts.query) if k.lower() not in SECRET_QUERY)
    form: dict[str, Any] = {"method": method.upper(), "path": text(parts.path)}
    if query:
        form["query"] = [list(pair) for pair in query]
    form["body"] = _body(body, content_type, redactor)
    return form


def fingerprint(form: dict[str, Any]) -> str:
    """Return the hash of a canonical form: 32 hex digits of SHA-256."""
    text = json.dumps(form, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def differences(recorded: Any, asked: Any, path: str = "$") -> list[Difference]:
    """Return where two canonical forms differ, in document order, each with a short word diff for texts."""
    if recorded == asked:
        return []
    if isinstance(recorded, dict) and isinstance(asked, dict):
        keys = [*recorded, *(k for k in asked if k not in recorded)]
        return [
            d
            for key in keys
            for d in differences(recorded.get(key, _ABSENT), asked.get(key, _ABSENT), f"{path}.{key}")
        ]
    if isinstance(recorded, list) and isinstance(asked, list):
        longest = range(max(len(recorded), len(asked)))
        return [d for i in longest for d in differences(_at(recorded, i), _at(asked, i), f"{path}[{i}]")]
    if isinstance(recorded, str) and isinstance(asked, str):
        return [Difference(path, *_word_diff(recorded, asked))]
    return [Difference(path, _short(recorded), _short(asked))]


def distance(recorded: Any, asked: Any) -> tuple[int, int]:
    """Return how far two canonical forms are apart: number of places that differ, then length of what differs.

    Another path counts as 100 places: an answer of another kind is no near recording.
    """
    places, length = _apart(recorded, asked)
    other_path = (
        isinstance(recorded, dict) and isinstance(asked, dict) and recorded.get("path") != asked.get("path")
    )
    return places + 100 * other_path, length


def _apart(a: Any, b: Any) -> tuple[int, int]:
    if a == b:
        return 0, 0
    if isinstance(a, dict) and isinstance(b, dict):
        pairs = [(a.get(key, _ABSENT), b.get(key, _ABSENT)) for key in a.keys() | b.keys()]
    elif isinstance(a, list) and isinstance(b, list):
        pairs = [(_at(a, i), _at(b, i)) for i in range(max(len(a), len(b)))]
    elif isinstance(a, str) and isinstance(b, str):
        start = _common(a, b)
        return 1, len(a) + len(b) - 2 * (start + _common(a[start:][::-1], b[start:][::-1]))
    else:
        return 1, sum(len(_short(x) or "") for x in (a, b))
    found = [_apart(x, y) for x, y in pairs]
    return sum(n for n, _ in found), sum(n for _, n in found)


def _common(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


_ABSENT = object()


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else _ABSENT


def _short(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"


def _word_diff(recorded: str, asked: str) -> tuple[str, str]:
    """Return what differs in two texts, word by word, with three words of common text around it."""
    old, new = recorded.split(" ")[:4000], asked.split(" ")[:4000]
    if len(old) == len(new) == 1:
        return _clip(recorded), _clip(asked)
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    tail = 0
    while tail < min(len(old), len(new)) - start and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    middle_old, middle_new = old[start : len(old) - tail], new[start : len(new) - tail]
    if len(middle_old) * len(middle_new) < 250_000:
        # mark only what differs inside the middle
        matcher = difflib.SequenceMatcher(None, middle_old, middle_new, autojunk=False)
        middle_old = _marked(matcher, middle_old, side=0)
        middle_new = _marked(matcher, middle_new, side=1)
    before = old[max(0, start - 3) : start]
    after = old[len(old) - tail : len(old) - tail + 3] if tail else []
    ends = ("… " if start > 3 else "", " …" if tail > 3 else "")
    return (
        ends[0] + _clip(" ".join([*before, *middle_old, *after])) + ends[1],
        ends[0] + _clip(" ".join([*before, *middle_new, *after])) + ends[1],
    )


def _marked(matcher: difflib.SequenceMatcher[str], words: list[str], *, side: int) -> list[str]:
    out: list[str] = []
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        part = words[a0:a1] if side == 0 else words[b0:b1]
        if tag == "equal":
            out += part if len(part) <= 6 else [*part[:3], "…", *part[-3:]]
        elif part:
            out.append(("[-" if side == 0 else "{+") + " ".join(part) + ("-]" if side == 0 else "+}"))
    return out


def _clip(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:200]} … {text[-80:]}"


def _body(body: bytes, content_type: str, redactor: Redactor) -> Any:
    if not body:
        return None
    if content_type.startswith("multipart/"):
        return _multipart(body, content_type, redactor)
    try:
        value = shared(body)
    except ValueError:
        return {"sha256": _digest(body, redactor)}
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if k not in IGNORED}
        # null means the same as absent to these APIs
        value = {k: v for k, v in value.items() if v is not None}
        if isinstance(value.get("model"), str):
            value["model"] = base_name(value["model"])
    return redactor.value(_Renumber().value(value))


def _digest(body: bytes, redactor: Redactor) -> str:
    # the hash of a short text can be undone by trying: what is hidden elsewhere must not go into it
    try:
        body = redactor.text(body.decode("utf-8")).encode()
    except UnicodeError:
        body = redactor.binary(body)
    return hashlib.sha256(body).hexdigest()


def _multipart(body: bytes, content_type: str, redactor: Redactor) -> list[Any]:
    """Return the parts: a field by its value, a file by its name and the hash of its bytes; no boundary."""
    if body.startswith(b"["):  # kept in a cassette, and these parts already
        kept = json.loads(body)
        return kept if isinstance(kept, list) else []
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    parts: list[Any] = []
    for part in message.iter_parts() if message.is_multipart() else ():
        content = part.get_payload(decode=True)
        raw = content if isinstance(content, bytes) else b""
        name, filename = part.get_param("name", header="content-disposition"), part.get_filename()
        if filename is None and len(raw) < _LONG_FIELD:
            parts.append({"name": name, "value": redactor.text(raw.decode("utf-8", "replace"))})
        else:
            filename = None if filename is None else redactor.text(filename)
            parts.append({"name": name, "filename": filename, "sha256": hashlib.sha256(raw).hexdigest()})
    return parts


_LONG_FIELD = 20_000
"""Bytes from which on a field of a form is told by its hash alone."""


_ID = re.compile(
    r"(?:call|fc|msg|rs|toolu|tool|chatcmpl|ws|ci|mcp|item)[_-][A-Za-z0-9_-]{4,}|[A-Za-z0-9]{9}|[0-9a-f-]{20,36}"
)


class _Renumber:
    """Replace ids of tool calls and of items in a conversation by their order of appearance."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def value(self, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {k: self._walk(v) if k in ("messages", "input") else v for k, v in body.items()}

    def _walk(self, value: Any, *, call: bool = False) -> Any:
        if isinstance(value, list):
            return [self._walk(v, call=call) for v in value]
        if isinstance(value, dict):
            out: dict[str, Any] = {}
            for key, member in value.items():
                if isinstance(member, str) and (
                    key in ("tool_call_id", "call_id", "tool_use_id")
                    or (key == "id" and (call or "type" in value) and _ID.fullmatch(member))
                ):
                    out[key] = self._names.setdefault(member, f"id-{len(self._names) + 1}")
                else:
                    out[key] = self._walk(member, call=key == "tool_calls")
            return out
        return value
