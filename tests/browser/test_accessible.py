"""axe-core finds nothing serious in any view; a page with planted faults shows that it would."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch.report import html

pytestmark = pytest.mark.browser

GRAVE = ("serious", "critical")


@pytest.fixture
def grave(require: Callable[..., None]) -> Callable[..., list[str]]:
    """Return ``check(page, part)``: the serious and critical findings, with the elements."""
    require(importlib.util.find_spec("axe_playwright_python"), "axe-core", "pip install axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    def check(page: Any, part: str | None = None) -> list[str]:
        found = Axe().run(page, context=part).response["violations"]
        return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in GRAVE]

    return check


@pytest.fixture
def small(factory: ModuleType, story: ModuleType) -> Any:
    """A report of 60 calls with all parts."""
    return story.story(factory, 60)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 375)])
def test_no_view_has_a_serious_finding(
    open_page: Callable[..., Any], small: Any, grave: Any, scheme: str, width: int
) -> None:
    report = small
    opened = open_page(html.render(report), scheme=scheme, width=width, bypass_csp=True)
    page = opened.page
    opened.unfold()
    assert grave(page) == []
    page.evaluate("id => { location.hash = '#c-' + id; }", report.run.calls[1].id)
    page.wait_for_selector("#detail .waterfall")
    assert grave(page, "#detail") == [], "the rest of the page is what it was"


def test_faults_would_be_found(open_page: Callable[..., Any], grave: Any) -> None:
    faulty = (
        "<!doctype html><html><title>x</title><body><img src=data:,><p style='color:#ccc;background:#fff'>pale</p>"
    )
    opened = open_page(faulty, ready=False)
    assert {f.partition(":")[0] for f in grave(opened.page)} >= {"image-alt", "color-contrast", "html-has-lang"}
