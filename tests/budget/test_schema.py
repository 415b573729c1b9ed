"""The published JSON Schema says what the parser says, as far as a schema can."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any

import pytest

from pytest_llmwatch import budget_grammar as grammar
from pytest_llmwatch import operations, schema
from pytest_llmwatch.budget import budget_schema, parse_budget
from pytest_llmwatch.budget_grammar import RULES

GOOD = [
    operations.preset(),
    '[latency]\np95 = { warn = 1, fail = "2 s", test = true, min_n = 5 }',
    '[scope."tag:x".quality]\njson = 0.5\n[metric.m]\nmean = 1\ndirection = "floor"',
    '[quality]\nanything = 0.5\n[quality.weights]\njson = 1\n[throughput]\ntpm_quota = "headers"',
    '[[waiver]]\nrule = "cases.missing"\nreason = "r"\nexpires = 2026-01-01',
    '[prices.m]\ninput_per_million = 1\noutput_per_million = 2\n[[alert]]\nto = "env:X"\nfor = "1 min"',
    '[redact]\npatterns = [{ name = "a", regex = "b" }]',
    "\n".join(f"[{s.table}]\n{s.key} = 0.5" for s in RULES if s.key in ("p50", "rate", "run_usd", "mrr")),
]
BAD = [
    "[latency]\np59 = 1",
    "[latency]\np95 = -1",
    "[latency]\nmax = { fail = 1, test = true }",
    "[latency]\np95 = {}",
    "[errors]\nrate = 2",
    "[latncy]\np95 = 1",
    '[scope."featur:x".latency]\np95 = 1',
    '[scope."feature:x"]',
    '[scope."feature:x".gate]\nalpha = 0.1',
    "[metric.m]",
    '[gate]\ninconclusive = "no"',
    "[prices.m]\ninput_per_million = 1",
    '[[waiver]]\nrule = "a"\nreason = "b"',
]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


@pytest.mark.parametrize("text", GOOD)
def test_what_parses_is_valid(text: str) -> None:
    parse_budget(text, extra_scorers=["anything"])
    assert schema.issues(_plain(tomllib.loads(text)), budget_schema()) == []


@pytest.mark.parametrize("text", BAD)
def test_what_is_refused_is_invalid(text: str) -> None:
    with pytest.raises(Exception, match="llmwatch:budget"):
        parse_budget(text)
    assert schema.issues(_plain(tomllib.loads(text)), budget_schema())


def test_every_rule_is_described() -> None:
    properties = budget_schema()["properties"]
    assert all(properties[s.table]["properties"][s.key]["description"] == s.meaning for s in RULES)


def test_every_key_of_the_grammar_says_what_it_means() -> None:
    groups = {
        **grammar.SECTIONS,
        "cost": grammar.COST_SETTINGS,
        "agent": grammar.AGENT_SETTINGS,
        "judge": grammar.JUDGE_SETTINGS,
    }
    fields = {f"{name}.{key}": field.meaning for name, keys in groups.items() for key, field in keys.items()}
    rules = {f"{s.table}.{s.key}": s.meaning for s in grammar.RULES}
    assert len(fields) > 60
    assert [
        name for name, meaning in {**fields, **rules, **grammar.QUALITY_KEYS}.items() if len(meaning) < 5
    ] == []
