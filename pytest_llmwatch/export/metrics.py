"""A run as families of metrics: names, labels, values and buckets, for any system that scrapes or takes them.

Labels are bounded (see `Labels`) and never hold users, sessions, ids or texts.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pytest_llmwatch import semconv
from pytest_llmwatch.model import Call, Report, Run

Kind = Literal["counter", "gauge", "histogram"]
OTHER = "other"
UNKNOWN = "unknown"
_MAX_LABEL = 120


@dataclass(slots=True)
class Histogram:
    """Counts of values by upper bound (the last, infinity, is implied), their sum and their number."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, int]]:
        """Return cumulative counts by bound, as Prometheus writes them."""
        out, seen = [], 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            seen += count
            out.append(("+Inf" if bound == math.inf else repr(float(bound)), seen))
        return out


@dataclass(slots=True)
class Family:
    """One metric: its name without ``_total``, what it means, its labels, and a value for each of their values."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    values: dict[tuple[str, ...], float] = field(default_factory=dict)
    histograms: dict[tuple[str, ...], Histogram] = field(default_factory=dict)

    def add(self, labels: tuple[str, ...], value: float = 1) -> None:
        """Add to the value of ``labels``."""
        self.values[labels] = self.values.get(labels, 0) + value

    def set(self, labels: tuple[str, ...], value: float | None) -> None:
        """Set the value of ``labels``; None and what is not finite leave it out."""
        if value is not None and math.isfinite(value):
            self.values[labels] = float(value)


class Labels:
    """Values of labels, bounded: of each label the most frequent stand for themselves, the rest are ``other``.

    Args:
        limit: How many values of one label stand for themselves.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, frozenset[str]] = {}

    def learn(self, label: str, values: Iterable[str | None]) -> None:
        """Choose the values of ``label`` that are kept, from all that occur; ties by name, so runs agree."""
        counts = Counter(_plain(v) for v in values)
        kept = sorted(counts, key=lambda v: (-counts[v], v))[: self._limit]
        self._kept[label] = frozenset(kept)

    def of(self, label: str, value: str | None) -> str:
        """Return what stands for ``value``."""
        plain = _plain(value)
        return plain if plain in self._kept.get(label, ()) else OTHER


def _plain(value: str | None) -> str:
    if not value:
        return UNKNOWN
    text = value.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_LABEL else text[:_MAX_LABEL] + "…"


def families(source: Report | Run, *, limit: int = 50) -> list[Family]:
    """Return all families of a run; those without a value too, so that a dashboard finds them.

    Args:
        source: A report, or a run that nobody judged: then without the gate's families.
        limit: Distinct values of one label; all others count as ``other``.
    """
    run = source.run if isinstance(source, Report) else source
    report = source if isinstance(source, Report) else None
    calls = [c for c in run.calls if not c.judging]
    labels = _learned(run, report, Labels(limit))
    out = [*_requests(calls, labels), *_judges(run, labels), *_slices(calls, labels), *_steps(run, calls, labels)]
    out += _times(calls, labels, _bounds(report))
    out += _results(run, labels)
    if report is not None:
        out += _gate(report, labels)
    return out


def _learned(run: Run, report: Report | None, labels: Labels) -> Labels:
    calls = run.calls
    labels.learn("model", (c.model for c in calls))
    labels.learn("error_type", (c.error_type for c in calls if c.failed))
    labels.learn("feature", (c.feature for c in calls))
    labels.learn("team", (c.team for c in calls))
    labels.learn("prompt_version", (c.prompt_version for c in calls))
    labels.learn("tool", (name for name, _ in _tools(run)))
    labels.learn("source", (source for source, _ in _retrievals(run)))
    labels.learn("set", (r.set for r in run.results))
    labels.learn("scorer", (s.name for r in run.results for s in r.scores))
    labels.learn("metric", (n for r in run.results for n in r.metrics))
    labels.learn("rule", (_rule(v.rule) for v in report.verdicts) if report else ())
    return labels


def _requests(calls: list[Call], labels: Labels) -> list[Family]:
    requests = Family("llm_requests", "counter", "Logical LLM calls", ("model", "status"))
    errors = Family("llm_errors", "counter", "Logical LLM calls that failed", ("model", "error_type"))
    tokens = Family(
        "llm_tokens", "counter", "Tokens; cached and cache_write are part of input, reasoning of output",
        ("model", "type"),
    )  # fmt: skip
    cost = Family("llm_cost_usd", "counter", "Cost in US dollars, of the calls whose price is known", ("model",))
    unpriced = Family("llm_unpriced_requests", "counter", "Calls without a known price", ("model",))
    attempts = Family("llm_attempts", "counter", "HTTP requests, retries included", ("model",))
    retries = Family("llm_retries", "counter", "HTTP requests beyond the first of a call", ("model",))
    limited = Family("llm_rate_limited_attempts", "counter", "HTTP requests answered with 429", ("model",))
    hits = Family("llm_cache_hits", "counter", "Calls answered from a cache, or with cached tokens", ("model",))
    fallbacks = Family("llm_fallbacks", "counter", "Calls to another model after the first one failed", ("model",))
    for call in calls:
        model = (labels.of("model", call.model),)
        requests.add((*model, call.status))
        if call.failed:
            errors.add((*model, labels.of("error_type", call.error_type or call.status)))
        for kind, count in _tokens(call):
            tokens.add((*model, kind), count)
        cost.add(model, call.cost.usd or 0)
        unpriced.add(model, call.cost.usd is None)
        attempts.add(model, max(1, len(call.attempts)))
        retries.add(model, call.retries)
        limited.add(model, call.rate_limited_attempts)
        hits.add(model, bool(call.cache_hit or call.usage.cached_tokens))
        fallbacks.add(model, call.fallback is True)
    return [requests, errors, tokens, cost, unpriced, attempts, retries, limited, hits, fallbacks]


def _tokens(call: Call) -> Iterator[tuple[str, int]]:
    usage = call.usage
    for kind, count in (
        ("input", usage.input_tokens),
        ("output", usage.output_tokens),
        ("cached", usage.cached_tokens),
        ("cache_write", usage.cache_write_tokens),
        ("reasoning", usage.reasoning_tokens),
    ):
        if count is not None:
            yield kind, count


def _judges(run: Run, labels: Labels) -> list[Family]:
    asked = Family("llm_judge_requests", "counter", "Calls by which scorers judged answers", ("model", "status"))
    cost = Family("llm_judge_cost_usd", "counter", "Cost of judging in US dollars", ("model",))
    for call in run.calls:
        if call.judging:
            model = labels.of("model", call.model)
            asked.add((model, call.status))
            cost.add((model,), call.cost.usd or 0)
    return [asked, cost]


def _slices(calls: list[Call], labels: Labels) -> list[Family]:
    out = []
    for label in ("feature", "team", "prompt_version"):
        requests = Family(f"llm_{label}_requests", "counter", f"Logical LLM calls by {label}", (label, "status"))
        cost = Family(f"llm_{label}_cost_usd", "counter", f"Cost in US dollars by {label}", (label,))
        for call in calls:
            value = labels.of(label, getattr(call, label))
            requests.add((value, call.status))
            cost.add((value,), call.cost.usd or 0)
        out += [requests, cost]
    return out


def _tools(run: Run) -> Iterator[tuple[str, str]]:
    """Yield name and status of each tool call: what a span executed, and what models asked for and no span did."""
    seen = set()
    for span in run.spans:
        if span.tool is not None:
            seen.add((span.nodeid, span.tool.id) if span.tool.id else None)
            yield span.tool.name, "error" if span.error or span.tool.error else "success"
    for call in run.calls:
        for tool in call.tool_calls:
            if tool.id is None or (call.nodeid, tool.id) not in seen:
                bad = tool.error is not None
                yield tool.name, "error" if bad else "invalid" if tool.valid is False else "success"


def _retrievals(run: Run) -> Iterator[tuple[str | None, int]]:
    spans = [s for s in run.spans if s.retrieval is not None]
    told = {s.nodeid for s in spans}
    for span in spans:
        assert span.retrieval is not None
        yield span.retrieval.source, len(span.retrieval.ids or span.retrieval.documents)
    for call in run.calls:
        if call.retrieval is not None and (call.nodeid is None or call.nodeid not in told):
            yield call.retrieval.source, len(call.retrieval.ids or call.retrieval.documents)


def _steps(run: Run, calls: list[Call], labels: Labels) -> list[Family]:
    tools = Family("llm_tool_calls", "counter", "Tool calls", ("tool", "status"))
    for name, status in _tools(run):
        tools.add((labels.of("tool", name), status))
    found = Family("llm_retrievals", "counter", "Retrievals", ("source", "status"))
    documents = Family("llm_retrieved_documents", "counter", "Documents that retrievals returned", ("source",))
    for source, count in _retrievals(run):
        where = labels.of("source", source)
        found.add((where, "found" if count else "empty"))
        documents.add((where,), count)
    tasks = Family("llm_agent_tasks", "counter", "Tests or traces whose models called tools")
    steps = Family("llm_agent_steps", "counter", "Model calls of these tasks")
    made: dict[tuple[object, ...], list[Call]] = defaultdict(list)
    for call in calls:
        made[call.nodeid or call.trace_id or call.id, call.repeat, call.attempt].append(call)
    acting = [task for task in made.values() if any(c.tool_calls for c in task)]
    tasks.add((), len(acting))
    steps.add((), sum(map(len, acting)))
    return [tools, found, documents, tasks, steps]


def _bounds(report: Report | None) -> Mapping[str, tuple[float, ...]]:
    """Return the buckets by family: those of the conventions, and the budget's own limits."""
    own: dict[str, set[float]] = {"latency": set(), "ttft": set()}
    for verdict in report.verdicts if report else ():
        table, _, key = verdict.rule.rpartition(".")
        if table == "latency" or table.endswith(".latency"):
            limits = (x for x in (verdict.limit, verdict.warn_limit) if x is not None and 0 < x < math.inf)
            if verdict.unit != "s":
                continue
            own["ttft" if key.startswith("ttft") else "latency"].update(limits)
    return {
        "latency": tuple(sorted(own["latency"] | set(semconv.DURATION_BUCKETS))),
        "ttft": tuple(sorted(own["ttft"] | set(semconv.FIRST_TOKEN_BUCKETS))),
    }


def _times(calls: list[Call], labels: Labels, bounds: Mapping[str, tuple[float, ...]]) -> list[Family]:
    latency = Family(
        "llm_request_duration_seconds", "histogram", "First request to last byte, back-off included", ("model",)
    )
    first = Family("llm_time_to_first_token_seconds", "histogram", "First request to first token", ("model",))
    for call in calls:
        if call.injected:
            continue  # a fault that a test asked for is no speed of the model
        model = (labels.of("model", call.model),)
        for family, value, own in ((latency, call.latency, "latency"), (first, call.ttft, "ttft")):
            if value is not None and math.isfinite(value):
                family.histograms.setdefault(model, Histogram(bounds[own])).add(value)
    return [latency, first]


def _results(run: Run, labels: Labels) -> list[Family]:
    tests = Family("llm_test_executions", "counter", "Executions of tests that made calls", ("outcome",))
    means = Family("llm_score", "gauge", "Mean of a scorer over the executions it could score", ("set", "scorer"))
    scored = Family("llm_scored", "counter", "Executions that a scorer could score", ("set", "scorer"))
    own = Family("llm_metric", "gauge", "Mean of a test's own metric", ("metric",))
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    given: dict[str, list[float]] = defaultdict(list)
    for result in run.results:
        tests.add((result.outcome,))
        for score in result.scores:
            if score.value is not None and result.attempt == 0:
                values[labels.of("set", result.set), labels.of("scorer", score.name)].append(score.value)
        for name, numbers in result.metrics.items():
            given[labels.of("metric", name)] += numbers
    for key, found in sorted(values.items()):
        means.set(key, math.fsum(found) / len(found))
        scored.add(key, len(found))
    for name, figures in sorted(given.items()):
        if figures:
            own.set((name,), math.fsum(figures) / len(figures))
    when = Family("llm_run_timestamp_seconds", "gauge", "When the run started, in seconds since 1970")
    when.set((), _epoch(run.time))
    length = Family("llm_run_duration_seconds", "gauge", "How long the run took")
    length.set((), run.duration)
    partial = Family("llm_run_partial", "gauge", "1 where a part of the tests was not run or lost")
    partial.set((), float(run.partial))
    return [tests, means, scored, own, when, length, partial]


def _gate(report: Report, labels: Labels) -> list[Family]:
    exit_code = Family("llm_gate_exit_code", "gauge", "Exit code of the gate")
    exit_code.set((), report.exit_code)
    rules = Family("llm_gate_rules", "gauge", "Rules by verdict", ("verdict", "layer"))
    verdict = Family(
        "llm_gate_verdict", "gauge", "1 for the verdict that a rule has", ("rule", "layer", "verdict")
    )
    observed = Family("llm_gate_observed", "gauge", "What a rule measured, in its unit", ("rule", "unit"))
    limit = Family("llm_gate_limit", "gauge", "Limit of a rule, in its unit", ("rule", "unit", "tier"))
    for given in report.verdicts:
        rules.add((given.verdict, given.layer))
        rule = labels.of("rule", _rule(given.rule))
        verdict.set((rule, given.layer, given.verdict), 1)
        if rule == OTHER or rule != given.rule:
            continue  # figures of different rules have no common value
        observed.set((rule, given.unit), given.observed)
        limit.set((rule, given.unit, "fail"), given.limit)
        limit.set((rule, given.unit, "warn"), given.warn_limit)
    return [exit_code, rules, verdict, observed, limit]


def _rule(rule: str) -> str:
    """Return a rule's id without the user whom it is about."""
    head = "scope.user:"
    return f"scope.user{rule[rule.rfind('.', 0, rule.rfind('.')) :]}" if rule.startswith(head) else rule


def _epoch(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):
        return None
