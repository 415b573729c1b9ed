"""Every kind of store, empty."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(params=["folder", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, require: Callable[..., None]) -> str:
    """The name of an empty store of each kind."""
    if request.param == "folder":
        return str(tmp_path / "runs-here")
    require(importlib.util.find_spec("sqlalchemy"), "sqlalchemy", "pip install 'pytest-llmwatch[sql]'")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/runs.db"
    return str(request.getfixturevalue("postgres"))
