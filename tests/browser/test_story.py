"""From a broken rule to its calls and to the trace of one; the past beside the present; print and no scripts."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch.report import html

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(factory: ModuleType, story: ModuleType) -> Any:
    return story.story(factory, 240)


@pytest.fixture(scope="module")
def text(report: Any) -> str:
    return html.render(report)


def test_two_clicks_lead_from_a_broken_rule_to_the_trace_of_a_call(
    open_page: Callable[..., Any], text: str, report: Any
) -> None:
    opened = open_page(text)
    page = opened.page
    slow = sum((c.latency or 0) > 1.8 for c in report.run.calls)
    page.click("#rule-latency-p95 .go")
    page.wait_for_function("document.querySelector('.tools output').textContent.includes(' of ')")
    assert page.inner_text(".tools output") == f"{slow} of {len(report.run.calls)} calls"
    assert page.inner_text(".behind code") == "latency.p95"
    traced = next(
        at
        for at, c in enumerate(sorted((c for c in report.run.calls if (c.latency or 0) > 1.8),
                                      key=lambda c: -(c.latency or 0)))
        if c.trace_id
    )  # fmt: skip
    page.evaluate("at => { document.querySelector('.view').scrollTop = at * 34; }", traced)
    page.click(f"#row-{traced}")
    page.wait_for_selector("#detail .waterfall .own")
    assert page.locator("#detail .waterfall li").count() == 4
    address = page.evaluate("location.hash")
    assert "rule=latency.p95" in address
    assert "c=" in address
    again = open_page(text, fragment=address).page
    again.wait_for_selector("#detail .waterfall")
    assert again.inner_text(".behind code") == "latency.p95"
    again.keyboard.press("Escape")
    again.click(".behind")
    assert again.inner_text(".tools output") == f"{len(report.run.calls)} calls"
    assert opened.errors == []


def test_without_scripts_the_past_and_the_traces_are_there(open_page: Callable[..., Any], text: str) -> None:
    page = open_page(text, scripts=False).page
    assert page.locator(".panels > li").count() == 4
    assert page.is_visible("#changes .forest >> nth=0")
    assert page.is_visible("#changes del >> nth=0")
    assert page.is_visible("#history .band >> nth=0")
    assert page.is_visible("#traces .waterfall >> nth=0")
    assert page.is_visible("#failures")


def test_no_part_is_wider_than_the_page_nor_than_paper(open_page: Callable[..., Any], text: str) -> None:
    opened = open_page(text)
    page = opened.page
    opened.unfold()
    for width in (1600, 375):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    # what only a screen can use is not printed
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 760, "height": 1000})  # A4 between its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 760
    assert page.is_visible("#changes")
    assert page.is_visible(".panels")
    assert not page.is_visible(".rail")
    assert not page.is_visible(".tools")
