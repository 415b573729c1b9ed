"""A user's function by its dotted path: ``package.module:function``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.imports import import_named
from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers.base import Base, as_score
from pytest_llmwatch.scorers.options import check_names, function_options, option


def resolve(path: str) -> Callable[..., Any]:
    """Import ``package.module:function`` (also ``:Class.method``).

    Raises:
        ValueError: It is no such path, there is no such module, or no such function in it.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"a function's path must be module:function (got {path!r})")
    try:
        found: Any = import_named(module)
    except ImportError as error:
        raise ValueError(f"cannot import {module!r} of {path!r} ({error})") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{module!r} has no {name!r} (got {path!r})")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{path!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Function(Base):
    """What a Python function returns: ``(output, case, **options) -> float | bool | None | Score``.

    ``call`` is its path, ``package.module:function``; ``options`` are passed by name. Where the same function is
    wanted more often, `register` gives it a name of its own.

    Raises:
        ValueError: The function cannot be imported, or does not take the options.
    """

    name = "function"

    call: str | None = option("text")
    options: Mapping[str, Any] = field(default_factory=dict, metadata={"kind": "any"})

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping):
            raise ValueError(f"options must be a mapping (got {self.options!r})")
        if self.call is not None:
            known = function_options(resolve(self.call))
            if known is not None:
                check_names(self.call, self.options, known)

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a function was given."""
        return self.call is not None

    def score(self, output: Output, case: Case) -> Score:
        """Call the function; see `as_score` for what it may return."""
        if self.call is None:
            return self.not_assessable("No function was given.")
        return as_score(resolve(self.call)(output, case, **self.options), self.name, self.version)
