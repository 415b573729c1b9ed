"""What is captured and what is not; limits; misses; threads; what happens when the SDK moves."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest
from llmock.scenarios import Fail

from pytest_llmwatch.capture.options import CaptureOptions
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.capture.targets import Targets
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import InfrastructureError, MissingRecording, SpendLimitReached
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Redactor

MODES = ["none", "once", "new", "all", "off"]


@pytest.fixture
def other_server() -> Iterator[str]:
    """A web server that is no LLM; it echoes the path, also at paths that LLMs use."""

    class Echo(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = self.path.encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("mode", MODES)
def test_whatever_is_no_llm_call_passes_through_in_every_mode(bench: Any, other_server: str, mode: str) -> None:
    def act(_: Any) -> list[str]:
        import urllib.request

        async def over_async() -> str:
            async with httpx2.AsyncClient() as client:
                return (await client.get(other_server + "/async")).text

        import asyncio

        with urllib.request.urlopen(other_server + "/urllib") as answer:
            texts = [answer.read().decode()]
        texts.append(httpx.post(other_server + "/v1/chat/completions", json={"model": "m"}).text)
        texts.append(httpx2.get(other_server + "/v1/models").text)
        texts.append(asyncio.run(over_async()))
        return texts

    result = bench.run(act, mode)
    assert result.value == ["/urllib", "/v1/chat/completions", "/v1/models", "/async"]
    assert result.watch.calls == []
    assert result.watch.errors == []
    assert list(bench.folder.iterdir()) == []


def test_outside_of_a_watch_nothing_is_captured(bench: Any) -> None:
    session = CaptureSession(CaptureOptions(record="none"), prices=PriceBook(), redactor=Redactor())
    session.start()
    try:
        client = openai.OpenAI(base_url=bench.base_url, api_key="x")
        answer = client.responses.create(model="gpt-4o-mini", input="Hi")
    finally:
        session.stop()
    assert answer.output_text


def test_start_and_stop_leave_the_libraries_as_they_were() -> None:
    def methods() -> list[Any]:
        base = openai._base_client
        return [
            httpx.HTTPTransport.handle_request,
            httpx.AsyncHTTPTransport.handle_async_request,
            httpx2.HTTPTransport.handle_request,
            httpx2.AsyncHTTPTransport.handle_async_request,
            base.SyncAPIClient.request,
            base.AsyncAPIClient.request,
            base.BaseClient._calculate_retry_timeout,
        ]

    before = methods()
    session = CaptureSession(CaptureOptions(), prices=PriceBook(), redactor=Redactor())
    session.start()
    session.start()
    assert all(a is not b for a, b in zip(before, methods(), strict=True))
    session.stop()
    session.stop()
    assert methods() == before
    assert session.problems == []


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_raw_http_to_a_known_endpoint_is_a_call_of_one_attempt(bench: Any, module: Any) -> None:
    def act(_: Any) -> Any:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
        return module.post(bench.base_url + "/chat/completions", json=body).json()

    options = {"base_urls": (bench.base_url,)}
    live, replayed = bench.both(act, options=options)
    assert live.value["choices"] == replayed.value["choices"]
    assert replayed.call.capture_mode == "replayed"
    assert len(replayed.call.attempts) == 1


def test_an_applications_own_client_is_captured_wherever_it_points(bench: Any) -> None:
    def act(_: Any) -> str:
        with openai.OpenAI(base_url=bench.base_url, api_key="x") as client:
            return client.responses.create(model="gpt-4o-mini", input="Hi").output_text

    live, replayed = bench.both(act)
    assert live.value == replayed.value
    assert (live.call.capture_mode, replayed.call.capture_mode) == ("recorded", "replayed")


@pytest.mark.parametrize(
    ("host", "port", "path", "wanted"),
    [
        ("api.openai.com", None, "/v1/chat/completions", True),
        ("api.openai.com", None, "/v1/responses", True),
        ("eu.api.openai.com", None, "/v1/embeddings", True),
        ("acme.openai.azure.com", None, "/openai/deployments/x/chat/completions", True),
        ("api.anthropic.com", None, "/v1/messages", True),
        ("api.openai.com", None, "/v1/files", True),
        ("api.openai.com", None, "/v1/organization/users", False),
        ("127.0.0.1", 43210, "/files", False),
        ("evil-api.openai.com.example.org", None, "/v1/responses", False),
        ("localhost", 8000, "/v1/responses", True),
        ("localhost", 8001, "/v1/responses", False),
        ("example.org", None, "/v1/responses", False),
        ("gateway.corp", None, "/llm/answer", True),
        ("secret.corp", None, "/v1/responses", False),
    ],
)
def test_targets(host: str, port: int | None, path: str, wanted: bool) -> None:
    targets = Targets(
        ("http://localhost:8000/v1", "https://secret.corp"), include=("gateway.corp/llm/*",), exclude=("secret.*",)
    )
    assert targets.matches("POST", host, port, path, from_sdk=False) is wanted


def test_a_monitored_clients_call_counts_on_any_host_unless_excluded() -> None:
    targets = Targets(exclude=("*:9999/*",))
    assert targets.matches("POST", "example.org", None, "/v1/responses", from_sdk=True)
    assert not targets.matches("POST", "example.org", 9999, "/v1/responses", from_sdk=True)
    assert targets.matches("GET", "example.org", None, "/v1/files/file-1/content", from_sdk=True)
    assert not targets.matches("POST", "login.example.org", None, "/oauth2/token", from_sdk=True)


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("/v1/messages", {"model": "claude-x", "messages": []}, True),
        ("/v1/responses", {"model": "gpt-x", "input": "Hi"}, True),
        ("/v1beta/models/gemini-x:generateContent", {"contents": []}, True),
        ("/v1/messages", {"text": "a guest book's entry", "model": "Ford T"}, False),
        ("/v1/responses", ["model", "messages"], False),
        ("/v1/messages", None, False),
        ("/api/cars", {"model": "Ford T", "input": "petrol"}, False),
    ],
)
def test_on_any_host_an_llm_path_and_a_body_that_asks_a_model_count(path: str, body: Any, wanted: bool) -> None:
    content = lambda: b"" if body is None else json.dumps(body).encode()  # noqa: E731
    place = ("127.0.0.1", 43210, path)
    assert Targets().matches("POST", *place, from_sdk=False, body=content) is wanted
    assert not Targets().matches("GET", *place, from_sdk=False, body=content)


def test_the_environments_base_url_is_known_when_it_is_set_late(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = Targets()
    assert not targets.matches("POST", "gw", 81, "/v1/responses", from_sdk=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gw:81/v1")
    assert targets.matches("POST", "gw", 81, "/v1/responses", from_sdk=False)


def test_a_miss_names_test_model_version_difference_and_command(
    bench: Any, requests_seen: Callable[[], int]
) -> None:
    messages = [
        {"role": "system", "content": "You are a precise and careful assistant for refunds."},
        {"role": "user", "content": "May I return shoes after thirty days?"},
    ]
    bench.run(bench.ask(messages, temperature=0))
    messages[0]["content"] = "You are a precise and helpful assistant for refunds."
    result = bench.run(bench.ask(messages, temperature=0.5), "none", labels={"prompt_version": "v7"})
    assert isinstance(result.error, MissingRecording)
    assert result.watch.errors == [result.error]
    text = result.error.message
    assert "tests/test_app.py::test_case" in text
    assert "gpt-4o-mini" in text
    assert "v7" in text
    assert result.error.file == "cassettes/case.yaml"
    assert "$.input[0].content" in text
    assert "[-careful-]" in text
    assert "{+helpful+}" in text
    assert "$.temperature: recorded «0», asked «0.5»" in text
    assert 'pytest "tests/test_app.py::test_case" --llm-record=new' in text
    assert "\n" not in str(result.error)
    assert requests_seen() == 1


def test_a_miss_that_the_application_swallows_is_noted(bench: Any) -> None:
    def act(_: Any) -> str:
        with openai.OpenAI(base_url=bench.base_url, api_key="x") as client:
            try:
                return client.responses.create(model="gpt-4o-mini", input="Hi").output_text
            except Exception:
                return "Sorry, try later."

    result = bench.run(act, "none")
    assert result.value == "Sorry, try later."
    assert [e.slug for e in result.watch.errors] == ["missing-recording"]
    assert result.watch.calls == []


def test_a_replay_needs_no_key_and_a_vendor_does(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    bench.run(bench.ask(), settings={"api_key": None})  # a local server needs none
    vendor = {"api_key": None, "base_url": "https://api.openai.com/v1"}
    assert bench.run(bench.ask(), "none", settings=vendor).error is None
    live = bench.run(bench.ask(), "off", settings=vendor)
    assert isinstance(live.error, InfrastructureError)
    assert live.error.slug == "no-api-key"
    assert "OPENAI_API_KEY" in str(live.error)


def test_an_endpoint_where_nobody_is_is_given_up(bench: Any, closed_port: int) -> None:
    session = CaptureSession(CaptureOptions(record="off", dead_after=2), prices=PriceBook(), redactor=Redactor())
    settings = {"base_url": f"http://127.0.0.1:{closed_port}/v1", "max_retries": 0}
    results = [bench.run(bench.ask(), session=session, settings=settings) for _ in range(3)]
    session.stop()
    assert all(isinstance(r.error, InfrastructureError) for r in results)
    assert [len(r.watch.calls) for r in results] == [1, 1, 0], "the third was not tried"
    assert "no more were made" in str(results[2].error)


def test_an_endpoint_that_once_answered_is_not_given_up(bench: Any, faults: Any) -> None:
    session = CaptureSession(CaptureOptions(record="off", dead_after=1), prices=PriceBook(), redactor=Redactor())
    faults.add(Fail(503, times=2))
    settings = {"max_retries": 0}
    for _ in range(2):
        assert isinstance(bench.run(bench.ask(), session=session, settings=settings).error, openai.APIError)
    assert bench.run(bench.ask(), session=session, settings=settings).error is None
    session.stop()


def test_the_guard_is_asked_before_each_live_attempt_and_never_before_a_replay(
    bench: Any, faults: Any, requests_seen: Callable[[], int]
) -> None:
    asked: list[int] = []

    def guard() -> None:
        asked.append(1)
        if len(asked) > 2:
            raise SpendLimitReached("the limit is reached", slug="spend-limit")

    faults.add(Fail(429, retry_after=0.01))
    result = bench.run(lambda call: [call("A").text, call("B").text], guard=guard)
    assert isinstance(result.error, SpendLimitReached)
    assert (len(asked), requests_seen()) == (3, 2)
    assert [e.slug for e in result.watch.errors] == ["spend-limit"]
    asked.clear()
    assert bench.run(bench.ask("A"), "none", guard=guard).error is None
    assert asked == []


def test_the_rate_limiter_spaces_live_calls_and_its_wait_is_no_latency(bench: Any) -> None:
    act = lambda call: [call(f"Q{i}").call for i in range(3)]  # noqa: E731
    calls = bench.run(act, options={"rpm": 200}).value
    assert calls[0].queue_wait < 0.1
    assert all(0.1 < c.queue_wait <= 0.5 for c in calls[1:])
    assert all(c.latency < c.queue_wait for c in calls[1:])
    replayed = bench.run(act, "none", options={"rpm": 200}).value
    assert [c.queue_wait for c in replayed] == [c.queue_wait for c in calls]


def test_threads_that_know_nothing_of_the_watch_report_to_it(bench: Any, faults: Any) -> None:
    def act(call: Any) -> list[str]:
        texts: list[str] = []
        threads = [threading.Thread(target=lambda n=n: texts.append(call(f"Q{n}").text)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(texts)

    live, replayed = bench.both(act)
    assert live.value == replayed.value
    assert sorted(c.index for c in live.watch.calls) == [0, 1, 2, 3]
    assert [c.index for c in live.watch.calls] == [0, 1, 2, 3]


def test_watches_in_threads_do_not_mix(bench: Any) -> None:
    session = CaptureSession(CaptureOptions(record="off"), prices=PriceBook(), redactor=Redactor())
    session.start()
    watches = [Watch(f"t.py::test_{n}") for n in range(3)]
    barrier = threading.Barrier(3)

    def run(watch: Watch) -> None:
        with session.watch(watch), openai.OpenAI(base_url=bench.base_url, api_key="x") as client:
            barrier.wait()
            client.responses.create(model="gpt-4o-mini", input=watch.nodeid)

    threads = [threading.Thread(target=run, args=(w,)) for w in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.stop()
    assert [w.calls[0].input for w in watches] == [w.nodeid for w in watches]


def test_a_session_inside_another_does_not_leak_into_it(bench: Any) -> None:
    outer = CaptureSession(CaptureOptions(record="none"), prices=PriceBook(), redactor=Redactor())
    outer.start()
    result = bench.run(bench.ask(), "off")
    outer.stop()
    assert result.error is None
    assert len(result.watch.calls) == 1


def test_without_the_sdks_private_module_each_attempt_is_a_call(
    bench: Any, faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_llmwatch.capture import sdk

    monkeypatch.setattr(sdk, "_MODULE", "openai._moved_elsewhere")
    faults.add(Fail(429, retry_after=0.01))
    result = bench.run(bench.ask())
    assert [c.status for c in result.watch.calls] == ["rate_limited", "success"]
    assert [p.slug for p in result.problems] == ["sdk-moved"]


def test_labels_become_fields_and_users_are_hashed(bench: Any, faults: Any) -> None:
    labels = {"feature": "refunds", "team": "core", "user": "ann@x.org", "prompt_version": "v2", "shop": "de"}
    result = bench.run(bench.ask(), labels=labels)
    call = result.call
    assert (call.feature, call.team, call.prompt_version, call.tags) == ("refunds", "core", "v2", ("shop=de",))
    assert call.user is not None
    assert len(call.user) == 16
    assert "ann" not in call.user
    assert bench.run(bench.ask(), labels=labels).call.user == call.user
    assert bench.run(bench.ask(), labels={"user": "bob"}).call.user not in (None, call.user)


def test_ids_do_not_depend_on_order_of_tests(bench: Any) -> None:
    first = bench.run(bench.ask()).call
    assert bench.run(bench.ask()).call.id == first.id
    assert first.id != bench.run(bench.ask(), name="other").call.id


def test_rate_limit_headers_and_provider_are_kept(bench: Any, faults: Any, llmock_server: Any) -> None:
    from llmock.ratelimit import LimitSettings

    limiter = llmock_server.state.limiter
    before = limiter.settings
    limiter.configure(LimitSettings(rpm=1000))
    try:
        live, replayed = bench.both(bench.ask())
    finally:
        limiter.configure(before)
    assert live.call.rate_limits == replayed.call.rate_limits
    assert live.call.rate_limits["x-ratelimit-limit-requests"] == "1000"
    call = replayed.call
    assert (call.provider, call.server_address) == ("127.0.0.1", "127.0.0.1")
    assert call.server_port == int(bench.base_url.split(":")[2].split("/")[0])
    assert call.request_id
