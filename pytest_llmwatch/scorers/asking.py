"""How a scorer reaches a model without knowing of clients: whoever runs it lends it somebody to ask."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

VERSION = re.compile(r"judge-[0-9a-f]{12}")
"""What the version of a judge looks like; a score that is made of a judge's score names it in its own version."""


def judges_in(versions: Iterable[str]) -> list[str]:
    """Return the judges that versions of scores name, sorted."""
    return sorted({found for version in versions for found in VERSION.findall(version)})


def made_of(own: str, versions: Iterable[str]) -> str:
    """Return the version of a score that is made of others: its own, and the judges among them."""
    return "+".join([own, *judges_in(versions)])


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a judge.

    ``schema`` is the JSON Schema of the only valid answer. ``judge`` and ``version`` name who asks, for the record
    of the call; ``parameters`` are the request's, as the SDK takes them.
    """

    messages: tuple[Mapping[str, str], ...]
    schema: Mapping[str, Any]
    judge: str
    version: str
    model: str | None
    parameters: Mapping[str, Any]


class Asker(Protocol):
    """Somebody who puts questions to a model."""

    @property
    def model(self) -> str | None:
        """The model that is asked where a scorer names none."""
        ...

    @property
    def share(self) -> float:
        """Share of the cases that are judged where a scorer names none, in [0, 1]."""
        ...

    def ask(self, question: Question) -> str:
        """Return the text of the answer.

        Raises:
            Exception: There was none; the score becomes an ``error``.
        """
        ...


_ASKER: ContextVar[Asker | None] = ContextVar("llmwatch_asker", default=None)


def asker() -> Asker | None:
    """Return who can be asked here, None where nobody can."""
    return _ASKER.get()


@contextlib.contextmanager
def asking(who: Asker | None) -> Iterator[None]:
    """Let the scorers inside ask ``who``."""
    token = _ASKER.set(who)
    try:
        yield
    finally:
        _ASKER.reset(token)
