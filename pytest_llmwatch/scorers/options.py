"""Options of a scorer: declared beside the dataclass field that takes them, checked before anything runs."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_llmwatch.errors import UsageError


def option(kind: str | tuple[str, ...], default: Any = None) -> Any:
    """Declare a dataclass field as an option.

    Args:
        kind: ``text``, ``texts`` (one or a list), ``facts`` (texts, or lists of alternatives), ``count``
            (integer >= 0), ``number``, ``share`` (0 to 1), ``flag``, ``weights`` (name -> number >= 0), ``any``,
            or a tuple of allowed words.
        default: Value where the option is not given; an option may always be None.
    """
    return dataclasses.field(default=default, metadata={"kind": kind})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124


def _is_texts(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list | tuple) and all(map(_is_text, value)))


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a text", _is_text),
    "texts": ("a text or a list of texts", _is_texts),
    "facts": (
        "a text or a list of texts (a list in the list holds alternatives)",
        lambda v: _is_text(v) or (isinstance(v, list | tuple) and all(map(_is_texts, v))),
    ),
    "count": (
        "a whole number >= 0",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
    ),
    "number": ("a number", _is_number),
    "seconds": ("a number > 0", lambda v: _is_number(v) and v > 0),
    "share": ("a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1),
    "flag": ("true or false", lambda v: isinstance(v, bool)),
    "weights": (
        "a mapping of names to numbers >= 0",
        lambda v: isinstance(v, Mapping) and all(_is_text(k) and _is_number(w) and w >= 0 for k, w in v.items()),
    ),
    "any": ("any value", lambda _v: True),
}


def build(cls: type[Any], name: str, options: Mapping[str, Any]) -> Any:
    """Return ``cls(**options)``, each option checked.

    Raises:
        UsageError: An unknown option, a value of the wrong kind, or values that do not go together.
    """
    declared = {f.name: f.metadata["kind"] for f in dataclasses.fields(cls) if "kind" in f.metadata}
    check_names(name, options, declared)
    for key, value in options.items():
        kind = declared[key]
        if value is None:
            continue
        what, fits = _allowed(kind) if isinstance(kind, tuple) else KINDS[kind]
        if not fits(value):
            raise wrong(name, f"{key} must be {what} (got {value!r})")
    try:
        # an option given as null is an option not given
        return cls(**{key: value for key, value in options.items() if value is not None})
    except ValueError as error:
        raise wrong(name, str(error)) from error


def _allowed(words: tuple[str, ...]) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(words), lambda v: isinstance(v, str) and v in words


def check_names(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that the scorer does not have.

    Raises:
        UsageError: The first unknown one, with the nearest known.
    """
    known = sorted(known)
    for key in given:
        if key not in known:
            has = f"it takes {', '.join(known)}" if known else "it takes no options"
            raise wrong(name, f"unknown option {key!r}{nearest(key, known)}; {has}")


def function_options(function: Callable[..., Any]) -> frozenset[str] | None:
    """Return the options that a scorer function takes beyond (output, case); None where it takes any."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return frozenset()  # a builtin without a signature
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    return frozenset(p.name for p in [*positional[2:], *keyword])


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, empty where none is near."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def wrong(name: str, message: str) -> UsageError:
    """Return the error for a wrong option of scorer ``name``."""
    return UsageError(f"scorer {name}: {message}", slug="scorer-option")
