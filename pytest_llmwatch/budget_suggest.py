"""A budget from what a run really measured: limits that unchanged builds do not break.

Tests get the 95 % upper bound of what was seen, so they pass; facts get a bound that resampled builds
break less often than alpha, with room for one more bad case. What the gate would itself flag is not
proposed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace

from pytest_llmwatch import format as fmt
from pytest_llmwatch.budget_grammar import RuleSpec, rule_spec
from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.measure import figure as figure_of
from pytest_llmwatch.measure import slice_of
from pytest_llmwatch.measure_figure import Figure
from pytest_llmwatch.measure_flake import flake_rate, resample
from pytest_llmwatch.measure_slice import Slice
from pytest_llmwatch.model import Run

ALPHA = 0.01
MIN_CASES = 10
"""Below this many cases a bootstrap knows too little to propose a floor for quality."""
HEADROOM = 1.25
_SUM_HEADROOM = 1.34  # a sum warns at 80 % of its limit
_STEPS = 100

_FIRM = (
    ("latency", ("p50", "p95", "p99", "ttft_p50", "ttft_p95")),
    ("errors", ("rate", "rate_limited", "timeouts")),
    ("cost", ("run_usd", "per_call_usd")),
    ("tokens", ("input_per_call", "output_per_call")),
)


def suggest(run: Run, *, alpha: float = ALPHA) -> str:
    """Return a commented budget.toml whose limits ``run`` meets, and unchanged builds go on meeting.

    Args:
        run: A run with nothing wrong.
        alpha: No proposed fact turns more than this share of unchanged builds red.
    """
    part = slice_of(run)
    lines = [
        f"# Proposed from run {run.run_id}: {fmt.plural(len(part.calls), 'call')}.",
        f"# No fact below turns more than {alpha * 100:g} % of unchanged builds red (bootstrap over cases);",
        "# tests (latency, errors) hold that chance by themselves.",
        "",
        "[gate]",
        f"alpha = {alpha:g}",
    ]
    for table, keys in _FIRM:
        rows = [row for key in keys for row in _propose(part, table, key, alpha)]
        lines += _section(table, rows)
    quality = [row for key in _quality_keys(part) for row in _propose(part, "quality", key, alpha)]
    lines += _section("quality", quality)
    return "\n".join(lines) + "\n"


def _section(table: str, rows: list[str]) -> list[str]:
    if not rows:
        return []
    live = any(not row.startswith("#") for row in rows)
    return ["", f"[{table}]" if live else f"# [{table}]", *rows]


def _quality_keys(part: Slice) -> list[str]:
    names: dict[str, None] = {}
    for task in part.tasks:
        if task.result is not None:
            names.update((s.name, None) for s in task.result.scores if not s.informational and s.weight > 0)
    wanted = ["pass_rate", "parse_success", *names]
    return list(dict.fromkeys(wanted))


def _propose(part: Slice, table: str, key: str, alpha: float) -> Iterator[str]:
    spec = rule_spec(table, key)
    assert spec is not None
    figure = figure_of(_as_limit(spec, None), part)
    name = key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)
    if figure.reason == "unenforceable":
        yield f"# {name}: {figure.why}" + ("; declare it in [prices]" if table == "cost" else "")
        return
    if figure.value is None:
        return
    seen = f"observed {_shown(spec, figure)}"
    proposed, why = _test_limit(spec, figure) if spec.kind == "test" else _fact_limit(spec, figure, alpha)
    if proposed is None:
        yield f"# {name}: {seen}; {why}"
    else:
        yield f"{f'{name} = {_number(proposed)}':<28}# {seen}"


def _as_limit(spec: RuleSpec, fail: float | None) -> Limit:
    return Limit(
        rule=f"{spec.table}.{spec.key}",
        table=spec.table,
        key=spec.key,
        layer=spec.layer,
        kind=spec.kind,
        family=spec.family,
        unit=spec.unit,
        direction=spec.direction,
        warn=None,
        fail=fail,
    )


def _shown(spec: RuleSpec, figure: Figure) -> str:
    text = fmt.percent(figure.value) if spec.table == "errors" else fmt.value(figure.value, spec.unit)
    count = f"{figure.k:,} of {fmt.plural(figure.n, figure.noun)}" if figure.k is not None else f"n={figure.n:,}"
    return f"{text}, {count}"


def _test_limit(spec: RuleSpec, figure: Figure) -> tuple[float | None, str]:
    from pytest_llmwatch.stats import quantile, rates

    if spec.table == "errors":
        bound = rates.upper_bound(figure.k or 0, figure.n)
        if bound > 0.5:
            return None, "too few calls for a limit"
        return min(1.0, _round_up(bound)), ""
    q = int(spec.key.rpartition("p")[2]) / 100
    upper = quantile.upper_bound(figure.values, q)
    if upper is None:
        return None, f"a limit needs {quantile.n_minimum(q)} calls"
    return (_round_up(upper * HEADROOM), "") if upper > 0 else (None, "it is 0")


def _fact_limit(spec: RuleSpec, figure: Figure, alpha: float) -> tuple[float | None, str]:
    from pytest_llmwatch.stats import bootstrap

    assert figure.value is not None
    clusters = len({u.cluster for u in figure.units})
    if spec.direction == "floor" and clusters < MIN_CASES:
        return None, f"a floor needs {MIN_CASES} cases, or clusters where cases share one"
    figures = resample(f"{spec.table}.{spec.key}", figure)
    if figures is None:
        return None, "its variation is not known"
    if spec.direction == "floor":
        heaviest = max(u.below for u in figure.units) / sum(u.below for u in figure.units)
        low = min(bootstrap.quantile(figures, alpha / 2), figure.value - heaviest)
        return _settle(spec, figure, math.floor(low * 100) / 100, -0.01, alpha)
    if figure.value <= 0:
        return None, "it is 0"
    room = _SUM_HEADROOM if figure.shape == "sum" else HEADROOM
    high = max(bootstrap.quantile(figures, 1 - alpha / 2), figure.value * room)
    return _settle(spec, figure, _round_up(high), _round_up(high) * 0.1, alpha)


def _settle(spec: RuleSpec, figure: Figure, start: float, step: float, alpha: float) -> tuple[float | None, str]:
    """Move away from the figure until the flake rate is under alpha."""
    for i in range(_STEPS):
        candidate = round(start + i * step, 12)
        if spec.direction == "floor" and candidate <= 0:
            break
        rate = flake_rate(replace(_as_limit(spec, candidate), kind="fact"), figure)
        if rate is not None and rate < alpha:
            return candidate, ""
    return None, "it varies too much for a limit"


def _round_up(x: float) -> float:
    """Round up to two significant digits, so that a limit looks chosen."""
    if x <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(x))
    factor = 10.0**digits
    rounded = math.ceil(x * factor - 1e-9) / factor
    return max(rounded, x) if rounded < x else round(rounded, max(digits, 0))


def _number(x: float) -> str:
    text = f"{x:.12g}"
    return f"{x:.10f}".rstrip("0") if "e-" in text else text
