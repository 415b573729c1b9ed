"""What a budget.toml says, as frozen records. Seconds and US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_llmwatch.model import Layer, Price, RuleKind, Waiver

Direction = Literal["ceiling", "floor"]
InconclusivePolicy = Literal["warn", "fail", "pass"]
Family = Literal["quality", "latency", "cost", "errors"]


@dataclass(frozen=True, slots=True)
class Scope:
    """A slice of a run, such as one feature; ``SCOPE_KINDS`` lists the kinds."""

    kind: str
    value: str
    also: str | None = None
    """Another value that means the same: the hash of a user named in clear."""

    @property
    def text(self) -> str:
        """The scope as it is written: ``feature:summarizer``."""
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One rule of the budget.

    ``warn`` and ``fail`` are unrounded limits in ``unit``, at least one is not None. ``name`` is the
    user's name of the metric for ``[metric.NAME]``, else None. ``min_n`` is the least number of
    observations for a verdict, None without one. ``line`` is the line in budget.toml. ``reference`` is
    what a ratio is taken of: a quota a minute (None = from the rate-limit headers), or a rate in USD an hour.
    ``names`` are the tools that ``[agent] side_effects`` names, for the rule about them.
    """

    rule: str
    table: str
    key: str
    layer: Layer
    kind: RuleKind
    family: Family
    unit: str
    direction: Direction
    warn: float | None
    fail: float | None
    min_n: int | None = None
    scope: Scope | None = None
    line: int | None = None
    name: str | None = None
    reference: float | None = None
    names: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """The rule without its scope, e.g. ``latency.p95``."""
        return f"metric.{self.name}.{self.key}" if self.name is not None else f"{self.table}.{self.key}"


@dataclass(frozen=True, slots=True)
class GateOptions:
    """``[gate]``. ``min_effect`` and ``margin`` None = the comparison's defaults; ``exit_code`` None = 1 and 7."""

    alpha: float = 0.01
    inconclusive: InconclusivePolicy = "warn"
    min_effect: float | None = None
    margin: float | None = None
    allow_empty: bool = False
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """``[model]``: what ``llm_call`` uses where the test says nothing."""

    model: str | None = None
    base_url: str | None = None
    api: Literal["responses", "chat"] | None = None
    prompt_version: str | None = None


@dataclass(frozen=True, slots=True)
class CostPolicy:
    """Shares of a sum at which it warns; factors of the budget's rate (None = the rate is no rule)."""

    warn_at: float = 0.80
    critical_at: float = 0.95
    rate_warn: float | None = None
    rate_critical: float | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """``[drift]``: which baseline, which metrics (empty = all), and what counts as a change."""

    baseline: str | None = None
    metrics: tuple[str, ...] = ()
    margin: float = 0.05
    min_effect: float = 0.02
    repeats: int = 5
    scope: Scope | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well one judge agrees with people: Cohen's kappa over ``n`` labels with its 95 % interval.

    ``version`` is the judge's: model, task, grades and parameters. None where the labels allow no kappa.
    """

    version: str
    name: str
    model: str | None
    n: int
    kappa: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """``[judge]``: who judges, how many of the cases, and what it takes before a judge may fail a build.

    ``known`` holds the calibrations that were read from the files ``calibration``, by the judge's version.
    """

    model: str | None = None
    base_url: str | None = None
    api: Literal["responses", "chat"] = "chat"
    share: float = 1.0
    min_kappa: float = 0.4
    min_labels: int = 50
    calibration: tuple[str, ...] = ()
    known: Mapping[str, Calibration] = field(default_factory=dict)

    def objection(self, version: str) -> str | None:
        """Return why the judge ``version`` may not fail a build, None where it may."""
        found = self.known.get(version)
        if found is None:
            return f"nobody has measured how well this judge ({version}) agrees with people"
        if found.n < self.min_labels:
            return f"this judge ({version}) was compared with {found.n:,} labels, fewer than {self.min_labels:,}"
        if found.kappa is None or found.low is None:
            return f"the labels that this judge ({version}) was compared with allow no kappa"
        if found.low < self.min_kappa:
            interval = (
                f"[{found.low:.2f}, {found.high:.2f}]" if found.high is not None else f"from {found.low:.2f}"
            )
            return (
                f"this judge ({version}) agrees too little with people: kappa {found.kappa:.2f} {interval} over "
                f"{found.n:,} labels, and its lower bound must reach {self.min_kappa:g}"
            )
        return None


@dataclass(frozen=True, slots=True)
class RedactOptions:
    """``[redact]``: more patterns as (name, regular expression), and whether personal data is masked."""

    patterns: tuple[tuple[str, str], ...] = ()
    pii: bool = True


@dataclass(frozen=True, slots=True)
class CaptureLimits:
    """``[capture]``: what counts as an LLM call, and how large a recording may grow (bytes)."""

    base_urls: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_cassette_bytes: int | None = None
    max_set_bytes: int | None = None
    cassettes: tuple[str, ...] = ()
    request_metadata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """``[report]``: folder, title, and how many calls keep their bodies (a share and a number)."""

    dir: str | None = None
    title: str | None = None
    body_share: float | None = None
    max_bodies: int | None = None


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """``[store]``: where runs are kept, and for how long (days, runs, bytes; texts in days); None = no limit."""

    url: str | None = None
    keep_days: int | None = None
    keep_runs: int | None = None
    keep_bodies_days: int | None = None
    keep_bodies_bytes: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """``[plugins]``: modules that bring scorers, redaction patterns, prices or channels."""

    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """``[telemetry]``: where metrics and spans go, and how much of them. ``timeout`` in seconds, sizes in bytes.

    ``otlp`` and ``pushgateway`` None = not sent. ``max_labels`` is how many values of a label metrics tell apart.
    """

    otlp: str | None = None
    pushgateway: str | None = None
    job: str = "llmwatch"
    join: bool = False
    bodies: bool = False
    timeout: float = 10.0
    max_labels: int = 50
    log_share: float = 1.0
    trace_share: float = 1.0
    log_max_bytes: int = 50_000_000
    log_files: int = 10


@dataclass(frozen=True, slots=True)
class Condition:
    """``when`` of an alert: what a rule observed against ``threshold``, or against that share of its limit."""

    rule: str
    operator: str
    threshold: float
    of_limit: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """``[[alert]]``: which incidents go where. ``wait`` (TOML ``for``) and ``cooldown`` in seconds.

    ``to`` names variables of the environment (``env:NAME``) or channels of extensions (``plugin:NAME``).
    ``quiet_hours`` are minutes of the day, UTC, from and to. A filter that is empty lets
    everything through; with ``condition`` the first severity is that of the message.
    """

    name: str
    to: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    when: str | None = None
    condition: Condition | None = None
    wait: float | None = None
    consecutive: int | None = None
    cooldown: float = 300.0
    quiet_hours: tuple[int, int] | None = None
    recovery: bool = True
    template: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class IncidentPolicy:
    """``[incidents]``: what opens one, and how severe it is; None = as the package ships it.

    ``open`` is the least verdict that opens an incident, ``off`` for none. ``fail`` and ``warn`` are severities to
    begin with. Extent raises them: ``many`` is a share of the calls, ``features`` and ``users`` are numbers, from
    any of which on a warning is no edge case; ``everyone`` (affected) and ``outage`` (5xx) are shares from which
    on an outage is total. ``minutes`` are expected for all that no ``[[runbook]]`` gives its own.
    """

    open: Literal["fail", "warn", "off"] = "warn"
    ignore: tuple[str, ...] = ()
    fail: str | None = None
    warn: str | None = None
    many: float | None = None
    features: int | None = None
    users: int | None = None
    everyone: float | None = None
    outage: float | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Runbook:
    """``[[runbook]]``: what to do about a category of incident, or about one rule."""

    category: str | None = None
    rule: str | None = None
    title: str | None = None
    trigger: str | None = None
    diagnosis: tuple[str, ...] = ()
    mitigation: tuple[str, ...] = ()
    escalation: tuple[str, ...] = ()
    minutes: float | None = None
    url: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """A whole budget.toml. ``path`` is the file as the user named it, None for an empty budget.

    ``weights`` are those of the composite by scorer name, empty = the defaults. ``drifts`` holds
    ``[drift]`` and its scoped twins. ``waivers`` are in file order, expired ones included.
    """

    path: str | None = None
    gate: GateOptions = field(default_factory=GateOptions)
    model: ModelDefaults = field(default_factory=ModelDefaults)
    limits: tuple[Limit, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    cost: CostPolicy = field(default_factory=CostPolicy)
    drifts: tuple[Drift, ...] = ()
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    redact: RedactOptions = field(default_factory=RedactOptions)
    capture: CaptureLimits = field(default_factory=CaptureLimits)
    report: ReportOptions = field(default_factory=ReportOptions)
    store: StoreOptions = field(default_factory=StoreOptions)
    plugins: PluginOptions = field(default_factory=PluginOptions)
    telemetry: TelemetryOptions = field(default_factory=TelemetryOptions)
    incidents: IncidentPolicy = field(default_factory=IncidentPolicy)
    alerts: tuple[Alert, ...] = ()
    runbooks: tuple[Runbook, ...] = ()

    @property
    def drift(self) -> Drift | None:
        """The unscoped ``[drift]``, None without one."""
        return next((d for d in self.drifts if d.scope is None), None)

    @property
    def empty(self) -> bool:
        """Whether there is no rule at all."""
        return not self.limits and not self.drifts

    def limit(self, rule: str) -> Limit | None:
        """Return the limit with this rule id, or None."""
        return next((x for x in self.limits if x.rule == rule), None)
