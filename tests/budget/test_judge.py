"""``[judge]``: settings and limits in one table, each mistake with its line."""

from __future__ import annotations

import tomllib

import jsonschema
import pytest

from pytest_llmwatch.budget import budget_schema, parse_budget
from pytest_llmwatch.errors import BudgetError

WHOLE = """
[judge]
model = "gpt-4o"
base_url = "https://judge.example/v1"
api = "responses"
share = 0.2
min_kappa = 0.5
min_labels = 80
calibration = ["a.json"]
run_usd = { warn = 0.1, fail = 0.5 }
calls = 100
error_rate = 0.05
[scope."feature:chat".judge]
run_usd = 0.2
"""


def test_settings_and_limits() -> None:
    budget = parse_budget(WHOLE)
    judge = budget.judge
    assert (judge.model, judge.base_url, judge.api) == ("gpt-4o", "https://judge.example/v1", "responses")
    assert (judge.share, judge.min_kappa, judge.min_labels, judge.calibration) == (0.2, 0.5, 80, ("a.json",))
    assert {x.rule: (x.layer, x.unit, x.fail, x.line) for x in budget.limits} == {
        "judge.run_usd": ("cost", "usd", 0.5, 10),
        "judge.calls": ("cost", "count", 100, 11),
        "judge.error_rate": ("availability", "ratio", 0.05, 12),
        "scope.feature:chat.judge.run_usd": ("cost", "usd", 0.2, 14),
    }
    bare = parse_budget("").judge
    assert (bare.model, bare.api, bare.share, bare.min_kappa, bare.min_labels) == (None, "chat", 1, 0.4, 50)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[judge]\nmodle = 'x'\n", "b.toml:2: judge.modle is not a known limit; did you mean model?"),
        ("[judge]\n\nshare = 2\n", "b.toml:3: judge.share must be"),
        ("[judge]\napi = 'both'\n", "b.toml:2: judge.api must be one of responses, chat"),
        ("[judge]\nmin_labels = 0\n", "b.toml:2: judge.min_labels must be"),
        ("[judge]\nmin_kappa = 'high'\n", "b.toml:2: judge.min_kappa must be"),
        ("[judge]\nerror_rate = 5\n", "b.toml:2: judge.error_rate must be"),
        ("[judge]\ncalls = { test = true, fail = 3 }\n", "b.toml:2: judge.calls is a fact and has no test"),
        ('[scope."feature:x".judge]\nmodel = "x"\n', "is set once, in [judge], for all scopes"),
    ],
)
def test_mistakes_are_one_line_with_their_place(text: str, says: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_budget(text, "b.toml")
    assert says in str(caught.value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), budget_schema())


def test_the_schema_takes_what_is_right() -> None:
    jsonschema.validate(tomllib.loads(WHOLE), budget_schema())
    assert "calls" in budget_schema()["properties"]["judge"]["properties"]
