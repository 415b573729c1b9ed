"""``llmwatch score``: a line out for each line in, whatever the log looks like."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.cli import main

Score = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Score:
    """Score rows (objects, or raw lines); returns the exit code, the lines of output, and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(rows: list[Any], *args: str) -> tuple[int, list[dict[str, Any]], str]:
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines))
        code = main(["score", "log.jsonl", *args])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return run


GOOD = {"id": "a", "input": "Who made the lamp?", "output": "Ada made the lamp.", "context": "Ada made the lamp."}


def test_one_line_out_per_line_in_with_its_id(score: Score) -> None:
    rows = [GOOD, {"case": "c", "output": "x"}, {"id": 7, "case": "c", "output": "x"}, {"output": "x"}]
    code, found, err = score(rows, "--scorers", "groundedness,json")
    assert (code, err) == (0, "")
    assert [row["id"] for row in found] == ["a", "c", 7, 4]
    for row in found:
        assert list(row) == ["id", "scores"]
        assert list(row["scores"]) == ["groundedness", "json"]
        assert all(list(s) == ["value", "label", "explanation", "evidence"] for s in row["scores"].values())
    assert found[0]["scores"]["groundedness"]["value"] == 1.0
    assert found[1]["scores"]["groundedness"] == {
        "value": None,
        "label": "not_assessable",
        "explanation": "No context and no reference to compare with.",
        "evidence": [],
    }


def test_without_names_all_that_apply(score: Score) -> None:
    _, found, _ = score([GOOD, {"id": "b", "output": "Just words."}])
    assert {"groundedness", "relevance", "refusal", "pii", "composite"} <= set(found[0]["scores"])
    assert "groundedness" not in found[1]["scores"]
    assert "tool_calls" not in found[1]["scores"]


def test_evidence_names_the_place(score: Score) -> None:
    made = "I'm sorry, I can't help with that."
    _, found, _ = score([{"id": "a", "output": made}], "--scorers", "refusal")
    (evidence,) = found[0]["scores"]["refusal"]["evidence"]
    assert made[evidence["start"] : evidence["end"]] == evidence["text"]
    assert evidence["where"] == "output"


BAD = [
    (b"{not json", "is not valid JSON"),
    (b"[1, 2]", "a record must be a JSON object"),
    (b'{"id": "x", "output": "\xff"}', "is not UTF-8"),
    (b'{"id": "x", "context": 5}', "context must be text or a list"),
    (b'{"id": "x", "tool_calls": 5}', "tool_calls must be a list"),
    (b'{"id": "x", "output": "a\x00b"}', "is not valid JSON"),
    (b'{"id": "x", "n": ' + b"9" * 5000 + b"}", "too many digits"),
    (b'{"id": "x", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deep"),
    (b'{"id": "x", "schema": "{"}', "schema is a text that is no JSON"),
]


@pytest.mark.parametrize(("line", "why"), BAD)
def test_a_bad_line_is_named_and_skipped_or_fatal(score: Score, line: bytes, why: str) -> None:
    rows = [GOOD, line, {**GOOD, "id": "z"}]
    code, found, err = score(rows, "--scorers", "json,refusal")
    assert code == 0
    assert [row["id"] for row in found] == ["a", 2, "z"]
    assert why in found[1]["error"]
    assert {name: s["label"] for name, s in found[1]["scores"].items()} == {"json": "error", "refusal": "error"}
    assert f"log.jsonl:2: {why}"[:12] in err
    assert why in err
    assert "2 records scored, 1 bad line skipped" in err
    code, _, err = score(rows, "--scorers", "json", "--strict")
    assert code == 4
    assert why in err
    assert "log.jsonl:2:" in err


def test_blank_lines_are_no_records_and_numbers_stay(score: Score) -> None:
    code, found, err = score([b"", GOOD, b"  ", {"output": "x"}, b"oops", b""], "--scorers", "json")
    assert code == 0
    assert [row["id"] for row in found] == ["a", 4, 5]
    assert "log.jsonl:5:" in err


@pytest.mark.parametrize("rows", [[], [b"", b" "], [b"oops", b"no"]])
def test_nothing_to_score_is_unusable_input(score: Score, rows: list[Any]) -> None:
    code, _, err = score(rows, "-o", "out.jsonl")
    assert code == 4
    assert "records-empty" in err
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--scorers", "jsno"], "unknown scorer 'jsno'; did you mean 'json'?"),
        (["--scorers", ","], "--scorers names no scorer"),
        (["--scorers", "regex", "--option", "regex.pattern=("], "not a regular expression"),
        (["--option", "regex"], "must read SCORER.OPTION=VALUE"),
        (["--option", "json.nothing=1"], "unknown option 'nothing'"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--map", "x"], "--map must read OLD=NEW"),
        (["--schema", "none.json"], "cannot be read as a JSON Schema"),
        (["--set", "none"], "none"),
        (["--budget", "none.toml"], "none.toml"),
        (["-o", "log.jsonl/out"], "cannot be written"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(score: Score, args: list[str], says: str) -> None:
    code, found, err = score([GOOD], *args)
    assert code == 4
    assert found == []
    assert says in err
    assert err.count("\n") == 1


def test_a_missing_file_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(tmp_path / "none.jsonl")]) == 4
    assert "none.jsonl: cannot be read (No such file" in capsys.readouterr().err
    assert main(["score", str(tmp_path)]) == 4
    assert "cannot be read" in capsys.readouterr().err


def test_gzip_and_standard_input(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = (json.dumps(GOOD) + "\n").encode() * 3
    (tmp_path / "log.jsonl").write_bytes(b"\xef\xbb\xbf" + plain)
    (tmp_path / "log.gz").write_bytes(gzip.compress(plain))
    outputs = []
    for name, given in [("log.jsonl", b""), ("log.gz", b""), ("-", plain), ("-", gzip.compress(plain))]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(given))))  # type: ignore[arg-type]
        assert main(["score", name if name == "-" else str(tmp_path / name), "--scorers", "json,refusal"]) == 0
        outputs.append(capsysbinary.readouterr().out)
    assert len(set(outputs)) == 1
    assert outputs[0].count(b"\n") == 3
    (tmp_path / "cut.gz").write_bytes(gzip.compress(plain * 50)[:-9])
    assert main(["score", str(tmp_path / "cut.gz"), "-o", str(tmp_path / "out.jsonl")]) == 4
    assert b"broken gzip" in capsysbinary.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_the_output_file_is_whole_or_not_there(score: Score, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    code, found, _ = score([GOOD, b"oops"], "-o", "out.jsonl", "--strict")
    assert (code, found) == (4, [])
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert score([GOOD], "-o", "out.jsonl", "--scorers", "json")[0] == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["id"] == "a"
    assert score([GOOD], "-o", "deep/out.jsonl.gz", "--scorers", "json")[0] == 0
    assert json.loads(gzip.decompress((tmp_path / "deep" / "out.jsonl.gz").read_bytes()))["id"] == "a"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert score([GOOD], "-o", "log.jsonl", "--scorers", "json")[0] == 0
    assert json.loads((tmp_path / "log.jsonl").read_text())["scores"]["json"]["value"] == 0.0


def test_several_processes_say_the_same_in_the_same_order(score: Score) -> None:
    rows: list[Any] = [{"id": i, "input": f"lamp {i}", "output": f"Lamp {i}. " * (i % 7)} for i in range(1500)]
    rows[700] = b"oops"
    rows[3]["odd_latency"] = rows[1400]["odd_latency"] = 3
    one = score(rows)
    several = score(rows, "--jobs", "2")
    assert one == several
    assert [row["id"] for row in one[1]][698:703] == [698, 699, 701, 701, 702]
    assert one[2].count("odd_latency' looks like a metric") == 1


def test_a_bad_line_is_fatal_in_a_process_too(score: Score) -> None:
    code, _, err = score([GOOD] * 600 + [b"oops"] + [GOOD] * 600, "--jobs", "2", "--strict", "-o", "out.jsonl")
    assert code == 4
    assert "log.jsonl:601: is not valid JSON" in err
    assert not Path("out.jsonl").exists()


def test_no_answer_is_missing_data_not_zero(score: Score) -> None:
    rows = [
        {"id": 1, "input": "q", "output": None},
        {"id": 2, "input": "q", "status": "timeout", "output": ""},
        {"id": 3, "input": "q", "output": ""},
        {"id": 4, "input": "q", "output": None, "finish_reason": "content_filter"},
    ]
    _, found, _ = score(rows, "--scorers", "json,relevance,guardrail,composite")
    values = [{name: s["value"] for name, s in row["scores"].items()} for row in found]
    nothing = {"json": None, "relevance": None, "guardrail": None, "composite": None}
    assert values[:2] == [nothing, nothing]
    assert found[0]["scores"]["json"]["label"] == "not_assessable"
    assert values[2]["json"] == 0
    assert values[3] == {**nothing, "guardrail": 0.0}
    _, found, _ = score(rows)
    assert found[0]["scores"] == {}


def test_options_from_the_command_line(score: Score) -> None:
    rows = [{"id": 1, "output": "Order 42"}, {"id": 2, "output": "Order"}]
    _, found, _ = score(rows, "--option", r"regex.pattern=\d+", "--option", "length.max_words=1")
    assert [row["scores"]["regex"]["value"] for row in found] == [1.0, 0.0]
    assert [row["scores"]["length"]["value"] for row in found] == [0.5, 1.0]
    _, found, _ = score(rows, "--scorers", "contains", "--option", 'contains.any=["42", "43"]')
    assert [row["scores"]["contains"]["value"] for row in found] == [1.0, 0.0]


def test_a_schema_for_lines_that_bring_none(score: Score, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object", "required": ["a"]}')
    rows = [
        {"id": 1, "output": '{"a": 1}'},
        {"id": 2, "output": "{}"},
        {"id": 3, "output": "{}", "schema": {"type": "object"}},
        {"id": 4, "output": "{}", "schema": '{"type": "object"}'},
    ]
    _, found, _ = score(rows, "--schema", "schema.json", "--scorers", "json_schema")
    assert [row["scores"]["json_schema"]["value"] == 1 for row in found] == [True, False, True, True]


SET = """
description: lamps
prompt: "{{ input }}"
scorers:
  - must_mention
  - regex: {pattern: "Ada", label: names_ada}
  - length: {max_words: 3}
  - composite
weights: {must_mention: 1, names_ada: 1}
"""


def test_a_golden_set_gives_scorers_weights_and_references(score: Score, tmp_path: Path) -> None:
    folder = tmp_path / "golden_sets" / "lamps"
    folder.mkdir(parents=True)
    (folder / "set.yaml").write_text(SET)
    (folder / "cases.jsonl").write_text('{"id": "who", "input": "Who?", "must_mention": ["Ada"]}\n')
    rows = [
        {"id": 1, "case": "who", "input": "system: be brief\nuser: Who?", "output": "Grace made it"},
        {"id": 2, "case": "other", "output": "Ada made the lamp"},
        {"id": 3, "case": "who", "output": "Ada", "must_mention": ["Grace"]},
    ]
    _, found, _ = score(rows, "--set", "golden_sets/lamps")
    values = [{name: s["value"] for name, s in row["scores"].items()} for row in found]
    assert values == [
        {"must_mention": 0.0, "names_ada": 0.0, "length": 1.0, "composite": 0.0},
        {"must_mention": None, "names_ada": 1.0, "length": 0.75, "composite": 1.0},
        {"must_mention": 0.0, "names_ada": 1.0, "length": 1.0, "composite": 0.5},
    ]
    _, found, _ = score(rows, "--set", "golden_sets/lamps", "--scorers", "names_ada,json")
    assert list(found[0]["scores"]) == ["names_ada", "json"]


def test_plugin_scorers_and_a_crash(score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_scorers.py").write_text(
        "from pytest_llmwatch.hookspecs import hookimpl\n"
        "@hookimpl\n"
        "def llmwatch_scorers():\n"
        "    return {'shout': lambda output, case: output.text.isupper(), 'broken': lambda o, c: 1 / 0}\n"
    )
    (tmp_path / "budget.toml").write_text('[plugins]\nmodules = ["my_scorers"]\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from pytest_llmwatch.scorers import registry

    rows = [{"id": i, "output": "HEY"} for i in range(600)]
    try:
        for jobs in ("1", "2"):
            code, found, err = score(rows, "--budget", "budget.toml", "--scorers", "shout,broken", "--jobs", jobs)
            assert code == 0
            assert found[599]["scores"]["shout"]["value"] == 1.0
            assert found[599]["scores"]["broken"]["label"] == "error"
            assert "broken failed on 600 records, first on line 1: The scorer raised ZeroDivisionError" in err
    finally:
        registry.unregister("shout")
        registry.unregister("broken")


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "pytest_llmwatch.cli", "score", *args]


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"id": i, "output": "one two three " * 20}) + "\n" for i in range(30_000)))
    return log


def test_a_reader_that_leaves_is_no_error(long_log: Path) -> None:
    with subprocess.Popen(command(str(long_log)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["id"] == 0
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_one_clear_line(long_log: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(str(long_log)), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 4
    said = done.stderr.decode()
    assert said == "llmwatch: <stdout>: cannot be written (No space left on device) [llmwatch:score-output]\n"
    done = subprocess.run(command(str(long_log), "-o", "/dev/full"), stderr=subprocess.PIPE, check=False)
    assert done.returncode == 4
    assert b"cannot be written (No space left on device)" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_leaves_nothing_behind(long_log: Path, jobs: str) -> None:
    out = long_log.with_name("out.jsonl")
    process = subprocess.Popen(
        command(str(long_log), "-o", str(out), "--jobs", jobs), stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(long_log.parent.glob(".out.jsonl.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err == b"llmwatch: stopped\n"
    # Python ends by the signal itself where it came while a class was being made
    assert process.returncode in (130, -signal.SIGINT)
    assert [p.name for p in long_log.parent.iterdir()] == ["log.jsonl"]
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(process.pid)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_dies_is_infrastructure(
    score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text("import os\n\ndef end(output, case):\n    os._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    args = ("--option", "function.call=deadly:end", "--jobs", "2", "-o", "out.jsonl")
    code, _, err = score([GOOD] * 3, *args)
    assert code == 7
    assert "a scoring process died" in err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_bar_only_where_a_person_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_llmwatch import cli_score

    for watched in (True, False):
        screen = io.StringIO()
        screen.isatty = lambda watched=watched: watched  # type: ignore[method-assign, misc]
        monkeypatch.setattr(sys, "stderr", screen)
        clock = iter([0.0, 0.1, 1.0, 1.1, 2.0])
        monkeypatch.setattr(cli_score.time, "monotonic", lambda clock=clock: next(clock))
        bar = cli_score._Progress(lambda: 50, 100)
        for lines in (10, 2000, 2001, 4000):
            bar.show(lines)
        bar.end()
        shown = screen.getvalue()
        assert shown.count("lines") == (2 if watched else 0)
        assert ("50% 2,000 lines, 2,000/s" in shown) is watched
        assert shown.endswith("\r\x1b[K") is watched
