"""A real Chromium, offline, and reports opened in it from disk."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _load(project_root: Path, module: str) -> ModuleType:
    name = f"llmwatch_browser_{module}"
    spec = importlib.util.spec_from_file_location(name, project_root / "tests" / "report" / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="session")
def factory(project_root: Path) -> ModuleType:
    """The module that makes reports."""
    return _load(project_root, "factory")


@pytest.fixture(scope="session")
def story(project_root: Path) -> ModuleType:
    """The module that makes a report with a past: all parts of the page."""
    return _load(project_root, "story")


# not for the session: while Playwright is open, its event loop runs in this thread, and other tests need their own
@pytest.fixture(scope="module")
def browser(chromium: str, require: Callable[..., None]) -> Iterator[Any]:
    """Chromium, started once for each module."""
    require(importlib.util.find_spec("playwright"), "playwright", "pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@dataclass
class Opened:
    """A page, and what it did that it should not: requests, errors, dialogs."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def unfold(self) -> None:
        """Open all that is folded, and lay out what a browser leaves out while it is out of sight."""
        self.page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true; });"
            "document.querySelectorAll('main > section').forEach((p) => p.style.contentVisibility = 'visible')"
        )


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Return ``open(html, width=, scheme=, fragment=, scripts=, bypass_csp=)``."""
    contexts = []

    def open_it(
        html: str,
        *,
        width: int = 1280,
        scheme: str = "light",
        fragment: str = "",
        scripts: bool = True,
        bypass_csp: bool = False,
        ready: bool = True,
    ) -> Opened:
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=scripts,
            bypass_csp=bypass_csp,
        )
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("request", lambda r: opened.requests.append(r.url))
        opened.page.on("pageerror", lambda e: opened.errors.append(str(e)))
        opened.page.on("console", lambda m: opened.errors.append(m.text) if m.type == "error" else None)
        opened.page.on("dialog", lambda d: (opened.dialogs.append(d.message), d.dismiss()))
        opened.page.goto(path.as_uri() + fragment)
        if scripts and ready:
            opened.page.wait_for_selector("html[data-ready]", timeout=30_000)
        return opened

    yield open_it
    for context in contexts:
        context.close()
