"""What differs between major versions of the openai SDK, and what must not; ``.ci/matrix`` runs it under each."""

from __future__ import annotations

import asyncio
import os
import sys
import types
from typing import Any

import openai
import pytest
from llmock.scenarios import Delay, Fail

from pytest_llmwatch.capture import sdk

MAJOR = int(openai.__version__.partition(".")[0])
BOTH = pytest.mark.parametrize("way", ["ask", "aio"])


def test_the_version_under_test_is_the_one_meant() -> None:
    row = os.environ.get("MATRIX_ROW", f"openai{MAJOR}")  # set by .ci/matrix
    assert {"lowest": 1, "openai1": 1, "openai2": 2, "openai3": 3}[row] == MAJOR


def test_the_sdks_own_client_uses_the_library_that_is_wrapped() -> None:
    with openai.OpenAI(api_key="x") as client:
        transport = type(client._client).__mro__
    assert any(cls.__module__.startswith("httpx2" if MAJOR >= 3 else "httpx.") for cls in transport)


@BOTH
def test_nothing_of_the_sdk_has_moved(bench: Any, way: str) -> None:
    result = getattr(bench, way)()
    assert bench.run(result).problems == []


@BOTH
def test_attempts_belong_to_one_call_and_a_replay_does_not_wait(bench: Any, faults: Any, way: str) -> None:
    faults.add(Fail(503), Fail(429, retry_after=1.0))
    live, replayed = bench.both(getattr(bench, way)())
    assert (live.error, replayed.error) == (None, None)
    assert [a.status_code for a in live.call.attempts] == [503, 429, 200]
    assert live.call.latency >= 1.0
    assert replayed.call.latency == live.call.latency


@BOTH
def test_a_missing_recording_is_what_the_test_sees(bench: Any, way: str) -> None:
    """openai 1 and 2 wrap what a transport raises as a connection error, and try again."""
    bench.run(getattr(bench, way)())
    missed = bench.run(getattr(bench, way)("Something else?"), "none")
    assert missed.error is missed.watch.errors[0]
    assert missed.error.slug == "missing-recording"
    assert missed.watch.calls == []


@BOTH
def test_a_timeout_is_the_sdks_own_live_and_replayed(bench: Any, faults: Any, way: str) -> None:
    faults.add(Delay(1.0, times=None))
    live, replayed = bench.both(getattr(bench, way)(), settings={"timeout": 0.2, "max_retries": 1})
    assert type(live.error) is type(replayed.error) is openai.APITimeoutError
    assert len(live.call.attempts) == len(replayed.call.attempts) == 2


def test_a_raw_response_has_what_the_server_said(bench: Any) -> None:
    def act(_: Any) -> Any:
        with openai.OpenAI(base_url=bench.base_url, api_key="x") as client:
            raw = client.responses.with_raw_response.create(model="gpt-4o-mini", input="Hello")
            return raw.http_response.status_code, raw.headers["content-type"], raw.parse().output_text

    live, replayed = bench.both(act)
    assert live.value == replayed.value
    assert live.value[0] == 200


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_where_the_sdk_has_moved_capture_goes_on_and_says_so(
    bench: Any, faults: Any, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    monkeypatch.setitem(sys.modules, sdk._MODULE, types.ModuleType(sdk._MODULE))
    faults.add(Fail(503))
    live, replayed = bench.both(bench.aio() if asynchronous else bench.ask())
    assert [p.slug for p in live.problems] == ["sdk-moved"]
    assert "SyncAPIClient.request" in live.problems[0].message
    # a call per attempt, but nothing is lost
    assert [c.status for c in live.watch.calls] == ["error", "success"]
    assert [c.latency for c in replayed.watch.calls] == [c.latency for c in live.watch.calls]


def test_an_azure_deployment_is_one_call(bench: Any, api: Any) -> None:
    async def go() -> str:
        endpoint = api.base_url.removesuffix("/v1")
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=endpoint, api_key="x", api_version="2024-10-21"
        ) as client:
            messages: Any = [{"role": "user", "content": "Hi"}]
            answer = await client.chat.completions.create(model="my-deployment", messages=messages)
            return str(answer.choices[0].message.content)

    live, replayed = bench.both(lambda _: asyncio.run(go()))
    assert live.value == replayed.value == "Paris."
    assert live.call.model == "my-deployment"
