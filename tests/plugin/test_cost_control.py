"""What a run says before it spends, where it stops, and how fast it ends where nobody answers."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

BUDGET = '[latency]\nmax = "60 s"\n'
PRICES = "[prices.m]\ninput_per_million = 1e6\noutput_per_million = 1e6\n"
SET = 'api: chat\nmodel: {model}\nprompt: "Q: {{{{ input }}}}"\nscorers: [length: {{max_words: 500}}]\n'
BOTH = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "n2"])
RUN = ("golden_sets", "--llm-budget=budget.toml")


@dataclass
class Endpoint:
    """A server of our own: slow on purpose, it notes when each request came and went; it may refuse, or stop."""

    delay: float = 0.0
    status: int = 200
    dies_after: int | None = None
    spans: list[tuple[float, float]] = field(default_factory=list)

    @property
    def most_at_once(self) -> int:
        marks = sorted([(a, 1) for a, _ in self.spans] + [(b, -1) for _, b in self.spans])
        now = most = 0
        for _, step in marks:
            now += step
            most = max(most, now)
        return most


@pytest.fixture
def endpoint(serve: Any) -> Endpoint:
    made, lock = Endpoint(), threading.Lock()

    def answer(_: dict[str, Any]) -> str | tuple[int, dict[str, Any]]:
        began = time.monotonic()
        time.sleep(made.delay)
        with lock:
            made.spans.append((began, time.monotonic()))
            if made.dies_after is not None and len(made.spans) >= made.dies_after:
                threading.Thread(target=server.stop, daemon=True).start()
        if made.status != 200:
            return made.status, {"error": {"message": "no", "type": "invalid_request_error", "code": "no"}}
        return "An answer of some words."

    server = serve(answer, tokens=(7, 5))
    return made


def cases(count: int) -> list[dict[str, Any]]:
    return [{"id": f"c{i:02}", "input": f"Question {i} about apples"} for i in range(count)]


def estimates(result: Any) -> list[str]:
    return [line for line in result.outlines if line.startswith("llm: ") and "live call" in line]


def summary(project: Any) -> tuple[int, int, list[str]]:
    """Return how many calls were made, how many tests were not run, and why."""
    problems = [p for p in project.report()["problems"] if p["kind"] == "not_run"]
    return project.report()["aggregates"]["calls"], len(problems), [p["message"] for p in problems]


def test_the_estimate_stands_before_the_first_call_and_never_before_a_replay(
    project: Any, endpoint: Endpoint
) -> None:
    project.golden(set_yaml=SET.format(model="m") + "parameters: {max_tokens: 20}\n", cases=cases(6))
    project.budget(BUDGET + PRICES)
    first = project.run(*RUN, "--llm-max-cost=10")
    # "Q: Question 0 about apples" has 26 characters: 6.5 tokens by assumption, priced as 7; 20 at most come back
    assert estimates(first) == [
        "llm: 6 live calls to make (qa 6): about 39 tokens in and 120 out, about $162.00, time unknown; assumed: "
        "4 characters a token, answers as long as their limit or 256 tokens; --llm-max-cost $10.00"
    ]
    assert "llm: the estimate, $162.00, is over --llm-max-cost $10.00: the run will stop there, and say what" in (
        first.stdout.str()
    )
    at = first.outlines.index(estimates(first)[0])
    assert at < next(i for i, line in enumerate(first.outlines) if line.startswith("golden_sets"))
    done, missing, _ = summary(project)
    assert done + missing == 6
    assert missing > 0

    rest = project.run(*RUN, "-q")
    assert estimates(rest) == [
        f"llm: {missing} live call{'s' if missing > 1 else ''}, about ${12.0 * missing:.2f}, about 1 s (no "
        "--llm-max-cost)"
    ], "only what is missing, now from what the set's other cases took"
    replayed = project.run(*RUN)
    assert summary(project)[0] == 6
    assert "live call" not in replayed.stdout.str()

    project.pytester.makepyfile(test_own="def test_a(llm_watch): pass\ndef test_b(): pass\n")
    again = project.run(*RUN, "test_own.py", "--llm-record=all", "--llm-rpm=3000", "-n2")
    assert len(estimates(again)) == 1, "one line, from the controller"
    assert "6 live calls to make (qa 6): about 42 tokens in and 30 out, about $72.00" in estimates(again)[0]
    said = "from the sets' recordings; plus 2 tests without a recording: not estimated; no --llm-max-cost"
    assert said in estimates(again)[0]


def test_the_estimate_knows_what_a_changed_prompt_will_ask_again(project: Any, endpoint: Endpoint) -> None:
    folder = project.golden(set_yaml=SET.format(model="m"), cases=cases(3))
    project.budget(BUDGET + PRICES)
    project.run(*RUN)
    assert "live call" not in project.run(*RUN, "--llm-record=new").stdout.str()
    changed = cases(3)
    changed[1]["input"] = "Another question"
    folder.joinpath("cases.jsonl").write_text("".join(json.dumps(c) + "\n" for c in changed))
    calls = len(endpoint.spans)
    result = project.run(*RUN, "--llm-record=new", "--llm-repeats=2")
    assert "4 live calls to make" in estimates(result)[0], "the changed case twice, a second sample of the others"
    assert len(endpoint.spans) - calls == 4
    folder.joinpath("cassettes", "c00.yaml").unlink()
    live = project.run(*RUN, "--llm-record=off", "-k", "c00", "--llm-rpm=60")
    assert "1 live call to make (qa 1)" in estimates(live)[0]


@BOTH
def test_the_run_stops_at_the_limit_and_reports_what_it_left_out(
    project: Any, endpoint: Endpoint, workers: tuple[str, ...]
) -> None:
    project.golden(set_yaml=SET.format(model="m"), cases=cases(12))
    project.budget(BUDGET + PRICES)
    endpoint.delay = 0.05
    # a call costs 12 dollars: three reach the limit, and one more may be in flight
    result = project.run(*RUN, "--llm-max-cost=36", "--llm-concurrency=2", "--llm-record=off", *workers)
    assert result.ret == 7, result.stdout.str()
    calls, left, why = summary(project)
    assert 3 <= calls <= 4
    assert (calls, left) == (len(endpoint.spans), 12 - calls)
    assert why[0] == "not called: --llm-max-cost $36.00 is spent [llmwatch:max-cost]"
    assert len(set(why)) == 1
    assert project.report()["partial"] is True
    result.assert_outcomes(passed=calls, skipped=left)


@BOTH
def test_a_limit_that_cannot_hold_is_said_before_anything_is_spent(
    project: Any, endpoint: Endpoint, workers: tuple[str, ...]
) -> None:
    project.golden(set_yaml=SET.format(model="house-model-1"), cases=cases(4))
    project.budget(BUDGET)
    result = project.run(*RUN, "--llm-max-cost=1", *workers)
    assert endpoint.spans == []
    assert result.ret == 7
    assert "price unknown" in estimates(result)[0]
    result.stdout.fnmatch_lines(
        [
            "llm: no price is known for 'house-model-1' (4 calls); under --llm-max-cost they will not be made: "
            "add [[]prices] to budget.toml"
        ]
    )
    assert [p["message"].rpartition("[llmwatch:")[2] for p in project.report()["problems"]] == (
        ["max-cost-unpriced]"] * 4
    )
    if not workers:
        project.run(*RUN)
        assert len(endpoint.spans) == 4, "without the limit it is called"


@BOTH
def test_rate_and_calls_in_flight_hold_over_all_workers(
    project: Any, endpoint: Endpoint, workers: tuple[str, ...]
) -> None:
    project.golden(set_yaml=SET.format(model="m"), cases=cases(10))
    project.budget(BUDGET)
    endpoint.delay = 0.15
    args = (*RUN, "--llm-record=off", *workers)
    assert project.run(*args, "--llm-concurrency=3").ret == 0
    assert len(endpoint.spans) == 10
    assert 1 < endpoint.most_at_once <= 3
    endpoint.spans.clear()
    endpoint.delay = 0.0
    assert project.run(*args, "--llm-rpm=600").ret == 0
    begun = sorted(a for a, _ in endpoint.spans)
    assert begun[-1] - begun[0] >= 9 * 0.1 - 0.09, "ten requests, a tenth of a second apart, whoever sends them"


@BOTH
def test_nobody_at_the_endpoint_ends_the_run_at_once(
    project: Any, dead_url: str, workers: tuple[str, ...]
) -> None:
    project.golden(set_yaml=SET.format(model="m"), cases=cases(50))
    project.budget(BUDGET)
    result = project.run(*RUN, "--llm-record=off", *workers, OPENAI_BASE_URL=dead_url)
    assert result.ret == 7
    calls, left, why = summary(project)
    assert calls <= 8, "up to four are asked together, in each of two workers at most"
    assert left >= 42
    assert len(set(why)) == 1
    assert "no more were made. Start the server, or correct base_url" in why[0]
    text = result.stdout.str()
    assert "Traceback" not in text
    assert "test session starts" in text
    assert len(result.outlines) < 90, text


def test_a_refused_key_ends_golden_sets_but_no_test_of_an_application(project: Any, endpoint: Endpoint) -> None:
    project.golden(set_yaml=SET.format(model="m"), cases=cases(50))
    project.path.joinpath("test_app.py").write_text(
        "import openai, pytest\n@pytest.mark.parametrize('i', range(6))\n"
        "def test_says_who_may_not(llm_client, i):\n"
        "    with pytest.raises(openai.AuthenticationError):\n"
        "        llm_client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': str(i)}])\n"
    )
    project.budget(BUDGET)
    endpoint.status = 401
    result = project.run(*RUN, "test_app.py", "--llm-record=off")
    assert result.ret == 7
    result.assert_outcomes(passed=6, failed=len(endpoint.spans) - 6, skipped=56 - len(endpoint.spans))
    assert len(endpoint.spans) <= 6 + 8
    _, left, why = summary(project)
    assert left == 56 - len(endpoint.spans)
    assert len(set(why)) == 1
    assert "refused the API key (HTTP 401): check OPENAI_API_KEY" in why[0]


def test_an_endpoint_that_dies_in_mid_run_ends_it_too(project: Any, endpoint: Endpoint) -> None:
    project.golden(set_yaml=SET.format(model="m"), cases=cases(40))
    project.budget(BUDGET)
    endpoint.dies_after = 10
    result = project.run(*RUN, "--llm-record=off")
    assert result.ret == 7, result.stdout.str()
    answered = len(endpoint.spans)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] <= answered
    assert outcomes["passed"] >= answered - 4
    assert outcomes["failed"] <= 16
    assert outcomes["skipped"] >= 10
    assert sum(outcomes.values()) - outcomes.get("warnings", 0) == 40, "each case is told of"
    assert "Traceback" not in result.stdout.str()
