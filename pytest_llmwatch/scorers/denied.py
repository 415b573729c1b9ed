"""Names in data (JSON, YAML, lines of "name: value") whose value says no."""

from __future__ import annotations

import re

# every repetition has a limit, so that no text takes more than linear time
_DENIED = re.compile(
    r"""(?:^|[{,\[\n;])[ \t]{0,40}(?:[-*][ ])?["']?([A-Za-z][\w -]{0,40})["']?[ \t]{0,4}:[ \t]{0,8}"""
    r"""["']{0,2}u?["']?(?:false|no|none|null|n/a)["']{0,2}(?=[ \t]{0,8}(?:[,;}\]\r\n]|$))""",
    re.IGNORECASE,
)


def denied_spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each name whose value is false, no, none, null or n/a."""
    if ":" not in text:
        return []
    return [found.span(1) for found in _DENIED.finditer(text)]
