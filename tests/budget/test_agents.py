"""The rules of agents, retrieval and throughput, and the one setting among them."""

from __future__ import annotations

import jsonschema
import pytest

from pytest_llmwatch.budget import budget_schema, parse_budget
from pytest_llmwatch.budget_grammar import RULES, rule_spec
from pytest_llmwatch.errors import BudgetError
from pytest_llmwatch.measure import figure, slice_of
from pytest_llmwatch.model import Run

CONTRACT = {
    "throughput": "tokens_per_minute calls_per_minute",
    "outcome": "success_rate reask_rate correction_rate escalation_rate thumbs_down_rate",
    "agent": "steps_per_task tool_calls_per_task tool_error_rate invalid_arguments unauthorised_tools loops "
    "fallback_rate cache_hit_rate task_success",
    "retrieval": "hit_rate hit_at_1 mrr empty_rate",
}
FLOORS = {"tokens_per_minute", "calls_per_minute", "success_rate", "cache_hit_rate", "task_success", "hit_rate",
          "hit_at_1", "mrr"}  # fmt: skip


@pytest.mark.parametrize(("table", "key"), [(t, k) for t, keys in CONTRACT.items() for k in keys.split()])
def test_every_promised_key_is_a_rule(table: str, key: str) -> None:
    spec = rule_spec(table, key)
    assert spec is not None
    assert (spec.direction, spec.kind) == ("floor" if key in FLOORS else "ceiling", "fact")


@pytest.mark.parametrize("table", ["throughput", "outcome", "agent", "retrieval"])
def test_every_rule_can_stand_in_a_scope_and_has_a_figure(table: str) -> None:
    rows = "\n".join(f"{s.key} = 0.5" for s in RULES if s.table == table)
    budget = parse_budget(f'[{table}]\n{rows}\n[scope."feature:x".{table}]\n{rows}\n')
    assert len(budget.limits) == 2 * len(rows.splitlines())
    part = slice_of(Run("r", ""))
    assert {figure(limit, part).reason for limit in budget.limits} == {"not_measured"}


def test_side_effects_are_named_once_for_all_scopes() -> None:
    text = """
[agent]
side_effects = ["send_*", "pay"]
repeated_side_effects = 0
loops = 0
[scope."feature:mail".agent]
repeated_side_effects = 0
"""
    budget = parse_budget(text)
    assert {x.rule: x.names for x in budget.limits} == {
        "agent.repeated_side_effects": ("send_*", "pay"),
        "agent.loops": (),
        "scope.feature:mail.agent.repeated_side_effects": ("send_*", "pay"),
    }
    assert parse_budget('[agent]\nside_effects = "pay"\nrepeated_side_effects = 0').limits[0].names == ("pay",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[agent]\nside_effects = 3\nrepeated_side_effects = 0", "a list of strings"),
        ('[agent]\nside_effect = ["x"]', "did you mean side_effects"),
        ('[scope."feature:x".agent]\nside_effects = ["x"]', "is set once, in [agent]"),
    ],
)
def test_a_wrong_setting_is_refused(text: str, says: str) -> None:
    with pytest.raises(BudgetError, match=r"budget\.toml:2") as caught:
        parse_budget(text)
    assert says in caught.value.one_line()


def test_the_schema_knows_the_setting() -> None:
    check = jsonschema.Draft202012Validator(budget_schema()).is_valid
    assert check({"agent": {"side_effects": ["pay"], "loops": 0, "step_time_p95": "2 s"}})
    assert not check({"agent": {"side_effects": 3}})
    assert not check({"scope": {"feature:x": {"agent": {"side_effects": ["pay"]}}}})
