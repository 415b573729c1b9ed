"""report.html without a browser: whole, safe, small, the same every time."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch.model import Problem, Report, Run
from pytest_llmwatch.report import html, island
from pytest_llmwatch.report.html import HtmlOptions


class Page(HTMLParser):
    """Elements, attributes and text of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, str] = {}
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(dict(attrs).get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._open:
            self.data[self._open[-1]] = self.data.get(self._open[-1], "") + data

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def unpack(packed: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def unpack_columns(packed: str) -> dict[str, Any]:
    """Return the island as the page's script reads it: columns as lists, None where nothing is known."""
    data = gzip.decompress(base64.b64decode(packed))
    end = 4 + int.from_bytes(data[:4], "little")
    head, rest = json.loads(data[4:end]), data[end:]
    n = head["n"]

    def column(spec: Any) -> list[int | None]:
        if not isinstance(spec, list):
            return [spec] * n
        at, width, *scale = spec
        raw = [int.from_bytes(rest[at + row : at + width * n : n], "little") for row in range(n)]
        if not scale:
            return [*raw]
        least, unit = scale
        return [None if v == 256**width - 1 else least + unit * v for v in raw]

    if isinstance(ids := head["id"], dict):
        size = ids["size"]
        head["id"] = [rest[ids["at"] + row * size :][:size].hex() for row in range(n)]
    head["num"] = {name: column(spec) for name, spec in head["num"].items()}
    head["scores"] = [column(spec) for spec in head["scores"]]
    head["dict"] = {name: [values, column(spec)] for name, (values, spec) in head["dict"].items()}
    return head  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def page(factory: ModuleType) -> str:
    return html.render(factory.make_report())


def test_no_element_or_handler_of_a_model_gets_into_the_page(page: str) -> None:
    parsed = Page(page)
    assert "svg" in parsed.names()
    assert not parsed.names() & {"img", "iframe", "base", "link", "object", "embed", "form"}
    for tag, attributes in parsed.tags:
        assert not [a for a in attributes if a.startswith("on") or a in ("src", "style", "srcdoc")], tag
        assert "javascript:" not in (attributes.get("href") or "")
        assert (attributes.get("href") or "#").startswith("#")
    scripts = [a for t, a in parsed.tags if t == "script"]
    assert [a.get("type") for a in scripts].count(None) == 1, "one script is ours, the others are data"
    assert sum(t == "style" for t, _ in parsed.tags) == 1


def test_the_policy_allows_our_script_and_style_alone_by_hash(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    for tag in ("script", "style"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    own = re.sub(r"<script type.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    assert "@import" not in own
    assert "url(" not in own


def test_invisible_and_bidirectional_characters_are_shown(factory: ModuleType) -> None:
    report = factory.make_report()
    page = html.render(replace(report, sentence="see \u202eexe.gnp\ud800"))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x1b\x00\ud800]", page)
    assert '<span class="ctl" title="U+202E RIGHT-TO-LEFT OVERRIDE">U+202E</span>' in page
    page.encode("utf-8")


def test_a_tag_in_an_output_reads_as_text(page: str) -> None:
    assert "<script>window.pwned" in "".join(Page(page).text)
    assert "<script>window.pwned" not in page


def test_the_island_holds_every_call_and_no_tag(page: str, factory: ModuleType) -> None:
    report = factory.make_report()
    packed = json.loads(Page(page).data["island"])
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", packed)
    columns = unpack_columns(packed)
    assert columns["n"] == len(report.run.calls)
    assert columns["id"] == [c.id for c in report.run.calls]
    models, codes = columns["dict"]["model"]
    assert [models[i] for i in codes] == [c.response_model for c in report.run.calls]
    for row, call in enumerate(report.run.calls):
        assert columns["num"]["latency"][row] / 1e5 == pytest.approx(call.latency, rel=1e-3)


def test_bodies_of_failed_calls_are_there_in_order(page: str, factory: ModuleType) -> None:
    report = factory.make_report()
    data = Page(page).data
    columns = unpack_columns(json.loads(data["island"]))
    failed = [row for row, c in enumerate(report.run.calls) if c.failed]
    assert failed
    for row in failed:
        chunk, position = columns["bodies"][str(row)]
        body = unpack(json.loads(data[f"bodies-{chunk}"]))[position]
        assert body["id"] == report.run.calls[row].id
        assert ["error", report.run.calls[row].error] in body["facts"]


def test_evidence_is_marked_where_it_stands(factory: ModuleType) -> None:
    text = html.render(factory.make_report(hostile=False))
    marks = re.findall(r'<mark class="bad" title="groundedness: [a-z ]+">([^<]+)<sup>', text)
    assert "always paid within 48 hours" in marks or "free for everyone" in marks or "never expires" in marks


def test_the_page_is_the_same_every_time(factory: ModuleType) -> None:
    first, second = (html.render(factory.make_report(120)) for _ in range(2))
    assert first == second


def test_without_bodies_no_output_is_on_the_page(factory: ModuleType) -> None:
    report = factory.make_report(60, hostile=False)
    told = "told in confidence"
    results = tuple(
        replace(r, output=told, input=told, context=(told,), reference=told) for r in report.run.results
    )
    report = replace(report, run=replace(report.run, results=results))

    def everything(text: str) -> str:
        packed = [json.loads(v) for k, v in Page(text).data.items() if k.startswith(("island", "bodies-"))]
        return text + "".join(gzip.decompress(base64.b64decode(p)).decode("latin-1") for p in packed)

    assert told in everything(html.render(report))
    bare = html.render(report, HtmlOptions(bodies="none"))
    assert told not in everything(bare)
    assert "are left out of this page" in bare


def test_what_is_cut_is_said(factory: ModuleType) -> None:
    text = html.render(factory.make_report(400), HtmlOptions(bodies_bytes=4000))
    assert re.search(r"Inputs and outputs of \d+ are kept here", text)
    assert "all are in calls.jsonl.gz" in text


def test_a_huge_line_is_cut_with_a_note(factory: ModuleType) -> None:
    report = factory.make_report(8)
    assert max(len(c.output or "") for c in report.run.calls) > 100_000
    assert len(html.render(report)) < 150_000


def test_a_thousand_calls_take_at_most_150_kb_without_bodies(factory: ModuleType) -> None:
    report = factory.make_report(1000, hostile=False)
    assert len(html.render(report, HtmlOptions(bodies="none")).encode()) <= 150_000


@pytest.mark.parametrize("verdict", ["pass", "warn", "fail", "inconclusive", "error", "none"])
def test_every_verdict_has_its_page(verdict: Any, factory: ModuleType) -> None:
    report = replace(factory.make_report(20), verdict=verdict, verdicts=())
    text = html.render(report)
    assert f'data-verdict="{verdict}"' in text
    assert "No budget was given" in text


def test_problems_come_first_where_the_gate_could_not_work(factory: ModuleType) -> None:
    report = factory.make_report(40)
    failed, error = html.render(report), html.render(replace(report, verdict="error"))
    assert failed.index('id="rules"') < failed.index('id="problems"')
    assert error.index('id="problems"') < error.index('id="rules"')


def test_an_empty_run_renders(factory: ModuleType) -> None:
    problems = (Problem("infrastructure", "the endpoint refuses connections"),)
    run = Run(run_id="r", time="2026-11-20T02:04:11Z", problems=problems)
    text = html.render(Report(run=run, verdict="error", sentence="Nothing was measured.", exit_code=7))
    assert "Nothing was measured." in text
    assert "the endpoint refuses connections" in text


def test_ids_are_short_in_long_runs_and_stay_distinct() -> None:
    ids = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(5000)]
    short = island.short_ids(ids)
    assert len(set(short)) == 5000
    assert len(short[0]) < 16
    assert island.short_ids(ids[:10]) == ids[:10]


def test_compiled_templates_are_kept_where_python_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: ModuleType
) -> None:
    report = factory.make_report(20)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    plain = html.render(report)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    assert html.render(report) == plain
    kept = sorted(tmp_path.rglob("*.cache"))
    assert len(kept) > 15
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert html.render(report) == plain
    assert {path: path.stat().st_mtime_ns for path in kept} == before, "read, not written again"
    kept[0].write_bytes(kept[0].read_bytes()[:30])
    assert html.render(report) == plain, "a damaged one is made anew"
    monkeypatch.setattr(sys, "pycache_prefix", "/dev/null/nowhere")
    assert html.render(report) == plain, "nor is a place that may not be written to a fault"
