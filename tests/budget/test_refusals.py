"""Every mistake in a budget is one clean line: file, line, value, rule, nearest right name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmwatch.budget import load_budget, parse_budget
from pytest_llmwatch.budget_values import nearest
from pytest_llmwatch.errors import BudgetError, UsageError

L = "[latency]\n"
CASES = [
    (L + "p59 = 3", "2: latency.p59 is not a known limit; did you mean p95?", "budget-key"),
    (L + "\n\n p95 = -3", "4: latency.p95 must be a duration > 0 (got -3)", "budget-range"),
    (L + "p95 = 0", "2: latency.p95 must be a duration > 0 (got 0)", "budget-range"),
    (L + "p95 = true", "2: latency.p95 must be a duration > 0 (got true)", "budget-type"),
    (L + "p95 = nan", "2: latency.p95 must be a duration > 0 (got nan)", "budget-range"),
    (L + 'p95 = "2 sek"', '2: latency.p95 must be a duration > 0 (got "2 sek"); units are', "budget-type"),
    (L + 'p95 = "fast"', "write seconds, or", "budget-type"),
    (L + "p95 = [1]", "2: latency.p95 must be a duration > 0 (got [1])", "budget-type"),
    (L + "p95 = { wran = 1 }", "p95.wran is not a known part of a limit; did you mean warn?", "budget-key"),
    (L + "p95 = {}", "2: latency.p95 needs warn or fail, or both", "budget-missing-key"),
    (L + "p95 = { warn = 2, fail = 1 }", "warn must be below fail (got warn = 2, fail", "budget-contradiction"),
    (L + "p95 = { warn = 1, fail = 1 }", "it could never warn", "budget-contradiction"),
    (L + "p95 = { fail = 1, min_n = 0 }", "latency.p95.min_n must be between 1 and", "budget-undecidable"),
    (L + "p95 = { fail = 1, min_n = 1e3 }", "latency.p95.min_n must be a whole number", "budget-type"),
    (L + "p95 = { fail = 1, test = 1 }", "latency.p95.test must be true or false (got 1)", "budget-type"),
    (L + "max = { fail = 1, test = true }", "latency.max is a fact and has no test", "budget-undecidable"),
    ("[quality]\njson = { fail = 0.5, test = true }", "[drift] tests quality", "budget-undecidable"),
    ("[errors]\nrate = { fail = 0, test = true }", "no number of calls can prove a rate of", "budget-undecidable"),
    ("[quality]\ncomposite = { warn = 0.5, fail = 0.7 }", "warn must be above fail", "budget-contradiction"),
    ("[quality]\nrelevence = 0.5", "is not a known scorer; did you mean relevance?", "budget-scorer"),
    ("[quality.weights]\njson = 0\nrelevance = 0", "quality.weights are all zero", "budget-contradiction"),
    ("[quality.weights]\njson = -1", "quality.weights.json must be a weight >= 0 (got -1)", "budget-range"),
    ("[quality.weights]\njsno = 1", "did you mean json?", "budget-scorer"),
    ("[errors]\nrate = 2", "2: errors.rate must be a share between 0 and 1 (got 2); write 0.02", "budget-range"),
    ("[cost]\nrun_usd = -1", "cost.run_usd must be a number >= 0 (got -1)", "budget-range"),
    ("[cost]\np95 = 1", "cost.p95 is not a known limit; p95 belongs to [latency]", "budget-key"),
    ("[cost]\nwarn_at = 0.95\ncritical_at = 0.9", "warn_at must be below critical_at", "budget-contradiction"),
    ("[cost]\nwarn_at = 80", "write 0.8 for 80 %", "budget-range"),
    ("[cost]\nrate_warn = 1.2", "give cost.day_usd, month_usd or per_hour_usd", "budget-contradiction"),
    ("[latncy]\np95 = 1", "1: [latncy] is not a known table; did you mean [latency]?", "budget-key"),
    ("p95 = 1", "1: p95 must stand in a table; write it under [latency]", "budget-key"),
    ("latency = 3", "latency must be a table (got 3); write [latency]", "budget-type"),
    ("[gate]\nalpha = 0", "gate.alpha must be in (0, 0.5] (got 0", "budget-range"),
    ("[gate]\nalpha = 0.6", "gate.alpha must be in (0, 0.5] (got 0.6)", "budget-range"),
    ("[gate]\nalhpa = 0.1", "gate.alhpa is not a known setting of [gate]; did you mean alpha?", "budget-key"),
    ("[gate]\nexit_code = 0", "gate.exit_code must be at least 1 (got 0)", "budget-range"),
    ('[gate]\ninconclusive = "wran"', "must be one of warn, fail, pass", "budget-range"),
    ('[scope."featur:x".latency]\np95 = 1', "did you mean feature?", "budget-scope"),
    ('[scope."feature".latency]\np95 = 1', "must name a slice", "budget-scope"),
    ('[scope."feature:".latency]\np95 = 1', "must name a slice", "budget-scope"),
    ('[scope."feature:x".gate]\nalpha = 0.1', "is not a table of limits", "budget-key"),
    ('[scope."feature:x"]', "has no limit", "budget-missing-key"),
    ('[scope."feature:x".latency]\np59 = 1', "2: scope.feature:x.latency.p59 is not a known limit", "budget-key"),
    ("[metric.depth]", "[metric.depth] has no limit", "budget-missing-key"),
    ("[metric.depth]\np59 = 1", "is not a known limit of a metric; did you mean p95?", "budget-key"),
    ('[drift]\nmetrics = ["relevnce"]', "relevnce is not a known metric; did you mean rel", "budget-scorer"),
    ("[drift]\nmargin = 0.01\nmin_effect = 0.02", "min_effect must not exceed margin", "budget-contradiction"),
    ("[throughput]\ntpm_quota = 0", "must be a quota > 0 a minute", "budget-range"),
    ('[prices."m"]\ninput_per_million = 1', "needs output_per_million", "budget-missing-key"),
    ('[prices."m"]\ninput_per_million = -1\noutput_per_million = 1', "must be at least 0", "budget-range"),
    ('[redact.patterns]\nx = "("', "must be a regular expression", "budget-range"),
    ('[[alert]]\nseverity = ["SEV5"]', "must be a list out of SEV1", "budget-range"),
    ("[[runbook]]\nminutes = 1", "[[runbook]] needs category or rule", "budget-missing-key"),
    ("[waiver]\nrule = 1", "write [[waiver]]", "budget-type"),
    ("a = ", "1: not valid TOML", "budget-syntax"),
    (L + "p95 = 1\np95 = 2", "3: not valid TOML: cannot overwrite a value", "budget-syntax"),
    (L + "p95 = .5", "a number needs a digit before its point", "budget-syntax"),
    (L + 'p95 = "x', "not valid TOML", "budget-syntax"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says", "slug"), CASES, ids=[c[1][:40] for c in CASES])
def test_one_clean_line(text: str, says: str, slug: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_budget(text, "budget.toml")
    line = str(caught.value)
    assert isinstance(caught.value, UsageError)
    assert line.startswith("budget.toml:")
    assert says in line
    assert line.endswith(f"[llmwatch:{slug}]")
    assert "\n" not in line


WAIVER = '[latency]\np95 = 1\n[[waiver]]\nrule = "{rule}"\nreason = "r"\nexpires = {expires}\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WAIVER.format(rule="latency.p59", expires="2026-01-01"), "did you mean latency.p95?"),
        (WAIVER.format(rule="latency.p95", expires='"soon"'), "must be a date such as 2026-12-31"),
        ('[latency]\np95 = 1\n[[waiver]]\nrule = "latency.p95"\nreason = "r"', "[[waiver]] needs expires"),
        ('[latency]\np95 = 1\n[[waiver]]\nrule = "latency.p95"\nexpires = 2026-01-01', "[[waiver]] needs reason"),
    ],
)
def test_waivers_need_a_known_rule_a_reason_and_a_date(text: str, says: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_budget(text)
    assert says in str(caught.value)
    assert parse_budget(WAIVER.format(rule="latency.p95", expires="2026-01-01")).waivers[0].line == 3


def test_missing_file_names_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "budget.toml").write_text("")
    with pytest.raises(BudgetError) as caught:
        load_budget(tmp_path / "bugdet.toml", display="bugdet.toml")
    assert str(caught.value) == (
        "bugdet.toml: no such budget file; `llmwatch init` writes one; did you mean budget.toml? "
        "[llmwatch:budget-missing]"
    )


def test_a_folder_and_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="cannot read the budget file"):
        load_budget(tmp_path)
    file = tmp_path / "b.toml"
    file.write_bytes(b'[gate]\n# caf\xe9\nalpha = "x"\n')
    with pytest.raises(BudgetError) as caught:
        load_budget(file, display="b.toml")
    assert str(caught.value).startswith("b.toml:2: the file must be UTF-8 (byte 0xe9 is not)")


def test_deep_nesting_is_refused_without_a_traceback() -> None:
    with pytest.raises(BudgetError):
        parse_budget("a = " + "[" * 5000 + "]" * 5000)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("p59", "p95"),
        ("p9", "p95"),
        ("ttft95", "ttft_p95"),
        ("tokens_per_sec", "tokens_per_second"),
        ("zzz", None),
    ],
)
def test_nearest_name(slip: str, meant: str | None) -> None:
    assert nearest(slip, ["p50", "p95", "p99", "ttft_p50", "ttft_p95", "max", "tokens_per_second"]) == meant
