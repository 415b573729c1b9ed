"""What a run is made of: plain, frozen records.

Standard library only. Seconds and US dollars unless a name says otherwise. ``None`` always means
"not known", never zero. Anything mutable that a record holds (mappings of parameters, tags) must not
be changed after construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_llmwatch.call import (
    JSON,
    Attempt,
    Call,
    CallStatus,
    CaptureMode,
    Cost,
    Operation,
    Retrieval,
    ToolCall,
    ToolResult,
    Usage,
    UserOutcome,
)

__all__ = [
    "JSON",
    "SCHEMA_VERSION",
    "Attempt",
    "Baseline",
    "BaselineCase",
    "Call",
    "CallStatus",
    "CaptureMode",
    "Case",
    "CaseResult",
    "Cost",
    "Evidence",
    "Grade",
    "Incident",
    "Layer",
    "Operation",
    "Outcome",
    "Output",
    "Price",
    "Problem",
    "Report",
    "Retrieval",
    "RuleKind",
    "Run",
    "Score",
    "ScoreLabel",
    "ScorerSpec",
    "Span",
    "Tier",
    "ToolCall",
    "ToolResult",
    "Usage",
    "UserOutcome",
    "Verdict",
    "Waiver",
]

SCHEMA_VERSION = 1
"""Version of everything that is written (run.json, calls.jsonl.gz, events.jsonl, cassettes' timing key).

History:
    1: first version.
"""

Layer = Literal["availability", "cost", "quality"]
RuleKind = Literal["fact", "test"]
Tier = Literal["warn", "fail"]
Grade = Literal["pass", "warn", "fail", "inconclusive"]
Outcome = Literal["passed", "failed", "error", "skipped", "not_run"]
ScoreLabel = Literal["unscored", "not_assessable", "error"]


@dataclass(frozen=True, slots=True)
class Span:
    """A step of an application's trace around its calls: retrieve, build prompt, run a tool, agent step.

    ``latency`` is in seconds, without the consumer's waits of a replay; None where a recorded time lacks.
    ``retrieval`` and ``tool`` are what a step of that kind did, None for others. ``labels`` are feature, team
    and the like, as on a call.
    """

    id: str
    name: str
    kind: str = "internal"
    trace_id: str | None = None
    parent_id: str | None = None
    nodeid: str | None = None
    set: str | None = None
    case: str | None = None
    repeat: int = 0
    attempt: int = 0
    index: int = 0
    time: str | None = None
    latency: float | None = None
    error: str | None = None
    retrieval: Retrieval | None = None
    tool: ToolCall | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, JSON] = field(default_factory=dict)
    capture_mode: CaptureMode = "live"


@dataclass(frozen=True, slots=True)
class Case:
    """One golden case. ``input`` is a prompt, a list of chat messages, or an object of template variables."""

    id: str
    input: JSON = None
    set: str | None = None
    reference: str | None = None
    must_mention: tuple[str, ...] = ()
    must_not_mention: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    schema: JSON = None
    expected_tool_calls: tuple[JSON, ...] | None = None
    expected_documents: tuple[str, ...] | None = None
    format: str | None = None
    tags: tuple[str, ...] = ()
    weight: float = 1.0
    cluster: str | None = None
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    line: int | None = None
    """1-based line in cases.jsonl (or set.yaml), for messages."""

    def expected_tools(self) -> tuple[str, ...] | None:
        """Return the names of the tools that ``expected_tool_calls`` names, None where it is not given."""
        if self.expected_tool_calls is None:
            return None
        names: list[str] = []
        for item in self.expected_tool_calls:
            inner = item.get("function", item) if isinstance(item, Mapping) else item
            name = (inner.get("name") or inner.get("tool")) if isinstance(inner, Mapping) else inner
            if isinstance(name, str):
                names.append(name)
        return tuple(dict.fromkeys(names))

    def input_text(self) -> str | None:
        """Return the user's question as text: the string, the last user message, or ``input``/``question``."""
        if isinstance(self.input, str):
            return self.input
        if isinstance(self.input, Mapping):
            for key in ("input", "question", "query", "prompt"):
                if isinstance(self.input.get(key), str):
                    return str(self.input[key])
            return " ".join(str(v) for v in self.input.values() if isinstance(v, str)) or None
        if isinstance(self.input, list | tuple):
            for message in reversed(self.input):
                if isinstance(message, Mapping) and message.get("role") == "user":
                    content = message.get("content")
                    return content if isinstance(content, str) else _texts_of(content)
        return None


def _texts_of(parts: JSON) -> str | None:
    """Return the texts among the parts of a message (beside images, files), None where there is none."""
    given = parts if isinstance(parts, list | tuple) else ()
    texts = [p.get("text") for p in given if isinstance(p, Mapping)]
    return "\n".join(t for t in texts if isinstance(t, str)) or None


@dataclass(frozen=True, slots=True)
class Output:
    """What is scored: the answer's text and what came with it."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    retrieved: tuple[str, ...] = ()
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something a reader can check: a span of the output (``where`` = "output") or of a context document.

    ``start`` and ``end`` are character offsets into that text (end exclusive), None for list items.
    ``document`` is the index of the context document. ``kind`` says what it shows, e.g. ``unsupported``,
    ``support``, ``absent_number``, ``absent_name``, ``missing``, ``forbidden``, ``schema``, ``hedge``.
    """

    kind: str
    text: str
    where: Literal["output", "context", "item"] = "output"
    start: int | None = None
    end: int | None = None
    document: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A score in [0, 1] with 1 best, or None with a label saying why there is none.

    ``threshold`` is the limit that the golden set or the test asked for, ``required`` whether missing it
    fails the test. ``weight`` 0 makes a score a mere metric. ``informational`` scores are shown, never
    gated by default. ``coverage`` is the share of weight that a composite could assess.
    """

    name: str
    value: float | None
    label: str | None = None
    explanation: str = ""
    evidence: tuple[Evidence, ...] = ()
    version: str = "1"
    weight: float = 1.0
    threshold: float | None = None
    required: bool = False
    informational: bool = False
    coverage: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the threshold is met; None without a threshold or without a value."""
        if self.threshold is None or self.value is None:
            return None
        return self.value >= self.threshold


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that kept part of the run from being measured. Never counted as quality 0.

    ``kind``: ``infrastructure``, ``missing_recording``, ``scorer``, ``not_run``, ``lost``, ``unpriced``.
    """

    kind: str
    message: str
    nodeid: str | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One execution of one test: a golden case and repeat, or any test that made calls (``set`` None)."""

    nodeid: str
    set: str | None = None
    case: str | None = None
    repeat: int = 0
    attempt: int = 0
    """0 for the first execution, 1.. for reruns of the same test."""
    outcome: Outcome = "passed"
    reason: str | None = None
    """First line of the failure, None when passed."""
    scores: tuple[Score, ...] = ()
    call_ids: tuple[str, ...] = ()
    input: str | None = None
    output: str | None = None
    context: tuple[str, ...] = ()
    reference: str | None = None
    tags: tuple[str, ...] = ()
    weight: float = 1.0
    cluster: str | None = None
    expected_tools: tuple[str, ...] | None = None
    """Names of the tools that the golden case expects to be called, None where it says nothing."""
    expected_documents: tuple[str, ...] | None = None
    """Golden documents of the case (ids or texts), None where it names none."""
    duration: float | None = None
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """A user's own figures by name, in the order in which the test gave them."""
    user_outcome: UserOutcome = field(default_factory=UserOutcome)
    """What became of the answer, where the test knows it."""
    problem: str | None = None
    """Kind of the Problem that prevented it, e.g. ``infrastructure``; None where it was measured."""

    @property
    def passed(self) -> bool:
        """Whether the test passed and every threshold of its scores was met."""
        return self.outcome == "passed" and all(s.passed is not False for s in self.scores)

    def score(self, name: str) -> Score | None:
        """Return the score called ``name``, or None."""
        return next((s for s in self.scores if s.name == name), None)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything one run measured, in stable order: calls and results sorted by (nodeid, attempt, index).

    ``concurrent`` are the baselines that the run asked beside its own cases, by golden set.
    """

    run_id: str
    time: str
    calls: tuple[Call, ...] = ()
    results: tuple[CaseResult, ...] = ()
    spans: tuple[Span, ...] = ()
    problems: tuple[Problem, ...] = ()
    duration: float | None = None
    partial: bool = False
    partial_reason: str | None = None
    environment: Mapping[str, JSON] = field(default_factory=dict)
    concurrent: tuple[Baseline, ...] = ()
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Waiver:
    """A rule that is known broken and tolerated until a date (ISO 8601, inclusive)."""

    rule: str
    reason: str
    expires: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of one rule.

    ``reason`` explains a verdict that is not a plain comparison: ``not_measured``, ``unenforceable``
    (a cost limit over unpriced calls), ``no_match`` (a scope without calls), ``too_few`` (n below what
    the test needs), ``waived``, ``infrastructure``. ``observed``, ``limit`` and ``warn_limit`` are unrounded,
    in ``unit`` (``s``, ``usd``, ``tokens``, ``ratio``, ``count``, ``per_minute``). ``ci`` is two-sided 95 % of
    ``observed`` for tests on a budget and of ``delta`` for comparisons. ``worst`` names call ids, worst first.
    """

    rule: str
    metric: str
    verdict: Grade
    layer: Layer
    kind: RuleKind
    because: str
    family: str | None = None
    unit: str = "ratio"
    direction: Literal["ceiling", "floor"] = "ceiling"
    observed: float | None = None
    limit: float | None = None
    warn_limit: float | None = None
    tier: Tier | None = None
    reason: str | None = None
    scope: str | None = None
    n: int | None = None
    n_needed: int | None = None
    ci: tuple[float | None, float | None] | None = None
    p: float | None = None
    p_adjusted: float | None = None
    baseline: float | None = None
    candidate: float | None = None
    delta: float | None = None
    n_cases: int | None = None
    paired: bool | None = None
    action: str | None = None
    worst: tuple[str, ...] = ()
    waiver: Waiver | None = None
    line: int | None = None
    """Line of the rule in budget.toml."""


@dataclass(frozen=True, slots=True)
class BaselineCase:
    """One case of a baseline: ``values[metric]`` holds one value per execution, None = not measured.

    ``sessions`` numbers the recording session of each execution; ``print`` is a fingerprint of what the case is.
    """

    print: str
    values: Mapping[str, tuple[float | None, ...]]
    sessions: tuple[int, ...] = ()
    cluster: str | None = None
    weight: float = 1.0
    labels: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    """Categories of the answers, of those that came."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A frozen reference of one golden set: values per case and repeat, and what they were made with.

    ``made_with`` names models, prompt versions, parameters and capture modes. ``sessions`` holds a run's id and
    time for each recording session. ``accepted`` is the history of what replaced what, and why. ``anchor`` is the
    baseline that every later one must not be worse than, None while this is the first.
    """

    id: str
    set: str | None
    time: str
    cases: Mapping[str, BaselineCase] = field(default_factory=dict)
    scorers: Mapping[str, str] = field(default_factory=dict)
    made_with: Mapping[str, JSON] = field(default_factory=dict)
    sessions: tuple[Mapping[str, JSON], ...] = ()
    reason: str | None = None
    self_check: Mapping[str, JSON] = field(default_factory=dict)
    accepted: tuple[Mapping[str, JSON], ...] = ()
    anchor: Baseline | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Incident:
    """A broken budget, seen as something that people have to act on.

    ``category`` is an id of ``incidents_data/categories.toml``, ``layers`` the rules' layers, worst first.
    ``since`` is the first bad build (``run_id time commit builds at_least``). The mappings hold what a page or
    a message shows; their keys are documented in ``docs/reference/incidents.md``. Times are ISO 8601 UTC.
    """

    id: str
    severity: Literal["SEV1", "SEV2", "SEV3", "SEV4"]
    category: str
    title: str
    rules: tuple[str, ...]
    state: str = "detected"
    time: str | None = None
    timeline: tuple[Mapping[str, JSON], ...] = ()
    layers: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    what: str = ""
    run_id: str | None = None
    """The newest run that shows it; of a resolved one the last that did."""
    branch: str | None = None
    since: Mapping[str, JSON] = field(default_factory=dict)
    figures: tuple[Mapping[str, JSON], ...] = ()
    metrics: Mapping[str, JSON] = field(default_factory=dict)
    affected: Mapping[str, JSON] = field(default_factory=dict)
    worst: tuple[Mapping[str, JSON], ...] = ()
    causes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    triage: Mapping[str, JSON] = field(default_factory=dict)
    diagnosis: tuple[Mapping[str, JSON], ...] = ()
    evidence: Mapping[str, JSON] = field(default_factory=dict)
    runbook: Mapping[str, JSON] = field(default_factory=dict)
    route: str | None = None
    """Who hears of it first: ``page``, ``team``, ``mail`` or ``ticket``."""
    earlier: str | None = None
    """The incident of the same kind that was resolved before this one, None for the first."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """What the budget's ``[report]`` asks of the pages, and sections of extensions (title, text or rows)."""

    title: str | None = None
    body_share: float | None = None
    max_bodies: int | None = None
    sections: tuple[tuple[str, str | tuple[tuple[str, ...], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What every renderer, exporter and alert takes: a run and what the gate says of it.

    ``verdict`` is the worst verdict, ``error`` where the gate could not do its work (exit 7), or ``none``
    without a budget. ``aggregates`` has the shape documented for run.json. ``budget`` is the file's path as given.
    """

    run: Run
    verdict: Literal["pass", "warn", "fail", "inconclusive", "error", "none"]
    sentence: str
    exit_code: int
    verdicts: tuple[Verdict, ...] = ()
    aggregates: Mapping[str, JSON] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    budget: str | None = None
    alpha_by_family: Mapping[str, float] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()
    history: tuple[Mapping[str, JSON], ...] = ()
    presentation: Presentation = Presentation()
    before: Run | None = None
    """The run that was compared with, where it is at hand: its answers stand beside this one's."""
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    """Frozen references by golden set that this run was compared with."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars per million tokens. ``cached_per_million`` None = as input."""

    input_per_million: float
    output_per_million: float
    cached_per_million: float | None = None
    source: str = "budget.toml"
    date: str | None = None


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A scorer as a golden set asks for it.

    ``threshold`` counts in ``pass_rate``; with ``required`` a score below it fails the test. ``negate``
    turns the value into 1 - value. ``weight`` None takes the set's or the composite's default weight.
    ``label`` renames the score, so that one scorer can be used twice.
    """

    name: str
    options: Mapping[str, JSON] = field(default_factory=dict)
    weight: float | None = None
    threshold: float | None = None
    required: bool = False
    negate: bool = False
    label: str | None = None
    line: int | None = None
