"""What is compared: every execution's figures, by metric and case, in the shape that the statistics take."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_llmwatch.budget_types import Family
from pytest_llmwatch.compare_answers import ANSWERS, FORMATS, categories
from pytest_llmwatch.measure_slice import Key, Slice, Task, slice_of
from pytest_llmwatch.model import Call, CaseResult, Layer, Run

Shape = Literal["score", "rate", "ratio", "category"]

TIMES = ("latency", "ttft")
AMOUNTS = ("cost_usd", "input_tokens", "output_tokens")
_BILLED = frozenset({"success", "incomplete"})


@dataclass(frozen=True, slots=True)
class Metric:
    """How one metric is compared.

    ``shape``: ``score`` in [0, 1], higher is better; ``rate`` of events, higher is worse; ``ratio``: positive
    amounts compared by the ratio, higher is worse; ``category``: kinds of answers, any change is worse. ``median``
    tells which centre is shown.
    """

    name: str
    family: Family
    layer: Layer
    shape: Shape
    unit: str
    median: bool = False

    @property
    def higher_is_worse(self) -> bool:
        """Whether more is worse."""
        return self.shape != "score"


_FIXED = {
    "error": Metric("error", "errors", "availability", "rate", "ratio"),
    "latency": Metric("latency", "latency", "availability", "ratio", "s", median=True),
    "ttft": Metric("ttft", "latency", "availability", "ratio", "s", median=True),
    "cost_usd": Metric("cost_usd", "cost", "cost", "ratio", "usd"),
    "input_tokens": Metric("input_tokens", "cost", "cost", "ratio", "tokens"),
    "output_tokens": Metric("output_tokens", "cost", "cost", "ratio", "tokens"),
    ANSWERS: Metric(ANSWERS, "quality", "quality", "category", "ratio"),
    FORMATS: Metric(FORMATS, "quality", "quality", "category", "ratio"),
}


def metric_named(name: str) -> Metric:
    """Return how the metric ``name`` is compared; what is no call's figure is a score (``passed`` too)."""
    return _FIXED.get(name) or Metric(name, "quality", "quality", "score", "ratio")


@dataclass(slots=True)
class Samples:
    """Figures of one side: ``values[metric][case]`` holds one value per execution, None = not measured.

    The n-th value of every metric of a case is of the same execution (a missing tail counts as None), so that
    scorers are permuted together. ``labels[metric][case]`` are categories of answers in the same way; they are
    compared only where a metric of theirs is asked for. ``inputs`` is what each case was asked, ``calls`` the last
    call of each execution of a case, ``prints`` a fingerprint of what each case is, ``versions`` those of scorers.
    ``errored`` and ``executions`` count answers that never came. ``sessions`` tells in which recording session
    each execution was.
    """

    values: dict[str, dict[Key, list[float | None]]] = field(default_factory=dict)
    labels: dict[str, dict[Key, list[str | None]]] = field(default_factory=dict)
    clusters: dict[Key, str] = field(default_factory=dict)
    weights: dict[Key, float] = field(default_factory=dict)
    inputs: dict[Key, str | None] = field(default_factory=dict)
    calls: dict[Key, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    prints: dict[Key, str] = field(default_factory=dict)
    sessions: dict[Key, list[int]] = field(default_factory=dict)
    executions: int = 0
    errored: int = 0

    @property
    def cases(self) -> set[Key]:
        """The cases that were run."""
        return set(self.clusters)

    def metrics(self) -> list[str]:
        """Return the metrics that have any value, quality first."""
        known = [
            m for m, cases in self.values.items() if any(v is not None for row in cases.values() for v in row)
        ]
        order = {name: i for i, name in enumerate(("passed", "composite"))}
        last = {name: i for i, name in enumerate((*TIMES, *AMOUNTS, "error"), start=100)}
        return sorted(known, key=lambda m: (order.get(m, last.get(m, 50)), m))

    def has(self, metric: str) -> bool:
        """Whether this side has anything of a metric, categories included."""
        return metric in self.labels or metric in self.metrics()


def samples_of(run: Run, *, unjudged: Collection[str] = (), part: Slice | None = None) -> Samples:
    """Return the figures of a run: first attempts for quality, all of them for times, costs and errors.

    An answer that never came is missing for quality, not 0. Where it may have billed or taken time is not known,
    so only calls that came to an answer count for times and costs.

    Args:
        run: What was measured.
        unjudged: Node ids of executions of which nobody said whether they passed (records without ``passed``).
        part: The slice to look at; None = all of the run.
    """
    out = Samples()
    tasks = (part if part is not None else slice_of(run)).tasks
    for task in sorted(tasks, key=_order):
        if task.result is not None and task.result.outcome in ("skipped", "not_run"):
            continue
        _add(out, task, judged=task.result is not None and task.result.nodeid not in unjudged)
    return out


def _order(task: Task) -> tuple[str, int, int]:
    result = task.result
    name = f"{task.key[0] or ''}\0{task.key[1]}"
    return (name, result.repeat, result.attempt) if result is not None else (name, 0, 0)


def _add(out: Samples, task: Task, *, judged: bool) -> None:
    key, result = task.key, task.result
    out.clusters.setdefault(key, task.cluster)
    out.weights.setdefault(key, task.weight)
    out.executions += 1
    out.errored += task.unanswered
    row = _of_calls([c for c in task.calls if c.operation not in ("tool", "retrieval", "agent")])
    if result is not None:
        out.inputs.setdefault(key, result.input)
        out.prints.setdefault(key, fingerprint(result))
        if result.call_ids:
            out.calls.setdefault(key, []).append(result.call_ids[-1])
        if task.first_attempt and not task.unanswered:
            for metric, label in categories(result).items():
                out.labels.setdefault(metric, {}).setdefault(key, []).append(label)
        if task.first_attempt:
            row |= _of_result(out, result, answered=not task.unanswered, judged=judged)
    done = out.sessions.setdefault(key, [])
    for metric, value in row.items():
        column = out.values.setdefault(metric, {}).setdefault(key, [])
        column.extend([None] * (len(done) - len(column)))
        column.append(value if value is not None and math.isfinite(value) else None)
    done.append(0)


def fingerprint(result: CaseResult) -> str:
    """Return what tells whether a case is still the same: a hash of input, reference and context."""
    text = json.dumps([result.input, result.reference, list(result.context)], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _of_result(out: Samples, result: CaseResult, *, answered: bool, judged: bool) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    if judged and (answered or result.passed):
        row["passed"] = float(result.passed)
    for score in result.scores:
        if not score.informational:
            row[score.name] = score.value if answered else None
            out.versions.setdefault(score.name, score.version)
    return row


def _of_calls(calls: Sequence[Call]) -> dict[str, float | None]:
    if not calls:
        return {}
    row: dict[str, float | None] = {"error": float(any(c.failed for c in calls))}
    if all(c.status in _BILLED for c in calls):
        row |= {name: _sum(pick(c) for c in calls) for name, pick in _AMOUNT_OF.items()}
        row["ttft"] = calls[0].ttft
    return row


def _latency(call: Call) -> float | None:
    return call.latency


_AMOUNT_OF: Mapping[str, Callable[[Call], float | None]] = {
    "latency": _latency,
    "cost_usd": lambda c: c.cost.usd,
    "input_tokens": lambda c: c.usage.input_tokens,
    "output_tokens": lambda c: c.usage.output_tokens,
}


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    if any(v is None or not math.isfinite(v) or v < 0 for v in found):
        return None
    return math.fsum(v for v in found if v is not None)
