"""``[[alert]]`` in budget.toml: conditions, quiet hours, templates; channels are names of the environment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import Formatter
from typing import Any

from pytest_llmwatch import budget_values as values
from pytest_llmwatch.budget_positions import Path
from pytest_llmwatch.budget_types import Alert, Condition
from pytest_llmwatch.budget_values import Source

FIELDS = (
    "severity", "category", "layer", "scope", "title", "sentence", "figures", "link", "runbook", "action", "since",
    "run", "kind", "incident",
)  # fmt: skip
"""What a message's template may name."""

MOST_TEMPLATE = 1_500
"""Characters of a template, as many as a message may have."""

_WHEN = re.compile(
    r"\s*(?P<rule>\S+)\s*(?P<op>>=|<=|>|<)\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|s|ms|min|usd)?\s*"
    r"(?P<share>of limit)?\s*"
)
_FACTORS = {None: 1.0, "%": 0.01, "s": 1.0, "ms": 0.001, "min": 60.0, "usd": 1.0}
_CHANNEL = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|plugin:[\w-]+")


def read_alerts(
    source: Source, rows: Iterable[tuple[Path, dict[str, Any]]], rules: list[str]
) -> tuple[Alert, ...]:
    """Return the alerts of a budget.

    Args:
        source: The file, for messages.
        rows: Path and checked fields of each ``[[alert]]``.
        rules: Ids of the budget's rules, for ``when``.

    Raises:
        BudgetError: A channel is written out, or a condition, time or template cannot be understood.
    """
    out: list[Alert] = []
    for index, (path, row) in enumerate(rows):
        for channel in row.get("to", ()):
            _check_channel(source, path, channel)
        if "when" in row:
            row["condition"] = _condition(source, (*path, "when"), row["when"], rules)
        if "quiet" in row:
            row["quiet_hours"] = _hours(source, (*path, "quiet"), row.pop("quiet"))
        if "template" in row:
            _check_template(source, (*path, "template"), row["template"])
        wait = row.pop("for", None)
        name = row.pop("name", f"alert-{index + 1}")
        if any(a.name == name for a in out):
            raise source.error((*path, "name"), f"alert.name: {name} is used twice", "budget-range")
        out.append(Alert(name=name, wait=wait, line=source.line(path), **row))
    return tuple(out)


def _check_channel(source: Source, path: Path, channel: str) -> None:
    if _CHANNEL.fullmatch(channel):
        return
    # the value itself is not shown: it may be the secret that should not be here
    raise source.error(
        (*path, "to"),
        "alert.to: an address of a channel holds its secret, which must not stand in a file; "
        'put it into an environment variable and write "env:NAME_OF_VARIABLE"',
        "alert-secret",
    )


def _condition(source: Source, path: Path, text: str, rules: list[str]) -> Condition:
    match = _WHEN.fullmatch(text)
    if match is None:
        raise source.bad(
            path,
            "a rule, an operator and a number, such as 'latency.p95 > 10 s', 'cost.day_usd > 80 % of limit'",
            text,
        )
    if match["rule"] not in rules:
        raise source.error(
            path,
            f"alert.when: {match['rule']} is not a rule of this budget{values.hint(match['rule'], rules)}",
            "alert-when",
        )
    threshold = float(match["number"]) * _FACTORS[match["unit"]]
    return Condition(match["rule"], match["op"], threshold, of_limit=match["share"] is not None)


def _hours(source: Source, path: Path, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d\d):(\d\d)\s*[-–]\s*(\d\d):(\d\d)(?:\s*UTC)?", text.strip())
    if match is None or int(match[1]) > 23 or int(match[3]) > 23 or int(match[2]) > 59 or int(match[4]) > 59:
        raise source.bad(path, "a span of the day in UTC, such as '22:00-06:00'", text)
    return int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])


def _check_template(source: Source, path: Path, text: str) -> None:
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise source.bad(path, f"a template with {{fields}} ({error})", text, slug="alert-template") from None
    if len(text) > MOST_TEMPLATE:
        raise source.error(
            path,
            f"alert.template has {len(text):,} characters; a message has {MOST_TEMPLATE:,} at most",
            "alert-template",
        )
    for _, name, spec, conversion in parts:
        if spec or conversion:
            # a width of a milliard would be the last thing that the build does
            raise source.bad(
                path, "a template with plain {fields}, without ':' or '!' in them", text, slug="alert-template"
            )
        if name not in FIELDS:
            raise source.bad(
                path, f"a template out of {', '.join('{' + f + '}' for f in FIELDS)}", text, slug="alert-template"
            )
