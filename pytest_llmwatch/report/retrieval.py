"""Retrievals one by one: what was asked, what came back, and which golden document was missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pytest_llmwatch import format as fmt
from pytest_llmwatch.model import CaseResult, Report, Retrieval

Place = tuple[str | None, int, int]
_SHOWN = 12
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Found:
    """One retrieval. ``documents`` are (name, score, golden); ``rank`` is the first golden one's, None = none."""

    query: str
    case: str | None
    call_id: str | None
    documents: tuple[tuple[str, str, bool], ...]
    more: int
    missing: tuple[str, ...]
    rank: int | None
    said: str
    bad: bool
    times: int = 1
    """How many retrievals asked for the same and found the same; the first of them is linked."""


@dataclass(frozen=True, slots=True)
class Retrievals:
    """The retrievals to show, those that missed first; ``covered`` of ``total`` stand there, alike ones as one."""

    shown: tuple[Found, ...]
    covered: int
    total: int


def retrievals(report: Report) -> Retrievals | None:
    """Return what was retrieved, None where nothing was."""
    results: dict[Place, CaseResult] = {(r.nodeid, r.repeat, r.attempt): r for r in report.run.results}
    found = [
        _found(given, results.get(place), call_id or _call(results.get(place)))
        for given, place, call_id in _all(report)
    ]
    if not found:
        return None
    alike: dict[tuple[object, ...], list[Found]] = {}
    for f in found:
        alike.setdefault((f.query or f.case, f.documents, f.more, f.missing, f.rank), []).append(f)
    merged = [replace(same[0], times=len(same)) for same in alike.values()]
    merged.sort(key=lambda f: (not f.bad, f.rank or 0, -f.times, f.query))
    shown = merged[:_SHOWN]
    return Retrievals(tuple(shown), sum(f.times for f in shown), len(found))


def _all(report: Report) -> Iterator[tuple[Retrieval, Place, str | None]]:
    for span in report.run.spans:
        if span.retrieval is not None:
            yield span.retrieval, (span.nodeid, span.repeat, span.attempt), None
    for call in report.run.calls:
        if call.retrieval is not None:
            yield call.retrieval, (call.nodeid, call.repeat, call.attempt), call.id


def _call(result: CaseResult | None) -> str | None:
    return result.call_ids[-1] if result is not None and result.call_ids else None


def _found(given: Retrieval, result: CaseResult | None, call_id: str | None) -> Found:
    names = given.ids or tuple(d[:80] for d in given.documents)
    wanted = result.expected_documents if result is not None else None
    golden = [i for i, name in enumerate(names) if wanted and _is(name, given.documents[i : i + 1], wanted)]
    missing = tuple(w for w in wanted or () if not any(_is(n, given.documents[i : i + 1], (w,))
                                                       for i, n in enumerate(names)))  # fmt: skip
    rank = golden[0] + 1 if golden else None
    if not names:
        said = "nothing came back"
    elif not wanted:
        said = fmt.plural(len(names), "document")
    else:
        said = f"golden document at rank {rank}" if rank else "no golden document came back"
    shown = tuple(
        (name[:80], fmt.value(given.scores[i], "ratio") if i < len(given.scores) else "", i in golden)
        for i, name in enumerate(names[:_NAMED])
    )
    case = result.case if result is not None else None
    return Found((given.query or "")[:300], case, call_id, shown, max(0, len(names) - _NAMED), missing[:_NAMED],
                 rank, said, not names or bool(wanted and not golden))  # fmt: skip


def _is(name: str, text: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return name in wanted or any(t in wanted for t in text)
