"""report.html: one offline file that opens from disk, safe whatever a model wrote.

Without scripts it shows the verdict, the rules, the worst and the failed cases and all charts. The script adds
the table of every call. A content security policy allows exactly that script and that style sheet, by hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from pytest_llmwatch import __version__
from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import Call, Report
from pytest_llmwatch.report import (
    bodies,
    breakdown,
    cases,
    changes,
    charts,
    incidents,
    island,
    panels,
    retrieval,
    rule_calls,
    stages,
    trend,
    view,
    waterfall,
)
from pytest_llmwatch.report.view import RuleRow

_FACETS = {"model": "model", "feature": "feature", "team": "team", "prompt_version": "prompt", "set": "set"}
_SCRIPTS = ("core.js", "table.js", "detail.js", "main.js")
_PARTS = ("incidents", "changes", "history", "traces")
_SPACES = re.compile(
    r"""('(?:\\.|[^'\\\n])*'|/[^\s/*](?:\\.|[^/\\\n])*/[gu]?)"""  # a quote or a pattern stays
    r"""|[ ]*([=>,;{}():?&|<!]+)[ ]*|(?<=[\w)\]']) ([+*]) (?=[\w(\['])"""
)
_CARDS, _MORE, _GROUPS = 3, 7, 8
_CARD_TEXT = 2400
_CASE_ROWS, _CASE_ROWS_BARE = 120, 20
_STATIC_CALLS = 200
_ALL_BODIES, _LONG_RUN = 2000, 20_000
_STATES = {"pass": "holds", "warn": "warn", "fail": "broken", "inconclusive": "undecided", "error": "blind",
           "none": "none"}  # fmt: skip
_WORDS = {"pass": "PASS", "warn": "WARN", "fail": "FAIL", "inconclusive": "INCONCLUSIVE", "error": "NOT JUDGED",
          "none": "NO BUDGET"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HtmlOptions:
    """What the page keeps of inputs and outputs.

    ``bodies``: ``some`` = worst and failed calls and a sample (all calls of a small run), ``none``.
    ``bodies_bytes``: most bytes of packed bodies; what does not fit is said on the page.
    ``most``: most calls whose texts are kept, worst first, of all calls instead of a sample; None = no limit.
    """

    bodies: Literal["some", "none"] = "some"
    bodies_bytes: int = 600_000
    most: int | None = None


def render(report: Report, options: HtmlOptions | None = None) -> str:
    """Return the HTML report as one string that encodes to UTF-8 whatever the run holds."""
    from pytest_llmwatch.report.html_env import environment

    template = environment().get_template("report.html.j2")
    html = template.render(_context(report, options or _wanted(report)))
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def _wanted(report: Report) -> HtmlOptions:
    """Return the options that the budget's ``[report]`` stands for."""
    wanted = report.presentation
    share = None if wanted.body_share is None else math.ceil(wanted.body_share * len(report.run.calls))
    limits = [n for n in (wanted.max_bodies, share) if n is not None]
    return HtmlOptions("some" if not limits or min(limits) else "none", most=min(limits, default=None))


@functools.cache
def _asset(*names: str) -> str:
    folder = resources.files("pytest_llmwatch.report") / "templates"
    text = "".join((folder / name).read_text(encoding="utf-8") for name in names)
    lines = (line.strip() for line in text.splitlines())
    text = "\n".join(line for line in lines if line and not line.startswith("// ")) + "\n"
    if names[0].endswith(".css"):
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        return re.sub(r"\s*([{};])\s*", r"\1", text.replace(": ", ":").replace(", ", ","))
    # what a script says as well without: notes at the end of a line, spaces outside of quotes and patterns
    text = _SPACES.sub(lambda m: m[1] or m[2] or m[3], re.sub(r"  // .*", "", text))
    return re.sub(r"([{,;])\n", r"\1", text)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _context(report: Report, options: HtmlOptions) -> dict[str, Any]:
    from markupsafe import Markup

    script = "(() => {\n'use strict';\n" + _asset(*(f"script/{name}" for name in _SCRIPTS)) + "})();\n"
    rows = view.rules(report)
    index = cases.Index(report.run)
    state = _STATES[report.verdict]
    context: dict[str, Any] = {
        "report": report,
        "version": __version__,
        "script": Markup(script),  # noqa: S704 - package data
        "script_hash": _hash(script),
        "verdict_state": state,
        "verdict_mark": view.MARKS[state][0] if state in view.MARKS else "·",
        "verdict_word": _WORDS[report.verdict],
        "time": f"{report.run.time[:16].replace('T', ' ')} UTC",
        "facts": view.facts(report),
        "fact_names": {"cost": "cost", "duration": "time taken"},
        "problems": _problems(report),
        "incidents": incidents.rows(report),
        "alphas": [(k, f"{v:.2g}") for k, v in sorted(report.alpha_by_family.items())],
        "environment": _environment(report),
        "own": report.presentation.sections,
    }
    context["incident_of"] = incidents.anchors(context["incidents"])
    context |= _rules(rows)
    context |= _worst(report, rows, index, options)
    context |= _cases(report, options)
    context |= _charts(report, rows)
    context |= _story(report, rows, index, options)
    context |= _calls(report, rows, index, options, context)
    # a page carries the rules of the parts that it has
    style = _asset("style.css", *(f"style/{name}.css" for name in _PARTS if context[name]))
    context |= {"style": Markup(style), "style_hash": _hash(style)}  # noqa: S704 - package data
    context["contents"] = _contents(context)
    return context


def _story(report: Report, rows: list[RuleRow], index: cases.Index, options: HtmlOptions) -> dict[str, Any]:
    traces = waterfall.Traces(report.run)
    worst = [c.trace_id for i in _worst_ids(rows) if (c := index.calls.get(i)) is not None]
    return {
        "panels": panels.panels(report, rows),
        "changes": changes.changes(report, index, bodies=options.bodies != "none"),
        "history": trend.history_of(report),
        "retrievals": retrieval.retrievals(report),
        "trace_count": traces.count,
        "traces": traces.worst(worst),
        "all_traces": traces,
        "filters": rule_calls.by_rule(report, rows),
    }


def _environment(report: Report) -> list[tuple[str, str]]:
    flat: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    for key, value in report.run.environment.items():
        if isinstance(value, Mapping):
            versions |= value
        elif value is not None:
            flat[key.replace("_", " ")] = ("no", "yes")[value] if isinstance(value, bool) else value
    return [(str(k), str(v)) for k, v in [*sorted(flat.items()), *versions.items()]]


def _problems(report: Report) -> list[tuple[str, int, list[tuple[str | None, str]]]]:
    kinds = dict.fromkeys(p.kind for p in report.run.problems)
    out = []
    for kind in kinds:
        found = [p for p in report.run.problems if p.kind == kind]
        items = list(dict.fromkeys((p.nodeid, p.message[:2000]) for p in found))
        out.append((kind.replace("_", " "), len(found), items[:10]))
    return out


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    question: str
    tally: str
    worst: RuleRow
    open: list[RuleRow]
    holding: list[RuleRow]


def _rules(rows: list[RuleRow]) -> dict[str, Any]:
    layers = [
        _Layer(
            layer, view.LAYER_QUESTION[layer], view.tally_text(group), group[0],
            [r for r in group if r.state != "holds"], [r for r in group if r.state == "holds"],
        )
        for layer, group in view.by_layer(rows)
    ]  # fmt: skip
    return {"layers": layers, "bullet": charts.bullet, "drift": any(r.baseline for r in rows)}


@dataclass(frozen=True, slots=True)
class _Card:
    case: cases.Worst
    figure: str
    why: str
    model: str | None
    error: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Group:
    row: RuleRow
    cards: list[_Card]
    more: list[cases.Worst]
    total: int
    first: bool


def _worst(report: Report, rows: list[RuleRow], index: cases.Index, options: HtmlOptions) -> dict[str, Any]:
    bad = [r for r in rows if r.state == "broken"] + [
        r for r in rows if r.state in ("warn", "waived") and r.verdict.layer == "quality"
    ]
    # quality first: there the output itself is the evidence
    bad.sort(key=lambda r: (r.state != "broken", r.verdict.layer != "quality"))
    groups: list[_Group] = []
    told = _told(report, rows, index, options)
    seen: set[str] = set()
    for row in bad:
        found = cases.worst_of(row.verdict, report.run, index)
        new = [c for c in found if c.name not in seen]
        if not new or len(groups) >= _GROUPS:
            continue
        first = new[:_CARDS]
        seen.update(c.name for c in first)
        more = [c for c in new[_CARDS : _CARDS + _MORE] if c.call_id]
        cards = [_card(c, row, c.call_id in told if told is not None else options.bodies != "none") for c in first]
        groups.append(_Group(row, cards, more, len(found), first=not groups))
    names = functools.partial(_worst_cases, report, index)
    shown = {g.row.rule for g in groups}
    return {"worst_cases": names, "worst": groups, "shown_worst": shown, "bare": options.bodies == "none"}


def _worst_cases(report: Report, index: cases.Index, row: RuleRow) -> list[cases.Worst]:
    return [c for c in cases.worst_of(row.verdict, report.run, index) if c.call_id][:3]


def _card(case: cases.Worst, row: RuleRow, shown: bool) -> _Card:
    call = case.call
    body = bodies.body(case, _CARD_TEXT if shown else 0)
    if not shown:
        body |= {"input": None, "output": None, "reference": None, "context": [], "evidence": []}
    error = None
    if call is not None and call.failed:
        error = f"{call.error_type or call.status}: {call.error or 'no message'}"[:2000]
    return _Card(
        case=case,
        figure=cases.figure(case, row.verdict),
        why=(case.score.explanation if case.score else error or "")[:300],
        model=(call.response_model or call.model) if call else None,
        error=error,
        body=body,
    )


def _cases(report: Report, options: HtmlOptions) -> dict[str, Any]:
    names, rows = cases.case_table(report)
    limit = _CASE_ROWS if options.bodies != "none" else _CASE_ROWS_BARE
    return {
        "scorer_names": names[:10],
        "case_rows": rows[:limit],
        "case_total": len(rows),
        "many_sets": len({r.set for r in rows}) > 1,
        "failures": cases.failures(report.run),
        "errors": cases.call_errors(report.run.calls),
    }


def _limits(rows: list[RuleRow], *names: str) -> list[tuple[str, float, str]]:
    out = []
    for row in rows:
        v = row.verdict
        if v.scope is None and v.rule in names and v.unit == "s":
            short = v.rule.rsplit(".", 1)[-1].replace("ttft_", "")
            if v.limit is not None:
                # half of the calls may exceed a p50: bars beyond it are nothing special
                out.append((f"{short} ≤", v.limit, "middle" if short == "p50" else "ceiling"))
            elif v.warn_limit is not None:
                out.append((f"{short} warns", v.warn_limit, "warn"))
    return sorted(out, key=lambda limit: limit[1])


def _spread(report: Report, key: str) -> list[tuple[str, float | None]]:
    figures = report.aggregates.get(key) or {}
    return [(q, figures.get(q)) for q in ("p50", "p95", "p99")]


def _charts(report: Report, rows: list[RuleRow]) -> dict[str, Any]:
    calls = [c for c in report.run.calls if not c.judging]
    before = [c for c in report.before.calls if not c.judging] if report.before is not None else []
    modes = {c.capture_mode for c in calls if c.latency is not None}
    p95 = next(((r.rule, r.verdict.limit) for r in rows if r.rule == "latency.p95" and r.verdict.limit), None)
    over = charts.timeline(calls, (p95[0], p95[1]) if p95 and p95[1] is not None else None)
    return {
        "latency": charts.histogram(
            "Latency", [c.latency for c in calls if c.latency is not None], "s",
            before=[c.latency for c in before if c.latency is not None],
            limits=_limits(rows, "latency.p50", "latency.p95", "latency.p99", "latency.max"),
            quantiles=_spread(report, "latency"),
        ),
        "ttft": charts.histogram(
            "Time to first token", [c.ttft for c in calls if c.ttft is not None], "s",
            before=[c.ttft for c in before if c.ttft is not None],
            limits=_limits(rows, "latency.ttft_p50", "latency.ttft_p95"), quantiles=_spread(report, "ttft"),
        ),
        "over_time": over,
        "latency_note": _latency_note(calls, modes),
        "breakdowns": breakdown.breakdowns(calls),
        "stages": stages.stages(report.aggregates),
        "agents": breakdown.agents(report.aggregates),
        "facets": _FACETS,
        "tokens": charts.histogram(
            "Output tokens a call", [float(n) for c in calls if (n := c.usage.output_tokens)], "tokens"
        ),
        "token_facts": _token_facts(report),
    }  # fmt: skip


def _latency_note(calls: Sequence[Call], modes: Set[str]) -> str:
    missing = sum(1 for c in calls if c.latency is None)
    how = {
        frozenset({"replayed"}): "Replayed: these are the times of the recording, not of this run.",
        frozenset({"live"}): "Measured live.",
        frozenset({"recorded"}): "Measured live, while recording.",
    }.get(frozenset(modes), "Live and recorded times together.")
    return how + (f" {missing:,} calls have no time and are left out." if missing else "")


def _token_facts(report: Report) -> list[tuple[str, str, str | None]]:
    calls = [c for c in report.run.calls if not c.judging]
    totals = report.aggregates
    cached = sum(c.usage.cached_tokens or 0 for c in calls)
    estimated = sum(c.usage.estimated for c in calls)
    tokens_in = int(totals.get("input_tokens") or 0)
    tokens_out = int(totals.get("output_tokens") or 0)
    unpriced = int(totals.get("unpriced") or 0)
    cost = totals.get("cost_usd")
    priced = sum(c.cost.usd is not None for c in calls)
    out = [
        ("cost of the run", fmt.value(cost, "usd"), f"{unpriced:,} without a price" if unpriced else None),
        ("a priced call", fmt.value(cost / priced if cost is not None and priced else None, "usd"), None),
        ("input tokens", f"{tokens_in:,}", f"{fmt.percent(cached / tokens_in)} cached" if tokens_in else None),
        ("output tokens", f"{tokens_out:,}", None),
    ]  # fmt: skip
    speeds = sorted(s for c in calls if (s := c.tokens_per_second) is not None)
    if speeds:
        out.append(("tokens a second", fmt.value(breakdown.quantile(speeds, 0.5), "count"), "median"))
    if estimated:
        out.append(("estimated", f"{estimated:,}", "calls whose tokens were counted here"))
    return out


def _calls(
    report: Report, rows: list[RuleRow], index: cases.Index, options: HtmlOptions, context: Mapping[str, Any]
) -> dict[str, Any]:
    calls = report.run.calls
    worst = _worst_ids(rows)
    budget = options.bodies_bytes if options.bodies != "none" else 0
    everything = len(calls) <= _ALL_BODIES or options.most is not None
    budget = budget if len(calls) <= _LONG_RUN else budget * 2 // 3  # the columns of a long run take their room
    kept = island.select(report, index, worst, budget, everything=everything, most=options.most,
                         traces=context["all_traces"])  # fmt: skip
    named = set(worst)
    static = [c for c in calls if c.id in named or c.failed][:_STATIC_CALLS]
    names = sorted(
        dict.fromkeys(s.name for r in report.run.results for s in r.scores), key=lambda n: n != "composite"
    )
    ceilings = [v for _, v, kind in _limits(rows, "latency.p95", "latency.max") if kind == "ceiling"]
    more = {
        "slow": min(ceilings, default=None),
        "rules": {rule: rule_calls.packed(found) for rule, found in context["filters"].items()},
    }
    return {
        "island": island.columns(report, index, kept.places, names, more),
        "chunks": kept.chunks,
        "static_calls": static,
        "bodies_note": _bodies_note(len(calls), kept.left_out, options),
    }


def _worst_ids(rows: list[RuleRow]) -> list[str]:
    shown = [r for r in rows if r.state not in ("holds", "undecided")]
    return list(dict.fromkeys(i for r in shown for i in r.verdict.worst))


def _told(report: Report, rows: list[RuleRow], index: cases.Index, options: HtmlOptions) -> Set[str] | None:
    """Return the ids of the calls whose texts may be on the page, None where their number has no limit."""
    if options.most is None:
        return None
    order = island.preferred(report, index, _worst_ids(rows), everything=True)[: options.most]
    return {report.run.calls[row].id for row in order}


def _bodies_note(n: int, left_out: int, options: HtmlOptions) -> str:
    if options.bodies == "none":
        return f"{n:,} calls. Inputs and outputs are left out of this page; they are in calls.jsonl.gz."
    if left_out:
        return (
            f"{n:,} calls. Inputs and outputs of {n - left_out:,} are kept here (worst, failed, and a sample); "
            "all are in calls.jsonl.gz."
        )
    return f"{n:,} calls, each with its input and output."


@dataclass(frozen=True, slots=True)
class _Item:
    id: str
    title: str
    count: str | None = None
    state: str | None = None


def _contents(context: dict[str, Any]) -> list[_Item]:
    layers: list[_Layer] = context["layers"]
    broken = sum(r.state == "broken" for layer in layers for r in layer.open)
    count = sum(p[1] for p in context["problems"])
    problems = (count, _Item("problems", "Problems", f"{count:,}", "blind"))
    opened = sum(row.open for row in context["incidents"])
    early = context["report"].verdict == "error"
    items = [
        *([problems] if early else []),
        (True, _Item("rules", "Rules", f"{broken} broken" if broken else None, "broken")),
        (context["changes"], _Item("changes", "What changed")),
        (context["worst"], _Item("worst", "Worst cases")),
        *([] if early else [problems]),
        (context["case_rows"], _Item("cases", "Cases", f"{context['case_total']:,}")),
        (context["failures"] or context["errors"], _Item("failures", "Failures")),
        (context["history"], _Item("history", "History")),
        (context["latency"] or context["ttft"], _Item("latency", "Latency")),
        (context["breakdowns"], _Item("cost", "Cost and tokens")),
        (context["stages"], _Item("stages", "Stages")),
        (context["agents"], _Item("agents", "Agents")),
        (context["retrievals"], _Item("retrieval", "Retrieval")),
        (context["traces"], _Item("traces", "Traces", f"{context['trace_count']:,}")),
        (context["incidents"], _Item("incidents", "Incidents", f"{opened}" if opened else None, "broken")),
        (context["report"].run.calls, _Item("calls", "Calls", f"{len(context['report'].run.calls):,}")),
        *((True, _Item(f"own-{i}", title[:40])) for i, (title, _) in enumerate(context["own"], 1)),
        (True, _Item("about", "About")),
    ]
    return [item for there, item in items if there]
