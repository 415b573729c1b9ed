"""The text of a message: what, how much, since when, where to look, what to do. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from pytest_llmwatch.alerts.memory import Message

MOST_FIGURES = 5
MOST_CHARACTERS = 1_500
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def title(message: Message) -> str:
    """Return the headline: ``[SEV2] latency spike: latency.p95``; a recovery says that it is over."""
    lead = "RESOLVED" if message.kind == "recovery" else message.notice.severity
    return _clean(f"[{lead}] {message.notice.title}", 200)


def body(message: Message) -> str:
    """Return the text, by the rule's own template where it has one."""
    fields = _fields(message)
    if message.template is not None and message.kind == "alert":
        # checked when the budget is read, but a message may have waited in the store since another version
        try:
            return _clean(message.template.format_map(fields))
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            why = f"(the template of this alert cannot be used: {type(error).__name__}: {error})"
            return _clean(f"{body(replace(message, template=None))}\n{why}")
    notice = message.notice
    lines = [fields["sentence"]]
    lines += [f"- {figure.text()}" for figure in notice.figures[:MOST_FIGURES]]
    if len(notice.figures) > MOST_FIGURES:
        lines.append(f"- and {len(notice.figures) - MOST_FIGURES} more")
    for label, key in (
        ("scope", "scope"),
        ("since", "since"),
        ("incident", "incident"),
        ("first action", "action"),
        ("runbook", "runbook"),
        ("report", "link"),
        ("run", "run"),
    ):
        if fields[key]:
            lines.append(f"{label}: {fields[key]}")
    return _clean("\n".join(lines))


def _fields(message: Message) -> dict[str, str]:
    notice = message.notice
    return {
        "severity": notice.severity,
        "category": notice.category,
        "layer": ", ".join(notice.layers),
        "scope": ", ".join(notice.scopes),
        "title": notice.title,
        "sentence": notice.sentence,
        "figures": "; ".join(f.text() for f in notice.figures[:MOST_FIGURES]),
        "link": notice.link or "",
        "runbook": notice.runbook or "",
        "action": notice.action or "",
        "since": notice.since or "",
        "incident": notice.incident or "",
        "run": message.run,
        "kind": message.kind,
    }


def _clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return ``text`` without control characters and cut: names in it may come from a model or a user."""
    plain = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    return plain if len(plain) <= most else plain[: most - 1] + "…"
