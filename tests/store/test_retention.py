"""What a store gives up: whole runs, and texts alone, by age and by size."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pytest_llmwatch.store.base import Kept
from pytest_llmwatch.store.retention import Limits, plan

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def runs(*sizes: int) -> list[Kept]:
    """Runs of one a day, the newest of the last size on the day before ``NOW``; a negative size has no texts."""
    days = range(10 - len(sizes), 10)
    return [
        Kept(f"r{d}", f"2026-01-{d:02}T00:00:00Z", size=abs(s), bodies=s > 0)
        for d, s in zip(days, sizes, strict=True)
    ]


@pytest.mark.parametrize(
    ("limits", "sizes", "stripped"),
    [
        (Limits(body_size=250), (100, 100, 100), ["r7"]),
        (Limits(body_size=300), (100, 100, 100), []),
        (Limits(body_size=0), (100, 100, 100), ["r7", "r8", "r9"]),
        (Limits(body_size=250), (100, -500, 100), []),
        (Limits(body_size=250), (100, 200, 100), ["r8"]),
        (Limits(body_days=2), (100, 100, 100), ["r7"]),
        (Limits(body_size=150, body_days=2), (100, 100, 100), ["r7", "r8"]),
        (Limits(runs=1, body_size=0), (100, 100), ["r9"]),
    ],
)
def test_texts_go_by_age_and_size(limits: Limits, sizes: tuple[int, ...], stripped: list[str]) -> None:
    assert [run.id for run in plan(runs(*sizes), limits, NOW).strip] == stripped


def test_a_spared_run_keeps_its_texts_and_takes_their_room() -> None:
    found = plan(runs(100, 100, 100), Limits(body_size=200), NOW, spare=frozenset({"r9"}))
    assert [run.id for run in found.strip] == ["r7"]
    assert found.remove == ()
