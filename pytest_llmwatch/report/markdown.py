"""summary.md: for the pull request. Verdict first, only what is not well, the rest folded.

Everything that a model or a test wrote is escaped: it cannot form Markdown or HTML, mention people, load an
image, link anywhere, or close the fold it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_llmwatch.model import Report
from pytest_llmwatch.report import cases, incidents, view
from pytest_llmwatch.report.text import one_line
from pytest_llmwatch.report.view import RuleRow

MARKER = "<!-- pytest-llmwatch summary -->"
"""First line of every summary: a job that comments on a pull request finds its own comment by it."""

_MAX_CHARS = 60_000  # a comment may hold 65,536
_CUT = "The rest does not fit into a comment; it is in run.json and in the report."
_ICONS = {"broken": "❌", "blind": "❓", "warn": "⚠️", "undecided": "➖", "waived": "🟡", "holds": "✅"}
_WORDS = {"pass": "✅ PASS", "warn": "⚠️ WARN", "fail": "❌ FAIL", "inconclusive": "➖ INCONCLUSIVE",
          "error": "❓ NOT JUDGED", "none": "NO BUDGET"}  # fmt: skip
_ALERTS = {"fail": "CAUTION", "error": "IMPORTANT", "warn": "WARNING", "inconclusive": "NOTE"}
_TOLD = {
    "CAUTION": "A rule of the budget broke.",
    "IMPORTANT": "The gate could not do its work: this says nothing about quality.",
    "WARNING": "Inside the limits, and worth a look.",
    "NOTE": "The data cannot tell; more cases or repeats would.",
}
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
_LEADING = re.compile(r"^([#+=>-]|\d+(?=[.)](?:\s|$)))")
# invisible; mentions, references and links are found in rendered text, so entities would not stop them
_JOINER = "\u2060"
_LINKED = re.compile(r"(@|#(?=\d)|GH(?=-\d)|:(?=//)|www(?=\.)|(?:mailto|xmpp)(?=:))", re.IGNORECASE)


def render(report: Report) -> str:
    """Return summary.md of ``report``, at most 60,000 characters."""
    rows = view.rules(report)
    parts = [MARKER, *_head(report, rows), *_bad(report, rows), *_incidents(report)]
    parts += [*_problems(report), *_folded(report, rows)]
    text = "\n".join(parts) + "\n"
    if len(text) <= _MAX_CHARS:
        return text
    worst = sorted(rows, key=lambda r: r.state != "broken")
    while len(text) > _MAX_CHARS and worst:
        worst = worst[: len(worst) // 2]
        text = "\n".join([MARKER, *_head(report, rows), *_bad(report, worst), "", _CUT]) + "\n"
    return text


def escape(text: str, limit: int = 300) -> str:
    """Return foreign text as inert Markdown on one line: no markup, no HTML, no mention, no link."""
    line = one_line(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _LEADING.sub(lambda m: m[1] + "\\" if m[1].isdigit() else "\\" + m[1], _SPECIAL.sub(r"\\\1", line))
    return _LINKED.sub(rf"\1{_JOINER}", line)


def code(text: str, limit: int = 300) -> str:
    """Return text as inline code, where nothing is linked or mentioned: for whatever a model wrote."""
    line = one_line(text, limit).replace("`", "ˋ")
    return f"`{line}`" if line else ""


def _head(report: Report, rows: list[RuleRow]) -> Iterator[str]:
    title = report.presentation.title
    head = f"{escape(title)}: " if title else ""
    yield f"### {head}{_WORDS[report.verdict]}: {escape(report.sentence, 1000)}"
    yield ""
    facts = [f"run {code(report.run.run_id[:24])}"]
    facts += [escape(f"{f.text} ({f.note})" if f.note else f.text) for f in view.facts(report)]
    yield " · ".join(facts)
    if report.run.partial:
        yield ""
        yield f"**Partial run**: {escape(report.run.partial_reason or 'not everything was run')}"
    if rows:
        yield ""
        yield f"Rules: {view.tally_text(rows)}."
    yield from _alert(report, rows)
    for note in report.notes:
        yield ""
        yield f"> {escape(note, 1000)}"


def _alert(report: Report, rows: list[RuleRow]) -> Iterator[str]:
    """Yield a block that is coloured by the tier, with what to do first; nothing where all is well."""
    kind = _ALERTS.get(report.verdict)
    if kind is None:
        return
    broken = [r for r in rows if r.state == "broken"]
    actions = list(dict.fromkeys(r.verdict.action for r in broken if r.verdict.action))
    yield ""
    yield f"> [!{kind}]"
    for action in actions[:3]:
        yield f"> - {escape(action)}"
    if not actions:
        yield f"> {_TOLD[kind]}"


def _bad(report: Report, rows: list[RuleRow]) -> Iterator[str]:
    bad = _shown(rows)
    if not bad:
        return
    yield ""
    yield from _table(bad, note=True)
    index = cases.Index(report.run)
    for row in bad:
        found = cases.worst_of(row.verdict, report.run, index) if row.state == "broken" else []
        if not found:
            continue
        yield ""
        yield f"**Worst cases for {code(row.rule)}**"
        yield ""
        for case in found[:3]:
            why = f": {code(case.score.explanation)}" if case.score and case.score.explanation else ""
            yield f"- {code(case.name)} **{escape(cases.figure(case, row.verdict))}**{why}"


def _shown(rows: list[RuleRow]) -> list[RuleRow]:
    """Return the rules that a reader has to know: what changed for the worse, else what is undecided."""
    changed = [r for r in rows if r.state in ("broken", "blind", "warn")]
    return changed or [r for r in rows if r.state == "undecided"]


def _table(rows: list[RuleRow], *, note: bool) -> Iterator[str]:
    drift = any(r.baseline for r in rows)
    head = ["", "rule", "observed", "budget", *(["baseline", "delta"] if drift else []), "n"]
    aligned = ["---", "---", *["---:"] * (len(head) - 2)]
    if note:
        head, aligned = [*head, "because"], [*aligned, "---"]
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join(aligned) + " |"
    for row in rows:
        rule = code(row.rule).replace("|", "\\|")
        cells = [f"{_ICONS[row.state]} {row.word}", rule, escape(row.observed), escape(row.limit)]
        if drift:
            cells += [escape(row.baseline or ""), escape(row.delta or "")]
        cells.append(row.n)
        if note:
            action = f" **{escape(row.verdict.action)}**" if row.state == "broken" and row.verdict.action else ""
            cells.append(escape(row.note, 500) + action)
        yield "| " + " | ".join(cells) + " |"


def _incidents(report: Report) -> Iterator[str]:
    if not report.incidents:
        return
    yield ""
    yield f"**Incidents** ({len(report.incidents)}, one per cause)"
    yield ""
    for row in incidents.rows(report)[:10]:
        i = row.incident
        icon = _ICONS["broken" if row.state == "broken" else "warn" if row.state == "warn" else "holds"]
        yield f"- {icon} {i.severity} **{escape(i.title)}** {code(i.id)}, {i.state}: {escape(row.what, 400)}"
        if told := "; ".join(t for t in (row.seen, row.extent) if t):
            yield f"  - {escape(told, 400)}"
        if row.causes:
            yield f"  - likely causes: {escape('; '.join(row.causes), 400)}"
        if row.actions:
            yield f"  - do: {escape('; '.join(row.actions[:3]))}"
        if row.url:
            yield f"  - runbook: <{row.url}>"
    if len(report.incidents) > 10:
        yield f"- and {len(report.incidents) - 10} more in the report"


def _problems(report: Report) -> Iterator[str]:
    if not report.run.problems:
        return
    yield ""
    yield f"**Problems** ({len(report.run.problems):,}, never counted as quality 0)"
    yield ""
    seen = dict.fromkeys((p.kind, p.message) for p in report.run.problems)
    for kind, message in list(seen)[:5]:
        yield f"- {escape(kind.replace('_', ' '))}: {code(message, 400)}"
    if len(seen) > 5:
        yield f"- and {len(seen) - 5:,} more"


def _folded(report: Report, rows: list[RuleRow]) -> Iterator[str]:
    shown = {id(r) for r in _shown(rows)}
    rest = [r for r in rows if r.state != "holds" and id(r) not in shown]
    if rest:
        yield from _fold(view.tally_text(rest), _table(rest, note=True))
    holds = [r for r in rows if r.state == "holds"]
    if holds:
        yield from _fold(f"{len(holds)} {'rule holds' if len(holds) == 1 else 'rules hold'}",
                         _table(holds, note=False))  # fmt: skip
    groups = cases.failures(report.run)
    if groups:
        count = sum(len(g.results) for g in groups)
        yield from _fold(f"{count:,} failed {'test' if count == 1 else 'tests'}, by reason", _failures(groups))
    if report.run.environment:
        env = (f"- {escape(str(k))}: {escape(str(v))}" for k, v in sorted(report.run.environment.items()))
        yield from _fold("environment", env)


def _fold(title: str, body: Iterator[str]) -> Iterator[str]:
    yield ""
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield from body
    yield ""
    yield "</details>"


def _failures(groups: list[cases.FailureGroup]) -> Iterator[str]:
    for group in groups[:20]:
        names = ", ".join(code(r.nodeid, 120) for r in group.results[:3])
        more = f" and {len(group.results) - 3:,} more" if len(group.results) > 3 else ""
        yield f"- {len(group.results)} × {code(group.reason)}: {names}{more}"
