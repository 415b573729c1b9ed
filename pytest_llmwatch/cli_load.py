"""What commands read: a RUN or a RECORDS file by the name that the user gave."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_llmwatch.errors import UsageError

if TYPE_CHECKING:
    from pytest_llmwatch.model import Run
    from pytest_llmwatch.pipeline import Setup


def add_store(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add the option that names the store."""
    parser.add_argument(
        "--store", metavar="URL", help=f"folder or database of runs (default: $LLMWATCH_STORE, .llmwatch){more}"
    )


def store_of(args: argparse.Namespace, setup: Setup | None = None) -> str:
    """Return the store that a command looks into: the option, the environment, the budget's, ``.llmwatch``."""
    from pytest_llmwatch import pipeline_store

    budget = setup.budget.store.url if setup is not None else None
    return pipeline_store.chosen(args.store, budget) or pipeline_store.DEFAULT


def load(
    ref: str, renames: Sequence[str], setup: Setup | None = None, *, store: str | None = None
) -> tuple[Run, tuple[str, ...]]:
    """Return the run that ``ref`` names (a RUN or a RECORDS file), and notes for the user.

    Raises:
        LlmwatchError: It cannot be read.
    """
    from pytest_llmwatch import pipeline, pipeline_store

    place = store or pipeline_store.default_store()
    return pipeline.load_any(ref, place, rename=rename_map(renames), setup=setup)


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
