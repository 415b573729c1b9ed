"""Rates, peaks, concurrency and quotas from recorded time stamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.budget_grammar import RULES
from pytest_llmwatch.measure import figure, slice_of
from pytest_llmwatch.measure_figure import Figure
from pytest_llmwatch.model import Attempt, Call, Run, Usage

START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = [s.key for s in RULES if s.table == "throughput"] + ["tpm_quota", "rpm_quota"]


def call(i: int, at: float | None, tokens: int | None = 100, **fields: Any) -> Call:
    time = None if at is None else (START + timedelta(seconds=at)).isoformat(timespec="milliseconds")
    base: dict[str, Any] = {"latency": 1.0, "model": "m", "usage": Usage(total_tokens=tokens)}
    return Call(f"c{i}", time=time, **(base | fields))


def of(calls: list[Call], rule: str) -> Figure:
    text = rule if "=" in rule else f"{rule} = 1"
    return figure(parse_budget(f"[throughput]\n{text}").limits[0], slice_of(Run("r", "", calls=tuple(calls))))


def test_means_are_over_the_span_to_the_last_end() -> None:
    calls = [call(i, at) for i, at in enumerate((0, 30, 119))]
    assert of(calls, "calls_per_minute").value == pytest.approx(1.5)
    assert of(calls, "calls_per_hour").value == pytest.approx(90)
    assert of(calls, "tokens_per_minute").value == pytest.approx(150)
    assert of(calls, "tokens_per_hour").value == pytest.approx(9000)
    partly = [*calls[:2], call(2, 119, None)]
    assert (of(partly, "tokens_per_minute").value, of(partly, "tokens_per_minute").n) == (pytest.approx(100), 2)
    assert "1 call without usage" in of(partly, "tokens_per_minute").why


@pytest.mark.parametrize("key", KEYS)
def test_without_time_stamps_nothing_is_measured(key: str) -> None:
    given = f'{key} = "headers"' if key.endswith("quota") else key
    limits = {"x-ratelimit-limit-requests": "10", "x-ratelimit-limit-tokens": "10"}
    bare = [call(i, None, rate_limits=limits) for i in range(3)]
    assert of(bare, given).reason == "not_measured"
    assert of(bare, given).why


def test_peaks_are_over_the_fullest_sixty_seconds() -> None:
    calls = [call(i, at) for i, at in enumerate((0, 30, 59.9, 60, 300))]
    found = of(calls, "peak_calls_per_minute")
    assert (found.value, found.worst) == (3, ("c0", "c1", "c2"))  # a window holds its start, not its end
    retried = [call(0, 0, attempts=(Attempt(429), Attempt(200)))]
    assert of(retried, "peak_calls_per_minute").value == 2
    assert of(calls, "peak_tokens_per_minute").value == 300


def test_concurrency() -> None:
    calls = [call(0, 0, latency=3), call(1, 1, latency=1), call(2, 2, latency=5), call(3, 100)]
    found = of(calls, "concurrency")
    assert (found.value, found.worst) == (2, ("c0", "c1"))
    assert of([call(0, 0), call(1, 1.0)], "concurrency").value == 1


def test_a_given_quota() -> None:
    calls = [call(i, i) for i in range(8)]
    assert of(calls, "rpm_quota = 10").value == pytest.approx(0.8)
    assert of(calls, "tpm_quota = 1000").value == pytest.approx(0.8)
    assert "peak minute 8 requests of 10" in of(calls, "rpm_quota = 10").why


def test_quotas_from_headers_are_by_model() -> None:
    small = {"x-ratelimit-limit-requests": "10", "x-ratelimit-limit-tokens": "1000"}
    large = {"anthropic-ratelimit-requests-limit": "100", "anthropic-ratelimit-tokens-limit": "100000"}
    calls = [call(i, i, rate_limits=small, model="small") for i in range(4)]
    calls += [call(10 + i, i, rate_limits=large, model="large") for i in range(20)]
    found = of(calls, 'rpm_quota = "headers"')
    assert found.value == pytest.approx(0.4)
    assert "of 10 for small" in found.why
    assert of(calls[4:], 'tpm_quota = "headers"').value == pytest.approx(0.02)
    assert of([call(0, 0, rate_limits={"x-ratelimit-limit-requests": "many"})], 'rpm_quota = "headers"').reason


def test_what_the_provider_says_is_left_counts_where_it_is_worse() -> None:
    def v(left: str) -> Figure:
        headers = {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": left}
        return of([call(0, 0, rate_limits=headers)], 'rpm_quota = "headers"')

    assert v("3").value == pytest.approx(0.97)
    assert "leave 3 of 100 requests" in v("3").why
    assert v("0").value == 1
    assert v("99").value == pytest.approx(0.01)
    assert v("unknown").value == pytest.approx(0.01)


OF_OPENAI = "x-ratelimit-{}-requests"
OF_ANTHROPIC = "anthropic-ratelimit-requests-{}"


def headers(names: str, limit: Any, left: Any, reset: str) -> dict[str, str]:
    words = {"limit": limit, "remaining": left, "reset": reset}
    return {names.format(word): str(value) for word, value in words.items()}


@pytest.mark.parametrize(
    ("told", "period"),
    [
        (headers(OF_OPENAI, 500, 499, "120ms"), "minute"),  # fills by 500 a minute
        (headers(OF_OPENAI, 500, 0, "1m0s"), "minute"),
        (headers(OF_OPENAI, 60, 59, "58.2s"), "minute"),  # renewed at once, at the full minute
        (headers(OF_OPENAI, 10_000, 9_999, "8.64s"), "day"),  # fills by 10,000 a day, though 8.64 s are short
        (headers(OF_OPENAI, 14_400, 14_370, "2m59.56s"), "day"),
        (headers(OF_OPENAI, 1_000, 400, "11h30m"), "day"),
        (headers(OF_OPENAI, 100, 40, "1800"), "hour"),
        (headers(OF_OPENAI, 100, 90, str(int(START.timestamp()) + 40)), "minute"),
        (headers(OF_ANTHROPIC, 50, 49, "2026-01-01T00:00:02Z"), "minute"),
        (headers(OF_ANTHROPIC, 1_000, 10, "2026-01-02T00:00:00Z"), "day"),
        (headers("x-ratelimit-{}-requests-day", 1_000, 10, "5s"), "day"),  # it says so
        (headers("x-ratelimit-{}-req-minute", 1_000, 10, ""), "minute"),
        (headers(OF_OPENAI, 500, 499, "soon"), "minute"),
        (headers(OF_OPENAI, 500, 499, "-3"), "minute"),
    ],
)
def test_a_quota_has_its_period(told: dict[str, str], period: str) -> None:
    found = of([call(0, 0, rate_limits=told)], 'rpm_quota = "headers"')
    quota, left = (float(next(v for k, v in told.items() if word in k)) for word in ("-limit", "remaining"))
    assert found.value == pytest.approx(max(1 / quota, 1 - left / quota))
    assert {p for p in ("minute", "hour", "day", "month") if p in found.why} == {period}


def test_requests_of_a_day_are_not_held_against_a_minute() -> None:
    told = {"x-ratelimit-limit-requests-day": "20", "x-ratelimit-limit-requests-minute": "10"}
    calls = [call(i, 3600.0 * i, rate_limits=told) for i in range(15)]
    found = of(calls, 'rpm_quota = "headers"')
    assert found.value == pytest.approx(0.75)  # one a minute, 15 a day
    assert found.why == "peak day 15 requests of 20"
    a_minute = [call(i, 3600.0 * i, rate_limits={"x-ratelimit-limit-requests": "20"}) for i in range(15)]
    assert of(a_minute, 'rpm_quota = "headers"').why == "peak minute 1 requests of 20"


@pytest.mark.parametrize(("n", "verdict"), [(79, "pass"), (80, "warn"), (94, "warn"), (95, "fail")])
def test_eighty_percent_warns_and_ninety_five_fails(judge: Any, n: int, verdict: str) -> None:
    calls = [call(i, i / 10) for i in range(n)]
    found = judge("[throughput]\nrpm_quota = 100", calls)["throughput.rpm_quota"]
    assert (found.verdict, found.observed) == (verdict, pytest.approx(n / 100))


@given(st.lists(st.integers(0, 400), min_size=1, max_size=25))
@settings(max_examples=80, deadline=None)
def test_the_peak_is_that_of_every_window(starts: list[int]) -> None:
    calls = [call(i, at) for i, at in enumerate(starts)]
    brute = max(sum(1 for other in starts if at <= other < at + 60) for at in starts)
    assert of(calls, "peak_calls_per_minute").value == brute
