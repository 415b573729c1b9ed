"""`llmwatch cassettes`: what is wrong with recordings, and removing what nothing uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import cli, pipeline_cassettes
from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture.cassette_file import CassetteFile, Interaction
from pytest_llmwatch.redact import Redactor

KEY = "sk-proj-abc123DEF456ghi789JKL012mno345"


class _Blind(Redactor):
    """Finds nothing, so that a file with a secret can be made."""

    def find(self, s: str, **_: Any) -> list[Any]:
        return []

    def text(self, s: str, **_: Any) -> str:
        return s


def item(question: str, *, answer: str = "Yes.", repeat: int = 0, **timing: Any) -> Interaction:
    request = json.dumps({"model": "m", "messages": [{"role": "user", "content": question}]})
    form = fp.canonical("POST", "http://h/v1/chat/completions", request.encode(), "application/json", _Blind())
    known = {"schema_version": 1, "fingerprint": fp.fingerprint(form), "repeat": repeat, "attempt": 0}
    known |= {"time": "2026-01-01T00:00:00.000Z", "total": 0.1, "state": "complete", "chunks": [], "error": None}
    stream = answer.startswith("data:")
    body = answer if stream else json.dumps({"choices": [{"index": 0, "message": {"content": answer}}]})
    return Interaction.make(
        method="POST",
        url="http://h/v1/chat/completions",
        request_body=request,
        request_headers={"content-type": "application/json"},
        status=(200, "OK"),
        headers={"content-type": ["text/event-stream" if stream else "application/json"]},
        body=body,
        timing={**known, **timing},
    )


def save(path: Path, *items: Interaction) -> Path:
    CassetteFile(path, path.name, _Blind()).save(items)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_app.py").write_text("def test_x(): pass\n")
    save(tmp_path / "tests/cassettes/test_app/test_x.yaml", item("A"), item("B"), item("A", repeat=1))
    return tmp_path


def note(project: Path, *keep: str, partial: str | None = None, complete: bool = True) -> None:
    """Write what a run would have noted: it used the recordings of the questions in ``keep``."""
    uses = pipeline_cassettes.Uses()
    path = project / "tests/cassettes/test_app/test_x.yaml"
    found = CassetteFile(path, "x", _Blind()).interactions
    played = {f"{i.place[0]}/0/{i.key}/0" for i in found if any(f'"{k}"' in i.request_body.decode() for k in keep)}
    uses.add(path, played, complete=complete)
    (project / "llmwatch-report").mkdir(exist_ok=True)
    pipeline_cassettes.write_uses(
        project / "llmwatch-report", uses, run_id="run-1", root=project, partial=partial, environment={}
    )


def check(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["cassettes", "check", "--json", *args])
    return code, json.loads(capsys.readouterr().out)


def kinds(data: dict[str, Any]) -> list[str]:
    return sorted(f["kind"] for f in data["findings"])


def test_sound_cassettes_have_no_findings(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, data = check(capsys)
    assert (code, data["findings"], data["files"]) == (0, [], 1)
    assert "holds no cassettes.json" in data["partial"]
    assert cli.main(["cassettes", "check"]) == 0
    assert "1 cassettes: nothing found" in capsys.readouterr().out


STREAM = "".join(
    "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]}) + "\n\n"
    for piece in ("Your key is sk-pro", "j-abc123DEF456g", "hi789JKL012mno345")
)


@pytest.mark.parametrize(
    ("made", "kind", "code"),
    [
        ([item("A", answer=f"Use {KEY}")], "secret", 1),
        ([item("A", answer=STREAM)], "secret", 1),
        ([item("Mail bob@acme.example")], "personal", 0),
        ([item("A", state="failed", error={"type": "connection_refused"})], "dead", 0),
        ([item("A"), item("A")], "duplicate", 0),
        ([item("A", schema_version=0)], "old-schema", 0),
    ],
)
def test_each_defect_is_found_by_name(
    project: Path, capsys: pytest.CaptureFixture[str], made: list[Interaction], kind: str, code: int
) -> None:
    save(project / "tests/cassettes/test_app/other.yaml", *made)
    found, data = check(capsys)
    assert (found, kinds(data)) == (code, [kind])
    assert KEY not in json.dumps(data)


def test_files_that_cannot_be_read_leftovers_sizes_and_foreign_ones(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / "tests/cassettes/test_app"
    (folder / "broken.yaml").write_text("interactions: [\n")
    (folder / "test_x.yaml.part-gw0").write_text("interactions: []\n")
    request = "{method: POST, uri: 'http://h/v1/chat/completions', body: '{}', headers: {Authorization: [x]}}"
    response = "{status: {code: 200, message: OK}, headers: {}, body: {string: '{}'}}"
    (folder / "stock.yaml").write_text(
        f"interactions:\n- request: {request}\n  response: {response}\nversion: 1\n"
    )
    (project / "budget.toml").write_text("[capture]\nmax_cassette_bytes = 2000\nmax_set_bytes = 500\n")
    code, data = check(capsys)
    assert code == 1
    assert kinds(data) == ["large", "large", "leftover", "no-times", "secret", "unreadable"]
    said = {f["kind"]: f["message"] for f in data["findings"]}
    assert said["secret"] == "recording 1 holds the request header authorization"
    assert cli.main(["cassettes", "check", "nowhere"]) == 4
    assert "nowhere: does not exist" in capsys.readouterr().err


def test_recordings_of_tests_and_cases_that_are_gone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = project / "golden_sets/qa"
    golden.mkdir(parents=True)
    (golden / "set.yaml").write_text('description: d\nprompt: "{{ input }}"\nmodel: m\nscorers: [relevance]\n')
    (golden / "cases.jsonl").write_text('{"id": "one", "input": "A"}\n')
    (project / "tests/conftest.py").write_text("def answers(): pass\n")
    gone = [
        save(golden / "cassettes/two.yaml", item("A")),
        save(project / "tests/cassettes/test_old/test_x.yaml", item("A")),
        save(project / "tests/cassettes/conftest/fixture.lost.yaml", item("A")),
    ]
    save(golden / "cassettes/one.yaml", item("A"))
    save(project / "tests/cassettes/conftest/fixture.answers.yaml", item("A"))
    code, data = check(capsys)
    assert code == 0
    assert kinds(data) == ["orphan"] * 3
    assert sorted(f["path"] for f in data["findings"]) == sorted(p.relative_to(project).as_posix() for p in gone)


def test_unused_recordings_are_those_that_the_last_whole_run_did_not_play(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(project / "tests/cassettes/test_app/test_gone.yaml", item("A"))
    theirs = project / "tests/cassettes/test_app/test_x[a].yaml"  # replayed from there, though never opened
    theirs.write_text(
        "interactions:\n- request: {method: POST, uri: 'http://h/v1/x', body: '{}', headers: {}}\n"
        "  response: {status: {code: 200, message: OK}, headers: {}, body: {string: '{}'}}\nversion: 1\n"
    )
    note(project, "A")
    code, data = check(capsys)
    assert code == 0
    assert kinds(data) == ["no-times", "orphan", "unused"]
    assert [f["message"] for f in data["findings"] if f["kind"] == "unused"] == [
        "1 recording not used by run run-1"
    ]
    # a dry run names and keeps them; a real one removes them, and only them
    assert cli.main(["cassettes", "prune", "--dry-run"]) == 0
    assert "would remove" in capsys.readouterr().out
    assert (project / "tests/cassettes/test_app/test_gone.yaml").exists()
    assert cli.main(["cassettes", "prune"]) == 0
    assert capsys.readouterr().out.count("removed ") == 2
    left = CassetteFile(project / "tests/cassettes/test_app/test_x.yaml", "x", Redactor()).interactions
    assert [(i.place, b'"A"' in i.request_body) for i in left] == [((0, 0), True), ((1, 0), True)]
    assert not (project / "tests/cassettes/test_app/test_gone.yaml").exists()
    assert theirs.exists()


@pytest.mark.parametrize("why", ["partial", "failed", "changed"])
def test_nothing_is_called_unused_where_the_run_does_not_know(
    project: Path, capsys: pytest.CaptureFixture[str], why: str
) -> None:
    note(project, "A", partial="2 tests were deselected" if why == "partial" else None, complete=why != "failed")
    path = project / "tests/cassettes/test_app/test_x.yaml"
    if why == "changed":
        save(path, item("A"), item("B"), item("C"))
    before = path.read_bytes()
    assert kinds(check(capsys)[1]) == []
    assert cli.main(["cassettes", "prune"]) == (4 if why == "partial" else 0)
    assert path.read_bytes() == before
    if why == "partial":
        assert "2 tests were deselected" in capsys.readouterr().err


def test_a_damaged_note_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "llmwatch-report").mkdir()
    (project / "llmwatch-report/cassettes.json").write_text("{")
    assert cli.main(["cassettes", "check"]) == 4
    assert "llmwatch-report/cassettes.json: cannot be read" in capsys.readouterr().err
