"""Figures of ``[retrieval]``: what retrieval steps returned, held against the golden documents of the case.

A golden document is an id or a text. It is found in a returned document whose id is the same, whose text is the
same, whose text holds it (from 3 words on), or whose text is a passage of it (from 5 words on); case, blanks
and Unicode forms do not count.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from pytest_llmwatch.budget_types import Limit
from pytest_llmwatch.format import plural
from pytest_llmwatch.measure_agent_steps import AgentTask, agent_tasks
from pytest_llmwatch.measure_figure import Figure, Observation, mean_figure, not_measured, share_figure
from pytest_llmwatch.measure_quality import score_mean
from pytest_llmwatch.measure_slice import Slice
from pytest_llmwatch.model import Retrieval, Score

VERSION = "1"
NAMES = ("hit_rate", "hit_at_1", "mrr", "precision_at_k", "recall_at_k")
"""Scores of a case's retrievals, and keys of ``[retrieval]``."""

_HOLDS, _PASSAGE = 3, 5
"""Words from which a text may be found inside a longer one."""


def ranks(golden: Sequence[str], found: Retrieval) -> list[set[int]] | None:
    """Return for each returned document, best first, which golden documents it is (their indices).

    None where nothing can be compared: documents came back, and the golden ones are all of a kind (ids, or
    texts) that the retrieval does not carry.
    """
    count = max(len(found.ids), len(found.documents))
    wanted = [_plain(g) for g in golden]
    out: list[set[int]] = []
    for place in range(count):
        name = _plain(found.ids[place]) if place < len(found.ids) else None
        text = _plain(found.documents[place]) if place < len(found.documents) else None
        out.append({i for i, g in enumerate(wanted) if g == name or (text is not None and _same(g, text))})
    if count and not any(out) and not _comparable(wanted, found):
        return None
    return out


def _comparable(wanted: Sequence[str], found: Retrieval) -> bool:
    """Whether a golden document could have been found: ids among ids, or a text among texts."""
    texts = [" " in g for g in wanted]
    ids_known = bool(found.ids) or any(" " not in _plain(d) for d in found.documents)
    return (ids_known and not all(texts)) or (bool(found.documents) and any(texts))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _same(golden: str, text: str) -> bool:
    if golden == text:
        return True
    if golden.count(" ") + 1 >= _HOLDS and golden in text:
        return True
    return text.count(" ") + 1 >= _PASSAGE and text in golden


def values(golden: Sequence[str], found: Retrieval) -> dict[str, float] | None:
    """Return the five figures of one retrieval; None where nothing can be compared.

    With k the number of returned documents: ``hit_rate`` a golden document anywhere among them, ``hit_at_1`` in
    the first place, ``mrr`` 1 / rank of the first one (0 where there is none), ``precision_at_k`` golden ones
    over k, ``recall_at_k`` golden documents found over all golden ones. An empty retrieval is 0 in all.
    """
    places = ranks(golden, found)
    if places is None:
        return None
    first = next((i for i, hits in enumerate(places) if hits), None)
    return {
        "hit_rate": float(first is not None),
        "hit_at_1": float(first == 0),
        "mrr": 0.0 if first is None else 1 / (first + 1),
        "precision_at_k": sum(1 for hits in places if hits) / len(places) if places else 0.0,
        "recall_at_k": len(set().union(*places)) / len(golden),
    }


def scores(golden: Sequence[str], retrievals: Iterable[Retrieval]) -> tuple[Score, ...]:
    """Return a test's retrieval scores, for its result; none where the case has no golden documents.

    Means over the test's retrievals; ``recall_at_k`` over all that they returned together. They are metrics
    beside the answer's scores: no part of the composite.
    """
    given = list(retrievals)
    if not golden or not given:
        return ()
    known = [(r, v) for r in given if (v := values(golden, r)) is not None]
    if not known:
        why = "the retrieval carries no ids" if not given[0].ids else "the retrieval carries no texts"
        return tuple(Score(n, None, "not_assessable", f"{why} to compare", weight=0.0) for n in NAMES)
    out = []
    for name in NAMES:
        value = math.fsum(v[name] for _, v in known) / len(known)
        if name == "recall_at_k":
            value = _recall(golden, [r for r, _ in known])
        out.append(Score(name, value, explanation=_explain(golden, [r for r, _ in known]), weight=0.0))
    return tuple(out)


def _recall(golden: Sequence[str], retrievals: Iterable[Retrieval]) -> float:
    hits = (h for r in retrievals for h in ranks(golden, r) or ())
    return len(set().union(*hits)) / len(golden)


def _explain(golden: Sequence[str], retrievals: Sequence[Retrieval]) -> str:
    counts = [max(len(r.ids), len(r.documents)) for r in retrievals]
    where = []
    for found in retrievals:
        first = next((i for i, hits in enumerate(ranks(golden, found) or ()) if hits), None)
        where.append("none" if first is None else f"rank {first + 1}")
    return (
        f"{plural(len(golden), 'golden document')}, {plural(sum(counts), 'document')} returned, "
        f"first golden one at {', '.join(where[:5])}"
    )


# figures ---------------------------------------------------------------------------------------------------


def retrieval(limit: Limit, part: Slice) -> Figure:
    """Return the figure of a ``[retrieval]`` rule."""
    tasks = agent_tasks(part)
    match limit.key:
        case "empty_rate":
            return _over_retrievals(tasks, lambda r: float(not r.ids and not r.documents), floor=False)
        case "documents":
            return _over_retrievals(tasks, lambda r: float(max(len(r.ids), len(r.documents))), floor=True)
        case _:
            return _against_golden(limit.key, tasks, part)


def _over_retrievals(tasks: Sequence[AgentTask], value: Callable[[Retrieval], float], *, floor: bool) -> Figure:
    rows = [
        Observation(t.key, t.cluster, t.weight, value(step.retrieval), step.call_id)
        for t in tasks
        for step in t.retrievals
    ]
    if not rows:
        return not_measured("no retrieval was recorded (llm_watch.retrieval)")
    return share_figure(rows, floor=floor, noun="retrieval", events=not floor)


def _against_golden(key: str, tasks: Sequence[AgentTask], part: Slice) -> Figure:
    asked = [t for t in tasks if t.expected_documents]
    if not asked:
        for name in (key, f"retrieval_{key}"):
            figure = score_mean(part, name)
            if figure.value is not None:
                return figure
        return not_measured("no case names golden documents (expected_documents)")
    if not any(t.retrievals for t in tasks):
        return not_measured("no retrieval was recorded (llm_watch.retrieval)")
    return _golden_figure(key, asked)


def _golden_figure(key: str, asked: Sequence[AgentTask]) -> Figure:
    rows: list[Observation] = []
    without = unlike = errored = 0
    for task in asked:
        if not task.retrievals and task.unanswered:
            errored += 1
            continue
        found = _task_values(key, task)
        unlike += found is None
        if found is not None:
            # other tasks were retrieved for: to retrieve nothing here found nothing
            without += not task.retrievals
            rows += [Observation(task.key, task.cluster, task.weight, v, call_id) for v, call_id in found]
    if not rows:
        return not_measured("the golden documents are of a kind (ids or texts) that no retrieval carries")
    notes = [
        f"{plural(without, 'task')} without a retrieval counted as 0" if without else "",
        f"{unlike:,} not comparable" if unlike else "",
        f"{errored:,} errored" if errored else "",
    ]
    missing = errored / (len(asked) - unlike)
    return mean_figure(rows, floor=True, noun="retrieval", why=", ".join(n for n in notes if n), missing=missing)


def _task_values(key: str, task: AgentTask) -> list[tuple[float, str | None]] | None:
    golden = task.expected_documents
    if not task.retrievals:
        return [(0.0, task.last_id)]
    known = [(v, s) for s in task.retrievals if (v := values(golden, s.retrieval)) is not None]
    if not known:
        return None
    if key == "recall_at_k":
        return [(_recall(golden, [s.retrieval for _, s in known]), known[-1][1].call_id)]
    return [(v[key], s.call_id) for v, s in known]
