"""The report as a person uses it: without scripts, by mouse, by keyboard, by link, on a phone, at night."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch.report import html
from pytest_llmwatch.report.html import HtmlOptions

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(factory: ModuleType) -> Any:
    return factory.make_report()


@pytest.fixture(scope="module")
def text(report: Any) -> str:
    return html.render(report)


def count(page: Any) -> str:
    return str(page.inner_text(".tools output"))


def test_without_scripts_the_essentials_are_there(open_page: Callable[..., Any], text: str) -> None:
    page = open_page(text, scripts=False).page
    assert "3 of 11 rules broke" in page.inner_text("h1")
    assert page.is_visible("#rules >> text=quality.groundedness")
    assert page.is_visible("#worst .card[open] .text >> nth=0")
    assert page.is_visible("#cases .matrix")
    assert page.is_visible("#static .plaincalls")
    assert not page.is_visible("#table")


def test_the_table_holds_every_call_and_draws_only_what_is_in_view(
    open_page: Callable[..., Any], text: str, report: Any
) -> None:
    opened = open_page(text)
    page = opened.page
    n = len(report.run.calls)
    assert count(page) == f"{n} calls"
    assert page.get_attribute(".view", "aria-rowcount") == str(n + 1)
    assert page.locator(".pane .row").count() < 80
    page.evaluate("document.querySelector('.view').scrollTop = 1e9")
    page.wait_for_selector(f"#row-{n - 1}")
    assert not page.is_visible("#static")
    assert opened.errors == []


def test_search_narrows_and_the_address_remembers(open_page: Callable[..., Any], text: str, report: Any) -> None:
    page = open_page(text).page
    wanted = sum("refund-07" in (c.nodeid or "") for c in report.run.calls)
    assert 0 < wanted < len(report.run.calls)
    page.fill("input[type=search]", "refund-07")
    assert count(page) == f"{wanted} of {len(report.run.calls)} calls"
    address = page.evaluate("location.hash")
    assert "q=refund-07" in address
    again = open_page(text, fragment=address).page
    assert count(again) == count(page)
    assert again.input_value("input[type=search]") == "refund-07"
    again.click("text=Clear")
    assert count(again) == f"{len(report.run.calls)} calls"


def test_a_facet_filters_and_a_link_in_the_page_sets_it(
    open_page: Callable[..., Any], text: str, report: Any
) -> None:
    page = open_page(text).page
    failed = sum(c.status == "timeout" for c in report.run.calls)
    page.select_option("select[data-facet=status]", "timeout")
    assert count(page).startswith(f"{failed} of")
    page.click("#cost >> text=refunds")
    wanted = sum(c.feature == "refunds" for c in report.run.calls)
    assert count(page).startswith(f"{wanted} of")
    assert page.input_value("select[data-facet=feature]") == "refunds"


def test_one_click_leaves_what_is_not_ok(open_page: Callable[..., Any], text: str, report: Any) -> None:
    page = open_page(text).page
    outcome = {i: r for r in report.run.results for i in r.call_ids}
    bad = sum(c.failed or not outcome[c.id].passed for c in report.run.calls)
    assert 0 < bad < len(report.run.calls)
    assert page.inner_text(".tools .chip >> nth=0") == f"✗ {bad} not ok"
    page.click("text=not ok")
    assert count(page) == f"{bad} of {len(report.run.calls)} calls"
    assert page.locator(".pane .state.holds").count() == 0
    assert "bad=1" in page.evaluate("location.hash")
    again = open_page(text, fragment=page.evaluate("location.hash")).page
    assert count(again) == count(page)
    assert again.get_attribute(".tools .chip >> nth=0", "aria-pressed") == "true"
    again.click("text=not ok")
    assert count(again) == f"{len(report.run.calls)} calls"


def test_sorting_puts_the_slowest_first_and_unknown_last(
    open_page: Callable[..., Any], text: str, report: Any
) -> None:
    page = open_page(text).page
    page.click(".head >> text=Latency")
    slowest = max(report.run.calls, key=lambda c: c.latency or 0)
    assert f"{slowest.latency:.2f} s" in page.inner_text("#row-0")
    assert page.get_attribute("[data-key=latency]", "aria-sort") == "descending"
    page.click(".head >> text=Latency")
    assert page.get_attribute("[data-key=latency]", "aria-sort") == "ascending"
    page.click(".head >> text=Cost")
    page.evaluate("document.querySelector('.view').scrollTop = 1e9")
    n = len(report.run.calls)
    page.wait_for_selector(f"#row-{n - 1}")
    assert "–" in page.inner_text(f"#row-{n - 1} >> nth=0")


def test_a_deep_link_opens_its_call_by_a_whole_or_a_short_id(
    open_page: Callable[..., Any], text: str, report: Any
) -> None:
    call = report.run.calls[57]
    for fragment in (call.id, call.id[:8]):
        page = open_page(text, fragment=f"#c-{fragment}").page
        page.wait_for_selector("#detail h3")
        assert call.id in page.inner_text("#detail")
        assert call.output.split(".")[0] in page.inner_text("#detail .text >> nth=0")
    page.keyboard.press("Escape")
    assert not page.is_visible("#detail")
    nothing = open_page(text, fragment="#c-nosuchcall").page
    assert not nothing.is_visible("#detail")


def test_the_keyboard_alone_is_enough(open_page: Callable[..., Any], text: str) -> None:
    page = open_page(text).page
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.type("shipping")
    page.focus(".view")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.get_attribute(".view", "aria-activedescendant") == "row-3"
    page.keyboard.press("End")
    last = page.get_attribute(".view", "aria-activedescendant")
    assert page.is_visible(f"#{last}")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail h3")
    first = page.inner_text("#detail h2")
    page.keyboard.press("j")
    page.wait_for_function("location.hash.includes('c=')")
    page.keyboard.press("Escape")
    assert not page.is_visible("#detail")
    assert "shipping" in first
    assert page.evaluate("document.activeElement.className").startswith("view")


def test_evidence_is_marked_in_the_panel(open_page: Callable[..., Any], factory: ModuleType) -> None:
    report = factory.make_report(120, hostile=False)
    bad = next(r for r in report.run.results if r.score("groundedness") and not r.passed)
    page = open_page(html.render(report), fragment=f"#c-{bad.call_ids[0]}").page
    page.wait_for_selector("#detail mark.bad")
    wanted = {e.text for s in bad.scores for e in s.evidence if e.where == "output"}
    marked = page.locator("#detail mark.bad").all_inner_texts()
    assert any(w in m for w in wanted for m in marked)
    assert "under 0.600" in page.inner_text("#detail .scores")


def test_a_call_without_a_kept_body_says_so(open_page: Callable[..., Any], report: Any) -> None:
    text = html.render(report, HtmlOptions(bodies="none"))
    page = open_page(text, fragment=f"#c-{report.run.calls[3].id}").page
    page.wait_for_selector("#detail .note")
    assert "calls.jsonl.gz" in page.inner_text("#detail .note")


def test_the_theme_follows_the_system_and_the_button_changes_it(open_page: Callable[..., Any], text: str) -> None:
    def paper(page: Any) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = open_page(text, scheme="light").page
    dark = open_page(text, scheme="dark").page
    assert paper(light) != paper(dark)
    before = paper(dark)
    dark.click("#theme")
    assert paper(dark) == paper(light) != before


def test_no_width_scrolls_sideways(open_page: Callable[..., Any], text: str) -> None:
    opened = open_page(text)
    page = opened.page
    opened.unfold()
    for call in (False, True):
        if call:
            page.evaluate("location.hash = document.querySelector('a[href^=\"#c-\"]').hash")
            page.wait_for_selector("#detail h3")
        for width in (1600, 1024, 768, 375):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_passing_report_opens_too(open_page: Callable[..., Any], factory: ModuleType) -> None:
    opened = open_page(html.render(factory.passing_report()))
    assert "PASS" in opened.page.inner_text(".stamp")
    assert opened.errors == []
