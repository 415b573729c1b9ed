"""Fifty payloads wherever a model's words are shown: none runs or loads, and each would if it could."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch.report import html

pytestmark = pytest.mark.browser

PAYLOADS = tuple(Path(__file__).with_name("payloads.txt").read_text(encoding="utf-8").splitlines())


# in the page itself: fifty round trips between two processes take longer than the fifty calls
_OPEN_EACH = """async (ids) => {
  const missing = [], detail = document.querySelector('#detail');
  for (const id of ids) {
    location.hash = '#c-' + id;
    for (let i = 0; i < 400 && !detail.textContent.includes(id); i += 1) {
      await new Promise((go) => setTimeout(go, 5));
    }
    if (!detail.textContent.includes(id)) missing.push(id);
  }
  return missing;
}"""


def planted(factory: ModuleType, story: ModuleType) -> Any:
    """A report with each payload as an answer, an input, a reference, a case, a model, an error, a span, a run."""
    factory_hostile = factory.HOSTILE
    factory.HOSTILE = PAYLOADS
    try:
        report = story.story(factory, 120, hostile=True)
    finally:
        factory.HOSTILE = factory_hostile
    run = report.run
    calls = tuple(
        replace(c, model=PAYLOADS[i], response_model=PAYLOADS[i], feature=PAYLOADS[i], error_type=PAYLOADS[-i],
                case=PAYLOADS[i], error=PAYLOADS[i], status="error" if i % 3 == 0 else c.status)
        if i < len(PAYLOADS) else c
        for i, c in enumerate(run.calls)
    )  # fmt: skip
    results = tuple(
        replace(r, case=PAYLOADS[i], nodeid=f"a.py::{PAYLOADS[i]}") if i < len(PAYLOADS) else r
        for i, r in enumerate(run.results)
    )
    before = replace(report.before, run_id=PAYLOADS[0], results=tuple(
        replace(r, case=PAYLOADS[i], output=PAYLOADS[i] + " what it said before") if i < len(PAYLOADS) else r
        for i, r in enumerate(report.before.results)
    ))  # fmt: skip
    history = tuple(h | {"run_id": PAYLOADS[i]} for i, h in enumerate(report.history))
    incidents = tuple(replace(i, title=PAYLOADS[3]) for i in report.incidents)
    return replace(
        report, run=replace(run, calls=calls, results=results), before=before, history=history,
        sentence=PAYLOADS[3], incidents=incidents, notes=PAYLOADS[:8],
    )  # fmt: skip


def test_fifty_payloads_do_nothing_with_the_policy_and_without_it(
    open_page: Callable[..., Any], factory: ModuleType, story: ModuleType
) -> None:
    assert len(set(PAYLOADS)) == 50
    report = planted(factory, story)
    text = html.render(report)
    assert [p for p in PAYLOADS if p in text] == []
    for bypass in (False, True):
        opened = open_page(text, bypass_csp=bypass)
        page = opened.page
        opened.unfold()
        assert page.evaluate(_OPEN_EACH, [call.id for call in report.run.calls[: len(PAYLOADS)]]) == []
        page.keyboard.press("Escape")
        page.evaluate("location.hash = '#calls?rule=' + encodeURIComponent('quality.groundedness')")
        page.wait_for_timeout(300)
        assert page.evaluate("window.pwned") is None
        assert [u for u in opened.requests if not u.startswith("file://")] == []
        assert len(opened.requests) == 1
        assert opened.errors == []
        assert opened.dialogs == []
        bad = (
            "img, iframe, base, link, object, embed, video, audio, form, style:not(:first-of-type), foreignObject"
        )
        assert page.evaluate("s => document.querySelectorAll(s).length", bad) == 0
        assert page.is_visible("h1")


def test_each_payload_acts_where_nothing_is_escaped(open_page: Callable[..., Any]) -> None:
    opened = open_page("<!doctype html><title>x</title><p>nothing yet", ready=False)
    page = opened.page
    page.route("https://evil.invalid/**", lambda route: route.abort())
    idle = []
    for payload in PAYLOADS:
        seen = len(opened.requests)
        page.goto("about:blank")
        page.set_content(f"<!doctype html><html><head></head><body>{payload}</body></html>", wait_until="commit")
        for _ in range(20):
            acted = page.evaluate("window.pwned === 1") or any("evil.invalid" in u for u in opened.requests[seen:])
            if acted:
                break
            page.wait_for_timeout(25)
        else:
            idle.append(payload)
    assert idle == []


def test_the_same_report_without_escaping_runs_them(
    open_page: Callable[..., Any], factory: ModuleType, story: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_llmwatch.report import html_env

    monkeypatch.setattr(html_env, "escape", str)
    text = html.render(planted(factory, story))
    opened = open_page(text, bypass_csp=True, ready=False)
    opened.page.wait_for_timeout(500)
    assert opened.page.evaluate("window.pwned") == 1
    assert [u for u in opened.requests if "evil.invalid" in u]
