"""The README's terminal capture is what the demo prints, and the pictures that pages show are there and small."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def screenshots() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("llmwatch_screenshots", ROOT / "docs" / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_capture_in_the_readme_is_what_the_demo_prints(
    screenshots: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screenshots.main(["--check"]) == 0, capsys.readouterr().out


def test_a_capture_keeps_what_matters_and_drops_what_varies(screenshots: ModuleType) -> None:
    folder = Path("/tmp/x/llmwatch-report")
    printed = (
        "..F [100%]\n=== llm quality gate: FAIL ===\nrun 20261121-125314-5a2a91 · 217 calls · $0.0037 · 13.4 s\n\n"
        "  \x1b[31m\x1b[1m✗\x1b[0m quality.x  0.30\n  SEV2  <b> (triaged, inc-20261121-0a1b2c)\n\n"
        "html report: /tmp/x/llmwatch-report/report.html · run:\n"
        "/tmp/x/llmwatch-report/run.json\n"
        "next: pytest a runs it\n=== short test summary info ===\nFAILED x\n"
    )
    text = screenshots.capture(printed, folder)
    assert "  ✗ quality.x  0.30" in text
    assert "(triaged, inc-20261120-000001)" in text
    shown = screenshots.terminal_page(printed)
    assert '<span class="s1 s31">✗</span><span class=""> quality.x' in shown
    assert "&lt;b&gt;" in shown
    assert "short test summary" not in shown
    assert text.endswith("run: llmwatch-report/run.json\nnext: pytest a runs it\n")
    assert not re.search(r"/tmp|13\.4|5a2a91|FAILED|100%", text)
    again = (
        printed.replace("5a2a91", "000000").replace("13.4 s", "1 min 02 s").replace("/tmp/x", "/tmp/longer/one")
    )
    assert screenshots.capture(again, Path("/tmp/longer/one/llmwatch-report")) == text


def test_a_page_without_marks_is_refused(screenshots: ModuleType) -> None:
    with pytest.raises(ValueError, match="generated: terminal"):
        screenshots.with_capture("no marks", "text")


def test_every_picture_that_a_page_shows_is_there_and_small(screenshots: ModuleType) -> None:
    shown = {
        (page.parent / path).resolve()
        for page in PAGES
        for path in re.findall(r"!\[[^\]]+\]\(([^)#]+\.png)\)", page.read_text(encoding="utf-8"))
    }
    kept = {p.resolve() for p in screenshots.IMAGES.glob("*.png")}
    assert shown == kept
    assert shown
    for path in shown:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) <= screenshots.MOST_BYTES
