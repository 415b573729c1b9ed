"""What asks for a scorer: a name, a mapping as in a golden set, or a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.golden_schema import SCORER_KEYS
from pytest_llmwatch.model import ScorerSpec


def as_spec(given: Any) -> ScorerSpec:
    """Read ``name``, ``{name: {options}}``, ``{"name": name, option: value}`` or a ScorerSpec.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(given, ScorerSpec):
        return given
    if isinstance(given, str):
        return ScorerSpec(given)
    if isinstance(given, Mapping):
        entry = dict(given)
        if not isinstance(entry.get("name"), str):
            other = [key for key in entry if key not in SCORER_KEYS]
            if len(other) == 1 and isinstance(entry[other[0]], Mapping | None):
                inner = entry.pop(other[0]) or {}
                entry = {**entry, **inner, "name": other[0]}
        if isinstance(entry.get("name"), str):
            ours = {key: entry.pop(key) for key in SCORER_KEYS if key in entry}
            _check(ours)
            name = str(entry.pop("name"))
            return ScorerSpec(name, entry, **ours)
    raise _wrong(f"a scorer must be a name or {{name: {{options}}}} (got {given!r:.100})")


def _wrong(message: str) -> UsageError:
    return UsageError(message, slug="scorer-option")


def _check(ours: Mapping[str, Any]) -> None:
    for key in ("threshold", "weight"):
        value = ours.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _wrong(f"{key} must be a number (got {value!r})")
    for key in ("required", "negate"):
        if not isinstance(ours.get(key, False), bool):
            raise _wrong(f"{key} must be true or false (got {ours[key]!r})")
    if not isinstance(ours.get("label", ""), str):
        raise _wrong(f"label must be a text (got {ours['label']!r})")
