"""What the estimate says of an application's own tests: recorded ones, those that ran, and unknown ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_llmwatch.model import Call, Cost, Usage
from pytest_llmwatch.plugin import estimate, estimate_tests
from pytest_llmwatch.redact import Redactor

Items = Callable[..., list[Any]]


def session(record: str, *, asked: bool = True, price: float | None = 0.5) -> Any:
    settings = SimpleNamespace(
        record=record, record_asked=asked, max_cost=None, auto=False, workers=0, rpm=None, ahead=1
    )
    return SimpleNamespace(
        settings=settings,
        setup=SimpleNamespace(redactor=Redactor()),
        shown=lambda item: item.nodeid,
        price=lambda model, usage: Cost(price),
    )


@pytest.fixture
def items(tmp_path: Path) -> Items:
    def make(*names: str, fixtures: tuple[str, ...] = ()) -> list[Any]:
        return [
            SimpleNamespace(
                nodeid=f"test_app.py::{name}",
                path=tmp_path / "test_app.py",
                fixturenames=fixtures,
                get_closest_marker=lambda _name: None,
            )
            for name in names
        ]

    return make


def call(name: str, **more: Any) -> Call:
    usage = Usage(10, 4, 14)
    return Call(
        id=f"c-{name}", time=1.0, model="m", nodeid=f"test_app.py::{name}", usage=usage, latency=2.0, **more
    )


def test_tests_that_ran_before_are_known_and_the_others_are_counted(items: Items) -> None:
    last = [call("a"), call("a"), call("gone"), call("b", role="judge")]
    found = estimate_tests.live(session("once"), items("a", "b", "c"), last)
    assert (found.calls, found.unknown, found.bases) == (2, 2, {"run"})
    total = estimate._add_tests(estimate.Estimate(unknown=2), session("once"), found)
    assert (total.calls, total.input_tokens, total.output_tokens, total.usd, total.seconds) == (2, 20, 8, 1.0, 4.0)


def test_without_a_record_mode_only_tests_that_ask_are_counted(items: Items) -> None:
    ordinary, asking = items("a", "b"), items("c", fixtures=("llm_watch",))
    assert estimate_tests.live(session("once", asked=False), [*ordinary, *asking], []).unknown == 1
    assert estimate_tests.live(session("once", asked=False), ordinary, []).unknown == 0


def test_recorded_tests_are_known_where_they_are_recorded_again(
    items: Items, tmp_path: Path, project_root: Path
) -> None:
    folder = tmp_path / "cassettes" / "test_app"
    folder.mkdir(parents=True)
    cassette = next(project_root.glob("golden_sets/*/cassettes/*.yaml"))
    shutil.copy(cassette, folder / "a.yaml")
    again = estimate_tests.live(session("all"), items("a", "b"), [])
    assert again.calls >= 1
    assert (again.unknown, again.bases) == (1, {"recordings"})
    assert all(usage.input_tokens for _model, usage, _seconds in again.rows)
    replayed = estimate_tests.live(session("new"), items("a", "b"), [])
    assert (replayed.calls, replayed.unknown) == (0, 1)


def test_the_line_says_what_is_not_known(items: Items) -> None:
    here = session("once", price=None)
    nothing = estimate.Estimate(unknown=3)
    assert estimate.lines(nothing, here, quiet=False) == [
        "llm: 3 tests without a recording: not estimated (no --llm-max-cost)"
    ]
    known = estimate_tests.live(here, items("a"), [call("a")])
    total = estimate._add_tests(estimate.Estimate(), here, known)
    assert estimate.lines(total, here, quiet=False) == [
        "llm: 1 live call to make (tests 1): about 10 tokens in and 4 out, price unknown, about 2 s; "
        "from the last run; no --llm-max-cost",
        "llm: no price is known for 'm' (1 call)",
    ]
