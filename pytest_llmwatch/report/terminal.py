"""The terminal section: the verdict in one look, broken rules first, and what to do next.

Lines are tuples of (text, markup) segments, so that pytest's own writer prints them; this module never
writes. Every width works: tables that do not fit are set as two lines per rule.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from pytest_llmwatch.model import Problem, Report
from pytest_llmwatch.report import breakdown, cases, incidents, stages, view
from pytest_llmwatch.report.github import inert
from pytest_llmwatch.report.text import one_line
from pytest_llmwatch.report.view import MARKS, RuleRow, State

Markup = dict[str, bool]
Segment = tuple[str, Markup]
Line = tuple[Segment, ...]

_FOLD = 30  # so many rules that hold are listed, more are counted
_WORST_RULES, _WORST_CASES = 4, 3
_COLORS: dict[State, Markup] = {
    "broken": {"red": True, "bold": True},
    "blind": {"purple": True, "bold": True},
    "warn": {"yellow": True, "bold": True},
    "undecided": {"cyan": True},
    "waived": {"yellow": True},
    "holds": {"green": True},
}
_VERDICT_STATE: dict[str, State] = {
    "pass": "holds", "warn": "warn", "fail": "broken", "inconclusive": "undecided", "error": "blind",
}  # fmt: skip
ASCII = str.maketrans({
    "≤": "<=", "≥": ">=", "–": "-", "−": "-", "…": "...", "·": "|", "→": "->", "±": "+-", "×": "x", "∞": "inf",
    "✓": "+", "✗": "x", "“": '"', "”": '"', "’": "'", "Δ": "delta", "█": "#", "—": "-", "\u00a0": " ",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class TerminalStyle:
    """How to print.

    ``verbosity`` is pytest's: -2 one line, -1 the verdict and broken rules, 0 all rules, 1 all with reasons.
    """

    width: int = 80
    color: bool = True
    ascii: bool = False
    verbosity: int = 0


def render(
    report: Report, style: TerminalStyle, outputs: Mapping[str, str] | None = None, incidents_at: str | None = None
) -> list[Line]:
    """Return the terminal section of ``report``.

    Args:
        report: What to show.
        style: Width, colour, characters, verbosity.
        outputs: What was written, label to path, as ``{"html report": "llmwatch-report/report.html"}``.
        incidents_at: Options with which ``llmwatch incidents`` finds the report's, "" for none; None where
            they were not noted.
    """
    lines = list(_lines(report, style, outputs or {}, incidents_at))
    return [_finish(line, style) for line in lines]


def plain(lines: Iterable[Line]) -> str:
    """Return the text of ``lines`` without markup, for logs and tests."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def _lines(
    report: Report, style: TerminalStyle, outputs: Mapping[str, str], incidents_at: str | None
) -> Iterator[Line]:
    rows = view.rules(report)
    if style.verbosity <= -2:
        yield _single(report, rows)
        return
    yield _header(report, style)
    yield from _wrapped(one_line(report.sentence), style, markup={"bold": True})
    yield from _wrapped(_facts(report), style)
    if report.run.partial:
        why = f": {one_line(report.run.partial_reason)}" if report.run.partial_reason else ""
        yield from _wrapped(f"partial run{why}", style, markup={"yellow": True})
    for note in report.notes:
        yield from _wrapped(f"note: {one_line(note)}", style)
    quiet = style.verbosity < 0
    shown = [r for r in rows if r.state in ("broken", "blind")] if quiet else rows
    if shown:
        yield ()
        yield from _rules(shown, style)
    yield from _incidents(report, style, incidents_at)
    yield from _problems(report.run.problems, style)
    if not quiet:
        yield from _stages(report, style)
        yield from _agents(report, style)
        yield from _worst(report, rows, style, outputs)
    yield from _close(report, rows, style, outputs)


def _single(report: Report, rows: list[RuleRow]) -> Line:
    word = report.verdict.upper() if report.verdict != "none" else "no budget"
    broken = ", ".join(r.rule for r in rows if r.state == "broken")
    rest = f": {one_line(broken)}" if broken else f" ({view.tally_text(rows)})" if rows else ""
    return (("llm quality gate: ", {}), (word, _color(report)), (rest, {}))


def _header(report: Report, style: TerminalStyle) -> Line:
    title = "llm quality gate: " if report.verdict != "none" else "llm calls: "
    word = report.verdict.upper() if report.verdict != "none" else "no budget given"
    fill = max(2, style.width - len(title) - len(word) - 2)
    left = fill // 2
    return (("=" * left + " " + title, {}), (word, _color(report)), (" " + "=" * (fill - left), {}))


def _color(report: Report) -> Markup:
    state = _VERDICT_STATE.get(report.verdict)
    return {**_COLORS[state], "bold": True} if state else {"bold": True}


def _facts(report: Report) -> str:
    parts = [f"run {report.run.run_id[:24]}"]
    for fact in view.facts(report):
        parts.append(f"{fact.text} ({fact.note})" if fact.note and fact.key == "cost" else fact.text)
    return one_line(" · ".join(parts))


# -- rules ------------------------------------------------------------------------------------------------


def _rules(rows: list[RuleRow], style: TerminalStyle) -> Iterator[Line]:
    table = _table(rows)
    lines = [_pad(line) for line in table[1:]] if table else []
    fits = bool(table) and max(map(len, table)) + 4 <= style.width
    text = {id(row): line for row, line in zip(rows, lines, strict=True)} if fits else {}
    if fits:
        yield (("    " + table[0], {"light": True}),)
    fold = style.verbosity <= 0 and sum(r.state == "holds" for r in rows) > _FOLD
    for layer, group in view.by_layer(rows):
        tally = f"  {view.tally_text(group)}"
        room = len(layer) + 2 + len(tally) <= style.width
        yield ((f"  {layer}", {"bold": True}), (tally if room else "", {"light": True}))
        for row, after in zip(group, [*group[1:], None], strict=True):
            if fold and row.state == "holds":
                continue
            yield from _rule(row, text.get(id(row)), style)
            # rules that ask for the same first action say so once, under the last of them
            if (action := _action(row)) and (after is None or _action(after) != action):
                yield from _wrapped(f"→ {one_line(action)}", style, indent=6, markup={"bold": True})
        if fold and (n := sum(r.state == "holds" for r in group)):
            yield (("  ✓ ", _COLORS["holds"]), (f"{n} more hold (-v lists them)", {"light": True}))


def _table(rows: list[RuleRow]) -> list[str]:
    columns = [
        ("rule", "left", [one_line(r.rule) for r in rows]),
        ("observed", "right", [r.observed for r in rows]),
        ("budget", "right", [r.limit for r in rows]),
        ("baseline", "right", [r.baseline or "" for r in rows]),
        ("delta", "right", [r.delta or "" for r in rows]),
        ("n", "right", [r.n for r in rows]),
    ]
    kept = [c for c in columns if any(c[2])]
    # figures are texts already: tabulate must neither parse nor align them by the decimal point
    with _whitespace_kept() as keep:
        out = tabulate(
            list(zip(*(c[2] for c in kept), strict=True)),
            headers=[c[0] for c in kept],
            tablefmt="plain",
            colalign=tuple(c[1] for c in kept),
            disable_numparse=True,
            **keep,
        )
    return out.splitlines()


@contextlib.contextmanager
def _whitespace_kept() -> Iterator[dict[str, Any]]:
    """Let tabulate keep spaces: by an argument since 0.10, by a switch of the module before."""
    if "preserve_whitespace" in inspect.signature(tabulate).parameters:
        yield {"preserve_whitespace": True}
        return
    module = sys.modules[tabulate.__module__]
    before = getattr(module, "PRESERVE_WHITESPACE", False)
    vars(module)["PRESERVE_WHITESPACE"] = True
    try:
        yield {}
    finally:
        vars(module)["PRESERVE_WHITESPACE"] = before


def _pad(line: str) -> str:
    return line.rstrip()


def _rule(row: RuleRow, table_line: str | None, style: TerminalStyle) -> Iterator[Line]:
    color = _COLORS[row.state]
    strong: Markup = {"bold": True} if row.state in ("broken", "blind") else {}
    if table_line is not None:
        yield ((f"  {row.mark} ", color), (table_line, strong))
    else:
        yield ((f"  {row.mark} ", color), (one_line(row.rule), strong))
        figures = f"{row.observed}, budget {row.limit}, n {row.n}"
        yield from _wrapped(figures, style, indent=6)
    said = row.plain and table_line is not None
    if style.verbosity >= 1 or (row.state != "holds" and not said):
        note = one_line(row.note)
        if row.interval and "[" not in note and "95 %" not in note:
            note = f"{note.rstrip('.')}; 95 % interval {row.interval}" if note else f"95 % interval {row.interval}"
        yield from _wrapped(note, style, indent=6)


def _action(row: RuleRow) -> str | None:
    return row.verdict.action if row.state == "broken" else None


# -- problems and worst cases -----------------------------------------------------------------------------


def _problems(problems: tuple[Problem, ...], style: TerminalStyle) -> Iterator[Line]:
    kinds = dict.fromkeys(p.kind for p in problems)
    if not kinds:
        return
    limit = 3 if style.verbosity < 1 else 20
    yield ()
    yield (("problems", {"bold": True}), (" (never counted as quality 0)", {"light": True}))
    for kind in kinds:
        found = [p for p in problems if p.kind == kind]
        yield (("  ? ", _COLORS["blind"]), (f"{kind.replace('_', ' ')} ({len(found):,})", {}))
        messages = list(dict.fromkeys(_problem_text(p) for p in found))
        for message in messages[:limit]:
            yield from _wrapped(message, style, indent=6)
        if len(messages) > limit:
            yield ((f"      … and {len(messages) - limit:,} more", {"light": True}),)


def _incidents(report: Report, style: TerminalStyle, at: str | None) -> Iterator[Line]:
    told = list(incidents.lines(report))
    if not told:
        return
    yield ()
    kept = at is not None and not report.run.partial  # the journal takes no partial run
    command = f" (llmwatch incidents show ID {at}".rstrip() + ")" if kept else ""
    yield (("incidents", {"bold": True}), (command, {"light": True}))
    limit = 5 if style.verbosity < 1 else 50
    for severity, text in told[:limit]:
        yield from _wrapped(f"{severity}  {one_line(text)}", style, indent=2, hang=8)
    if len(told) > limit:
        yield ((f"  … and {len(told) - limit:,} more", {"light": True}),)


def _stages(report: Report, style: TerminalStyle) -> Iterator[Line]:
    found = stages.stages(report.aggregates)
    if found is None:
        return
    yield ()
    yield (("stages", {"bold": True}),)
    rows = [tuple(one_line(cell, 60) for cell in row) for row in found.rows[: 5 if style.verbosity < 1 else None]]
    aligned = ("left", *("right" for _ in found.head[1:]))
    table = tabulate(rows, found.head, "plain", disable_numparse=True, colalign=aligned).splitlines()
    if max(map(len, table)) + 4 <= style.width:
        for line in table:
            yield (("    " + line.rstrip(), {}),)
    else:
        for row in rows:
            yield from _wrapped(f"{row[0]}: n {row[1]}, p95 {row[3]}, slow tail {row[4]}", style, indent=4)
    more = len(found.rows) - len(rows) + found.left_out
    if more:
        yield ((f"    … and {more:,} more stages", {"light": True}),)


def _agents(report: Report, style: TerminalStyle) -> Iterator[Line]:
    found = breakdown.agents(report.aggregates)
    if found is None:
        return
    yield ()
    yield (("agents and retrieval", {"bold": True}),)
    facts = (f"{label} {text}" + (f" ({note})" if note else "") for label, text, note in found.facts)
    yield from _wrapped(one_line(" · ".join(facts)), style, indent=2)
    rows = [tuple(one_line(cell, 60) for cell in row) for row in found.rows[: 5 if style.verbosity < 1 else None]]
    if not rows:
        return
    aligned = ("left", *("right" for _ in found.head[1:]))
    table = tabulate(rows, found.head, "plain", disable_numparse=True, colalign=aligned).splitlines()
    if max(map(len, table)) + 4 <= style.width:
        for line in table:
            yield (("    " + line.rstrip(), {}),)
    else:
        for row in rows:
            yield from _wrapped(f"{row[0]}: {row[1]} calls, {row[2]} failed", style, indent=4)
    if len(found.rows) > len(rows):
        yield ((f"    … and {len(found.rows) - len(rows):,} more tools (-v lists them)", {"light": True}),)


def _problem_text(problem: Problem) -> str:
    message = one_line(problem.message, 600)
    if problem.nodeid and problem.nodeid not in message:
        return f"{one_line(problem.nodeid, 200)}: {message}"
    return message


def _worst(
    report: Report, rows: list[RuleRow], style: TerminalStyle, outputs: Mapping[str, str]
) -> Iterator[Line]:
    index = cases.Index(report.run)
    page = next((path for path in outputs.values() if path.endswith(".html")), None)
    bad = [r for r in rows if r.state == "broken"]
    if not bad:
        bad = [r for r in rows if r.state == "warn" and r.verdict.layer == "quality"]
    seen: set[str] = set()
    shown = 0
    for row in bad:
        found = cases.worst_of(row.verdict, report.run, index)
        # a scope repeats its parent's cases: each is shown once
        new = [c for c in found if c.name not in seen][:_WORST_CASES]
        if not new or shown >= _WORST_RULES:
            continue
        shown += 1
        seen.update(c.name for c in new)
        yield ()
        count = f"{len(new)} of {len(found)}"
        yield (("worst cases for ", {}), (one_line(row.rule), {"bold": True}), (f" ({count}):", {}))
        for case in new:
            yield from _case(case, row, style, page)


def _case(case: cases.Worst, row: RuleRow, style: TerminalStyle, page: str | None) -> Iterator[Line]:
    figure = cases.figure(case, row.verdict)
    name = one_line(case.name, 160)
    link = one_line(f"{page}#c-{case.call_id}") if page and case.call_id else ""
    if len(name) + len(figure) + len(link) + 6 <= style.width:
        yield ((f"  {name}  ", {}), (figure, {"bold": True}), (f"  {link}", {"light": True}))
    else:
        yield from _wrapped(f"{name}  {figure}", style, indent=2, hang=4)
        if link:
            yield ((f"    {link}", {"light": True}),)
    if case.score is not None and case.score.explanation:
        yield from _wrapped(one_line(case.score.explanation, style.width * 2), style, indent=4)


# -- the end ----------------------------------------------------------------------------------------------


def _close(
    report: Report, rows: list[RuleRow], style: TerminalStyle, outputs: Mapping[str, str]
) -> Iterator[Line]:
    yield ()
    if outputs:
        yield from _wrapped(" · ".join(f"{label}: {path}" for label, path in outputs.items()), style)
    command = next_command(report, rows)
    if command:
        yield (("next: ", {"bold": True}), (command, {}))
    run = outputs.get("run")
    if run and accepts(report):
        yield (("accept as new baseline: ", {}), (f"llmwatch baseline accept {quote(run)} --reason '...'", {}))


def accepts(report: Report) -> bool:
    """Whether the run may become the baseline: it is whole, and something moved against a frozen one."""
    moved = (v.baseline is not None and v.verdict in ("fail", "warn") for v in report.verdicts)
    return not report.run.partial and not report.run.concurrent and any(moved)


def next_command(report: Report, rows: list[RuleRow]) -> str | None:
    """Return the one command that helps most now, or None where there is nothing to do."""
    if report.verdict == "none":
        return "llmwatch budget suggest > budget.toml, then pytest --llm-budget=budget.toml"
    kinds = {p.kind for p in report.run.problems}
    if "missing_recording" in kinds:
        return "pytest --llm-record=new records what is missing (paid calls, needs a key)"
    if "infrastructure" in kinds:
        return "llmwatch doctor says what can be reached, and with which key"
    broken = [r for r in rows if r.state == "broken"]
    if broken:
        index = cases.Index(report.run)
        for row in broken:
            for case in cases.worst_of(row.verdict, report.run, index):
                if case.result is not None and "::" in case.result.nodeid:
                    variant = report.run.environment.get("variant")
                    option = f" --llm-variant={quote(str(variant))}" if variant else ""
                    return f"pytest {quote(case.result.nodeid)}{option} runs the worst case alone"
        return None
    short = [r for r in rows if r.state == "undecided" and r.verdict.n and r.verdict.n_needed]
    if short:
        factor = max(math.ceil((r.verdict.n_needed or 0) / (r.verdict.n or 1)) for r in short)
        repeats = factor * (1 + max((x.repeat for x in report.run.results), default=0))
        return f"pytest --llm-repeats={repeats} would decide {one_line(', '.join(r.rule for r in short[:3]))}"
    return None


def quote(nodeid: str) -> str:
    """Return a node id safe to paste into a shell, control characters made visible."""
    text = one_line(nodeid)
    return text if re.fullmatch(r"[\w./:@%+=,-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _wrapped(
    text: str, style: TerminalStyle, *, indent: int = 0, hang: int | None = None, markup: Markup | None = None
) -> Iterator[Line]:
    lines = textwrap.wrap(
        text,
        max(20, style.width),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent if hang is None else hang),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        yield ((line, markup or {}),)


def _finish(line: Line, style: TerminalStyle) -> Line:
    segments = [(text, markup if style.color else {}) for text, markup in line if text]
    whole = "".join(text for text, _ in segments)
    if whole != (safe := inert(whole)):
        # what a model wrote must not command the runner of a CI job: the markup is given up for it
        segments = [(safe, {})]
    if not style.ascii:
        return tuple(segments)
    for state, (mark, simple) in MARKS.items():
        if segments and segments[0][0] == f"  {mark} " and line[0][1] == _COLORS[state]:
            segments[0] = (f"  {simple} ", segments[0][1])
    return tuple(
        (text.translate(ASCII).encode("ascii", "backslashreplace").decode("ascii"), markup)
        for text, markup in segments
    )
