"""The sentences of a comparison. Unrounded numbers were compared; these are for people."""

from __future__ import annotations

import math

from pytest_llmwatch import format as fmt
from pytest_llmwatch.compare_found import Found
from pytest_llmwatch.compare_samples import Samples
from pytest_llmwatch.measure_slice import Key
from pytest_llmwatch.model import Grade

_SHOWN = 3
_NAME_WIDTH = 40


def because(
    found: Found, grade: Grade, margin: float, least: float, alpha: float, *, reason: str | None, only: str | None
) -> str:
    """Return the sentence that says why a metric got its verdict."""
    from pytest_llmwatch.stats.power import detectable

    name, change = found.metric.name, _change(found)
    base = f"{_n(found)}, {_p(found)}"
    if reason == "unchanged":
        return f"{name} is unchanged in every case ({_n(found)}, replayed)"
    if reason == "missing_data":
        return f"{name} is inconclusive: {fmt.percent(found.missing)} of the answers never came ({base})"
    if grade == "fail" or (grade == "warn" and found.p_adjusted <= alpha and found.drop >= least):
        tail = f"; warns only: {only}" if only else ""
        return f"{name} {_worse(found)} {change} vs the baseline ({base}){_cases(found)}{tail}"
    if grade == "warn" and found.p_adjusted <= alpha:
        return (
            f"{name} {_worse(found)} {change}: real, but under the smallest effect {_size(found, least)} ({base})"
        )
    if grade == "warn":
        return f"{name} {_worse(found)} {change}: likely, but not proven ({base}){_cases(found)}"
    if grade == "pass":
        return f"{name} changed {change}; a worsening of {_size(found, margin)} is ruled out (95 %, {base})"
    if found.attainable > alpha:
        return (
            f"{name} {change} is inconclusive: {_n(found)} cannot reach p <= {alpha:.2g} whatever happens "
            f"(the least is {found.attainable:.2g}); add cases or repeats"
        )
    seen = detectable(found.spread, alpha=alpha)
    seen = math.expm1(seen) if found.metric.shape == "ratio" and seen < 50 else seen
    return f"{name} {change} is inconclusive ({base}); this comparison detects {_size(found, seen)} (80 % power)"


def _worse(found: Found) -> str:
    if found.metric.shape == "category":
        return "moved"
    if found.metric.shape == "score":
        return "dropped"
    return "rose"


def _change(found: Found) -> str:
    """Return the change as people read it: signed as candidate - baseline."""
    sign = 1.0 if found.metric.higher_is_worse else -1.0
    # 0.0 makes -0.0 a plain 0
    drop, ends = sign * found.drop + 0.0, sorted((sign * found.low + 0.0, sign * found.high + 0.0))
    form = "+.1%" if found.metric.shape == "ratio" else "+.3f"
    low, high = (format(x, form) if math.isfinite(x) else "unbounded" for x in ends)
    if found.metric.shape == "ratio" and found.low == -1.0:
        low = "unbounded"
    return f"{drop:{form}}" if low == high == "unbounded" else f"{drop:{form}} [{low}, {high}]"


def _size(found: Found, x: float) -> str:
    return f"{x:.0%}" if found.metric.shape == "ratio" else f"{x:.3g}"


def _n(found: Found) -> str:
    if found.paired:
        clusters = f" in {fmt.plural(found.units, 'cluster')}" if found.units < found.n else ""
        return f"{fmt.plural(found.n, 'paired case')}{clusters}, {found.repeats[0]}+{found.repeats[1]} repeats"
    return f"unpaired, at least {found.n} cases a side"


def _p(found: Found) -> str:
    raw = "p<0.0001" if found.p < 0.0001 else f"p={found.p:.2g}"
    return raw if found.p == found.p_adjusted else f"{raw} (adjusted {found.p_adjusted:.2g})"


def _cases(found: Found) -> str:
    if found.metric.shape == "category":
        named = ", ".join(" ".join(k[1].split())[:_NAME_WIDTH] for k, _, _ in found.worst[:_SHOWN])
        return "".join(f"; {text}" for text in (found.told, f"as in {named}" if named else "") if text)
    named = ", ".join(_moved(found, *w) for w in found.worst[:_SHOWN])
    return f"; most: {named}" if named else ""


def _moved(found: Found, key: Key, before: float, after: float) -> str:
    name = " ".join(key[1].split())
    if len(name) > _NAME_WIDTH:
        name = name[: _NAME_WIDTH - 1] + "…"
    unit = found.metric.unit
    if found.metric.shape == "score":
        return f"{name} {before:.2f} → {after:.2f}"
    return f"{name} {fmt.value(before, unit)} → {fmt.value(after, unit)}"


def input_shift(base: Samples, candidate: Samples) -> str | None:
    """Return a warning where the inputs of two unpaired groups differ in length by more than chance."""
    from pytest_llmwatch.stats import unpaired

    rows = [
        [(str(k), math.log1p(len(text))) for k, text in side.inputs.items() if text] for side in (base, candidate)
    ]
    if min(map(len, rows)) < 8:
        return None
    longer = unpaired.compare(rows[0], rows[1], seed=0, higher_is_worse=True).p
    shorter = unpaired.compare(rows[0], rows[1], seed=0).p
    if min(longer, shorter) > 0.005:
        return None
    word = "longer" if longer < shorter else "shorter"
    return f"the inputs themselves shifted: the candidate's are {word} (p={2 * min(longer, shorter):.2g})"
