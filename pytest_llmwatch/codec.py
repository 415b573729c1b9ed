"""Records to JSON values and back, for the wire (xdist), for files, and for older versions of either.

Encoding leaves out what is None or empty; decoding ignores unknown keys and fills in defaults, so a reader
meets files of an older or newer minor version without a crash. Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return ``value`` (a record, or containers of records) as JSON-ready values.

    Fields that are None, empty, or equal to their default are left out of records; a required field stays.
    """
    if type(value) in _PLAIN:
        return value
    kind: Any = type(value)
    plan = _plan(kind)
    if plan is not None:
        out: dict[str, Any] = {}
        for name, required, default in plan:
            item = getattr(value, name)
            if item is None:
                if required:
                    # decoding needs it: a Score without a value says so
                    out[name] = None
                continue
            if type(item) in _PLAIN:
                if item != default:
                    out[name] = item
                continue
            if item in ((), {}) or item == default:
                continue
            encoded = encode(item)
            if encoded == {} and dataclasses.is_dataclass(item):
                continue
            out[name] = encoded
        return out
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [encode(v) for v in value]
    return value


_PLAIN = frozenset({str, int, float, bool, type(None)})
_NO_DEFAULT = object()


@functools.cache  # each finished call is encoded at once: what its class is like is known by then
def _plan(cls: Hashable) -> tuple[tuple[str, bool, object], ...] | None:
    """Return (name, is required, default that is left out) of each field of a record; None for others."""
    if not dataclasses.is_dataclass(cls):
        return None
    plan = []
    for f in dataclasses.fields(cls):
        default: object = _NO_DEFAULT if f.name == "schema_version" else f.default
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        plan.append((f.name, required, default))
    return tuple(plan)


def decode(cls: type[T], data: Mapping[str, Any]) -> T:
    """Build the record ``cls`` from ``data``; unknown keys are ignored, missing ones take their defaults.

    Raises:
        TypeError: A field without a default is missing.
    """
    hints = _hints(cast("Hashable", cls))
    kwargs = {
        f.name: _coerce(hints[f.name], data[f.name])
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.name in data
    }
    return cls(**kwargs)


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _coerce(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    args = typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = next((a for a in args if a is not type(None)), Any)
        return _coerce(inner, value)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_coerce(args[0], v) for v in value)
        return tuple(_coerce(a, v) for a, v in zip(args, value, strict=False))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping) and len(args) == 2:
        return {k: _coerce(args[1], v) for k, v in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return decode(hint, value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
