"""index.html: the runs in a folder on one page, newest first, each with a link to its report.

One static file without a script: it stays readable on any server of plain files, and nothing that a run's files
say can run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from pytest_llmwatch import format as fmt
from pytest_llmwatch.report import view
from pytest_llmwatch.report.html_env import environment
from pytest_llmwatch.report.text import one_line

_MOST = 1000
_WIDTH, _HEIGHT = 220, 36
_STATES: dict[str, view.State] = {
    "pass": "holds", "warn": "warn", "fail": "broken", "inconclusive": "undecided", "error": "blind",
}  # fmt: skip
_CURVES = (
    ("passed", "tests that pass", "ratio"),
    ("composite", "composite score", "ratio"),
    ("latency", "latency p95", "s"),
    ("cost_usd", "cost of the run", "usd"),
)
_STYLE = """
body { display: block; padding: 2.2rem clamp(1rem, 4vw, 4rem); max-width: 84rem; margin: 0 auto; }
main { padding: 0; } .curves { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.5rem 0; }
.curves svg { display: block; width: 220px; height: 36px; } .curves polyline { fill: none; stroke: var(--bar); stroke-width: 2; }
td, th { padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
td.said { white-space: normal; min-width: 16rem; } .s-broken { color: var(--fail); font-weight: 600; }
.s-warn { color: var(--warn); } .s-holds { color: var(--ok); } .s-blind { color: var(--blind); font-weight: 600; }
@media print { a { text-decoration: none; } }
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Found:
    """A run in the folder: its run.json, and its report's path relative to the index, None without one."""

    data: Mapping[str, Any]
    report: str | None


@dataclass(frozen=True, slots=True)
class _Row:
    state: str
    mark: str
    word: str
    time: str
    run_id: str
    href: str | None
    where: str
    calls: str
    failed: str
    passed: str
    composite: str
    p95: str
    cost: str
    said: str


def render(found: Sequence[Found], *, title: str = "LLM quality gate: runs", notes: Sequence[str] = ()) -> str:
    """Return index.html.

    Args:
        found: The runs, in any order; the newest thousand are listed.
        title: Of the page.
        notes: What a reader has to know, such as files that could not be read.
    """
    ordered = sorted(
        found, key=lambda f: (str(f.data.get("time", "")), str(f.data.get("run_id", ""))), reverse=True
    )
    source = files("pytest_llmwatch").joinpath("report/templates/style.css").read_text("utf-8")
    style = source.split("/* page */")[0] + _STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        environment()
        .get_template("index.html.j2")
        .render(
            title=title,
            style=style,
            style_hash=digest,
            rows=[_row(f) for f in ordered[:_MOST]],
            left_out=max(0, len(ordered) - _MOST),
            curves=_curves([f.data for f in reversed(ordered[:_MOST])]),
            notes=[one_line(n, 400) for n in notes],
        )
    )


def _row(found: Found) -> _Row:
    data = found.data
    environment_, figures = _mapping(data.get("environment")), _figures(data)
    verdict = str(data.get("verdict", "none"))
    state = _STATES.get(verdict)
    aggregates = _mapping(data.get("aggregates"))
    commit, branch = environment_.get("commit"), environment_.get("branch")
    where = " ".join(str(part) for part in (branch, str(commit)[:10] if commit else None) if part)
    return _Row(
        state=state or "none",
        mark=view.MARKS[state][0] if state else "",
        word="no budget"
        if verdict == "none"
        else one_line(verdict, 20) + (", partial" if data.get("partial") else ""),
        time=one_line(str(data.get("time", ""))[:19].replace("T", " "), 19),
        run_id=one_line(str(data.get("run_id", "?")), 40),
        href=None if found.report is None else "./" + quote(found.report),
        where=one_line(where, 60),
        calls=_count(aggregates.get("calls")),
        failed=_count(aggregates.get("failed")),
        passed=fmt.percent(figures.get("passed")),
        composite=fmt.value(figures.get("composite"), "ratio"),
        p95=fmt.value(figures.get("latency"), "s"),
        cost=fmt.value(figures.get("cost_usd"), "usd"),
        said=one_line(str(data.get("sentence", "")), 300),
    )


def _figures(data: Mapping[str, Any]) -> dict[str, float]:
    totals = _mapping(data.get("aggregates"))
    executions, passed = totals.get("executions"), totals.get("passed")
    found = {
        "passed": passed / executions if _number(passed) and _number(executions) and executions else None,
        "composite": _mapping(_mapping(totals.get("scores")).get("composite")).get("mean"),
        "latency": _mapping(totals.get("latency")).get("p95"),
        "cost_usd": totals.get("cost_usd"),
    }
    return {name: float(x) for name, x in found.items() if x is not None and _number(x)}


def _curves(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return title, newest value and the points of a curve for each figure that two runs have, oldest first."""
    out = []
    for name, title, unit in _CURVES:
        values = [f[name] for f in map(_figures, runs) if name in f]
        if len(values) > 1:
            low, high = min(values), max(values)
            step = _WIDTH / (len(values) - 1)
            points = (
                f"{i * step:.1f},{_HEIGHT - 3 - (v - low) / ((high - low) or 1) * (_HEIGHT - 6):.1f}"
                for i, v in enumerate(values)
            )
            out.append((title, fmt.value(values[-1], unit), " ".join(points)))
    return out


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> str:
    return f"{value:,}" if _number(value) else fmt.UNKNOWN
