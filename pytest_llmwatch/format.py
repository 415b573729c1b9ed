"""Numbers for people: units, and never rounded across a limit.

A figure that is shown beside a limit keeps as many digits as it takes to lie on the same side of it as the
unrounded figure does, so that a reader never sees "1.80 s > 1.80 s".
"""

from __future__ import annotations

import math

UNKNOWN = "–"
_MAX_DECIMALS = 15


def value(x: float | None, unit: str = "ratio", against: float | None = None) -> str:
    """Return ``x`` with its unit: ``2.31 s``, ``$0.0041``, ``0.842``, ``1,204``; ``–`` for None.

    Args:
        x: The unrounded figure, in ``unit``.
        unit: ``s``, ``usd``, ``tokens``, ``ratio``, ``count`` or ``per_minute``.
        against: A limit. The digits shown then compare with it exactly as ``x`` does.
    """
    if x is None:
        return UNKNOWN
    if not math.isfinite(x):
        return "∞" if x > 0 else "−∞" if x < 0 else "not a number"
    decimals = _decimals(abs(x), unit)
    if against is not None and math.isfinite(against):
        while decimals < _MAX_DECIMALS and _order(float(f"{x:.{decimals}f}"), against) != _order(x, against):
            decimals += 1
    digits = f"{abs(x):,.{decimals}f}"
    negative = x < 0 and float(digits.replace(",", "")) != 0
    return ("−" if negative else "") + _with_unit(digits, unit)


def limit(x: float | None, unit: str = "ratio", direction: str = "ceiling") -> str:
    """Return a limit as it is read: ``≤ 1.80 s`` for a ceiling, ``≥ 0.880`` for a floor, exact."""
    if x is None:
        return UNKNOWN
    return f"{'≤' if direction == 'ceiling' else '≥'} {value(x, unit, against=x)}"


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share as a percentage, ``4.8 %``; never 0 % or 100 % unless it is exactly that."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    text = f"{share * 100:.{decimals}f}"
    while float(text) in (0.0, 100.0) and share not in (0.0, 1.0) and decimals < _MAX_DECIMALS:
        decimals += 1
        text = f"{share * 100:.{decimals}f}"
    return f"{text.replace('-', '−')} %"


def change(delta: float | None, *, relative: bool) -> str:
    """Return a signed change: ``+35 %`` for relative ones, ``−0.051`` otherwise."""
    if delta is None or not math.isfinite(delta):
        return UNKNOWN
    sign = "+" if delta > 0 else "−" if delta < 0 else "±"
    size = abs(delta)
    if not relative:
        return f"{sign}{size:.3f}"
    return f"{sign}{size * 100:.{0 if size >= 0.1 else 1}f} %"


def _order(a: float, b: float) -> int:
    return (a > b) - (a < b)


def _decimals(size: float, unit: str) -> int:
    if unit == "s":
        return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 0.1 else 3 if size else 0
    if unit == "usd":
        if size >= 1 or size == 0:
            return 2
        return min(_MAX_DECIMALS, max(4, 1 - math.floor(math.log10(size))))
    if unit in ("tokens", "count", "per_minute"):
        return 0 if size >= 100 or size == int(size) else 1 if size >= 10 else 2
    return 3


def _with_unit(digits: str, unit: str) -> str:
    if unit == "usd":
        return f"${digits}"
    suffix = {"s": " s", "per_minute": " /min"}.get(unit, "")
    return digits + suffix
