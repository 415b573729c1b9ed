"""Rules that are tests: latency quantiles and error rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import binomtest

from pytest_llmwatch.model import Attempt, Usage

Any_ = Callable[..., Any]


def test_a_quantile_fails_only_with_evidence(judge: Any_, call: Any_) -> None:
    slow = [call(i, latency=3.0 if i < 30 else 1.0) for i in range(200)]
    v = judge("[latency]\np95 = 2", slow)["latency.p95"]
    assert (v.verdict, v.tier, v.kind, v.family, v.layer) == ("fail", "fail", "test", "latency", "availability")
    assert v.p == pytest.approx(binomtest(30, 200, 0.05, "greater").pvalue)
    assert v.because.startswith("latency.p95 3.00 s is over 2.00 s (95 % CI ")
    assert v.ci == (3.0, 3.0)
    assert v.action == "scale out, set a timeout"
    assert v.worst[:2] == ("c0000", "c0001")
    assert len(v.worst) == 20


def test_a_single_slow_call_is_no_evidence(judge: Any_, call: Any_) -> None:
    calls = [call(i, latency=9.0 if i == 0 else 1.0) for i in range(10)]
    v = judge("[latency]\np95 = 2", calls)["latency.p95"]
    assert v.observed == pytest.approx(5.4)
    assert (v.verdict, v.reason) == ("inconclusive", "too_few")


@pytest.mark.parametrize(("key", "n"), [("p50", 5), ("p95", 59), ("p99", 299)])
def test_a_quantile_passes_only_from_its_least_n(judge: Any_, call: Any_, key: str, n: int) -> None:
    budget = f"[latency]\n{key} = 2"
    enough = judge(budget, [call(i) for i in range(n)])[f"latency.{key}"]
    short = judge(budget, [call(i) for i in range(n - 1)])[f"latency.{key}"]
    assert enough.verdict == "pass"
    assert (short.verdict, short.reason, short.n_needed) == ("inconclusive", "too_few", n)
    assert f"n={n - 1}, needs {n}" in short.because


def test_the_sentence_says_how_many_calls_settle_it(judge: Any_, call: Any_) -> None:
    calls = [call(i, latency=3.0 if i < 4 else 1.0) for i in range(100)]
    v = judge("[latency]\np95 = 2", calls)["latency.p95"]
    assert v.verdict == "inconclusive"
    assert v.n_needed is not None
    assert f"about {v.n_needed:,} calls would settle it" in v.because


def test_likely_but_unproven_warns(judge: Any_, call: Any_) -> None:
    calls = [call(i, latency=3.0 if i < 9 else 1.0) for i in range(100)]
    p = binomtest(9, 100, 0.05, "greater").pvalue
    assert 0.01 < p <= 0.10
    v = judge("[latency]\np95 = 2", calls)["latency.p95"]
    assert (v.verdict, v.tier) == ("warn", "warn")
    assert "likely but not proven" in v.because


def test_warn_tier_never_fails(judge: Any_, call: Any_) -> None:
    calls = [call(i, latency=3.0) for i in range(100)]
    only = judge("[latency]\np50 = { warn = 2 }", calls)["latency.p50"]
    assert (only.verdict, only.tier, only.p_adjusted) == ("warn", "warn", None)
    both = judge("[latency]\np50 = { warn = 2, fail = 4 }", calls)["latency.p50"]
    assert (both.verdict, both.limit, both.warn_limit) == ("warn", 4, 2)
    assert "over the warning limit 2.00 s" in both.because
    calm = judge("[latency]\np50 = { warn = 3.5, fail = 4 }", calls)["latency.p50"]
    assert calm.verdict == "pass"


def test_several_tests_share_their_familys_alpha(judge: Any_, call: Any_) -> None:
    many = "[latency]\np95 = 2\np50 = 2\nttft_p50 = 1\nttft_p95 = 1\n[errors]\nrate = 0.1"

    def p95(slow: int, budget: str) -> Any:
        calls = [call(i, latency=3.0 if i < slow else 1.0, ttft=0.1) for i in range(100)]
        return judge(budget, calls)["latency.p95"]

    p = binomtest(13, 100, 0.05, "greater").pvalue
    assert p95(13, "[latency]\np95 = 2").p_adjusted == pytest.approx(p)
    assert p95(13, many).p_adjusted == pytest.approx(4 * p)
    # latency has 4/7 of alpha beside errors; Holm multiplies by its four tests
    assert p <= 0.01 < 4 * p / (4 / 7)
    assert p95(13, "[latency]\np95 = 2").verdict == "fail"
    assert p95(13, many).verdict == "warn"
    assert p95(14, many).verdict == "fail"


def test_rates_follow_the_order_fail_warn_pass_inconclusive(judge: Any_, call: Any_) -> None:
    def rate(failed: int, n: int, limit: str = "0.02") -> Any:
        calls = [call(i, status="error" if i < failed else "success") for i in range(n)]
        return judge(f"[errors]\nrate = {limit}", calls)["errors.rate"]

    one = rate(1, 20)
    assert one.p == pytest.approx(0.3324, abs=1e-4)
    assert one.verdict == "inconclusive"
    none = rate(0, 100)
    assert none.verdict == "inconclusive"
    assert none.n_needed == 149
    assert none.because == (
        "errors.rate 0.0 % against 2 % is inconclusive: up to 3.0 % is possible (0 of 100 calls, 95 %); "
        "149 calls without one would settle it"
    )
    assert rate(0, 149).verdict == "pass"
    assert rate(10, 100).verdict == "fail"
    assert rate(4, 100, "{ warn = 0.01, fail = 0.05 }").verdict == "warn"
    assert rate(10, 100).worst == tuple(f"c{i:04d}" for i in range(10))


def test_zero_tolerance_is_a_fact(judge: Any_, call: Any_) -> None:
    budget = "[errors]\ntimeouts = 0"
    assert judge(budget, [call(0)])["errors.timeouts"].verdict == "pass"
    broken = judge(budget, [call(0), call(1, status="timeout")])["errors.timeouts"]
    assert (broken.verdict, broken.kind) == ("fail", "fact")


def test_a_test_switched_off_compares(judge: Any_, call: Any_) -> None:
    calls = [call(0, latency=3.0)]
    v = judge("[latency]\np95 = { fail = 2, test = false }", calls)["latency.p95"]
    assert (v.verdict, v.kind, v.n) == ("fail", "fact", 1)


def test_429_over_attempts(judge: Any_, call: Any_) -> None:
    retried = (Attempt(status_code=429), Attempt(status_code=429), Attempt(status_code=200))
    calls = [call(0, attempts=retried), call(1)]
    v = judge("[errors]\nrate_limited = { fail = 0.4, test = false }\nretries_per_call = 0.5", calls)
    assert (v["errors.rate_limited"].observed, v["errors.rate_limited"].n) == (0.5, 4)
    assert v["errors.rate_limited"].verdict == "fail"
    assert v["errors.retries_per_call"].observed == 1
    assert v["errors.retries_per_call"].worst == ("c0000",)


def test_incomplete_and_timeouts_have_their_own_rates(judge: Any_, call: Any_) -> None:
    calls = [call(0, status="incomplete"), call(1, status="timeout"), call(2), call(3)]
    budget = "[errors]\n" + "\n".join(
        f"{k} = {{ fail = 0.3, test = false }}" for k in ("rate", "timeouts", "incomplete")
    )
    v = judge(budget, calls)
    assert [x.observed for x in v.values()] == [0.5, 0.25, 0.25]


def test_latency_of_unknown_and_failed_calls_is_left_out(judge: Any_, call: Any_) -> None:
    calls = [call(i, latency=None, capture_mode="replayed") for i in range(5)]
    v = judge("[latency]\np50 = 2", calls)["latency.p50"]
    assert (v.verdict, v.reason) == ("inconclusive", "not_measured")
    assert "record again" in v.because
    mixed = [*calls, *(call(i, capture_mode="replayed") for i in range(10, 20))]
    v = judge("[latency]\np50 = 2", mixed)["latency.p50"]
    assert (v.verdict, v.n) == ("pass", 10)
    assert "5 calls without a recorded time left out" in v.because
    # a refused call is fast and would flatter; a timeout took at least that long
    both = [call(1, latency=0.001, status="error"), call(2, latency=30.0, status="timeout")]
    assert judge("[latency]\nmax = 40", both)["latency.max"].observed == 30.0
    assert judge("[latency]\nmax = 40", both)["latency.max"].n == 1


def test_ttft_and_speed(judge: Any_, call: Any_) -> None:
    calls = [call(i, ttft=0.2, latency=1.2, usage=Usage(1, 21, 22)) for i in range(5)] + [call(9)]
    v = judge("[latency]\nttft_p50 = 0.3\ntokens_per_second = 30", calls)
    assert (v["latency.ttft_p50"].verdict, v["latency.ttft_p50"].n) == ("pass", 5)
    assert v["latency.tokens_per_second"].verdict == "fail"
    assert "under 30" in v["latency.tokens_per_second"].because
    none = judge("[latency]\nttft_p50 = 0.3", [call(1)])["latency.ttft_p50"]
    assert "only streamed calls have one" in none.because


def test_min_n(judge: Any_, call: Any_) -> None:
    v = judge("[latency]\np50 = { fail = 2, min_n = 50 }", [call(i) for i in range(20)])["latency.p50"]
    assert (v.verdict, v.reason, v.n_needed) == ("inconclusive", "too_few", 50)
    assert (
        judge("[latency]\np50 = { fail = 2, min_n = 20 }", [call(i) for i in range(20)])["latency.p50"].verdict
        == "pass"
    )
