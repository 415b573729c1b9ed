"""``--llm-repeats=auto``: whole rounds, the next one only while undecided, the same for any number of workers."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_llmwatch import baseline, baseline_file, pipeline
from pytest_llmwatch.model import Call, Case, CaseResult, Output, Run, ScorerSpec

CASES = 12
SET = """\
api: chat
model: m
prompt: "Q: {{ input }}"
seed: 7
scorers: [{contains: {all: [good]}}]
"""
BUDGET = """\
[prices.m]
input_per_million = 1e6
output_per_million = 1e6
[drift]
metrics = ["contains"]
repeats = 4
"""
RUN = ("golden_sets", "--llm-budget=budget.toml")


@dataclass
class Model:
    """A server of our own: whether an answer is good hangs on the question and the seed, never on the order."""

    good: float = 1.0
    """The share of good answers."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    url: str = ""

    def answer(self, text: str, seed: int) -> str:
        number = int.from_bytes(hashlib.sha256(f"{text}/{seed}".encode()).digest()[:4], "big") / 2**32
        return "a good answer" if number < self.good else "a bad answer"


@pytest.fixture
def model(project: Any, serve: Any) -> Model:
    made = Model()

    def answer(asked: dict[str, Any]) -> str:
        text, seed = asked["messages"][-1]["content"], asked["seed"]
        made.asked.append((text, seed))
        return made.answer(text, seed)

    made.url = serve(answer).url
    project.golden("qa", SET, [{"id": f"c{n:02}", "input": f"question {n}"} for n in range(CASES)])
    project.budget(BUDGET)
    return made


# scored here: pytester forgets what a test imported, and a class imported again is another one
SCORES = {
    text: pipeline.score(Output(text), Case("c"), [ScorerSpec("contains", {"all": ["good"]})])
    for text in ("a good answer", "a bad answer")
}


def records(project: Any) -> list[tuple[Any, ...]]:
    report = project.report()
    rounds = {k: v for k, v in report["environment"]["rounds"].items() if not k.startswith("usd")}
    verdicts = [(v["rule"], v["verdict"], v["p_adjusted"], v["n_cases"]) for v in report["verdicts"]]
    cases = [(c["case"], c["repeat"], c["outcome"], c["scores"], c["call_ids"]) for c in report["cases"]]
    return [report["verdict"], rounds, verdicts, cases]


def freeze(project: Any, model: Model, good: float) -> None:
    """Write the baseline that five sessions of one repeat each would have left."""
    model.good = good
    runs = []
    for session in range(5):
        results = tuple(
            CaseResult(
                nodeid=f"c{n:02}",
                set="qa",
                case=f"c{n:02}",
                outcome="passed",
                scores=SCORES[model.answer(f"Q: question {n}", 100 + session)],
                input=f"question {n}",
                call_ids=(f"c{n:02}-{session}",),
            )
            for n in range(CASES)
        )
        calls = tuple(Call(id=f"{r.case}-{session}", set="qa", case=r.case) for r in results)
        runs.append(Run(f"run-{session}", "2026-11-01T10:00:00.000Z", calls=calls, results=results))
    baseline_file.save(baseline.make(runs, "qa"), project.path / "golden_sets" / "qa" / "baseline.json")


def test_the_same_for_any_number_of_workers(project: Any, model: Model) -> None:
    freeze(project, model, 0.92)
    model.good = 0.65
    seen = []
    for workers in ("-n0", "-n2", "-n4"):
        model.asked.clear()
        done = project.run(*RUN, "--llm-repeats=auto", "--llm-record=off", workers, "--junitxml=junit.xml")
        assert done.ret == 1
        assert Counter(Counter(model.asked).values()) == {1: 2 * CASES}  # two rounds, nothing asked twice
        assert {seed for _, seed in model.asked} == {7, 8}
        done.stdout.fnmatch_lines(
            [
                "llm: decided after 2 of 4 rounds: drift.contains failed; 24 tests not needed, 24 calls and "
                "$240.00 saved",
                "*1 failed, 24 passed, 24 not needed*",
            ]
        )
        suite = ET.parse(project.path / "junit.xml").getroot()[0]
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("25", "1", "0")
        seen.append(records(project))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][1] == {"done": 2, "of": 4, "why": "failed", "not_needed": 24, "calls_saved": 24}


def test_what_a_stopped_run_recorded_is_replayed_whole(project: Any, model: Model) -> None:
    freeze(project, model, 0.92)
    model.good = 0.65
    done = project.run(*RUN, "--llm-repeats=auto", "--llm-record=once")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["llm: decided after 2 of 4 rounds: drift.contains failed; 24 tests not needed*"])
    live = records(project)

    model.asked.clear()
    done = project.run(*RUN, "--llm-repeats=auto", "-n2", CI="1")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["llm: replayed the 2 recorded rounds of 4", "*1 failed, 24 passed in*"])
    again = records(project)
    assert again[0] == live[0]
    assert again[2:] == live[2:]
    assert again[1]["done"] == live[1]["done"] == 2

    # where a rule stays open, a replay says so, and `new` asks what is missing and no more
    project.budget(BUDGET + "[gate]\nalpha = 1e-9\n")
    done = project.run(*RUN, "--llm-repeats=auto", "--llm-record=once")
    done.stdout.fnmatch_lines(
        ["llm: replayed the 2 recorded rounds of 4; undecided: drift.contains; --llm-record=new asks for more"]
    )
    assert not model.asked
    done = project.run(*RUN, "--llm-repeats=auto", "--llm-record=new")
    done.stdout.fnmatch_lines(["llm: ran all 4 rounds; undecided: drift.contains", "*48 passed*"])
    assert {seed for _, seed in model.asked} == {9, 10}
    assert len(model.asked) == 2 * CASES


def test_all_recorded_rounds_are_replayed_and_a_failure_at_an_earlier_look_stays(
    project: Any, model: Model
) -> None:
    freeze(project, model, 0.92)
    model.good = 0.65
    project.run(*RUN, "--llm-repeats=5", "--llm-record=once", "--llm-gate=off")
    model.asked.clear()
    for workers in ("-n0", "-n2"):
        done = project.run(*RUN, "--llm-repeats=auto", "--llm-record=none", workers)
        assert done.ret == 1
        done.stdout.fnmatch_lines(["llm: replayed all 4 rounds", "*1 failed, 48 passed in*"])
        rounds = project.report()["environment"]["rounds"]
        assert rounds == {
            "done": 4,
            "of": 4,
            "why": "all",
            "early": {"2": ["drift.contains"], "3": ["drift.contains"]},
        }
    assert not model.asked


def test_a_part_of_the_cases_and_a_limit_of_money(project: Any, model: Model) -> None:
    freeze(project, model, 0.95)
    model.good = 0.95
    auto = (*RUN, "--llm-repeats=auto", "--llm-record=off")
    done = project.run(*auto, "-k", "c01 or c02", "-p", "no:xdist")
    done.stdout.fnmatch_lines(["*2 passed, 40 deselected, 6 not needed*"])
    assert "partial" in "\n".join(done.outlines)

    # a round costs 120 dollars: the second fits, the third does not, and is not begun
    for workers in ((), ("-n2",)):
        model.asked.clear()
        done = project.run(*auto, "--llm-max-cost=300", *workers)
        assert done.ret == 0
        done.stdout.fnmatch_lines(
            [
                "llm: stopped after 2 of 4 rounds: --llm-max-cost leaves too little for another one; undecided: "
                "drift.contains; 24 tests not needed*",
                "*24 passed, 24 not needed*",
            ]
        )
        assert len(model.asked) == 2 * CASES


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("-n2", "--dist=loadfile"), "leave --dist=loadfile out"),
        (("--llm-shard=1/2",), "cannot decide on shard 1/2"),
        (("--llm-repeats=some",), "--llm-repeats must be a whole number >= 1 or auto (got 'some')"),
    ],
)
def test_what_auto_cannot_do_is_refused(project: Any, args: tuple[str, ...], message: str) -> None:
    project.golden()
    done = project.run("golden_sets", "--llm-repeats=auto", *args)
    assert done.ret == 4
    assert message in "\n".join(done.errlines)


OWN_TESTS = """
import os
import pytest

@pytest.fixture(scope="session", autouse=True)
def world():
    yield
    raise RuntimeError("the session's teardown broke")

@pytest.fixture(scope="module")
def part():
    with open("parts.txt", "a") as out:
        out.write(os.environ.get("PYTEST_XDIST_WORKER", "main") + "\\n")

@pytest.mark.llm_golden("qa")
def test_answer(llm_case, llm_client, part, request):
    if os.environ.get("CRASH") and request.node.name == "test_answer[c03-0]":
        os._exit(1)
    reply = llm_client.chat.completions.create(
        model="m", messages=llm_case.messages, seed=llm_case.parameters["seed"])
    llm_case.check(reply.choices[0].message.content)

def test_plain():
    assert True

def test_red():
    assert not os.environ.get("RED")
"""


def test_marked_tests_beside_others(project: Any, model: Model) -> None:
    freeze(project, model, 0.95)
    model.good = 1.0
    project.pytester.makepyfile(test_own=OWN_TESTS)
    own = ("--llm-budget=budget.toml", "--llm-repeats=auto", "--llm-record=off")
    for workers, errors in (((), 1), (("-n2",), 2)):
        done = project.run(*own, *workers, "-v")
        # a teardown that was put off until the end is told as any other
        done.stdout.fnmatch_lines(["*RuntimeError: the session's teardown broke*"])
        done.assert_outcomes(passed=14, errors=errors)
        assert project.report()["environment"]["rounds"]["done"] == 1
        assert "36 not needed" in done.outlines[-1]

    done = project.run(*own, "-x", RED="1")
    assert "stopping after" in "\n".join(done.outlines)
    done = project.run(*own, "-n2", CRASH="1")
    done.stdout.fnmatch_lines(["*crashed while running 'test_own.py::test_answer?c03-0?'*"])
    done.stdout.fnmatch_lines(["*1 failed, 13 passed, *36 not needed*"])
