"""How a server wrote its JSON: kept by name, so that an indented recording is replayed byte by byte as it came."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from json.encoder import encode_basestring as _quoted
from typing import Any

from pytest_llmwatch.capture.values import shared

_STYLES: dict[str, dict[str, Any]] = {
    "compact": {"separators": (",", ":"), "ensure_ascii": False},
    "spaced": {"ensure_ascii": False},
    "compact-ascii": {"separators": (",", ":")},
    "spaced-ascii": {},
    "indented-ascii": {"indent": 2},
}
"""Arguments of ``json.dumps``. Vendors write one of the first two; the others are common among frameworks."""


@functools.lru_cache(maxsize=4)  # asked when a body is redacted, and when it is kept
def style_of(body: bytes) -> str | None:
    """Return the name of the style that ``body`` is written in, or None where it is not JSON or in another one."""
    try:
        value = shared(body)
        return next((name for name in _STYLES if _written(value, name) == body), None)
    except (ValueError, RecursionError):
        return None


def written(body: bytes, style: object) -> bytes:
    """Return a JSON body in a style; as it is where the style is unknown, or the body was edited to be no JSON."""
    if not isinstance(style, str) or style not in _STYLES:
        return body
    try:
        return _written(json.loads(body), style)
    except (ValueError, RecursionError):
        return body


def indented(value: Any) -> str:
    """Return ``json.dumps(value, ensure_ascii=False, indent=2)``, which Python writes without its C encoder."""
    return "".join(_lines(value, "\n"))


def _lines(value: Any, newline: str) -> Iterator[str]:
    if isinstance(value, str):
        yield _quoted(value)
    elif isinstance(value, dict) and value:
        inner = newline + "  "
        opening = "{" + inner
        for key, member in value.items():
            yield opening + _quoted(key) + ": "
            yield from _lines(member, inner)
            opening = "," + inner
        yield newline + "}"
    elif isinstance(value, list) and value:
        inner = newline + "  "
        opening = "[" + inner
        for member in value:
            yield opening
            yield from _lines(member, inner)
            opening = "," + inner
        yield newline + "]"
    else:
        yield json.dumps(value)


def _written(value: Any, style: str) -> bytes:
    return json.dumps(value, **_STYLES[style]).encode("utf-8", "surrogatepass")
