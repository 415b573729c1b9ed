"""The gate's sentences. Numbers are shown, never compared, here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmwatch import format as fmt
from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.measure_figure import Figure

if TYPE_CHECKING:
    from pytest_llmwatch.gate_judge import Evidence


def value(x: float | None, limit: Limit, against: float | None = None) -> str:
    """Return ``x`` in the rule's unit; shares of errors as percentages."""
    if is_share(limit):
        return fmt.percent(x, against=against)
    if _is_factor(limit):
        return f"{fmt.value(x, limit.unit, against)} × the budget's rate"
    return fmt.value(x, limit.unit, against)


def bound(x: float | None, limit: Limit) -> str:
    """Return a limit with every digit that the user wrote."""
    if x is None:
        return fmt.UNKNOWN
    if is_share(limit):
        return f"{x * 100:.12g} %"
    return f"{x:g} ×" if _is_factor(limit) else fmt.value(x, limit.unit, x)


def _is_factor(limit: Limit) -> bool:
    return limit.table == "cost" and limit.key == "rate"


def percent(x: float, against: float | None = None) -> str:
    """Return a share as a percentage, never rounded across ``against``."""
    return fmt.percent(x, against=against)


def is_share(limit: Limit) -> bool:
    """Whether the rule is a rate of events, which reads better as a percentage."""
    return limit.unit == "ratio" and limit.table in ("errors", "safety", "throughput")


def count(figure: Figure) -> str:
    """Return what the figure rests on: ``412 calls``, ``3 of 20 calls``."""
    if figure.k is not None:
        return f"{figure.k:,} of {fmt.plural(figure.n, figure.noun)}"
    return fmt.plural(figure.n, figure.noun)


def _tail(figure: Figure, *parts: str) -> str:
    inside = [p for p in (count(figure), *parts, figure.why) if p]
    return f" ({', '.join(inside)})"


def _wrong_side(limit: Limit) -> str:
    return "under" if limit.direction == "floor" else "over"


def broken(limit: Limit, figure: Figure) -> str:
    """``cost.run_usd $1.69 is over $1.50 (412 calls)``."""
    seen = value(figure.value, limit, limit.fail)
    return f"{limit.rule} {seen} is {_wrong_side(limit)} {bound(limit.fail, limit)}{_tail(figure)}"


def warned(limit: Limit, figure: Figure) -> str:
    """A fact past its warn tier only."""
    seen = value(figure.value, limit, limit.warn)
    end = f"; fails {_wrong_side(limit)} {bound(limit.fail, limit)}" if limit.fail is not None else ""
    side = _wrong_side(limit)
    return f"{limit.rule} {seen} is {side} the warning limit {bound(limit.warn, limit)}{_tail(figure)}{end}"


def held(limit: Limit, figure: Figure) -> str:
    """A fact inside its limits."""
    edge = limit.fail if limit.fail is not None else limit.warn
    word = "at least" if limit.direction == "floor" else "within"
    return f"{limit.rule} {value(figure.value, limit, edge)} is {word} {bound(edge, limit)}{_tail(figure)}"


def share_used(limit: Limit, figure: Figure, share: float, *, critical: bool) -> str:
    """``cost.run_usd $1.30 is 87 % of its budget $1.50``."""
    word = "critical: " if critical else ""
    seen = value(figure.value, limit, limit.fail)
    used = fmt.percent(share, 0, against=1.0)
    return f"{limit.rule} {seen} is {word}{used} of its budget {bound(limit.fail, limit)}{_tail(figure)}"


def _ci(limit: Limit, found: Evidence) -> str:
    low, high = found.ci
    if is_share(limit):
        low_text, high_text = fmt.percent(low), fmt.percent(high)
        return f"95 % CI {low_text.removesuffix(' %')}–{high_text}"
    return f"95 % CI {fmt.interval(low, high, limit.unit)}"


def _p(p: float) -> str:
    return "p<0.0001" if p < 0.0001 else f"p={p:.2g}"


def _n(figure: Figure) -> str:
    return count(figure) if figure.k is not None else f"n={figure.n:,}"


def _with(figure: Figure, *parts: str) -> str:
    return "(" + ", ".join(p for p in (*parts, figure.why) if p) + ")"


def proven(limit: Limit, figure: Figure, found: Evidence, p_adjusted: float) -> str:
    """``latency.p95 2.31 s is over 1.80 s (95 % CI 2.12–2.58, n=412, p<0.0001)``."""
    seen = value(figure.value, limit, limit.fail)
    tail = _with(figure, _ci(limit, found), _n(figure), _p(p_adjusted))
    return f"{limit.rule} {seen} is over {bound(limit.fail, limit)} {tail}"


def warn_proven(limit: Limit, figure: Figure, found: Evidence) -> str:
    """A test whose warn tier is broken with evidence, its fail tier not."""
    seen = value(figure.value, limit, limit.warn)
    tail = _with(figure, _ci(limit, found), _n(figure))
    end = ""
    if limit.fail is not None:
        over = figure.value is not None and figure.value > limit.fail
        end = (
            f"; not proven over {bound(limit.fail, limit)}" if over else f"; fails over {bound(limit.fail, limit)}"
        )
    return f"{limit.rule} {seen} is over the warning limit {bound(limit.warn, limit)} {tail}{end}"


def unproven(limit: Limit, figure: Figure, p_adjusted: float, n_needed: int | None) -> str:
    """Over the fail limit, and unlikely to be chance, but not proven."""
    seen = value(figure.value, limit, limit.fail)
    settle = f"; {_settle(figure, n_needed)}" if n_needed else ""
    tail = _with(figure, _n(figure), _p(p_adjusted))
    return f"{limit.rule} {seen} against {bound(limit.fail, limit)}: over is likely but not proven {tail}{settle}"


def within(limit: Limit, figure: Figure, found: Evidence) -> str:
    """A test that passed: the upper bound is inside."""
    edge = limit.fail if limit.fail is not None else limit.warn
    upper = value(found.bound, limit, edge)
    tail = _with(figure, f"95 % upper bound {upper}", _n(figure))
    return f"{limit.rule} {value(figure.value, limit, edge)} is within {bound(edge, limit)} {tail}"


def open_question(limit: Limit, figure: Figure, found: Evidence, n_needed: int | None) -> str:
    """A test that the data cannot decide: what is still possible, and what would settle it."""
    edge = limit.fail if limit.fail is not None else limit.warn
    seen = value(figure.value, limit, edge)
    head = f"{limit.rule} {seen} against {bound(edge, limit)} is inconclusive"
    if found.bound is None:
        needs = f", needs {n_needed:,}" if n_needed else ""
        return f"{head}: {_n(figure)}{needs}"
    settle = f"; {_settle(figure, n_needed)}" if n_needed else "; too near the limit for any number of calls"
    over = figure.value is not None and edge is not None and figure.value > edge
    open_end = f"up to {value(found.bound, limit, edge)} is possible" if not over else "over, but not proven"
    tail = _with(figure, _n(figure), "95 %" if not over else "")
    return f"{head}: {open_end} {tail}{settle}"


def _settle(figure: Figure, n_needed: int | None) -> str:
    nouns = figure.noun + "s"
    if figure.k == 0:
        return f"{n_needed:,} {nouns} without one would settle it"
    return f"about {n_needed:,} {nouns} would settle it"
