"""Values out of bodies that nobody vouches for: every reader takes the type it wants, or nothing."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

_LONE = re.compile("[\ud800-\udfff]")


DEEPEST = 200
"""Levels of nesting that are read. Python itself stops below 1,000, less what stands on the stack already."""
_UTF_8 = (b"{", b"[")
_TOO_DEEP = f"nested deeper than {DEEPEST} levels"


def loads(text: str | bytes) -> Any:
    """Return JSON parsed.

    Raises:
        ValueError: It is not JSON, or nested deeper than `DEEPEST`: what walks through it would not come back.
    """
    try:
        # what json does with bytes is to look for other encodings first
        value = json.loads(text.decode("utf-8") if isinstance(text, bytes) and text[:1] in _UTF_8 else text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    opens = text.count(b"{") + text.count(b"[") if isinstance(text, bytes) else text.count("{") + text.count("[")
    if opens > DEEPEST and is_deep(value):
        raise ValueError(_TOO_DEEP)
    return value


@functools.lru_cache(maxsize=8)  # what a call says, what it is matched by, what is kept: all read the same bodies
def shared(text: str | bytes) -> Any:
    """Return JSON parsed, for readers only: others hold the same value.

    Raises:
        ValueError: As `loads`.
    """
    return loads(text)


def is_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than `DEEPEST` levels."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def as_dict(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return ``value`` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def dicts(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a JSON array; empty where it is none."""
    return [v for v in as_list(value) if isinstance(v, dict)]


def as_text(value: Any) -> str | None:
    """Return ``value`` if it is a text, with half surrogates (which no file can hold) replaced; else None."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else _LONE.sub("\ufffd", value)


def as_count(value: Any) -> int | None:
    """Return ``value`` if it is a whole number of zero or more, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def total(*counts: int | None) -> int | None:
    """Return the sum of what is known, None where nothing is."""
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


def as_json(value: Any) -> str:
    """Return ``value`` as it is if it is a text, else as JSON: arguments come in either form."""
    if isinstance(value, str):
        return as_text(value) or ""
    try:
        return as_text(json.dumps(value, ensure_ascii=False)) or ""
    except (ValueError, RecursionError):
        return ""
