"""What a model wrote never runs, loads, or hides anything, with the policy and without it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch.report import html

pytestmark = pytest.mark.browser


def walk(page: Any, factory: ModuleType) -> None:
    """Open everything that shows a model's words: cards, details, every hostile call, search and filters."""
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.evaluate("document.querySelectorAll('section').forEach((p) => p.style.contentVisibility = 'visible')")
    for call in factory.make_report(60).run.calls[: len(factory.HOSTILE)]:
        page.evaluate("id => { location.hash = '#c-' + id; }", call.id)
        page.wait_for_selector("#detail h3")
    page.keyboard.press("Escape")
    for payload in factory.HOSTILE[:3]:
        page.fill("input[type=search]", payload.encode("ascii", "ignore").decode())
    page.wait_for_timeout(200)


def test_planted_payloads_stay_text(open_page: Callable[..., Any], factory: ModuleType) -> None:
    text = html.render(factory.make_report(60))
    for bypass in (False, True):  # escaping alone must hold; the policy is the second wall
        opened = open_page(text, bypass_csp=bypass)
        walk(opened.page, factory)
        assert opened.page.evaluate("window.pwned") is None
        assert [u for u in opened.requests if not u.startswith("file://")] == []
        assert len(opened.requests) == 1
        assert opened.errors == []
        assert opened.dialogs == []
        assert opened.page.evaluate("document.querySelectorAll('img, iframe, base, link, object').length") == 0
        assert opened.page.evaluate("document.querySelectorAll('style').length") == 1
        assert opened.page.is_visible("h1")


def test_the_detector_sees_payloads_that_are_not_escaped(
    open_page: Callable[..., Any], factory: ModuleType
) -> None:
    payloads = "\n".join(p for p in factory.HOSTILE if "\ud800" not in p and "refresh" not in p)
    opened = open_page(f"<!doctype html><title>x</title><body>{payloads}", ready=False)
    opened.page.wait_for_timeout(300)
    assert opened.page.evaluate("window.pwned") is not None
    assert [u for u in opened.requests if "evil.invalid" in u]


def test_the_policy_stops_a_payload_that_got_through(open_page: Callable[..., Any], factory: ModuleType) -> None:
    text = html.render(factory.make_report(20, hostile=False))
    evil = "<script>window.pwned = 9</script><img src='https://evil.invalid/x'>"
    opened = open_page(text.replace("</main>", evil + "</main>"))
    assert opened.page.evaluate("window.pwned") is None
    assert opened.errors  # the browser names what it refused
    assert "data-ready" in opened.page.evaluate("document.documentElement.outerHTML.slice(0, 200)")


def test_bidirectional_text_cannot_reorder_the_page(open_page: Callable[..., Any], factory: ModuleType) -> None:
    report = factory.make_report(60)
    call = next(c for c in report.run.calls if "\u202e" in (c.output or ""))
    opened = open_page(html.render(report), fragment=f"#c-{call.id}")
    opened.page.wait_for_selector("#detail h3")
    shown = opened.page.inner_text("#detail .text")
    assert "\u202e" not in shown
    assert "U+202E" in shown
    assert "U+D800" in shown
