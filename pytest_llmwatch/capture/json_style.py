"""How a server wrote its JSON: kept by name, so that an indented recording is replayed byte by byte as it came."""

from __future__ import annotations

import json
from typing import Any

_STYLES: dict[str, dict[str, Any]] = {
    "compact": {"separators": (",", ":"), "ensure_ascii": False},
    "spaced": {"ensure_ascii": False},
    "compact-ascii": {"separators": (",", ":")},
    "spaced-ascii": {},
    "indented-ascii": {"indent": 2},
}
"""Arguments of ``json.dumps``. Vendors write one of the first two; the others are common among frameworks."""


def style_of(body: bytes) -> str | None:
    """Return the name of the style that ``body`` is written in, or None where it is not JSON or in another one."""
    try:
        value = json.loads(body)
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


def _written(value: Any, style: str) -> bytes:
    return json.dumps(value, **_STYLES[style]).encode("utf-8", "surrogatepass")
