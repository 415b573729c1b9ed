"""Labels of calls and spans: which are fields of a call, and how a user's id is kept."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

LABELS = (
    "feature", "team", "user", "tenant", "environment", "session", "stage", "prompt_name", "prompt_version",
)  # fmt: skip
"""Labels that are fields of a call; any other becomes a tag ``key=value``."""

HashKey = bytes | Callable[[], bytes | None] | None
"""Key of the hash of user ids, or how to get it when the first user is met; None = users are dropped."""


def hashed_user(user: str, key: HashKey) -> str | None:
    """Return the keyed hash that stands for a user, None without a key: an id is never kept raw."""
    found = key() if callable(key) else key
    return hmac.new(found, user.encode(), "sha256").hexdigest()[:16] if found else None


def call_labels(labels: Mapping[str, Any], key: HashKey) -> dict[str, Any]:
    """Return the fields of a call that ``labels`` fill, ``tags`` among them."""
    out: dict[str, Any] = {k: str(v) for k, v in labels.items() if k in LABELS and v is not None}
    user = out.pop("user", None)
    if user is not None and (kept := hashed_user(user, key)) is not None:
        out["user"] = kept
    out["tags"] = tuple(sorted(f"{k}={v}" for k, v in labels.items() if k not in LABELS and v is not None))
    return out


def span_labels(labels: Mapping[str, Any], key: HashKey, text: Callable[[str], str]) -> dict[str, str]:
    """Return ``labels`` as a span keeps them; ``text`` redacts."""
    out = {str(k): text(str(v)) for k, v in labels.items() if v is not None and k != "user"}
    user = labels.get("user")
    if user is not None and (kept := hashed_user(str(user), key)) is not None:
        out["user"] = kept
    return out
