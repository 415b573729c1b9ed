"""Rules that are facts: this run's own unrounded figure, from n = 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_llmwatch.model import Cost, Retrieval, Score, ToolCall, Usage, UserOutcome

Any_ = Callable[..., Any]


def test_unrounded_numbers_are_compared_and_shown_apart(judge: Any_, call: Any_) -> None:
    v = judge("[latency]\nmax = 1.80", [call(0, latency=1.8004)])["latency.max"]
    assert v.verdict == "fail"
    assert v.because == "latency.max 1.8004 s is over 1.80 s (1 call)"
    assert judge("[latency]\nmax = 1.80", [call(0, latency=1.8)])["latency.max"].verdict == "pass"


def test_sums_means_and_dearest(judge: Any_, call: Any_) -> None:
    calls = [call(0, usd=0.01), call(1, usd=0.03)]
    v = judge("[cost]\nrun_usd = 0.039\nper_call_usd = 0.02\nmax_call_usd = 0.029", calls)
    assert v["cost.run_usd"].observed == pytest.approx(0.04)
    assert v["cost.run_usd"].verdict == "fail"
    assert v["cost.run_usd"].worst == ("c0001", "c0000")
    assert v["cost.per_call_usd"].verdict == "pass"
    assert (v["cost.max_call_usd"].observed, v["cost.max_call_usd"].verdict) == (0.03, "fail")


@pytest.mark.parametrize(
    ("usd", "grade", "reason"),
    [
        (0.79, "pass", None),
        (0.80, "warn", None),
        (0.95, "warn", "critical"),
        (1.0, "warn", "critical"),
        (1.01, "fail", None),
    ],
)
def test_shares_of_a_sum(judge: Any_, call: Any_, usd: float, grade: str, reason: str | None) -> None:
    v = judge("[cost]\nrun_usd = 1.0", [call(0, usd=usd)])["cost.run_usd"]
    assert (v.verdict, v.reason) == (grade, reason)


def test_an_explicit_warn_tier_replaces_the_shares(judge: Any_, call: Any_) -> None:
    budget = "[cost]\nrun_usd = { warn = 0.97, fail = 1.0 }"
    assert judge(budget, [call(0, usd=0.96)])["cost.run_usd"].verdict == "pass"
    assert judge(budget, [call(0, usd=0.98)])["cost.run_usd"].verdict == "warn"


def test_day_and_month_add_what_was_spent(judge: Any_, call: Any_) -> None:
    budget = "[cost]\nday_usd = 10\nmonth_usd = 100"
    v = judge(budget, [call(0, usd=2)], spent={"day": 9, "month": 10})
    assert (v["cost.day_usd"].verdict, v["cost.day_usd"].observed) == ("fail", 11)
    assert (v["cost.month_usd"].verdict, v["cost.month_usd"].observed) == ("pass", 12)
    assert judge(budget, [call(0)])["cost.day_usd"].reason == "not_measured"


def test_day_and_month_of_a_slice_add_what_it_spent(judge: Any_, call: Any_) -> None:
    budget = '[scope."feature:chat".cost]\nday_usd = 10\n[scope."feature:mail".cost]\nmonth_usd = 10'
    calls = [call(0, usd=2, feature="chat"), call(1, usd=5, feature="search")]
    day, month = "scope.feature:chat.cost.day_usd", "scope.feature:mail.cost.month_usd"
    spent = {"day": 90, "month": 90, "feature:chat.day": 9, "feature:mail.day": 0, "feature:mail.month": 11}
    v = judge(budget, calls, spent=spent)
    assert (v[day].verdict, v[day].observed) == ("fail", 11)
    # nothing of it in this run: its month is over the limit all the same
    assert (v[month].verdict, v[month].observed) == ("fail", 11)
    v = judge(budget, calls, spent={"day": 90, "month": 90})
    assert v[day].reason == "not_measured"
    assert "the store holds no cost of feature:chat of this day" in v[day].because
    assert v[month].reason == "no_match"


def test_replayed_calls_are_not_spent_again_on_the_day(judge: Any_, call: Any_) -> None:
    budget = "[cost]\nday_usd = 10\nmonth_usd = 10\nrun_usd = 10"
    replayed = [call(i, usd=4, capture_mode="replayed") for i in range(2)]
    recorded = call(2, usd=0.5, capture_mode="recorded")
    v = judge(budget, [*replayed, recorded], spent={"day": 9, "month": 9})
    assert v["cost.day_usd"].observed == v["cost.month_usd"].observed == 9.5
    assert v["cost.run_usd"].observed == 8.5  # what the run's answers cost, whenever that was
    unpriced = call(3, cost=Cost(), capture_mode="replayed")
    assert judge(budget, [unpriced], spent={"day": 9, "month": 9})["cost.day_usd"].verdict != "inconclusive"
    live = call(3, cost=Cost(), capture_mode="live")
    assert judge(budget, [live], spent={"day": 9, "month": 9})["cost.day_usd"].reason == "unenforceable"


def test_cost_an_hour_comes_from_time_stamps(judge: Any_, call: Any_) -> None:
    calls = [call(0, usd=1, time="2026-06-01T00:00:00.000Z"), call(1, usd=1, time="2026-06-01T00:29:59.000Z")]
    budget = "[cost]\nper_hour_usd = 5\nday_usd = 48\nrate_warn = 1.2\nrate_critical = 1.5"
    v = judge(budget, calls, spent={"day": 0})
    assert v["cost.per_hour_usd"].observed == pytest.approx(4.0)
    assert v["cost.rate_critical"].observed == pytest.approx(2.0)  # 4 an hour against 48 / 24
    assert v["cost.rate_critical"].verdict == "fail"
    assert "× the budget's rate is over 1.5 ×" in v["cost.rate_critical"].because
    unknown = judge(budget, [call(0), call(1)], spent={"day": 0})
    assert unknown["cost.per_hour_usd"].reason == "not_measured"


def test_unpriced_calls_make_a_limit_unenforceable(judge: Any_, call: Any_) -> None:
    calls = [call(0, usd=0.5), call(1, cost=Cost(), model="house-1")]
    v = judge("[cost]\nrun_usd = 1", calls)["cost.run_usd"]
    assert (v.verdict, v.reason, v.observed) == ("inconclusive", "unenforceable", None)
    assert "1 of 2 calls has no known price (house-1)" in v.because
    broken = judge("[cost]\nrun_usd = 0.4\nper_call_usd = 0.2\nmax_call_usd = 0.4", calls)
    assert {x.verdict for x in broken.values()} == {"fail"}
    assert "has no known price" in broken["cost.run_usd"].because


def test_a_call_that_tells_no_tokens_is_not_one_without_a_price(judge: Any_, call: Any_) -> None:
    silent: dict[str, Any_] = {"cost": Cost(), "usage": Usage(), "model": "gpt-4o-mini"}
    speech = call(1, **silent, operation="other")
    said = judge("[cost]\nrun_usd = 1", [call(0), speech])["cost.run_usd"].because
    assert "1 of 2 calls reports no tokens (gpt-4o-mini)" in said
    assert "no known price" not in said
    assert "include_usage" not in said
    calls = [call(0, cost=Cost(), model="house-1"), speech, call(2, **silent, stream=True)]
    said = judge("[cost]\nrun_usd = 1", calls)["cost.run_usd"].because
    assert "1 of 3 calls has no known price (house-1) and 2 report no tokens (gpt-4o-mini); a stream" in said
    assert 'stream_options={"include_usage": true}' in said


def test_a_refused_call_costs_nothing_and_is_no_unpriced_one(judge: Any_, call: Any_) -> None:
    refused = call(1, cost=Cost(), usage=Usage(), status="rate_limited")
    assert judge("[cost]\nrun_usd = 1", [call(0), refused])["cost.run_usd"].verdict == "pass"
    # a cut stream was billed, nobody knows how much
    cut = call(1, cost=Cost(), usage=Usage(), status="incomplete")
    assert judge("[cost]\nrun_usd = 1", [call(0), cut])["cost.run_usd"].reason == "unenforceable"


def test_cost_of_a_success(judge: Any_, call: Any_, result: Any_) -> None:
    calls = [call(0, usd=0.1), call(1, usd=0.3)]
    results = [result(0), result(1, outcome="failed")]
    v = judge("[cost]\nper_success_usd = 0.3", calls, results)["cost.per_success_usd"]
    assert v.observed == pytest.approx(0.4)
    assert v.verdict == "fail"
    assert v.worst == ("c0001",)
    none = judge(
        "[cost]\nper_success_usd = 0.3", calls, [result(0, outcome="failed"), result(1, outcome="failed")]
    )
    assert none["cost.per_success_usd"].verdict == "fail"
    assert "∞" in none["cost.per_success_usd"].because


def test_tokens(judge: Any_, call: Any_) -> None:
    calls = [call(0), call(1, usage=Usage(300, 60, 360))]
    budget = """[tokens]
input_per_call = 200
output_per_call = 39
total_per_call = 240
max_output = 60
run_total = 479"""
    v = judge(budget, calls)
    assert {r: x.verdict for r, x in v.items()} == {
        "tokens.input_per_call": "pass",
        "tokens.output_per_call": "fail",
        "tokens.total_per_call": "pass",
        "tokens.max_output": "pass",
        "tokens.run_total": "fail",
    }
    missing = judge("[tokens]\nrun_total = 1000", [call(0), call(1, usage=Usage())])["tokens.run_total"]
    assert missing.reason == "unenforceable"
    assert "1 of 2 calls reports no total tokens" in missing.because
    assert (
        judge("[tokens]\nrun_total = 100", [call(0), call(1, usage=Usage())])["tokens.run_total"].verdict == "fail"
    )


def test_throughput_and_quotas(judge: Any_, call: Any_) -> None:
    calls = [call(i, time=f"2026-06-01T00:00:{i:02d}.000Z", latency=1.0) for i in range(60)]
    v = judge(
        '[throughput]\ntokens_per_minute = 7000\ncalls_per_minute = 61\ntpm_quota = 9000\nrpm_quota = "headers"',
        calls,
    )
    assert v["throughput.tokens_per_minute"].observed == pytest.approx(7200)
    assert v["throughput.tokens_per_minute"].verdict == "pass"
    assert v["throughput.calls_per_minute"].verdict == "fail"
    assert v["throughput.tpm_quota"].observed == pytest.approx(0.8)
    assert v["throughput.tpm_quota"].verdict == "warn"
    assert v["throughput.rpm_quota"].reason == "not_measured"
    limited = [call(i, time=c.time, rate_limits={"x-ratelimit-limit-requests": "60"}) for i, c in enumerate(calls)]
    assert judge('[throughput]\nrpm_quota = "headers"', limited)["throughput.rpm_quota"].verdict == "fail"
    assert (
        judge("[throughput]\ncalls_per_minute = 1", [call(0)])["throughput.calls_per_minute"].reason
        == "not_measured"
    )


def test_quality_is_the_weighted_mean_of_case_means(judge: Any_, result: Any_, call: Any_) -> None:
    results = [
        result(0, case="a", repeat=0, weight=3, scores={"relevance": 1.0}),
        result(1, case="a", repeat=1, weight=3, scores={"relevance": 0.5}),
        result(2, case="b", scores={"relevance": 0.0}),
        result(3, case="b", attempt=1, scores={"relevance": 1.0}),  # a rerun does not count
        result(4, case="c", scores={"relevance": None}),
    ]
    calls = [call(i) for i in range(5)]
    v = judge("[quality]\nrelevance = 0.6", calls, results)["quality.relevance"]
    assert v.observed == pytest.approx((3 * 0.75 + 0) / 4)
    assert (v.verdict, v.n, v.n_cases, v.family, v.layer) == ("fail", 2, 2, "quality", "quality")
    assert "1 not assessable" in v.because
    assert v.worst == ("c0002", "c0001")


def test_errors_are_missing_data_not_zero(judge: Any_, call: Any_, result: Any_) -> None:
    def v(errored: int, n: int = 20) -> Any:
        calls = [call(i, status="error" if i < errored else "success") for i in range(n)]
        results = [
            result(i, outcome="error", problem="infrastructure")
            if i < errored
            else result(i, scores={"relevance": 0.9})
            for i in range(n)
        ]
        return judge("[quality]\nrelevance = 0.8", calls, results)["quality.relevance"]

    assert (v(0).verdict, v(0).observed) == ("pass", pytest.approx(0.9))
    assert v(2).verdict == "pass"
    assert "2 errored" in v(2).because
    assert (v(3).verdict, v(3).reason) == ("inconclusive", "missing_data")
    assert v(3).observed == pytest.approx(0.9)
    assert v(20).reason == "not_measured"


def test_a_crashed_scorer_is_missing_too(judge: Any_, call: Any_, result: Any_) -> None:
    crash = Score("relevance", None, label="error")
    results = [result(i, scores={"relevance": 0.9 if i else crash}) for i in range(5)]
    v = judge("[quality]\nrelevance = 0.8", [call(i) for i in range(5)], results)["quality.relevance"]
    assert v.reason == "missing_data"
    assert "scorer crashed" in v.because


def test_pass_rate_and_parse_success(judge: Any_, call: Any_, result: Any_) -> None:
    results = [
        result(0, scores={"json_schema": 1.0}, output='{"a": 1}'),
        result(1, scores={"json_schema": 0.0}, output='{"b": 1}', outcome="failed"),
        result(2, scores={"json": 0.5}, output='Sure: {"a": 1}'),
        result(3, scores={"relevance": 1.0}, output="not json"),
        result(4, outcome="skipped"),
    ]
    v = judge("[quality]\npass_rate = 0.8\nparse_success = 0.7", [call(i) for i in range(5)], results)
    assert (v["quality.pass_rate"].observed, v["quality.pass_rate"].verdict) == (0.75, "fail")
    assert v["quality.parse_success"].observed == pytest.approx(2 / 3)
    assert v["quality.parse_success"].worst == ("c0002",)


def test_a_missed_threshold_counts_in_the_pass_rate(judge: Any_, call: Any_, result: Any_) -> None:
    low = Score("relevance", 0.2, threshold=0.5)
    results = [result(0, scores={"relevance": low}), result(1, scores={"relevance": 0.2})]
    assert judge("[quality]\npass_rate = 0.6", [call(0), call(1)], results)["quality.pass_rate"].observed == 0.5


def test_safety_counts_flagged_answers(judge: Any_, call: Any_, result: Any_) -> None:
    results = [result(i, scores={"injection": 0.0 if i == 0 else 1.0}) for i in range(10)]
    calls = [call(i, policy_ok=i != 3) for i in range(10)]
    v = judge("[safety]\ninjection = 0.05\npolicy = 0.1\nsecrets = 0", calls, results)
    assert (v["safety.injection"].observed, v["safety.injection"].verdict) == (pytest.approx(0.1), "fail")
    assert v["safety.injection"].worst == ("c0000",)
    assert v["safety.policy"].verdict == "pass"
    assert v["safety.secrets"].reason == "not_measured"


def test_outcomes(judge: Any_, call: Any_) -> None:
    calls = [
        call(0, outcome=UserOutcome(success=True, feedback="thumbs_up")),
        call(1, outcome=UserOutcome(success=False, feedback="thumbs_down", reask=True)),
        call(2),
    ]
    v = judge("[outcome]\nsuccess_rate = 0.6\nthumbs_down_rate = 0.4\nreask_rate = 1\nescalation_rate = 0", calls)
    assert (v["outcome.success_rate"].observed, v["outcome.success_rate"].verdict) == (0.5, "fail")
    assert v["outcome.thumbs_down_rate"].verdict == "fail"
    assert v["outcome.reask_rate"].verdict == "pass"
    assert v["outcome.escalation_rate"].reason == "not_measured"


def test_agents(judge: Any_, call: Any_, result: Any_) -> None:
    search = ToolCall("search", '{"q": 1}', valid=True, result="x")
    broken = ToolCall("drop_table", "{", valid=False, result="Error: boom")
    tools = {"tools": [{"type": "function", "function": {"name": "search"}}]}
    calls = [
        call(0, tool_calls=(search, search, search), parameters=tools),
        call(1, tool_calls=(broken,), parameters=tools, fallback=True, cache_hit=True),
        call(2, fallback=False, cache_hit=False),
    ]
    results = [result(0, call_ids=("c0000", "c0001")), result(2, outcome="failed")]
    keys = "steps_per_task tool_calls_per_task tool_error_rate invalid_arguments unauthorised_tools loops"
    keys += " fallback_rate"
    v = judge(
        "[agent]\n" + "\n".join(f"{k} = 0.4" for k in keys.split()) + "\ncache_hit_rate = 0.6\ntask_success = 0.6",
        calls,
        results,
    )
    observed = {r.removeprefix("agent."): x.observed for r, x in v.items()}
    assert observed == {
        "steps_per_task": 1.5,
        "tool_calls_per_task": 2.0,
        "tool_error_rate": 0.25,
        "invalid_arguments": 0.25,
        "unauthorised_tools": 0.25,
        "loops": 0.5,
        "fallback_rate": 0.5,
        "cache_hit_rate": 0.5,
        "task_success": 0.5,
    }
    assert v["agent.cache_hit_rate"].verdict == "fail"
    bare = judge("[agent]\ntool_error_rate = 0\nfallback_rate = 0\nunauthorised_tools = 0\nloops = 0", [call(0)])
    assert {r: x.reason for r, x in bare.items() if x.verdict != "pass"} == dict.fromkeys(
        ("agent.tool_error_rate", "agent.fallback_rate", "agent.unauthorised_tools"), "not_measured"
    )


def test_retrieval(judge: Any_, call: Any_, result: Any_) -> None:
    calls = [call(0, retrieval=Retrieval(ids=("d1",))), call(1, retrieval=Retrieval())]
    results = [result(0, scores={"mrr": 0.5}), result(1, scores={"mrr": 1.0})]
    v = judge("[retrieval]\nempty_rate = 0.4\nmrr = 0.7\nhit_rate = 0.5", calls, results)
    assert (v["retrieval.empty_rate"].observed, v["retrieval.empty_rate"].verdict) == (0.5, "fail")
    assert (v["retrieval.mrr"].observed, v["retrieval.mrr"].verdict) == (0.75, "pass")
    assert v["retrieval.hit_rate"].reason == "not_measured"


def test_a_users_metric(judge: Any_, call: Any_) -> None:
    calls = [call(i, metrics={"depth": float(i)}) for i in range(11)]
    v = judge("[metric.depth]\nmean = 4\np95 = 10\nmax = 10\nmin = 1\n[metric.other]\nmax = 1", calls)
    assert {r: x.verdict for r, x in v.items()} == {
        "metric.depth.mean": "fail",
        "metric.depth.p95": "pass",
        "metric.depth.max": "pass",
        "metric.depth.min": "fail",
        "metric.other.max": "inconclusive",
    }
