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
        unit: ``s``, ``usd``, ``tokens``, ``ratio``, ``count``, ``per_minute`` or ``per_hour``.
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
    x = float(f"{x:.12g}")  # 0.8 * 0.006 is 0.0048, not 0.004800000000000001
    return f"{'≤' if direction == 'ceiling' else '≥'} {value(x, unit, against=x)}"


def percent(share: float | None, decimals: int = 1, against: float | None = None) -> str:
    """Return a share as a percentage, ``4.8 %``; never 0 % or 100 % unless it is exactly that.

    ``against`` is a limit (a share) that the text must not be rounded across.
    """
    if share is None or not math.isfinite(share):
        return UNKNOWN
    walls = (0.0, 1.0) if against is None else (0.0, 1.0, against)
    text = f"{share * 100:.{decimals}f}"
    while decimals < _MAX_DECIMALS and any(
        _order(float(text), float(f"{wall * 100:.12g}")) != _order(share, wall) for wall in walls
    ):
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


def interval(low: float | None, high: float | None, unit: str) -> str:
    """Return ``2.12–2.58``: both ends with the decimals of the smaller, without the unit; ``?`` if unknown."""
    ends = [x for x in (low, high) if x is not None and math.isfinite(x)]
    decimals = _decimals(min((abs(x) for x in ends), default=0.0), unit)
    return "–".join(f"{x:,.{decimals}f}" if x is not None and math.isfinite(x) else "?" for x in (low, high))


def plural(n: int, word: str, many: str | None = None) -> str:
    """Return ``1 call``, ``1,204 calls``, ``2 tries``."""
    return f"{n:,} {word if n == 1 else (many or word + 's')}"


def _order(a: float, b: float) -> int:
    return (a > b) - (a < b)


def _decimals(size: float, unit: str) -> int:
    if unit == "s":
        return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 0.1 else 3 if size else 0
    if unit == "usd":
        if size >= 1 or size == 0:
            return 2
        return min(_MAX_DECIMALS, max(4, 1 - math.floor(math.log10(size))))
    if unit in ("tokens", "count", "per_minute", "per_hour", "per_second"):
        return 0 if size >= 100 or size == int(size) else 1 if size >= 10 else 2
    return 3


def _with_unit(digits: str, unit: str) -> str:
    if unit == "usd":
        return f"${digits}"
    suffix = {"s": " s", "per_minute": " /min", "per_hour": " /h", "per_second": " /s"}.get(unit, "")
    return digits + suffix
