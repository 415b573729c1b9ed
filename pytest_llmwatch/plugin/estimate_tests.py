"""What an application's own tests will take live: known where they are recorded or ran before, else unknown."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmwatch.errors import LlmwatchError
from pytest_llmwatch.plugin.rounds import case_of

if TYPE_CHECKING:
    import pytest

    from pytest_llmwatch.model import Call, Usage
    from pytest_llmwatch.plugin.session import LlmSession

_MOST = 200
"""Cassettes that are read; of more, every k-th, and the figures are scaled."""
_ASKING = frozenset({"llm_call", "llm_client", "async_llm_client", "llm_watch"})

Row = tuple[str | None, "Usage", float | None]
"""Model (None unknown), tokens and seconds of a call that was made before."""


@dataclass(slots=True)
class Live:
    """Tests that will ask a model: what is known of their calls, and how many tests nothing is known of."""

    rows: list[Row] = field(default_factory=list)
    scale: float = 1.0
    """Calls that each row stands for."""
    bases: set[str] = field(default_factory=set)
    unknown: int = 0

    @property
    def calls(self) -> int:
        """Calls that are expected."""
        return round(len(self.rows) * self.scale)

    @property
    def model(self) -> str | None:
        """The model of most of them, None where none is known."""
        most = Counter(model for model, _usage, _seconds in self.rows if model is not None).most_common(1)
        return most[0][0] if most else None


def live(session: LlmSession, items: Iterable[pytest.Item], last: Sequence[Call] | None = None) -> Live:
    """Return what the tests among ``items`` that are no golden cases will ask.

    Where a record mode was asked for, every test counts; else those that take one of our fixtures or have the
    marker ``llm``, so that an ordinary suite is not told about its ordinary tests at every run.

    Args:
        session: The session.
        items: The tests of the run.
        last: Calls of the last run; None = they are looked up where needed.
    """
    mode = session.settings.record
    recorded: list[Path] = []
    new: list[pytest.Item] = []
    for item in items:
        if case_of(item) is not None or not (session.settings.record_asked or _asks(item)):
            continue
        path = _recording(session, item)
        if path is None:
            new.append(item)
        elif mode in ("all", "off"):
            recorded.append(path)
    out = Live()
    _from_cassettes(session, recorded, out)
    if not new:
        return out
    before: dict[str, list[Call]] = {}
    for call in _last(session) if last is None else last:
        if not call.judging and call.attempt == 0 and call.nodeid is not None:
            before.setdefault(call.nodeid, []).append(call)
    for item in new:
        known = [c for c in before.get(session.shown(item), []) if c.usage.input_tokens is not None]
        if known:
            out.rows += [(c.model, c.usage, c.latency) for c in known]
            out.bases.add("run")
        else:
            out.unknown += 1
    return out


def _from_cassettes(session: LlmSession, files: Sequence[Path], out: Live) -> None:
    from pytest_llmwatch.capture.recorded import recorded_calls

    chosen = files[:: max(1, -(-len(files) // _MOST))]
    for path in chosen:
        with contextlib.suppress(LlmwatchError):
            found = [c for c in recorded_calls(path, session.setup.redactor) if c.place[1] == 0]
            out.rows += [(c.model, c.usage, c.seconds) for c in found if c.usage.input_tokens is not None]
    if out.rows:
        out.scale = len(files) / len(chosen)
        out.bases.add("recordings")


def _recording(session: LlmSession, item: pytest.Item) -> Path | None:
    from pytest_llmwatch.plugin.hooks import cassette_of, of_other_plugins

    places = [cassette_of(item, session.shown(item)), *of_other_plugins(item)]
    return next((path for path in places if path.is_file()), None)


def _asks(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return not _ASKING.isdisjoint(names) or item.get_closest_marker("llm") is not None


def _last(session: LlmSession) -> Sequence[Call]:
    from pytest_llmwatch.plugin.estimate import last_calls

    return last_calls(session)
