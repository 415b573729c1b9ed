"""Redact a body before it is kept: whole JSON, or a stream whose secrets are split over its deltas."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pytest_llmwatch import redact_nested as nested
from pytest_llmwatch.capture import json_style, split
from pytest_llmwatch.capture.fingerprint import SECRET_QUERY
from pytest_llmwatch.capture.sse import Event, events
from pytest_llmwatch.capture.values import is_deep, loads, shared
from pytest_llmwatch.pricing import base_name
from pytest_llmwatch.redact import Redactor
from pytest_llmwatch.redact_patterns import SECRET_KEYS

_NAME_KEYS = frozenset({"model", "id", "name", "root", "model_path", "model_alias"})


def clean_url(url: str, redactor: Redactor) -> str:
    """Return ``url`` without user, password, and keys in the query; path and other values redacted."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = urlencode(
        [
            (redactor.text(k), "[REDACTED]" if k.lower() in SECRET_QUERY else redactor.text(v))
            for k, v in parse_qsl(parts.query)
        ],
        safe="[]:",
    )
    return urlunsplit((parts.scheme, host, redactor.text(parts.path), query, ""))


class Scrubber:
    """Redact bodies of one interaction. Remembers what it has seen, as streams repeat the same texts."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._seen: dict[str, str] = {}

    def json_text(self, body: bytes) -> str | None:
        """Return a JSON body redacted and indented, or None where it is not JSON or would not stay equal."""
        try:
            before = value = shared(body)
        except ValueError:
            return None
        if b'"token' in body or b'"word' in body or isinstance(value, list):
            value = loads(body)
            # an array at the top holds the events of a stream
            split.hide(
                value if isinstance(value, list) else [value], self._redactor, stream=isinstance(value, list)
            )
        cleaned = self.value(value)
        text = json_style.indented(cleaned)
        # a key given twice, or a NaN, does not survive: such a body is kept as it came
        return text if cleaned != before or _survives(body, text) else None

    def text(self, s: str) -> str:
        """Return ``s`` redacted."""
        seen = self._seen.get(s)
        if seen is None:
            seen = self._seen[s] = self._redactor.text(s)
        return seen

    def binary(self, body: bytes) -> bytes:
        """Return a body that is no text with the secrets in it masked, its length unchanged."""
        return self._redactor.binary(body)

    def value(self, value: Any, key: str = "") -> Any:
        """Return a JSON value redacted, file paths in the place of model names reduced to their last part."""
        if isinstance(value, str):
            if key in _NAME_KEYS:
                value = base_name(value)
            if value and key.lower() in SECRET_KEYS and not value.startswith("["):
                return self._redactor.placeholder("SECRET", value)
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(k): self.value(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(v, key if key in _NAME_KEYS else "") for v in value]
        return value

    def _stays(self, value: Any) -> bool:
        """Whether `value` would return ``value`` as it is; answers no where it is not sure."""
        if isinstance(value, dict):
            for key, member in value.items():
                if self.text(key) != key:
                    return False
                if key in _NAME_KEYS or key.lower() in SECRET_KEYS:
                    if self.value(member, key) != member:
                        return False
                elif isinstance(member, str):
                    if self.text(member) != member:
                        return False
                elif isinstance(member, dict | list) and not self._stays(member):
                    return False
            return True
        if isinstance(value, list):
            return all(self._stays(member) for member in value)
        return not isinstance(value, str) or self.text(value) == value

    def lines(self, text: str) -> str | None:
        """Return a body of JSON lines redacted over its reassembled texts, or None where it is no such body."""
        lines = text.splitlines(keepends=True)
        if len(lines) < 2:
            return None
        try:
            values = [loads(line) if line.strip() else None for line in lines]
        except ValueError:
            return None
        before = [json.dumps(v) for v in values]
        split.hide(values, self._redactor, stream=True)
        out = []
        for line, value, was in zip(lines, values, before, strict=True):
            new = json.dumps(self.value(value), ensure_ascii=False)
            out.append(line if value is None or json.dumps(self.value(value)) == was else new + _line_end(line))
        return "".join(out)

    def stream(self, body: bytes, sizes: list[int]) -> tuple[bytes, list[int]]:
        """Return a stream's body redacted over its reassembled texts, and the chunk sizes that fit the new body.

        Events that hold nothing to hide keep their bytes. A boundary between chunks keeps its place in its event.
        """
        found = events(body)
        values = [_parsed(event, event.json) for event in found]
        before: list[str] | None = None
        if split.finds(values, self._redactor):
            values = [_parsed(event, event.fresh) for event in found]
            before = [json.dumps(v, sort_keys=True) for v in values]
            split.hide(values, self._redactor, stream=True)
        out: list[bytes] = []
        shifts: list[tuple[int, int, int]] = []  # old start, old end, new length
        last = 0

        def put(start: int, end: int, new: bytes) -> None:
            shifts.append((start, end, len(new)))
            out.append(new)

        for number, (event, value) in enumerate(zip(found, values, strict=True)):
            put(last, event.start, self._bytes(body[last : event.start]))
            stays = before is None and self._stays(value)
            cleaned = value if stays else self.value(value)
            was = None if stays else json.dumps(value, sort_keys=True) if before is None else before[number]
            raw = body[event.start : event.end]
            if stays or json.dumps(cleaned, sort_keys=True) == was:
                # data that is no JSON may still be hidden in the event's other lines
                put(event.start, event.end, self._other_lines(raw))
            else:
                put(event.start, event.end, self._other_lines(_written(raw, cleaned, value)))
            last = event.end
        put(last, len(body), self._bytes(body[last:]))
        return b"".join(out), _moved(sizes, shifts)

    def _bytes(self, raw: bytes) -> bytes:
        text = raw.decode("utf-8", "replace")
        new = self.text(text)
        return raw if new == text else new.encode()

    def _other_lines(self, raw: bytes) -> bytes:
        """Return an event with what stands beside its data redacted: names, ids, comments."""
        if raw.startswith(b"data:") and raw.count(b"\n") <= 2:
            return raw
        return b"".join(
            line if line.startswith(b"data:") else self._bytes(line) for line in raw.splitlines(keepends=True)
        )


class _Raw(dict[str, Any]):
    """An event whose data is not JSON, as a value with one text."""


class _CutOff(dict[str, Any]):
    """An event that broke off, completed: what it says is a piece of the stream's texts as any other is."""

    missing = 0


def _parsed(event: Event, read: Callable[[], Any]) -> Any:
    if not event.is_done:
        with contextlib.suppress(ValueError):
            value = read()
            if isinstance(value, dict | list):
                return value
        completed = nested.repaired(event.data) if event.data[:1] == "{" else None
        if completed is not None and isinstance(completed[0], dict) and not is_deep(completed[0]):
            cut_off = _CutOff(completed[0])
            cut_off.missing = completed[1]
            return cut_off
    return _Raw(data=event.data)


def _written(raw: bytes, value: Any, kind: Any) -> bytes:
    """Return an event's bytes with its data replaced, other lines and line ends kept."""
    if isinstance(kind, _Raw):
        text = str(value["data"])
    else:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if isinstance(kind, _CutOff):
            text = text[: len(text) - kind.missing]
    if not isinstance(kind, _Raw) and raw.startswith(b"{"):
        return text.encode("utf-8", "replace")  # an element of an array
    lines: list[bytes] = []
    written = False
    for line in raw.splitlines(keepends=True):
        if not line.startswith(b"data:"):
            lines.append(line)
        elif not written:
            end = _line_end(line.decode("utf-8", "replace"))
            lines.append("".join(f"data: {part}{end}" for part in text.split("\n")).encode("utf-8", "replace"))
            written = True
    return b"".join(lines)


def _line_end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


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


def _survives(body: bytes, text: str) -> bool:
    # what is written again as it came says all that there was
    if json_style.style_of(body) is not None and b"NaN" not in body and b"Infinity" not in body:
        return True
    return bool(_pairs(text) == _pairs(body))


def _pairs(text: str | bytes) -> Any:
    # as pairs, so that a key given twice is seen
    return json.loads(text, object_pairs_hook=list)
