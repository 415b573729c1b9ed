"""Progress of live runs: there while a model is asked, silent in a replay."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pytest_llmwatch.plugin import progress

TESTS = """
import pytest

@pytest.mark.parametrize("n", range(4))
def test_asks(llm_call, n):
    assert llm_call(f"hello {n}", api="chat").text
"""


def test_a_live_run_says_how_far_it_is_and_a_replay_does_not(project: Any) -> None:
    project.path.joinpath("test_app.py").write_text(TESTS)
    project.budget('[model]\nmodel = "gpt-4o-mini"\n[latency]\nmax = "60 s"\n')
    args = ("--llm-budget=budget.toml",)
    live = project.run(*args, LLMWATCH_PROGRESS="0.001")
    lines = [x for x in live.outlines if x.startswith("llm: ") and " left" in x]
    assert len(lines) == 3  # none at the end: the verdict follows
    assert re.fullmatch(r"llm: 3 calls, \$0\.0\d+ so far; 3 of 4 tests, about .+ left", lines[-1])
    replay = project.run(*args, LLMWATCH_PROGRESS="0.001")
    assert not [x for x in replay.outlines if " so far" in x]
    assert "llm: 4 tests without a recording: not estimated (no --llm-max-cost)" in live.outlines
    assert "recording: not estimated" not in replay.stdout.str()


@pytest.mark.parametrize(
    ("usd", "unpriced", "text"),
    [
        (0.5, 0, "llm: 10 calls, $0.5000 so far; 2 of 6 tests, about 1 min 00 s left"),
        (0.5, 3, "llm: 10 calls, $0.5000 so far (3 without a price); 2 of 6 tests, about 1 min 00 s left"),
        (0.0, 10, "llm: 10 calls (10 without a price); 2 of 6 tests, about 1 min 00 s left"),
    ],
)
def test_money_that_is_not_known_is_not_shown_as_nothing(usd: float, unpriced: int, text: str) -> None:
    assert progress.line(10, usd, unpriced, done=2, total=6, elapsed=30.0) == text


@pytest.mark.parametrize(("given", "seconds"), [("5", 5.0), ("0", None), ("often", None), (None, 60.0)])
def test_the_interval_can_be_set(
    given: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv(progress.VARIABLE, given)
    assert progress.interval(None) == seconds
