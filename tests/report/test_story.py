"""What changed, the history, traces, retrievals, panels and the calls behind a rule: values, then the page."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch.model import Baseline, BaselineCase, Call, CaseResult, Report, Retrieval, Run, Score, Span
from pytest_llmwatch.report import changes, html, incidents, panels, retrieval, rule_calls, trend, view, waterfall
from pytest_llmwatch.report.cases import Index
from pytest_llmwatch.report.diff import words
from pytest_llmwatch.report.html import HtmlOptions


@pytest.fixture(scope="module")
def report(factory: ModuleType) -> Report:
    spec = importlib.util.spec_from_file_location("llmwatch_story", Path(__file__).with_name("story.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["llmwatch_story"] = module
    spec.loader.exec_module(module)
    made: Report = module.story(factory, 240)
    return made


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return html.render(report)


def told(parts: Any, *kinds: str) -> str:
    return "".join(p.text for p in parts if p.kind in kinds)


def test_a_word_diff_gives_both_texts_back() -> None:
    old = "Refunds are paid within 14 days. Ask a team lead."
    new = "Refunds are paid within 48 hours. Ask a team lead. Mr. Calder signs."
    found = words(old, new)
    assert found is not None
    assert told(found, "same", "new") == new
    assert told(found, "gone") == "14 days"
    assert [p.text for p in found if p.kind == "new"] == ["48 hours", " Mr. Calder signs."]


def test_texts_with_little_in_common_have_no_diff_and_equal_ones_no_change() -> None:
    assert words("alpha beta gamma", "one two three") is None
    same = words("as it was", "as it was")
    assert same is not None
    assert {p.kind for p in same} == {"same"}


def test_long_unchanged_text_is_cut_in_the_middle() -> None:
    text = " ".join(f"word{i}" for i in range(200))
    found = words(text + " end", text + " fin")
    assert found is not None
    assert found[0].left_out > 500
    assert len(found[0].text) + found[0].left_out + len(found[0].after) == len(text) + 1


def test_forest_places_the_interval_around_the_difference_on_the_worse_side(report: Report) -> None:
    scores, rest = changes.forests(report)
    line = scores.lines[0]
    assert (line.metric, line.delta, line.interval) == ("groundedness", "−0.051", "−0.078 to −0.024")
    assert line.low < line.at < line.high < scores.zero == 50.0
    assert line.worse_left
    assert [x.metric for x in rest.lines] == ["latency", "cost_usd"]
    assert not rest.lines[0].worse_left
    assert rest.lines[0].delta == "+6.0 %"


def test_cases_that_fell_furthest_stand_beside_the_baselines_answers(report: Report) -> None:
    found = changes.changes(report, Index(report.run))
    assert found is not None
    assert found.texts
    drops = [float(m.drop.replace("−", "-")) for m in found.moved]
    assert drops == sorted(drops)
    assert drops[0] < -0.2
    assert any(m.diff is not None and told(m.diff, "gone") for m in found.moved)
    bare = changes.changes(report, Index(report.run), bodies=False)
    assert bare is not None
    assert all(m.now is None and m.before is None and m.reference is None for m in bare.moved)


def test_a_baseline_file_gives_figures_without_texts() -> None:
    result = CaseResult("t::a", "s", "a", scores=(Score("relevance", 0.5),), output="now")
    run = Run("r", "2026-01-01T00:00:00Z", results=(result,))
    base = Baseline("b" * 12, "s", "t", cases={"a": BaselineCase("p", {"relevance": (0.9, 1.0, None)})})
    found = changes.changes(Report(run, "pass", "x", 0, baselines={"s": base}), Index(run))
    assert found is not None
    assert (found.worse, found.texts, found.moved[0].drop) == (1, False, "−0.450")
    assert changes.changes(Report(run, "pass", "x", 0), Index(run)) is None


def test_history_puts_what_drifts_first_and_names_the_run(report: Report) -> None:
    found = trend.history_of(report)
    assert found is not None
    assert found.builds == 27
    first = found.charts[0]
    assert first.metric == "groundedness"
    assert first.worse
    assert "run-20" in first.said
    assert first.change is not None
    assert first.sum_line is not None
    assert first.points[-1].last
    assert sum(p.out for p in first.points) >= 6
    relevance = next(c for c in found.charts if c.metric == "passed")
    assert not relevance.said
    assert trend.history_of(replace(report, history=())) is None


def test_a_waterfall_nests_steps_and_survives_a_ring_of_parents() -> None:
    at = "2026-01-01T00:00:0{}Z".format
    spans = (
        Span("a", "agent", trace_id="t", time=at(0), latency=4.0),
        Span("b", "search", trace_id="t", parent_id="a", time=at(1), latency=1.0, error="down"),
    )
    call = Call("c", trace_id="t", parent_id="b", span_id="c", time=at(2), latency=2.0, model="m")
    found = waterfall.Traces(Run("r", at(0), calls=(call,), spans=spans)).of("t")
    assert found is not None
    assert [(s.name, s.depth, s.x, s.width) for s in found.steps] == [
        ("agent", 0, 0.0, 100.0), ("search", 1, 25.0, 25.0), ("m", 2, 50.0, 50.0),
    ]  # fmt: skip
    assert (found.failed, found.duration) == (1, "4.00 s")
    ring = tuple(replace(s, parent_id=p) for s, p in zip(spans, ("b", "a"), strict=True))
    looped = waterfall.Traces(Run("r", at(0), spans=ring)).of("t")
    assert looped is not None
    assert len(looped.steps) == 2
    assert waterfall.Traces(Run("r", at(0), calls=(call,))).of("t") is None


def test_of_a_long_trace_the_first_steps_stay_and_what_failed() -> None:
    at = "2026-01-01T00:{:02}:{:02}Z".format
    spans = [
        Span(f"s{i:03}", f"step {i}", trace_id="t", time=at(i // 60, i % 60), latency=0.5) for i in range(300)
    ]
    spans[290] = replace(spans[290], error="down")
    call = Call("c", trace_id="t", span_id="c", time=at(6, 0), latency=1.0, model="m")
    traces = waterfall.Traces(Run("r", at(0, 0), calls=(call,), spans=tuple(spans)))
    found = traces.of("t", own="c")
    assert found is not None
    names = [s.name for s in found.steps]
    assert (len(names), found.left_out, found.failed) == (200, 101, 1)
    assert names[:3] == ["step 0", "step 1", "step 2"]
    assert names[-2:] == ["step 290", "m"], "what failed, and the call that was opened"
    down = [replace(s, error="down") for s in spans]
    all_down = waterfall.Traces(Run("r", at(0, 0), calls=(call,), spans=tuple(down))).of("t", own="c")
    assert all_down is not None
    assert len(all_down.steps) == 200
    assert all_down.steps[-1].name == "m", "the call that was opened, however much failed"
    (shown,) = traces.worst([])
    assert (len(shown.steps), shown.left_out) == (40, 261)
    assert shown.steps[-1].failed == "down"


def test_retrievals_that_missed_come_first() -> None:
    result = CaseResult("n", "s", "a", call_ids=("c",), expected_documents=("d9",))
    hit = Retrieval("found", ids=("d1", "d9"), scores=(0.8, 0.7))
    miss = Retrieval("missed", ids=("d1",))
    spans = tuple(Span(str(i), "r", nodeid="n", retrieval=r) for i, r in enumerate((hit, miss, Retrieval("none"))))
    run = Run("r", "t", results=(result,), spans=spans)
    found = retrieval.retrievals(Report(run, "none", "", 0))
    assert found is not None
    assert [(f.query, f.bad, f.rank) for f in found.shown] == [
        ("missed", True, None), ("none", True, None), ("found", False, 2),
    ]  # fmt: skip
    assert found.shown[0].missing == ("d9",)
    again = tuple(replace(s, id=f"x{i}") for i, s in enumerate((spans[1], spans[1])))
    alike = retrieval.retrievals(Report(replace(run, spans=(*spans, *again)), "none", "", 0))
    assert alike is not None
    assert [(f.query, f.times) for f in alike.shown] == [("missed", 3), ("none", 1), ("found", 1)]
    assert (alike.covered, alike.total) == (5, 5)
    assert retrieval.retrievals(Report(Run("r", "t"), "none", "", 0)) is None


def test_the_four_panels_stand_in_order_with_their_worst_rule(report: Report) -> None:
    found = panels.panels(report, view.rules(report))
    assert [p.name for p in found] == ["Latency", "Throughput", "Cost", "Quality"]
    assert [p.state.state if p.state else None for p in found] == ["broken", None, "blind", "broken"]
    assert all(p.figure != "–" and p.bars for p in found)
    empty = panels.panels(Report(Run("r", "t"), "none", "", 0), [])
    assert [p.figure for p in empty] == ["–", "–", "–", "–"]


def test_behind_a_rule_are_the_calls_that_break_it(report: Report) -> None:
    found = rule_calls.by_rule(report, view.rules(report))
    limit = 1.8
    slow = [i for i, c in enumerate(report.run.calls) if c.latency is not None and c.latency > limit]
    assert sorted(found["latency.p95"]) == slow
    p95 = next(v for v in report.verdicts if v.rule == "latency.p95")
    assert [report.run.calls[i].id for i in found["latency.p95"][: len(p95.worst)]] == list(p95.worst), (
        "worst first"
    )
    assert "latency.p50" not in found, "it holds"
    scoped = found["scope.feature:refunds.quality.groundedness"]
    named = next(v for v in report.verdicts if v.scope)
    own = {i for i in scoped if report.run.calls[i].feature == "refunds"}
    assert own
    assert set(scoped) - own <= {i for i, c in enumerate(report.run.calls) if c.id in named.worst}
    assert rule_calls.packed([3, 9, 5]) == [3, 6, -4]
    given = {"worst": (), "delta": None, "layer": "cost", "limit": 60.0, "unit": "tokens"}
    wordy = replace(p95, rule="tokens.output_per_call", metric="output_tokens", **given)
    passed = replace(
        p95, rule="quality.pass_rate", metric="passed", **given | {"layer": "quality", "unit": "ratio"}
    )
    more = replace(report, verdicts=(wordy, passed))
    found = rule_calls.by_rule(more, view.rules(more))
    assert found["tokens.output_per_call"] == [
        i for i, c in enumerate(report.run.calls) if (c.usage.output_tokens or 0) > 60
    ]
    missed = {c for r in report.run.results if not r.passed for c in r.call_ids}
    assert {report.run.calls[i].id for i in found["quality.pass_rate"]} == missed


def test_the_page_has_all_parts_in_order_and_an_action_on_each_broken_rule(page: str, report: Report) -> None:
    parts = ("rules", "changes", "worst", "cases", "failures", "history", "latency", "cost",
             "retrieval", "traces", "incidents", "calls", "about")  # fmt: skip
    places = [page.index(f'<section id="{name}">') for name in parts]
    assert places == sorted(places)
    assert page.index('class="panels"') < places[0]
    assert page.count('<p class="first">') == sum(r.state == "broken" for r in view.rules(report))
    assert 'href="#calls?rule=latency.p95&amp;sort=-latency"' in page
    # the incident stands at the top and beside its rule, and each link has its end
    assert page.index('<p class="alarms">') < places[0]
    assert page.count('href="#inc-20261120-1"') == 2
    assert page.count('id="inc-20261120-1"') == 1


def test_a_page_without_bodies_tells_no_text_of_either_run(report: Report) -> None:
    bare = html.render(report, HtmlOptions(bodies="none"))
    assert '<section id="changes">' in bare
    assert "no questions asked" not in bare


def test_an_incident_says_each_thing_once_and_a_resolved_one_asks_for_nothing(report: Report) -> None:
    found = replace(
        report.incidents[0],
        what="quality.groundedness: quality.groundedness 0.31 is under 0.6, and 1 more rule",
        since={"run_id": report.run.run_id, "commit": "41ab9e3"},
        actions=(
            "tighten the grounding",
            "validate and retry",
            "tighten the grounding: answer from the context only",
        ),
        diagnosis=({"step": "which answers", "answer": "0 of 2 facts"}, {"step": "asked", "answer": None}),
    )
    gone = replace(found, id="inc-20261119-2", state="resolved", since={"run_id": "earlier", "builds": 3})
    row, resolved = incidents.rows(replace(report, incidents=(found, gone)))
    assert row.what == "quality.groundedness 0.31 is under 0.6, and 1 more rule"
    assert row.seen == "first seen in this run"
    assert row.actions == ("tighten the grounding: answer from the context only", "validate and retry")
    assert row.answers == (("which answers", "0 of 2 facts"),)
    assert resolved.seen == "since run earlier, 3 builds"
    assert incidents.anchors([row, resolved]) == {"quality.groundedness": "inc-20261120-1"}
    green = html.render(replace(report, incidents=(gone,)))
    assert '<ul class="resolved">' in green
    assert 'class="alarms"' not in green
    assert 'href="#inc-' not in green
