"""Charts: every value is in a bar, on the right side of the limit."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.model import Verdict
from pytest_llmwatch.report import breakdown, charts, view


@given(st.lists(st.floats(0.001, 500), min_size=1, max_size=80), st.floats(0.01, 100))
def test_bars_hold_every_value_on_its_side_of_the_limit(values: list[float], limit: float) -> None:
    chart = charts.histogram("t", values, "s", limits=[("p95", limit, "ceiling")])
    assert chart is not None
    assert sum(b.count for b in chart.bins) == len(values)
    assert sum(b.count for b in chart.bins if b.over) == sum(v > limit for v in values)
    assert all(-0.01 <= b.x <= 100 and b.width >= 0 for b in chart.bins)


def test_a_median_limit_does_not_colour_half_of_the_calls() -> None:
    chart = charts.histogram("t", [1.0, 2.0, 3.0], "s", limits=[("p50", 1.5, "middle")])
    assert chart is not None
    assert not any(b.over for b in chart.bins)


def test_nothing_to_draw_is_no_chart() -> None:
    assert charts.histogram("t", [], "s") is None
    assert charts.timeline([]) is None
    assert charts.bullet(view.rule_row(Verdict("a.b", "a", "pass", "cost", "fact", ""))) is None


@pytest.mark.parametrize("direction", ["ceiling", "floor"])
@pytest.mark.parametrize("observed", [0.0, 0.5, 0.79, 0.81, 1.0])
def test_a_bullet_puts_the_figure_on_its_side_of_the_limit(direction: str, observed: float) -> None:
    verdict = Verdict("q.x", "x", "fail", "quality", "fact", "", direction=direction, observed=observed, limit=0.8)  # type: ignore[arg-type]
    drawn = charts.bullet(view.rule_row(verdict))
    assert drawn is not None
    assert drawn.observed is not None
    assert drawn.limit is not None
    assert (drawn.observed > drawn.limit) == (observed > 0.8)


def test_groups_add_up_to_the_run(factory: ModuleType) -> None:
    run = factory.make_run(200, hostile=False)
    for dimension in breakdown.breakdowns(run.calls):
        assert sum(g.calls for g in dimension.groups) == 200
        assert sum(g.share for g in dimension.groups) == pytest.approx(1.0)
        assert sum(g.unpriced for g in dimension.groups) == sum(c.cost.usd is None for c in run.calls)
        assert len(dimension.groups) <= 9


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_an_observed_value_with_enough_below(values: list[float], q: float) -> None:
    values.sort()
    found = breakdown.quantile(values, q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values) - 1e-6
    assert sum(v < found for v in values) < q * len(values) + 1e-6
