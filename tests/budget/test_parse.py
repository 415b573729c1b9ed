"""What a budget.toml says, once read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmwatch.budget import check_scorers, empty_budget, load_budget, parse_budget
from pytest_llmwatch.budget_grammar import RULES, SCOPE_KINDS
from pytest_llmwatch.budget_types import Scope
from pytest_llmwatch.errors import BudgetError
from pytest_llmwatch.model import Price


def test_rules_have_their_toml_path_and_line() -> None:
    budget = parse_budget(
        """
[latency]
ttft_p95 = "800 ms"
p95 = { warn = 1, fail = "2 s", min_n = 20 }

[scope."feature:support".cost]
run_usd = 0.5
[scope."feature:support".quality]
json_schema = 0.9
[metric.depth]
p95 = 4
"""
    )
    by_rule = {x.rule: x for x in budget.limits}
    assert list(by_rule) == [
        "latency.ttft_p95",
        "latency.p95",
        "scope.feature:support.cost.run_usd",
        "scope.feature:support.quality.json_schema",
        "metric.depth.p95",
    ]
    assert by_rule["latency.ttft_p95"].fail == 0.8
    p95 = by_rule["latency.p95"]
    assert (p95.warn, p95.fail, p95.min_n, p95.line, p95.kind, p95.layer) == (1, 2, 20, 4, "test", "availability")
    cost = by_rule["scope.feature:support.cost.run_usd"]
    assert (cost.scope, cost.metric, cost.kind, cost.line) == (
        Scope("feature", "support"),
        "cost.run_usd",
        "fact",
        7,
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ('"800 ms"', 0.8),
        ('"2 s"', 2.0),
        ('"1 min"', 60.0),
        ('"1.5s"', 1.5),
        ('"1h"', 3600.0),
        ("0.25", 0.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_budget(f"[latency]\np95 = {text}").limits[0].fail == pytest.approx(seconds)


@pytest.mark.parametrize("spec", RULES, ids=lambda s: f"{s.table}.{s.key}")
def test_every_key_of_the_table_parses_alone_tiered_and_scoped(spec: object) -> None:
    assert hasattr(spec, "table")
    assert hasattr(spec, "key")
    table, key = spec.table, spec.key
    warn, fail = (0.7, 0.5) if getattr(spec, "direction", "") == "floor" else (0.5, 0.7)
    tiers = f"{key} = {{ warn = {warn}, fail = {fail}, test = false, min_n = 3 }}"
    for header in (f"[{table}]", f'[scope."tag:hard".{table}]'):
        single = parse_budget(f"{header}\n{key} = 0.5").limits
        both = parse_budget(f"{header}\n{tiers}").limits
        assert single[0].fail == 0.5
        assert single[0].warn is None
        assert (both[0].warn, both[0].fail, both[0].kind) == (warn, fail, "fact")


@pytest.mark.parametrize("kind", SCOPE_KINDS)
def test_every_kind_of_scope(kind: str) -> None:
    limit = parse_budget(f'[scope."{kind}:a:b".errors]\nrate = 0.1').limits[0]
    assert limit.scope == Scope(kind, "a:b")
    assert limit.rule == f"scope.{kind}:a:b.errors.rate"


EVERYTHING = """
[gate]
alpha = 0.05
inconclusive = "fail"
min_effect = 0.03
margin = 0.1
allow_empty = true
exit_code = 1
[model]
model = "m"
base_url = "http://localhost:1/v1"
api = "chat"
prompt_version = "v2"
[cost]
run_usd = 1
day_usd = 24
warn_at = 0.5
critical_at = 0.9
rate_warn = 1.2
rate_critical = 1.5
[throughput]
tpm_quota = 6000
rpm_quota = "headers"
[quality]
composite = { warn = 0.7, fail = 0.5 }
[quality.weights]
json = 0.5
relevance = 0
[drift]
baseline = "b.json"
metrics = ["relevance", "latency", "cost_usd"]
margin = 0.05
min_effect = 0.02
repeats = 3
[prices."my-model"]
input_per_million = 0.1
output_per_million = 0.4
date = 2026-01-01
[redact]
pii = false
[redact.patterns]
employee = "E[0-9]{6}"
[capture]
include = ["*/v1/*"]
exclude = ["*/health"]
base_urls = "http://localhost:1"
[report]
dir = "out"
body_share = 0.1
[store]
url = "sqlite:///x.db"
keep_days = 30
[[alert]]
name = "pager"
to = ["env:PAGER_URL"]
severity = ["SEV1", "SEV2"]
for = "2 min"
[[runbook]]
category = "latency"
mitigation = ["do this"]
minutes = 15
[[waiver]]
rule = "cost.run_usd"
reason = "known"
expires = 2026-12-31
"""


def test_all_sections() -> None:
    budget = parse_budget(EVERYTHING)
    assert (budget.gate.alpha, budget.gate.inconclusive, budget.gate.exit_code) == (0.05, "fail", 1)
    assert budget.gate.allow_empty
    assert (budget.model.model, budget.model.api) == ("m", "chat")
    assert (budget.cost.warn_at, budget.cost.rate_critical) == (0.5, 1.5)
    assert budget.weights == {"json": 0.5, "relevance": 0}
    assert budget.drift is not None
    assert budget.drift.metrics == ("relevance", "latency", "cost_usd")
    assert budget.prices == {"my-model": Price(0.1, 0.4, None, "budget.toml", "2026-01-01")}
    assert budget.redact.patterns == (("employee", "E[0-9]{6}"),)
    assert not budget.redact.pii
    assert budget.capture.base_urls == ("http://localhost:1",)
    assert budget.alerts[0].wait == 120
    assert budget.runbooks[0].minutes == 15
    assert budget.waivers[0].expires == "2026-12-31"
    rate = budget.limit("cost.rate_critical")
    assert rate is not None
    assert (rate.reference, rate.warn, rate.fail) == (1.0, 1.2, 1.5)
    quota = budget.limit("throughput.tpm_quota")
    assert quota is not None
    assert (quota.reference, quota.warn, quota.fail) == (6000, 0.8, 0.95)


def test_kinds_can_be_switched_where_there_is_a_test() -> None:
    budget = parse_budget("[latency]\np95 = { fail = 1, test = false }\np50 = { fail = 1, test = true }")
    assert [x.kind for x in budget.limits] == ["fact", "test"]


def test_an_error_rate_of_zero_is_a_fact() -> None:
    assert parse_budget("[errors]\nrate = 0").limits[0].kind == "fact"
    assert parse_budget("[errors]\nrate = 0.01").limits[0].kind == "test"


def test_direction_of_a_metrics_mean() -> None:
    budget = parse_budget(
        '[metric.a]\nmean = 1\n[metric.b]\nmean = 1\ndirection = "floor"\n'
        "[metric.c]\nmean = { warn = 2, fail = 1 }\n[metric.d]\nmin = 1"
    )
    assert [x.direction for x in budget.limits] == ["ceiling", "floor", "floor", "floor"]


def test_an_empty_file_is_a_budget_without_rules() -> None:
    assert parse_budget("").empty
    assert empty_budget().empty
    assert not parse_budget("[drift]").empty


def test_scorers_given_by_the_caller(tmp_path: Path) -> None:
    file = tmp_path / "budget.toml"
    file.write_text("[quality]\ntone = 0.5\n")
    with pytest.raises(BudgetError, match=r"quality\.tone is not a known scorer"):
        load_budget(file)
    assert load_budget(file, extra_scorers=["tone"]).limits[0].rule == "quality.tone"
    assert load_budget(file, scorers=["tone"]).limits[0].rule == "quality.tone"
    deferred = load_budget(file, defer_scorers=True)
    check_scorers(deferred, ["tone"])
    with pytest.raises(BudgetError) as caught:
        check_scorers(deferred, ["tune"])
    assert caught.value.one_line().endswith(
        "budget.toml:2: quality.tone is not a known scorer; did you mean tune? [llmwatch:budget-scorer]"
    )


def test_plugins_defer_the_check_of_scorers() -> None:
    text = '[plugins]\nmodules = ["mine"]\n[quality]\ntone = 0.5\n'
    assert parse_budget(text).limits[0].key == "tone"
    with pytest.raises(BudgetError, match="tone is not a known scorer"):
        parse_budget(text, extra_scorers=[])


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    file.write_bytes(b"\xef\xbb\xbf[latency]\r\n\r\np95 = 1\r\n")
    assert load_budget(file).limits[0].line == 3
