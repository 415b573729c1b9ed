"""The table "agents and retrieval" in the terminal and on the page."""

from __future__ import annotations

import pytest

from pytest_llmwatch.measure import aggregates
from pytest_llmwatch.model import Call, Report, Retrieval, Run, Span, ToolCall
from pytest_llmwatch.report import html, run_json
from pytest_llmwatch.report.breakdown import agents
from pytest_llmwatch.report.terminal import TerminalStyle, plain, render

HOSTILE = "<script>alert(1)</script>\x1b[31m"


def report_of(*calls: Call, spans: tuple[Span, ...] = ()) -> Report:
    run = Run("r1", "2026-06-01T00:00:00.000Z", calls=calls, spans=spans)
    return Report(run, "none", "measured", 0, aggregates=aggregates(run))


@pytest.fixture
def busy() -> Report:
    search = ToolCall("search", "{}", "a", valid=True, latency=0.25)
    bad = ToolCall(HOSTILE, "{", valid=False, error="x")
    found = Retrieval(ids=("d1", "d2"), source="index", top_k=5)
    calls = (
        Call("c1", nodeid="t", tool_calls=(search, search, search), parameters={"tools": ["search"]}),
        Call("c2", nodeid="t", tool_calls=(bad,), parameters={"tools": ["search"]}),
    )
    spans = (
        Span("s1", "retrieve", "retrieval", nodeid="t", retrieval=found),
        Span("s2", "retrieve", "retrieval", nodeid="t", retrieval=Retrieval(source="index")),
    )
    return report_of(*calls, spans=spans)


def test_the_totals(busy: Report) -> None:
    found = busy.aggregates["agents"]
    assert (found["tasks"], found["steps"], found["tool_calls"], found["loops"]) == (1, 2, 4, 1)
    assert found["retrieval"] == {"n": 2, "empty": 1, "documents": 1.0, "top_k": [5], "sources": {"index": 2}}
    assert [(t["name"], t["calls"], t["invalid"], t["not_offered"]) for t in found["tools"]] == [
        ("search", 3, 0, 0),
        (HOSTILE, 1, 1, 1),
    ]
    assert run_json.render(busy)["aggregates"]["agents"] == found


def test_terminal_and_page_show_it(busy: Report) -> None:
    for width in (120, 40):
        text = plain(render(busy, TerminalStyle(width=width, color=False)))
        assert "agents and retrieval" in text
        assert "search" in text
        assert "\x1b" not in text
    page = html.render(busy)
    assert '<section id="agents">' in page
    assert 'href="#agents"' in page
    assert "<script>alert(1)" not in page


def test_a_run_without_tools_and_retrievals_shows_nothing() -> None:
    bare = report_of(Call("c1", nodeid="t"))
    assert "agents" not in bare.aggregates
    assert agents(bare.aggregates) is None
    assert "agents and retrieval" not in plain(render(bare, TerminalStyle()))
    assert '<section id="agents">' not in html.render(bare)
