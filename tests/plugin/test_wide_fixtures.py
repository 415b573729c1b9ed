"""Fixtures wider than a function: their calls go to the fixture's own cassette and are in the run once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

CONFTEST = """
import openai, pytest

def ask(text, model="gpt-4o-mini"):
    client = openai.OpenAI(max_retries=0)
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])

@pytest.fixture(scope="session")
def answers():
    ask("one for the session")
    ask("two for the session")
    yield "ready"
    ask("at the end of the session")

@pytest.fixture(scope="module", params=["fr", "de"])
def language(request):
    return ask("in " + request.param).choices[0].message.content
"""
TESTS = """
import pytest
from conftest import ask

@pytest.fixture(scope="class")
def own():
    ask("for the class")

class TestOne:
    def test_a(self, answers, own):
        ask("from test a")
    def test_b(self, answers, own):
        pass

class TestTwo:
    def test_c(self, own, answers):
        ask("from test c")

def test_d(language, answers):
    assert language
"""
BUDGET = "[latency]\np50 = 30\n"


def calls(project: Any) -> list[dict[str, Any]]:
    path = project.path / "llmwatch-report" / "calls.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def write(project: Any) -> None:
    project.budget(BUDGET)
    (project.path / "conftest.py").write_text(CONFTEST)
    (project.path / "test_app.py").write_text(TESTS)
    (project.path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")


def summary(project: Any) -> list[tuple[str, str]]:
    return sorted((c["nodeid"], c["input"]) for c in calls(project))


EXPECTED = [
    ("conftest.py::[fixture answers]", "at the end of the session"),
    ("conftest.py::[fixture answers]", "one for the session"),
    ("conftest.py::[fixture answers]", "two for the session"),
    ("test_app.py::TestOne::[fixture own]", "for the class"),
    ("test_app.py::TestOne::test_a", "from test a"),
    ("test_app.py::TestTwo::[fixture own]", "for the class"),
    ("test_app.py::TestTwo::test_c", "from test c"),
    ("test_app.py::[fixture language[de] of conftest.py]", "in de"),
    ("test_app.py::[fixture language[fr] of conftest.py]", "in fr"),
]


def recordings(folder: Path) -> dict[str, int]:
    found = folder.rglob("cassettes/**/*")
    return {p.relative_to(folder).as_posix(): p.read_text().count("- request:") for p in found if p.is_file()}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_calls_of_wide_fixtures_are_recorded_once_and_replayed(project: Any, workers: str) -> None:
    write(project)
    first = project.run("--llm-budget=budget.toml", "-n", workers)
    first.assert_outcomes(passed=5)
    assert [(n, i.partition(": ")[2] or i) for n, i in summary(project)] == EXPECTED
    files = recordings(project.path)
    assert files["cassettes/conftest/fixture.answers.yaml"] == 3
    assert files["cassettes/test_app/fixture.own.yaml"] == 1
    assert sorted(k for k in files if "language" in k) == [
        "cassettes/conftest/" + k.rpartition("/")[2] for k in sorted(files) if "language" in k
    ]
    assert not [k for k in files if ".part-" in k]
    # replayed over two workers, or alone in another order: the same calls with the same ids
    ids = {c["id"] for c in calls(project)}
    order = ("test_app.py::TestTwo", "test_app.py::TestOne", "test_app.py::test_d")
    args = ("-n2",) if workers == "0" else ("-n0", *order)
    again = project.run("--llm-budget=budget.toml", *args, OPENAI_BASE_URL="http://127.0.0.1:9/v1", CI="1")
    again.assert_outcomes(passed=5)
    assert {c["id"] for c in calls(project)} == ids
    assert {c["capture_mode"] for c in calls(project)} == {"replayed"}
    assert len(calls(project)) == len(EXPECTED)
    assert recordings(project.path) == files
