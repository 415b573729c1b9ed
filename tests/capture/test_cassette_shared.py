"""Several processes, threads and loops on one cassette; whose call is whose; unwritable and large files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from llmock.scenarios import Reply

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette import Shelf
from pytest_llmwatch.capture.cassette_file import CassetteFile, Interaction
from pytest_llmwatch.capture.cassette_parts import merge_parts, part_path
from pytest_llmwatch.capture.options import CaptureOptions
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import CassetteError, MissingRecording
from pytest_llmwatch.pricing import PriceBook
from pytest_llmwatch.redact import Redactor


def recording(question: str, **timing: Any) -> Interaction:
    """Return one interaction as a run would make it."""
    request = json.dumps({"model": "m", "messages": [{"role": "user", "content": question}]}, indent=2)
    form = fp.canonical("POST", "http://h/v1/chat/completions", request.encode(), "application/json", Redactor())
    known = {"schema_version": 1, "fingerprint": fp.fingerprint(form), "repeat": 0, "attempt": 0}
    known |= {
        "time": "2026-01-01T00:00:00.000Z",
        "total": 0.1,
        "state": "complete",
        "chunks": [[0.1, 4]],
        "error": None,
    }
    item = Interaction.make(
        method="POST",
        url="http://h/v1/chat/completions",
        request_body=request,
        request_headers={"content-type": "application/json"},
        status=(200, "OK"),
        headers={"content-type": ["application/json"]},
        body=json.dumps({"answer": f"to {question}\n", "tokens": 3}, indent=2),
        timing={**known, **timing},
    )
    item.key = known["fingerprint"]  # type: ignore[assignment]
    return item


def shelf(mode: str = "new", **options: Any) -> Shelf:
    return Shelf(mode, Redactor(), worker=None, max_bytes=10**9, report=lambda _: None, **options)  # type: ignore[arg-type]


def store(path: Path, questions: list[str], mode: str = "new", shelf_: Shelf | None = None) -> None:
    handle = (shelf_ or shelf(mode)).open(path, repeat=0, attempt=0, display=path.name)
    for question in questions:
        item = recording(question)
        slot = handle.reserve(json.loads(json.dumps({"q": question})))
        handle._slots[slot] = (item.key or "", item)
    handle.close()


def _process(path: str, first: int, barrier: Any) -> None:
    barrier.wait()
    for number in range(first, first + 10):
        store(Path(path), [f"question {number}"])


def test_two_runs_at_once_on_one_cassette_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    path = tmp_path / "cassettes" / "case.yaml"
    runs = [context.Process(target=_process, args=(str(path), n, barrier)) for n in (0, 10)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert [run.exitcode for run in runs] == [0, 0]
    found = CassetteFile(path, "case", Redactor()).interactions
    asked = sorted(int(re.findall(rb"question (\d+)", i.request_body)[0]) for i in found)
    assert asked == list(range(20))
    assert [p.name for p in path.parent.iterdir()] == ["case.yaml"]


@pytest.mark.parametrize("mode", ["once", "all"])
def test_what_another_run_saved_in_between_stays(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "case.yaml"
    mine = shelf(mode)
    handle = mine.open(path, repeat=0, attempt=0, display="case")
    store(path, ["theirs", "both", "both"])
    for question in ("mine", "both"):
        item = recording(question, total=0.2)
        handle.reserve({})
        handle._slots[-1] = (item.key or "", item)
    handle.close()
    found = [i.request_body.decode() for i in CassetteFile(path, "case", Redactor()).interactions]
    assert [sum(q in body for body in found) for q in ("theirs", "both", "mine")] == [1, 2, 1]


def test_the_parts_of_two_runs_are_kept_apart_and_those_of_the_dead_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    alive = part_path(path, "gw0", "another run")
    assert alive != part_path(path, "gw0", "this run")
    dead = alive.with_name(re.sub(r"_\d+$", "_999999999", alive.name))
    for part, question in ((alive, "of the living"), (dead, "of the dead")):
        CassetteFile(part, "part", Redactor()).save([recording(question)])
    assert merge_parts(tmp_path, "this run") == [path]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, alive.name])
    assert merge_parts(tmp_path, "another run") == [path]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert len(CassetteFile(path, "case", Redactor()).interactions) == 2


def test_a_part_that_is_merged_twice_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    for _ in range(2):
        CassetteFile(part_path(path, "gw0"), "part", Redactor()).save([recording("A"), recording("A", total=0.3)])
        merge_parts(tmp_path)
    assert len(CassetteFile(path, "case", Redactor()).interactions) == 2


def test_a_folder_that_cannot_be_written_is_told_once_and_the_run_goes_on(bench: Any) -> None:
    (bench.folder / "file").write_text("in the way")
    result = bench.run(bench.ask(), name="file/case")
    again = bench.run(bench.ask(), name="file/case")
    assert (result.error, result.call.capture_mode) == (None, "recorded")
    for one in (result, again):
        assert [p.slug for p in one.problems] == ["cassette-unwritable"]
        assert "file cannot be written (" in one.problems[0].message
    session = CaptureSession(CaptureOptions(record="once"), prices=PriceBook(), redactor=Redactor())
    for name in ("file/a", "file/b"):
        bench.run(bench.ask(), name=name, session=session)
    session.stop()
    assert [p.slug for p in session.problems] == ["cassette-unwritable"]


def test_concurrent_identical_requests_replay_in_the_order_of_their_requests(bench: Any, faults: Any) -> None:
    faults.add(*(Reply(f"answer {n}") for n in range(12)))

    async def ask(llm_call: Any) -> list[str]:
        replies = await asyncio.gather(*(llm_call.aio("Same", api="chat") for _ in range(12)))
        return [r.text for r in replies]

    live, replayed = bench.both(lambda llm_call: asyncio.run(ask(llm_call)))
    assert len(set(live.value)) == 12
    assert replayed.value == live.value
    again = bench.run(lambda llm_call: [*asyncio.run(ask(llm_call)), llm_call("Same", api="chat")], "none")
    assert isinstance(again.error, MissingRecording)


def test_a_task_that_outlives_its_test_calls_in_the_name_of_the_next(bench: Any) -> None:
    url = bench.base_url + "/chat/completions"
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "from the loop"}]}
    session = CaptureSession(CaptureOptions(record="off"), prices=PriceBook(), redactor=Redactor())
    session.start()
    first, second, fixture = Watch("first"), Watch("second"), Watch("[fixture]")

    async def serve(queue: asyncio.Queue[Any]) -> None:
        # as anyio's runner does: one long task, whose context is that of the test under which it began
        async with httpx.AsyncClient() as client:
            while (done := await queue.get()) is not None:
                await client.post(url, json=body)
                done.set()

    async def main() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def ask() -> None:
            done = asyncio.Event()
            await queue.put(done)
            await done.wait()

        with session.watch(first):
            task = asyncio.create_task(serve(queue))
            await ask()
            with session.watch(fixture, over=True):
                await ask()
        with session.watch(second):
            await ask()
        await queue.put(None)
        await task

    asyncio.run(main())
    session.stop()
    assert [len(w.calls) for w in (first, fixture, second)] == [1, 1, 1]


def test_a_thread_that_a_fixture_started_calls_in_the_name_of_the_test(bench: Any) -> None:
    session = CaptureSession(CaptureOptions(record="off"), prices=PriceBook(), redactor=Redactor())
    session.start()
    fixture, test = Watch("[fixture]"), Watch("test")
    go = threading.Event()
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "from a thread"}]}

    def work() -> None:
        go.wait(30)
        httpx.post(bench.base_url + "/chat/completions", json=body)

    with session.watch(test):
        with session.watch(fixture, over=True):
            thread = threading.Thread(target=work)
            thread.start()
        go.set()
        thread.join()
    session.stop()
    assert (len(fixture.calls), len(test.calls)) == (0, 1)


TIMES = re.compile(
    r"^      (time|queue_wait|connect|offset|headers|first_byte|total|call_total|chunks): .*$|"
    r"\"(id|created)\": [^\n]*",
    re.M,
)


def test_recording_an_unchanged_answer_again_changes_nothing_but_times(bench: Any, faults: Any) -> None:
    texts = []
    for mode in ("once", "all"):
        faults.add(Reply("Long\n" * 20), Reply("Short"))
        bench.run(lambda call: [call("A\nB", api="chat"), call("B", api="chat")], mode)
        texts.append(bench.cassette().read_text())
    assert texts[0] != texts[1]
    assert TIMES.sub("", texts[0]) == TIMES.sub("", texts[1])
    assert "body: |-\n      {\n" in texts[0]
    # and a file that is read and saved again keeps its bytes, parsed piece by piece or as a whole
    file = CassetteFile(bench.cassette(), "case", Redactor())
    file.save(file.interactions)
    assert bench.cassette().read_text() == texts[1]


def test_a_large_file_is_parsed_where_it_is_played_and_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    items = [recording(f"question {n}\n- request:\n    x-llmwatch:\n", repeat=n % 2) for n in range(60)]
    CassetteFile(path, "case", Redactor()).save(items)
    text = path.read_text()
    file = CassetteFile(path, "case", Redactor())
    assert [i.place for i in file.interactions] == [(n % 2, 0) for n in range(60)]
    assert [i.key for i in file.interactions] == [i.key for i in items]
    assert all(i._request is None for i in file.interactions)
    assert file.interactions[41].request_body == items[41].request_body
    assert [n for n, i in enumerate(file.interactions) if i._request is not None] == [41]
    assert [i.timing for i in file.interactions] == [i.timing for i in items]
    loaded = yaml.safe_load(text)["interactions"]
    assert [i["response"]["body"]["string"] for i in loaded] == [i.body.decode() for i in items]
    file.save([*file.interactions, recording("one more")])
    assert path.read_text().startswith(text)


@pytest.mark.parametrize("harm", ["cut", "edited", "indented"])
def test_damage_in_a_large_file_is_found_with_its_line(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "case.yaml"
    CassetteFile(path, "case", Redactor()).save([recording(f"question {n}") for n in range(40)])
    lines = path.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if "question 30" in line)
    if harm == "cut":
        lines = lines[:at]
    elif harm == "edited":
        lines[at] = "at the margin\n"
    else:
        lines[at - 5] = "    body: [\n"
    path.write_text("".join(lines))

    def look() -> None:
        handle = shelf("none").open(path, repeat=0, attempt=0, display="case")
        handle.closest({"method": "POST", "path": "/", "body": None})

    with pytest.raises(CassetteError) as caught:
        look()
    assert abs((caught.value.line or 0) - at) < 45


def test_a_call_at_the_end_of_a_large_cassette_touches_one_recording(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    CassetteFile(path, "case", Redactor()).save([recording(f"question {n}") for n in range(200)])
    handle = shelf("none").open(path, repeat=0, attempt=0, display="case")
    item = recording("question 199")
    request = item.request
    form = fp.canonical(request.method, request.uri, item.request_body, "application/json", Redactor())
    found = handle.play(form)
    assert found is not None
    assert b"question 199" in found.body
    assert sum(i._request is not None for b in handle._books for i in b.items) == 1
    assert handle.play(form) is None


def test_the_closest_recording_is_named_with_its_rivals(bench: Any) -> None:
    bench.run(lambda call: [call(q, api="chat") for q in ("Tell me about cats", "Tell me about dogs")])
    result = bench.run(bench.ask("Tell me about cows", api="chat"), "none")
    text = str(result.error)
    assert "recorded «Tell me about [-" in text
    assert "(1 more in as many places)" in text
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    result = bench.run(bench.ask("Tell me about cats", api="chat", tools=tools, model="gpt-4o"), "none")
    assert "$.model: recorded «gpt-4o-mini», asked «gpt-4o»" in str(result.error)
    assert "$.tools: not in the recording, asked «[{" in str(result.error)
    other = bench.run(bench.ask("Tell me about cats"), "none")
    assert "none of a call to /v1/responses; the closest is of /v1/chat/completions" in str(other.error)
    long = bench.run(bench.ask("word " * 50_000, api="chat"), "none")
    assert len(str(long.error)) < 2500
    empty = bench.run(bench.ask(), "none", name="nothing")
    assert "The cassette does not exist yet." in str(empty.error)


def test_a_fixture_that_is_set_up_again_replays_what_its_first_set_up_recorded(
    bench: Any, faults: Any, requests_seen: Callable[[], int]
) -> None:
    faults.add(Reply("first"), Reply("second"))
    for mode in ("once", "all", "new"):
        with contextlib.suppress(FileNotFoundError):
            bench.cassette().unlink()
        answers = shelf(mode)
        handle = answers.open(bench.cassette(), repeat=0, attempt=0, display="case", again=True)
        item = recording("A")
        form = fp.canonical("POST", item.request.uri, item.request_body, "application/json", Redactor())
        assert handle.play(form) is None
        handle.record(handle.reserve(form), item)
        handle.save()
        handle.close()
        again = answers.open(bench.cassette(), repeat=0, attempt=0, display="case", again=True)
        assert again.play(form) is not None
        assert again.play(form) is None
        again.close()
        assert len(CassetteFile(bench.cassette(), "case", Redactor()).interactions) == 1
    assert requests_seen() == 0


def test_a_problem_of_size_names_the_largest(tmp_path: Path) -> None:
    from pytest_llmwatch.pipeline_cassettes import size_problems

    folder = tmp_path / "golden_sets" / "qa" / "cassettes"
    for name, count in (("small", 1), ("large", 30), ("middle", 10), ("tiny", 0)):
        CassetteFile(folder / f"{name}.yaml", name, Redactor()).save([recording(f"q{n}") for n in range(count)])
    written = [folder / "small.yaml"]
    assert size_problems(written, tmp_path, None) == []
    assert size_problems(written, tmp_path, 10**6) == []
    (problem,) = size_problems(written, tmp_path, 10_000)
    assert isinstance(problem.message, str)
    assert problem.kind == "cassettes-large"
    assert "golden_sets/qa/cassettes holds" in problem.message
    assert problem.message.index("large 0.0") < problem.message.index("middle 0.0")
    assert "tiny" not in problem.message
