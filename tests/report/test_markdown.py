"""summary.md: found again by its marker, verdict first, and inert whatever a model wrote."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from pytest_llmwatch.model import Problem
from pytest_llmwatch.report import markdown


def test_a_failing_summary_looks_like_its_golden_file(
    factory: ModuleType, assert_golden: Callable[[str, str], None]
) -> None:
    assert_golden("summary-fail.md", markdown.render(factory.make_report()))


def test_a_passing_summary_looks_like_its_golden_file(
    factory: ModuleType, assert_golden: Callable[[str, str], None]
) -> None:
    assert_golden("summary-pass.md", markdown.render(factory.passing_report()))


def test_the_marker_is_first_and_the_verdict_second(factory: ModuleType) -> None:
    first, second, *_ = markdown.render(factory.make_report()).splitlines()
    assert first == markdown.MARKER
    assert "FAIL" in second
    assert "3 of 11 rules broke" in second


def test_rules_that_hold_are_folded_away(factory: ModuleType) -> None:
    text = markdown.render(factory.make_report())
    shown, folded = text.split("<details>", 1)
    assert "`quality.groundedness`" in shown
    assert "`latency.p50`" not in shown
    assert "`latency.p50`" in folded


def outside_code(text: str) -> str:
    """Return Markdown without its inline code."""
    return re.sub(r"`[^`\n]*`", "", text)


def test_foreign_text_forms_no_markup_no_link_and_no_mention(factory: ModuleType) -> None:
    evil = (
        "@everyone <img src=x> ![a](http://evil.invalid) [b](javascript:1) </details> a | b `c` **d** # 1 #12 "
        "www.evil.invalid me@evil.invalid <!-- -->\n# heading\n- item \\` <script>"
    )
    report = factory.make_report(40)
    report = replace(
        report,
        sentence=evil,
        notes=(evil,),
        verdicts=tuple(replace(v, because=evil, action=evil, rule=evil) for v in report.verdicts),
        run=replace(
            report.run,
            run_id=evil,
            partial=True,
            partial_reason=evil,
            problems=(Problem("infrastructure", evil),),
            environment={evil: evil},
            results=tuple(replace(r, nodeid=evil, reason=evil, outcome="failed") for r in report.run.results),
        ),
    )
    text = markdown.render(report)
    bare = outside_code(text)
    own = ("<details>", "</details>", "<summary>", "</summary>", markdown.MARKER)
    for tag in own:
        bare = bare.replace(tag, "")
    assert "<" not in bare
    assert not re.search(r"@\w", bare)
    assert "://" not in bare
    assert "www." not in bare
    assert not re.search(r"(?<!\\)\]\(", bare)
    plain = outside_code(text)
    assert plain.count("<details>") == plain.count("</details>") == 4
    tables = [line for line in text.splitlines() if line.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert len(columns) <= 2, "a cell broke its table"
    assert not [line for line in text.splitlines() if line.startswith("# ")]


@pytest.mark.parametrize("text", ["plain words", "latency.p95 is 2.31 s > 1.80 s", "a-b (c) = d"])
def test_harmless_text_stays_readable(text: str) -> None:
    assert markdown.escape(text).replace("&gt;", ">") == text


def test_a_summary_fits_a_comment(factory: ModuleType) -> None:
    report = factory.make_report(40)
    long = replace(report.verdicts[0], because="word " * 90)
    report = replace(report, verdicts=tuple(replace(long, rule=f"latency.r{i}") for i in range(400)))
    text = markdown.render(report)
    assert len(text) < 65_536
    assert "does not fit into" in text
    assert "does not fit" not in markdown.render(factory.make_report(40))


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [("fail", "CAUTION"), ("warn", "WARNING"), ("error", "IMPORTANT"), ("inconclusive", "NOTE")],
)
def test_an_alert_block_tells_the_tier(factory: ModuleType, verdict: str, kind: str) -> None:
    text = markdown.render(replace(factory.make_report(), verdict=verdict))
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("> [!")] == [f"> [!{kind}]"]
    assert lines[lines.index(f"> [!{kind}]") + 1].startswith("> - ")


def test_a_run_that_is_well_has_no_alert(factory: ModuleType) -> None:
    assert "[!" not in markdown.render(factory.passing_report())


def test_only_what_changed_is_shown_and_the_undecided_are_folded(factory: ModuleType) -> None:
    report = factory.make_report()
    undecided = [v for v in report.verdicts if v.verdict == "inconclusive" and v.reason == "too_few"]
    assert undecided
    shown, _, folded = markdown.render(report).partition("<details>")
    assert all(f"`{v.rule}`" in folded and f"`{v.rule}`" not in shown for v in undecided)
    alone = markdown.render(replace(report, verdicts=tuple(undecided)))
    assert f"`{undecided[0].rule}`" in alone.partition("<details>")[0]
