"""Every call of a run as compressed columns, and the bodies of some, for the page's script.

An island is gzipped with a fixed time stamp and base64-coded: no ``<`` can occur in it, equal runs give equal
bytes, and 50,000 calls take less than a megabyte.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pytest_llmwatch.model import JSON, Call, CaseResult, Report
from pytest_llmwatch.report import bodies
from pytest_llmwatch.report.cases import Index, Worst
from pytest_llmwatch.report.packing import Columns, pack
from pytest_llmwatch.report.waterfall import Traces, plain

_SHORT_IDS_FROM = 500
_MAX_SCORES = 2000  # in all: a long run keeps the first scorer's, the others are in its bodies
_CHUNK = 48
_TEXT = 20_000
_SAMPLE = 40


@dataclass(frozen=True, slots=True)
class Bodies:
    """Packed chunks of bodies. ``places`` maps a row to (chunk, position); ``left_out`` counts calls without."""

    chunks: tuple[str, ...]
    places: dict[int, tuple[int, int]]
    left_out: int


def columns(
    report: Report, index: Index, places: dict[int, tuple[int, int]], names: Sequence[str], more: dict[str, JSON]
) -> str:
    """Return the packed columns of the table, a row per call in run order; ``more`` goes into their header."""
    calls = report.run.calls
    results = [index.results.get(c.id) for c in calls]
    names = names[: max(1, _MAX_SCORES // max(1, len(calls)))]
    start = min((t for c in calls if (t := _ms(c.time)) is not None), default=0)
    starts = [None if (t := _ms(c.time)) is None else t - start for c in calls]
    out = Columns()
    texts: dict[str, list[str | None]] = {
        "status": [c.status for c in calls],
        "passed": [_judged(r) for r in results],
        "outcome": [r.outcome if r else None for r in results],
        "model": [c.response_model or c.model for c in calls],
        "feature": [c.feature for c in calls],
        "team": [c.team for c in calls],
        "prompt": [c.prompt_version for c in calls],
        "set": [c.set for c in calls],
        "case": [c.case for c in calls],
        "node": [_node(c) for c in calls],
        "mode": [c.capture_mode for c in calls],
        "error": [c.error_type for c in calls],
    }
    numbers: dict[str, list[int | None]] = {
        "repeat": [c.repeat for c in calls],
        "attempt": [c.attempt for c in calls],
        "retries": [c.retries for c in calls],
        "latency": [_scaled(c.latency, 1e5, 4) for c in calls],
        "ttft": [_scaled(c.ttft, 1e5, 3) for c in calls],
        "input": [c.usage.input_tokens for c in calls],
        "output": [c.usage.output_tokens for c in calls],
        "cached": [c.usage.cached_tokens or 0 for c in calls],
        "usd": [_scaled(c.cost.usd, 1e9, 3) for c in calls],
        "time": _deltas(starts),
    }
    return out.pack(
        {
            "n": len(calls),
            "start": start,
            "top": max((v for v in numbers["latency"] if v is not None), default=0),
            "id": out.ids(short_ids([c.id for c in calls])),
            "dict": {name: out.codes(values) for name, values in texts.items()},
            "num": {name: out.numbers(values) for name, values in numbers.items()},
            "bad": sum(
                c.status != "success"
                or _judged(r) == "low score"
                or (r is not None and r.outcome in ("failed", "error"))
                for c, r in zip(calls, results, strict=True)
            ),
            "scorers": list(names),
            "scores": [out.numbers([_value(r, name) for r in results]) for name in names],
            "bodies": {str(row): list(place) for row, place in sorted(places.items())},
            **more,
        }
    )


def select(
    report: Report,
    index: Index,
    worst: Iterable[str],
    budget: int,
    *,
    everything: bool = False,
    most: int | None = None,
    traces: Traces | None = None,
) -> Bodies:
    """Pack the bodies of the worst and failed calls and of a sample, until ``budget`` bytes are used.

    Args:
        report: The run.
        index: Its calls by id.
        worst: Ids of the calls that rules name, worst first.
        budget: Most bytes of packed text.
        everything: Go on with all other calls while the budget lasts.
        most: Most calls; None = no limit.
        traces: The run's traces, for the steps around a call; None = without.
    """
    calls = report.run.calls
    order = preferred(report, index, worst, everything=everything)[:most]
    chunks: list[str] = []
    places: dict[int, tuple[int, int]] = {}
    used = 0
    for at in range(0, len(order), _CHUNK):
        part = order[at : at + _CHUNK]
        packed = pack([_body(calls[row], index, traces) for row in part])
        if used + len(packed) > budget:
            break
        places |= {row: (len(chunks), position) for position, row in enumerate(part)}
        chunks.append(packed)
        used += len(packed)
    return Bodies(tuple(chunks), places, len(calls) - len(places))


def preferred(report: Report, index: Index, worst: Iterable[str], *, everything: bool) -> list[int]:
    """Return the rows of the calls whose bodies are kept, first those that matter most."""
    calls = report.run.calls
    rows = {c.id: i for i, c in enumerate(calls)}
    wanted = [rows[i] for i in worst if i in rows]
    wanted += [i for i, c in enumerate(calls) if c.failed or _not_passed(index.results.get(c.id))]
    wanted += range(0, len(calls), max(1, len(calls) // _SAMPLE))
    if everything:
        wanted += range(len(calls))
    return list(dict.fromkeys(wanted))


def _body(call: Call, index: Index, traces: Traces | None) -> JSON:
    case = Worst(call, index.results.get(call.id), None)
    trace = plain(traces.of(call.trace_id, own=call.id)) if traces is not None else None
    return {**bodies.body(case, _TEXT), "id": call.id, "facts": bodies.facts(call), "trace": trace}


def _judged(result: CaseResult | None) -> str | None:
    """Return whether a call's case passed by its scores, None where nothing was scored."""
    if result is None or not result.scores:
        return None
    return "passed" if result.passed else "low score"


def _not_passed(result: CaseResult | None) -> bool:
    return result is not None and not result.passed


def short_ids(ids: Sequence[str]) -> list[str]:
    """Return ids, cut in long runs to the shortest even length (at least 6) that keeps them distinct."""
    if len(ids) < _SHORT_IDS_FROM:
        return list(ids)
    longest = max(map(len, ids))
    for length in range(6, longest, 2):  # two letters are a byte
        if len({i[:length] for i in ids}) == len(ids):
            return [i[:length] for i in ids]
    return list(ids)


def _node(call: Call) -> str | None:
    # thousands of node ids differ in case and repeat only, which have columns of their own
    if call.nodeid is None:
        return None
    node = call.nodeid
    if call.case:
        node = node.replace(call.case, "\x01", 1)
    for shape in ("[{}]", "-{}]", "-r{}]"):
        end = shape.format(call.repeat)
        if node.endswith(end):
            return node[: -len(end)] + shape.format("\x02")
    return node


def _value(result: CaseResult | None, name: str) -> int | None:
    score = result.score(name) if result else None
    if score is None or score.value is None or not math.isfinite(score.value):
        return None
    # thousandths, cut rather than rounded: 0.9996 must not read as 1
    return math.floor(score.value * 1000 + 1e-9)


def _scaled(value: float | None, unit: float, digits: int) -> int | None:
    # whole numbers take half the room of decimal fractions: 10 microseconds, billionths of a dollar
    if value is None or not math.isfinite(value):
        return None
    return round(float(f"{value:.{digits}g}") * unit)


def _deltas(values: Sequence[int | None]) -> list[int | None]:
    out: list[int | None] = []
    last = 0
    for value in values:
        out.append(None if value is None else value - last)
        last = last if value is None else value
    return out


def _ms(time: str | None) -> int | None:
    try:
        return round(datetime.fromisoformat(time).timestamp() * 1000) if time else None
    except ValueError:
        return None
