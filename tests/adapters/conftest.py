"""Metrics of other tools as scorers, run by the tools themselves.

``.ci/adapters`` makes the environment that holds the tools and runs these tests in it; elsewhere only those that
need none of them are collected.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import pytest

collect_ignore_glob = [] if os.environ.get("LLMWATCH_ADAPTERS") else ["test_real_*"]


@pytest.fixture
def present(require: Any) -> Callable[..., None]:
    """Ask for tools, by name: the test is skipped, or fails where they are demanded."""

    def ask(*modules: str) -> None:
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        require(not missing, "adapters", f"not installed: {', '.join(missing)}; run .ci/adapters")

    return ask
