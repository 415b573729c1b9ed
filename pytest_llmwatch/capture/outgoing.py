"""What is filled into requests to OpenAI on their way out, so that the provider's own pages can be filtered by it.

The recording and its fingerprint are of the request as the application made it: a replay matches with the option
on or off, and in any run.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from pytest_llmwatch.capture.exchange import Sent

KINDS = ("metadata", "safety_identifier", "user")
"""Parameters that can be filled; ``user`` is what older servers know for ``safety_identifier``."""

_MOST_KEYS, _MOST_KEY, _MOST_VALUE = 16, 64, 512  # OpenAI's own limits of metadata


def fill(
    sent: Sent,
    kinds: Collection[str],
    *,
    facts: Mapping[str, str | None],
    user: str | None,
) -> bytes | None:
    """Return the body with the parameters filled, None where nothing is to be filled.

    What the application set itself stays. Chat Completions takes ``metadata`` of stored completions alone, so it
    is filled there where the request says ``store``.

    Args:
        sent: The request.
        kinds: Which parameters, out of ``KINDS``.
        facts: Test, feature, run and so on, for ``metadata``; None = not known.
        user: Keyed hash of the user's id, None where there is no user.
    """
    path = urlsplit(sent.url).path.rstrip("/")
    chat = path.endswith("/chat/completions")
    if sent.method != "POST" or not (chat or path.endswith("/responses")) or "content-encoding" in sent.headers:
        return None
    try:
        body: Any = json.loads(sent.body)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    before = json.dumps(body)
    if "metadata" in kinds and (not chat or body.get("store")):
        _metadata(body, facts)
    for kind in ("safety_identifier", "user"):
        if kind in kinds and user is not None:
            body.setdefault(kind, user)
    return json.dumps(body).encode() if json.dumps(body) != before else None


def _metadata(body: dict[str, Any], facts: Mapping[str, str | None]) -> None:
    own = body.get("metadata") or {}
    if not isinstance(own, dict):
        return
    merged = dict(own)
    for key, value in facts.items():
        name = f"llmwatch_{key}"[:_MOST_KEY]
        if value and name not in merged and len(merged) < _MOST_KEYS:
            merged[name] = value[:_MOST_VALUE]
    if merged:
        body["metadata"] = merged
