"""The starting thresholds of the operations preset."""

from __future__ import annotations

import re

from pytest_llmwatch import operations
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.budget_grammar import LIMIT_TABLES, RULES


def test_the_preset_holds_the_published_figures() -> None:
    limits = {x.rule: (x.warn, x.fail) for x in parse_budget(operations.preset()).limits}
    assert limits == {
        "latency.p50": (2, 5),
        "latency.p95": (8, 15),
        "errors.rate": (0.02, 0.05),
        "errors.rate_limited": (0.01, 0.05),
    }


def test_commented_lines_are_good_toml_too() -> None:
    text = re.sub(r"(?m)^# (?=\[|[a-z0-9_]+ = )", "", operations.preset())
    budget = parse_budget(text)
    rules = {x.rule: x for x in budget.limits}
    assert (rules["quality.composite"].warn, rules["quality.composite"].fail) == (0.7, 0.5)
    assert rules["latency.max"].warn == 4
    assert rules["latency.max"].fail is None
    assert "cost.rate_critical" in rules
    assert (budget.cost.warn_at, budget.cost.critical_at) == (0.8, 0.95)


def test_every_rule_has_a_first_action() -> None:
    assert all(operations.action(s.table, s.key) for s in RULES)
    assert all(operations.action(table, "anything") for table in LIMIT_TABLES)
    assert operations.action("errors", "rate_limited") == "less concurrency, back off"
    assert operations.action("nothing", "x") is None
