"""Charts: every value is in a bar, on the right side of the limit."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.measure_calls import is_unpriced
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


def test_the_baselines_spread_is_drawn_to_the_same_sum() -> None:
    now = [1.0, 1.0, 1.0, 2.0]
    alone = charts.histogram("t", now, "s")
    assert alone is not None
    assert alone.outline == ()
    chart = charts.histogram("t", now, "s", before=[1.0, 4.0], limits=[("p95", 3.0, "ceiling")])
    assert chart is not None
    assert chart.before == 2
    assert sum(b.was or 0 for b in chart.bins) == pytest.approx(len(now)), "half as many values stand for as many"
    last = chart.bins[-1]
    assert (last.count, last.was, last.over) == (0, 2.0, True), "where only the baseline was is on the chart"
    # a closed line: up from the axis and down to it again, each end where the next begins
    assert chart.outline[0][1] == chart.outline[-1][3] == chart.plot
    xs = [(a, b) for a, _, b, _ in chart.outline]
    assert all(0 <= a <= b <= 100 for a, b in xs)
    assert min(y for line in chart.outline for y in line[1::2]) == pytest.approx(chart.plot / 3, abs=0.1)


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
        assert sum(g.unpriced for g in dimension.groups) == sum(map(is_unpriced, run.calls))
        assert sum(g.priced for g in dimension.groups) == sum(c.cost.usd is not None for c in run.calls)
        assert len(dimension.groups) <= 9


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_an_observed_value_with_enough_below(values: list[float], q: float) -> None:
    values.sort()
    found = breakdown.quantile(values, q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values) - 1e-6
    assert sum(v < found for v in values) < q * len(values) + 1e-6
