"""The reference says what the code says: its tables are made from the code and kept in step."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def generate(project_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", project_root / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_in_step_with_the_code(generate: ModuleType) -> None:
    texts = {path.name: path.read_text("utf-8") for path, _ in generate.pages()}
    assert [name for name, text in texts.items() if generate.fill(text) != text] == [], "run: make docs"


def test_every_generated_part_stands_somewhere(generate: ModuleType) -> None:
    text = "".join(path.read_text("utf-8") for path, _ in generate.pages())
    assert [name for name in generate.PARTS if f"<!-- generated: {name} -->" not in text] == []


def test_a_stale_part_is_seen(generate: ModuleType) -> None:
    page = "a\n<!-- generated: ini -->\nold\n<!-- end -->\nb\n"
    assert generate.fill(page) != page
    assert "llm_budget" in generate.fill(page)
    assert generate.fill(generate.fill(page)) == generate.fill(page)


def test_messages_are_sorted_and_single(generate: ModuleType) -> None:
    page = "# M\n\n## b\n\ntwo\n\n## a\n\none\n\n## b\n\ntwo again\n"
    assert generate.sort_messages(page) == "# M\n\n## a\n\none\n\n## b\n\ntwo again\n"
