"""The synthetic reports, and golden files that LLMWATCH_UPDATE_GOLDEN=1 writes again."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent


def load_factory() -> ModuleType:
    """Import factory.py by path: tests are no package."""
    name = "llmwatch_report_factory"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "factory.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """The module that makes reports."""
    return load_factory()


@pytest.fixture
def assert_golden() -> Callable[[str, str], None]:
    """Return ``check(name, text)``: the text equals golden/<name>, or becomes it."""

    def check(name: str, text: str) -> None:
        path = HERE / "golden" / name
        if os.environ.get("LLMWATCH_UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        wanted = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == wanted, f"golden/{name} differs; LLMWATCH_UPDATE_GOLDEN=1 writes it again"

    return check
