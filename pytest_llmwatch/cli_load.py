"""What commands read: a RUN or a RECORDS file by the name that the user gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.model import Run
    from pytest_llmwatch.pipeline import Setup

STORE = ".llmwatch"


def load(ref: str, renames: Sequence[str], setup: Setup | None = None) -> tuple[Run, tuple[str, ...]]:
    """Return the run that ``ref`` names (a RUN or a RECORDS file), and notes for the user.

    Raises:
        LlmwatchError: It cannot be read.
    """
    from pytest_llmwatch import pipeline

    return pipeline.load_any(ref, Path(STORE), rename=rename_map(renames), setup=setup)


def rename_map(pairs: Sequence[str]) -> dict[str, str]:
    """Return the ``--map`` options as a mapping.

    Raises:
        UsageError: One does not read OLD=NEW.
    """
    mapping = {}
    for pair in pairs:
        old, sep, new = pair.partition("=")
        if not sep or not old or not new:
            raise UsageError(f"--map must read OLD=NEW (got {pair!r})", slug="map-option")
        mapping[old] = new
    return mapping
