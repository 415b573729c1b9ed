"""The benchmark of the statistics in small: it can fail, and it would if the gate cried wolf or went blind."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from scipy import stats


@pytest.fixture(scope="module")
def bench(project_root: Path) -> Iterator[ModuleType]:
    """``bench/statistics/run.py``, whose neighbours are importable while it is used."""
    folder = project_root / "bench" / "statistics"
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location("bench_statistics", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name in ("models", "rules"):
            del sys.modules[name]


OURS = "permutation minP (ours)"


@pytest.mark.parametrize("model", ["judge", "binary", "stable"])
def test_unchanged_builds_are_red_within_the_binomial_limit_of_alpha(bench: ModuleType, model: str) -> None:
    builds, alpha = 150, 0.05
    _, red = bench.share((model, 30, 5, 1, 0.0, False, OURS, alpha, builds))
    assert red * builds <= stats.binom.ppf(0.9999, builds, alpha)
    _, naive = bench.share((model, 30, 5, 1, 0.0, False, "every case at least .5", alpha, builds))
    assert naive > 0.5, "the control: another rule is seen to cry wolf on the same data"


@pytest.mark.parametrize(
    ("cell", "floor"),
    [
        (("judge", 100, 5, 1, 0.10, False), 0.80),
        (("stable", 100, 5, 1, 0.05, False), 0.90),
        (("stable", 100, 5, 1, 0.05, True), 0.80),
        (("judge", 30, 10, 10, 0.05, True), 0.70),
    ],
)
def test_regressions_are_found(bench: ModuleType, cell: tuple[object, ...], floor: float) -> None:
    _, found = bench.share((*cell, OURS, 0.01, 60))
    assert found >= floor


def test_adaptive_repeats_save_calls_and_reject_no_more_than_alpha(bench: ModuleType) -> None:
    builds = 60
    _, (fail, passed, used) = bench.sequential_cell(("stable", 30, 0.0, builds))
    assert fail * builds <= stats.binom.ppf(0.9999, builds, 0.01)
    assert passed >= 0.9
    assert used <= 0.40
    _, (fail, _, used) = bench.sequential_cell(("stable", 100, 0.1, 30))
    assert fail == 1
    assert used <= 0.25
    # noisy scores take more rounds, and more looks: still no more than alpha, and the calls are worth their money
    _, (fail, _, used) = bench.sequential_cell(("judge", 100, 0.0, 40))
    assert fail * 40 <= stats.binom.ppf(0.9999, 40, 0.01)
    assert used <= 0.45
    _, (fail, _, used) = bench.sequential_cell(("judge", 100, 0.1, 30))
    assert fail >= 0.92
    assert used <= 0.30


def test_the_control_looks_at_full_alpha_each_time_and_cries_wolf(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rules

    builds = 60
    monkeypatch.setattr(rules.sequential, "level_of_round", lambda alpha, index, rounds: 0.2)
    _, (fail, _, _) = bench.sequential_cell(("judge", 30, 0.0, builds))
    assert fail * builds > stats.binom.ppf(0.9999, builds, 0.01)


def test_sessions_that_differ_do_not_cry_wolf(bench: ModuleType) -> None:
    _, red = bench.sessions_cell((0.2, 100, 5, True, 60))
    assert red <= 0.10
    _, ignored = bench.sessions_cell((0.2, 100, 5, False, 60))
    assert ignored > 0.25, "the control: ignoring sessions is seen to cry wolf"
