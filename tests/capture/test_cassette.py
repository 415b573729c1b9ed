"""Cassette files: what is in them, when they are written, and who else can read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from llmock.scenarios import Reply

from pytest_llmwatch.capture.cassette import merge_parts, part_path
from pytest_llmwatch.capture.options import CaptureOptions
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.errors import CassetteError, MissingRecording, SecretFound
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Finding, Redactor


def load(path: Path) -> list[dict[str, Any]]:
    interactions: list[dict[str, Any]] = yaml.safe_load(path.read_text())["interactions"]
    return interactions


def timing(item: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = item["response"]["x-llmwatch"]
    return value


def test_the_file_is_readable_slim_and_timed(bench: Any) -> None:
    bench.run(bench.stream(api="chat"))
    text = bench.cassette().read_text()
    assert "    body: |-\n      {\n" in text
    assert '        "model": "gpt-4o-mini",' in text
    assert "\n        data: {" in text
    for leak in ("sk-test-key", "authorization", "user-agent", "x-stainless", "content-length", "date:"):
        assert leak not in text.lower()
    (item,) = load(bench.cassette())
    extra = timing(item)
    assert extra["state"] == "complete"
    assert (extra["repeat"], extra["attempt"], extra["schema_version"]) == (0, 0, 1)
    assert len(extra["fingerprint"]) == 32
    assert sum(size for _, size in extra["chunks"]) == len(item["response"]["body"]["string"].encode())
    times = [at for at, _ in extra["chunks"]]
    assert times == sorted(times)
    assert extra["headers"] <= extra["first_byte"] == times[0] <= extra["total"]


def test_stock_vcrpy_replays_it(bench: Any, requests_seen: Callable[[], int]) -> None:
    import vcr

    bench.run(bench.ask(api="chat"))
    url = bench.base_url + "/chat/completions"
    with vcr.use_cassette(str(bench.cassette()), record_mode="none", match_on=["method", "path"]) as cassette:
        answer = httpx.post(url, json={"anything": 1})
        assert cassette.play_count == 1
    assert answer.json()["choices"][0]["message"]["content"]
    assert requests_seen() == 1


def test_a_cassette_that_stock_vcrpy_recorded_replays_without_a_latency(bench: Any) -> None:
    import vcr

    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
    with vcr.use_cassette(str(bench.cassette()), filter_headers=["authorization"]):
        httpx.post(bench.base_url + "/chat/completions", json=body)
    result = bench.run(bench.ask("Hi", api="chat"), "none")
    assert result.error is None
    assert result.value.text
    assert (result.call.latency, result.call.ttft, result.call.attempts[0].latency) == (None, None, None)


def test_the_kth_identical_request_plays_the_kth_recording_and_none_twice(bench: Any, faults: Any) -> None:
    faults.add(Reply("one"), Reply("two"))

    def times(n: int) -> Any:
        return lambda llm_call: [llm_call("Same").text for _ in range(n)]

    assert bench.run(times(2)).value == ["one", "two"]
    assert bench.run(times(2), "none").value == ["one", "two"]
    third = bench.run(times(3), "none")
    assert isinstance(third.error, MissingRecording)
    assert "already played" in third.error.message


def test_each_repeat_plays_its_own_recordings(bench: Any, faults: Any) -> None:
    faults.add(Reply("zero"), Reply("one"))
    session = CaptureSession(CaptureOptions(record="once"), prices=PriceBook(), redactor=Redactor())
    # "once" goes on recording into a file that is new in this session
    assert bench.run(bench.ask(), repeat=0, session=session).value.text == "zero"
    assert bench.run(bench.ask(), repeat=1, session=session).value.text == "one"
    session.stop()
    assert bench.run(bench.ask(), "none", repeat=1).value.text == "one"
    assert bench.run(bench.ask(), "none", repeat=0).value.text == "zero"
    missing = bench.run(bench.ask(), "none", repeat=2)
    assert isinstance(missing.error, MissingRecording)
    assert "repeat 2" in missing.error.message


def test_a_rerun_plays_its_own_recording_else_that_of_the_first_execution(bench: Any, faults: Any) -> None:
    faults.add(Reply("first"), Reply("rerun"))
    session = CaptureSession(CaptureOptions(record="once"), prices=PriceBook(), redactor=Redactor())
    bench.run(bench.ask(), session=session)
    assert bench.run(bench.ask(), attempt=1, session=session).value.text == "rerun"
    session.stop()
    assert bench.run(bench.ask(), "none", attempt=1).value.text == "rerun"
    assert bench.run(bench.ask(), "none", attempt=2).value.text == "first"


def test_once_replays_an_existing_file_and_a_miss_is_an_error(
    bench: Any, requests_seen: Callable[[], int]
) -> None:
    bench.run(bench.ask("A"))
    again = bench.run(bench.ask("A"))
    assert again.call.capture_mode == "replayed"
    other = bench.run(bench.ask("B"))
    assert isinstance(other.error, MissingRecording)
    assert requests_seen() == 1


def test_new_replays_what_matches_and_adds_the_rest(bench: Any, faults: Any) -> None:
    faults.add(Reply("a"), Reply("b"), Reply("a2"))
    bench.run(bench.ask("A"))
    result = bench.run(lambda call: [call("A").text, call("B").text, call("A").text], "new")
    assert result.value == ["a", "b", "a2"]
    assert [c.capture_mode for c in result.watch.calls] == ["replayed", "recorded", "recorded"]
    replayed = bench.run(lambda call: [call("A").text, call("A").text, call("B").text], "none")
    assert replayed.value == ["a", "a2", "b"]


def test_all_records_again_and_drops_what_is_no_longer_asked(bench: Any, faults: Any) -> None:
    faults.add(Reply("a"), Reply("b"), Reply("other repeat"), Reply("new a"))
    bench.run(lambda call: [call("A").text, call("B").text])
    bench.run(bench.ask("A"), "new", repeat=1)
    assert bench.run(bench.ask("A"), "all").value.text == "new a"
    assert [timing(i)["repeat"] for i in load(bench.cassette())] == [0, 1]
    assert bench.run(bench.ask("A"), "none").value.text == "new a"
    assert bench.run(bench.ask("A"), "none", repeat=1).value.text == "other repeat"
    assert isinstance(bench.run(bench.ask("B"), "none").error, MissingRecording)


def test_none_and_a_pure_replay_write_nothing(bench: Any) -> None:
    bench.run(bench.ask())
    before = (bench.cassette().stat().st_mtime_ns, bench.cassette().read_bytes())
    bench.run(bench.ask(), "none")
    bench.run(bench.ask("unknown"), "none", name="other")
    assert (bench.cassette().stat().st_mtime_ns, bench.cassette().read_bytes()) == before
    assert [p.name for p in bench.folder.iterdir()] == ["case.yaml"]


def test_a_recording_edited_by_hand_is_found_by_what_it_says_now(bench: Any) -> None:
    bench.run(bench.ask("How are you?"))
    text = bench.cassette().read_text()
    bench.cassette().write_text(text.replace('"input": "How are you?"', '"input": "How old are you?"'))
    assert bench.run(bench.ask("How old are you?"), "none").error is None


@pytest.mark.parametrize(
    ("broken", "says", "line"),
    [
        ("interactions: [unclosed\n", "cannot be read", 2),
        ("just text\n", "no list 'interactions'", 1),
        ("version: 1\ninteractions:\n- request: {}\n  response: {}\n", "no whole 'request' in interaction 1", 3),
        ("- 1\n- 2\n", "no list 'interactions'", 1),
        ("a: !!python/object:os.system {}\n", "cannot be read", 1),
    ],
)
def test_a_corrupt_cassette_is_one_line_with_file_line_and_mend(
    bench: Any, broken: str, says: str, line: int
) -> None:
    bench.cassette().write_text(broken)
    with pytest.raises(CassetteError) as caught:
        bench.run(bench.ask(), "none")
    text = str(caught.value)
    assert text.startswith(f"cassettes/case.yaml:{line}: ")
    assert says in text
    assert "record it again" in text
    assert "\n" not in text
    assert bench.cassette().read_text() == broken


def test_bytes_that_are_no_text_and_newer_versions_are_refused(bench: Any) -> None:
    bench.run(bench.ask())
    good = bench.cassette().read_text()
    bench.cassette().write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CassetteError, match="not UTF-8"):
        bench.run(bench.ask(), "none")
    bench.cassette().write_text(good.replace("schema_version: 1", "schema_version: 99"))
    with pytest.raises(CassetteError, match="newer pytest-llmwatch"):
        bench.run(bench.ask(), "none")


def test_an_empty_file_is_no_cassette(bench: Any) -> None:
    bench.cassette().write_text("")
    assert bench.run(bench.ask()).call.capture_mode == "recorded"


SECRET = "sk-proj-abc123DEF456ghi789JKL012mno345"


def test_secrets_and_personal_data_never_reach_the_file(bench: Any, faults: Any) -> None:
    prompt = f"My key is {SECRET}, mail bob@acme.example, card 4111 1111 1111 1111"
    faults.add(Reply(f"I will keep {SECRET} safe, bob@acme.example"))
    live, replayed = bench.both(bench.stream(prompt, api="chat"))
    text = bench.cassette().read_text()
    for leak in (SECRET, "abc123DEF", "bob@acme", "4111"):
        assert leak not in text
        assert leak not in json.dumps([live.call.input, live.call.output])
    assert "[OPENAI_KEY:" in text
    # equal secrets stay equal, and what is said of the call is the same after the round trip
    assert live.call.output == replayed.call.output
    assert live.call.output in replayed.value.text
    assert replayed.call.ttft == live.call.ttft


def test_a_key_split_over_deltas_is_found(bench: Any) -> None:
    from pytest_llmwatch.capture.answer import read_response
    from pytest_llmwatch.capture.scrub import Scrubber

    pieces = [
        "The key: s",
        "k-pro",
        "j-abc123DEF4",
        "56ghi789JKL",
        "012mno345 ok",
        ", mail bo",
        "b@acme.exam",
        "ple.",
    ]
    chunks = [
        ("data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": p}}]}) + "\n\n").encode()
        for p in pieces
    ]
    chunks.append(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    body = b"".join(chunks)
    cleaned, sizes = Scrubber(Redactor()).stream(body, [len(c) for c in chunks])
    assert sum(sizes) == len(cleaned)
    assert len(sizes) == len(chunks)
    assert b"abc123" not in cleaned
    answer = read_response(200, "text/event-stream", cleaned, {})
    assert answer.output == Redactor().text("".join(pieces))
    assert answer.output is not None
    assert answer.output.startswith("The key: [OPENAI_KEY:")
    assert answer.output.endswith("].")
    # boundaries still stand between events
    assert cleaned[: sizes[0]].endswith(b"\n\n")


def test_a_stream_without_secrets_keeps_its_bytes() -> None:
    from pytest_llmwatch.capture.scrub import Scrubber

    body = b'event: x\r\ndata: {"type":"response.output_text.delta",  "delta":"hi \\u00e9"}\r\n\r\n'
    body += b": ping\n\ndata: [DONE]\n\n"
    assert Scrubber(Redactor()).stream(body, [10, len(body) - 10]) == (body, [10, len(body) - 10])


class _Blind(Redactor):
    """Redacts nothing that it is given, yet finds a secret in the file: as a pattern that is too narrow would."""

    def find(self, s: str, *, sure: bool = False) -> list[Finding]:
        return super().find(s, sure=sure) if s.startswith("- request:") else []


def test_a_secret_that_slipped_through_refuses_the_save(bench: Any) -> None:
    with pytest.raises(SecretFound) as caught:
        bench.run(bench.ask(f"My key is {SECRET}"), redactor=_Blind())
    assert SECRET not in str(caught.value)
    assert "OPENAI_KEY" in str(caught.value)
    assert not bench.cassette().exists()


def test_a_users_pattern_redacts_and_does_not_refuse_numbers(bench: Any) -> None:
    redactor = Redactor([("ticket", r"TCK-\d+"), ("number", r"\d{10}")])
    result = bench.run(bench.ask("About TCK-123"), redactor=redactor)
    assert result.error is None
    assert "TCK-123" not in bench.cassette().read_text()
    assert "[TICKET:" in bench.cassette().read_text()


def test_new_redaction_patterns_do_not_make_recordings_stale(bench: Any) -> None:
    bench.run(bench.ask("About TCK-123"))
    replayed = bench.run(bench.ask("About TCK-123"), "none", redactor=Redactor([("ticket", r"TCK-\d+")]))
    assert replayed.error is None


def test_emoji_do_not_make_the_file_unreadable(bench: Any) -> None:
    bench.run(bench.ask("Cats 🐈 and dogs, é"))
    text = bench.cassette().read_text()
    assert '"input": "Cats 🐈 and dogs, é"' in text
    assert bench.run(bench.ask("Cats 🐈 and dogs, é"), "none").error is None


def test_a_large_cassette_is_reported(bench: Any) -> None:
    result = bench.run(bench.ask(), options={"cassette_max_bytes": 100})
    assert [p.slug for p in result.problems] == ["cassette-large"]
    assert bench.cassette().exists()


def test_workers_write_parts_and_a_merge_makes_the_cassette(bench: Any, faults: Any) -> None:
    faults.add(Reply("zero"), Reply("one"))
    bench.run(bench.ask(), repeat=0, options={"worker": "gw0"})
    bench.run(bench.ask(), repeat=1, options={"worker": "gw1"})
    assert not bench.cassette().exists()
    assert part_path(bench.cassette(), "gw1").exists()
    assert merge_parts(bench.folder) == [bench.cassette()]
    assert [p.name for p in bench.folder.iterdir()] == ["case.yaml"]
    assert [timing(i)["repeat"] for i in load(bench.cassette())] == [0, 1]
    assert bench.run(bench.ask(), "none", repeat=1).value.text == "one"
    assert merge_parts(bench.folder) == []


def test_a_merge_keeps_one_copy_of_what_every_worker_recorded(bench: Any) -> None:
    # a session fixture runs in each worker
    for worker in ("gw0", "gw1", "gw2"):
        bench.run(bench.ask(), options={"worker": worker})
    merge_parts(bench.folder)
    assert len(load(bench.cassette())) == 1


@pytest.mark.parametrize("mode", ["all", "new"])
def test_a_merge_keeps_other_recordings_and_survives_a_cut_off_part(bench: Any, faults: Any, mode: str) -> None:
    faults.add(Reply("b"), Reply("old a"), Reply("new a"))
    bench.run(bench.ask("B"), repeat=1)
    if mode == "all":
        bench.run(bench.ask("A"), "new")
    bench.run(bench.ask("A"), mode, options={"worker": "gw0"})
    part_path(bench.cassette(), "gw1").write_text("interactions: [")
    merge_parts(bench.folder)
    assert bench.run(bench.ask("A"), "none").value.text == ("new a" if mode == "all" else "old a")
    assert bench.run(bench.ask("B"), "none", repeat=1).value.text == "b"


def test_a_part_left_by_a_killed_run_is_not_overwritten(bench: Any) -> None:
    bench.run(bench.ask("A"), options={"worker": "gw0"})
    bench.run(bench.ask("B"), options={"worker": "gw0"})
    merge_parts(bench.folder)
    assert len(load(bench.cassette())) == 2


def test_the_collector_is_back_on_after_a_load(bench: Any) -> None:
    import gc

    bench.run(bench.ask())
    bench.run(bench.ask(), "none")
    assert gc.isenabled()


def test_no_vcr_patcher_is_active_while_replaying(bench: Any) -> None:
    import urllib.request

    bench.run(bench.ask())
    url = bench.base_url.removesuffix("/v1") + "/health"

    def act(llm_call: Any) -> int:
        llm_call("What is the capital of France?")
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)

    assert bench.run(act, "none").value == 200
