"""Cassettes of other programs: made by real vcrpy, of every age and form, and vcrpy in use in the same test."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import vcr
import yaml
from llmock.scenarios import Reply

from pytest_llmwatch.capture import cassette_foreign as foreign
from pytest_llmwatch.capture.options import CaptureOptions
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.errors import CassetteError, MissingRecording
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Redactor

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Olé"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
TEXT = json.dumps(ANSWER, ensure_ascii=False)
GZIPPED = gzip.compress(TEXT.encode())


def stock(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return one interaction as today's vcrpy writes it, with some parts replaced."""
    return {
        "request": {
            "method": "POST",
            "uri": "https://api.openai.com/v1/chat/completions",
            "body": json.dumps(BODY),
            "headers": {
                "Content-Type": ["application/json"],
                "Authorization": ["Bearer sk-proj-abc123DEF456ghi789JKL"],
            },
            **(request or {}),
        },
        "response": {
            "status": {"code": 200, "message": "OK"},
            "headers": {"Content-Type": ["application/json"]},
            "body": {"string": TEXT},
            **(response or {}),
        },
    }


def without(item: dict[str, Any], side: str, *keys: str) -> dict[str, Any]:
    for key in keys:
        del item[side][key]
    return item


ZIPPED = {"Content-Type": ["application/json"], "Content-Encoding": ["gzip"], "Transfer-Encoding": ["chunked"]}
OLD_URL = {"protocol": "https", "host": "api.openai.com", "port": 443, "path": "/v1/chat/completions"}
FORMS: dict[str, Any] = {
    "today": stock(),
    "gzip as binary": stock(None, {"headers": ZIPPED, "body": {"string": GZIPPED}}),
    "decoded already, yet said to be gzip": stock(None, {"headers": ZIPPED}),
    "base64 (the old JSON serializer)": stock(
        None, {"headers": ZIPPED, "body": {"base64_string": base64.b64encode(GZIPPED).decode()}}
    ),
    "vcrpy 4 and 5 with httpx": without(
        stock(None, {"status_code": 200, "http_version": "HTTP/1.1", "content": TEXT}),
        "response",
        "status",
        "body",
    ),
    "no reason phrase, headers as plain text": stock(
        {"headers": {"content-type": "application/json"}},
        {"status": {"code": 200, "message": None}, "headers": {"content-type": "application/json"}},
    ),
    "the URL in parts": without(stock(OLD_URL), "request", "uri"),
    "no body of the request kept": stock({"body": None}),
    "a body as binary": stock({"body": json.dumps(BODY).encode()}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_cassette_replays(bench: Any, form: str) -> None:
    bench.cassette().write_text(yaml.safe_dump({"interactions": [FORMS[form]], "version": 1}, allow_unicode=True))
    result = bench.run(bench.ask("Hi", api="chat"), "none")
    assert result.error is None
    assert result.value.text == "Olé"
    assert (result.call.latency, result.call.usage.output_tokens, result.call.capture_mode) == (
        None,
        2,
        "replayed",
    )


def test_json_before_version_1_and_python_2(bench: Any) -> None:
    for text in (
        json.dumps({"interactions": [FORMS["today"]], "version": 1}),
        json.dumps([FORMS["the URL in parts"]]),
        yaml.safe_dump([FORMS["today"]]).replace("request:", "request: !!python/object:vcr.request.Request", 1),
        yaml.safe_dump({"interactions": [FORMS["today"]]}).replace(
            "method: POST", "method: !!python/unicode 'POST'"
        ),
    ):
        bench.cassette().write_text(text)
        assert bench.run(bench.ask("Hi", api="chat"), "none").value.text == "Olé"


@pytest.mark.parametrize(
    "text",
    [
        "interactions:\n- request: !!python/object/apply:os.system ['true']\n",
        json.dumps({"interactions": [1]}),
        "[" * 100_000,
        '{"interactions": [{"request": {}, "response": {}}]}',
    ],
)
def test_what_is_no_cassette_is_refused_in_one_line(bench: Any, text: str) -> None:
    bench.cassette().write_text(text)
    with pytest.raises(CassetteError) as caught:
        bench.run(bench.ask(), "none")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("cassettes/case.yaml:")


def test_a_request_that_differs_is_no_match_though_vcrpy_ignored_bodies(bench: Any) -> None:
    bench.cassette().write_text(yaml.safe_dump({"interactions": [stock()], "version": 1}))
    result = bench.run(bench.ask("Bye", api="chat"), "none")
    assert isinstance(result.error, MissingRecording)
    assert "$.messages[0].content: recorded «Hi», asked «Bye»" in result.error.message


def test_adding_to_a_foreign_cassette_redacts_it(bench: Any, faults: Any) -> None:
    bench.cassette().write_text(yaml.safe_dump({"interactions": [stock()], "version": 1}))
    faults.add(Reply("new"))
    result = bench.run(lambda call: [call("Hi", api="chat").text, call("More", api="chat").text], "new")
    assert result.value == ["Olé", "new"]
    text = bench.cassette().read_text()
    assert "abc123DEF" not in text
    assert "authorization" not in text.lower()
    assert bench.run(bench.ask("Hi", api="chat"), "none").call.latency is None
    assert bench.run(bench.ask("More", api="chat"), "none").call.latency is not None


def test_what_pytest_recording_recorded_is_replayed_in_order(bench: Any) -> None:
    # made by pytest-recording 0.14.1 with vcrpy 9.4 from a test that asks the same twice
    made = Path(__file__).parent / "data" / "pytest_recording.yaml"
    bench.cassette().write_bytes(made.read_bytes())
    result = bench.run(lambda call: [call("a/b", api="chat").call.latency for _ in range(2)], "none")
    assert result.error is None
    assert result.value == [None, None]
    third = bench.run(lambda call: [call("a/b", api="chat") for _ in range(3)], "none")
    assert "none is played twice" in str(third.error)


def test_where_plugins_keep_a_test_is_known() -> None:
    found = foreign.candidates(Path("cassettes"), "test_app", ["TestX.test_a[x/y]", "test_a[x/y]"])
    names = [p.as_posix() for p in found]
    assert names[0] == "cassettes/test_app/TestX.test_a[x-y].yaml"
    assert "cassettes/test_a[x-y].json" in names


def test_a_source_is_replayed_and_never_written(bench: Any, faults: Any, tmp_path: Path) -> None:
    source = tmp_path / "other" / "shared.yaml"
    source.parent.mkdir()
    source.write_text(yaml.safe_dump({"interactions": [stock()], "version": 1}))
    before = source.read_bytes()
    faults.add(Reply("recorded"))
    for mode, said in (("once", ["Olé", "recorded"]), ("none", ["Olé", "recorded"])):
        session = CaptureSession(
            CaptureOptions(record=mode, cassettes=(source,)),  # type: ignore[arg-type]
            prices=PriceBook(),
            redactor=Redactor(),
        )
        act = lambda call: [call("Hi", api="chat").text, call("More", api="chat").text]  # noqa: E731
        assert bench.run(act, session=session).value == said
        session.stop()
    assert source.read_bytes() == before
    assert bench.cassette().read_text().count("- request:") == 1


def test_in_a_test_that_uses_vcrpy_llm_calls_are_ours_and_the_rest_is_vcrpys(
    bench: Any, faults: Any, requests_seen: Callable[[], int], llmock_server: Any
) -> None:
    faults.add(Reply("streamed live"))
    theirs = bench.folder / "theirs.yaml"
    health = bench.base_url.rpartition("/v1")[0] + "/health"

    def act(llm_call: Any) -> Any:
        with vcr.use_cassette(str(theirs), record_mode="once"):
            httpx.get(health)
            with urllib.request.urlopen(health) as answer:
                answer.read()
            return bench.stream("Hi", api="chat")(llm_call).text

    live = bench.run(act)
    assert live.error is None
    assert live.value == "streamed live"
    assert live.call.ttft is not None
    seen = requests_seen()
    assert [i["request"]["uri"] for i in yaml.safe_load(theirs.read_text())["interactions"]] == [health, health]
    replayed = bench.run(act, "none")
    assert (replayed.value, replayed.call.ttft) == (live.value, live.call.ttft)
    assert requests_seen() == seen


def test_what_vcrpys_open_cassette_holds_is_replayed_by_us(bench: Any, requests_seen: Callable[[], int]) -> None:
    theirs = bench.folder / "theirs.yaml"
    with vcr.use_cassette(str(theirs)):
        httpx.post(bench.base_url + "/chat/completions", json=BODY)
    assert requests_seen() == 1

    def act(llm_call: Any) -> Any:
        with vcr.use_cassette(str(theirs), record_mode="none"):
            return llm_call("Hi", api="chat").text

    async def aio(llm_call: Any) -> Any:
        with vcr.use_cassette(str(theirs), record_mode="none"):
            return (await llm_call.aio("Hi", api="chat")).text

    for mode in ("none", "once"):
        result = bench.run(act, mode)
        assert result.error is None
        assert (result.call.capture_mode, result.call.latency) == ("replayed", None)
    assert bench.run(lambda call: asyncio.run(aio(call)), "none").call.capture_mode == "replayed"
    assert requests_seen() == 1
    assert not bench.cassette().exists()


def test_vcrpy_is_as_it_was_when_the_session_is_over(bench: Any, requests_seen: Callable[[], int]) -> None:
    from vcr.cassette import CassetteContextDecorator

    before = (CassetteContextDecorator.__enter__, httpx.HTTPTransport.handle_request)
    bench.run(bench.ask())
    assert (CassetteContextDecorator.__enter__, httpx.HTTPTransport.handle_request) == before
    with vcr.use_cassette(str(bench.folder / "plain.yaml")) as cassette:
        httpx.post(bench.base_url + "/chat/completions", json=BODY)
        assert len(cassette) == 1
    assert requests_seen() == 2
