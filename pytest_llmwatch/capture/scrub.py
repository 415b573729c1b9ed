"""Redact a body before it is kept: whole JSON, or a stream whose secrets are split over its deltas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pytest_llmwatch.capture.asked import as_list
from pytest_llmwatch.capture.fingerprint import SECRET_QUERY
from pytest_llmwatch.capture.sse import Event, events
from pytest_llmwatch.pricing import base_name
from pytest_llmwatch.redact import Redactor
from pytest_llmwatch.redact_patterns import SECRET_KEYS

_NAME_KEYS = frozenset({"model", "id", "name", "root", "model_path", "model_alias"})
_DELTA_KEYS = ("content", "refusal", "reasoning_content", "reasoning", "text", "partial_json", "thinking")

Slot = tuple[tuple[Any, ...], dict[str, Any], str]
"""A place that holds a piece of a text: which text, and the object and key that hold the piece."""


def clean_url(url: str) -> str:
    """Return ``url`` without user, password, and keys in the query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = urlencode(
        [(k, "[REDACTED]" if k.lower() in SECRET_QUERY else v) for k, v in parse_qsl(parts.query)], safe="[]"
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


class Scrubber:
    """Redact bodies of one interaction. Remembers what it has seen, as streams repeat the same texts."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._seen: dict[str, str] = {}

    def json_text(self, body: bytes) -> str | None:
        """Return a JSON body redacted and indented, or None where it is not JSON or would not stay equal."""
        try:
            value = json.loads(body)
        except ValueError:
            return None
        cleaned = self.value(value)
        text = json.dumps(cleaned, ensure_ascii=False, indent=2)
        # a key given twice, or a NaN, does not survive: such a body is kept as it came
        return text if cleaned != value or _pairs(text) == _pairs(body) else None

    def text(self, s: str) -> str:
        """Return ``s`` redacted."""
        seen = self._seen.get(s)
        if seen is None:
            seen = self._seen[s] = self._redactor.text(s)
        return seen

    def value(self, value: Any, key: str = "") -> Any:
        """Return a JSON value redacted, file paths in the place of model names reduced to their last part."""
        if isinstance(value, str):
            if key in _NAME_KEYS:
                value = base_name(value)
            if key.lower() in SECRET_KEYS and value and not value.startswith("["):
                return self._redactor.placeholder("SECRET", value)
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(k): self.value(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(v, key if key in _NAME_KEYS else "") for v in value]
        return value

    def stream(self, body: bytes, sizes: list[int]) -> tuple[bytes, list[int]]:
        """Return a stream's body redacted over its reassembled texts, and the chunk sizes that fit the new body.

        Events that hold nothing to hide keep their bytes. A boundary between chunks keeps its place in its event.
        """
        found = events(body)
        values = [_parsed(event) for event in found]
        before = [json.dumps(v, sort_keys=True) for v in values]
        self._hide_split(values)
        out: list[bytes] = []
        shifts: list[tuple[int, int, int]] = []  # old start, old end, new length
        last = 0
        for event, value, was in zip(found, values, before, strict=True):
            out.append(body[last : event.start])
            cleaned = self.value(value) if value is not None else None
            raw = body[event.start : event.end]
            if value is None:
                new = self.text(raw.decode("utf-8", "replace")).encode()
            elif json.dumps(cleaned, sort_keys=True) != was:
                new = _written(raw, cleaned)
            else:
                new = raw
            shifts.append((event.start, event.end, len(new)))
            out.append(new)
            last = event.end
        out.append(body[last:])
        return b"".join(out), _moved(sizes, shifts)

    def _hide_split(self, values: list[Any]) -> None:
        """Replace secrets that run over several deltas: the placeholder stands in the first, the rest is cut."""
        texts: dict[str, list[Slot]] = {}  # names may hold anything that a server writes
        for value in values:
            for slot in _slots(value):
                texts.setdefault(str(slot[0]), []).append(slot)
        for slots in texts.values():
            whole = "".join(holder[key] for _, holder, key in slots)
            findings = self._redactor.find(whole)
            for finding in reversed(findings):
                secret = whole[finding.start : finding.end]
                mark = self._redactor.placeholder(finding.kind, secret)
                _cut(slots, finding.start, finding.end, mark)


def _cut(slots: list[Slot], start: int, end: int, mark: str) -> None:
    # findings are handled from the last to the first, so offsets before this one are still true
    place = 0
    for _, holder, key in slots:
        piece = holder[key]
        a, b = max(start - place, 0), min(end - place, len(piece))
        if a < b and place < end:
            holder[key] = piece[:a] + (mark if place + a == start else "") + piece[b:]
        place += len(piece)


def _slots(value: Any) -> Iterator[Slot]:
    if not isinstance(value, dict):
        return
    kind = value.get("type")
    if isinstance(value.get("delta"), str):
        yield (kind, value.get("item_id"), value.get("output_index"), value.get("content_index")), value, "delta"
    elif isinstance(value.get("delta"), dict):
        yield from _pieces(("block", value.get("index")), value["delta"])
    for choice in as_list(value.get("choices")):
        if not isinstance(choice, dict):
            continue
        index = choice.get("index", 0)
        if isinstance(choice.get("text"), str):
            yield ("text", index), choice, "text"
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            continue
        yield from _pieces(("choice", index), delta)
        for call in as_list(delta.get("tool_calls")):
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                yield ("tool", index, call.get("index")), function, "arguments"


def _pieces(name: tuple[Any, ...], delta: dict[str, Any]) -> Iterator[Slot]:
    for key in _DELTA_KEYS:
        if isinstance(delta.get(key), str):
            yield (*name, key), delta, key


def _parsed(event: Event) -> Any:
    if event.is_done:
        return None
    try:
        return event.json()
    except ValueError:
        return None


def _written(raw: bytes, value: Any) -> bytes:
    """Return an event's bytes with its data replaced, other lines and line ends kept."""
    data = b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    lines: list[bytes] = []
    written = False
    for line in raw.splitlines(keepends=True):
        if not line.startswith(b"data:"):
            lines.append(line)
        elif not written:
            lines.append(data + line[len(line.rstrip(b"\r\n")) :])
            written = True
    return b"".join(lines)


def _moved(sizes: list[int], shifts: list[tuple[int, int, int]]) -> list[int]:
    if all(end - start == new for start, end, new in shifts):
        return sizes
    bounds: list[int] = []
    total = 0
    for size in sizes:
        total += size
        moved = total
        for start, end, new in shifts:
            if total >= end:
                moved += new - (end - start)
            elif total > start:
                moved += min(total - start, new) - (total - start)
        bounds.append(moved)
    return [b - a for a, b in zip([0, *bounds], bounds, strict=False)]


def _pairs(text: str | bytes) -> Any:
    # as pairs, so that a key given twice is seen
    return json.loads(text, object_pairs_hook=list)
