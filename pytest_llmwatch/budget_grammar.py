"""The grammar of budget.toml as data: every rule and every setting, once.

The parser, the published JSON Schema, the gate and the docs all read these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_llmwatch.budget_types import Direction, Family
from pytest_llmwatch.model import Layer, RuleKind

C: Direction = "ceiling"
F: Direction = "floor"


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """What a limit key means. ``testable`` tells whether ``test = true`` makes sense for it."""

    table: str
    key: str
    unit: str
    direction: Direction
    layer: Layer
    family: Family
    kind: RuleKind
    testable: bool
    meaning: str

    @property
    def bounded(self) -> bool:
        """Whether its values lie in [0, 1]."""
        return self.unit == "ratio"


def _table(
    table: str, layer: Layer, family: Family, rows: str, *, kind: RuleKind = "fact", test: bool = False
) -> list[RuleSpec]:
    """Build specs from lines ``key unit C|F meaning``; a ``*`` after the unit is a fact that cannot be tested."""
    out = []
    for row in rows.strip().splitlines():
        key, unit, way, meaning = row.split(None, 3)
        fact_only = unit.endswith("*")
        out.append(
            RuleSpec(
                table,
                key,
                unit.rstrip("*"),
                F if way == "F" else C,
                layer,
                family,
                "fact" if fact_only else kind,
                test and not fact_only,
                meaning,
            )
        )
    return out


RULES: tuple[RuleSpec, ...] = (
    *_table("latency", "availability", "latency", """
        p50      s C median latency
        p95      s C 95th percentile of latency
        p99      s C 99th percentile of latency
        ttft_p50 s C median time to first token
        ttft_p95 s C 95th percentile of the time to first token
        max      s* C latency of the slowest call
        tokens_per_second per_second* F median of output tokens per second
        """, kind="test", test=True),
    *_table("throughput", "availability", "latency", """
        tokens_per_minute      per_minute F tokens a minute, mean over the run's recorded time stamps
        calls_per_minute       per_minute F calls a minute, mean over the run's recorded time stamps
        tokens_per_hour        per_hour   F tokens an hour, mean over the run's recorded time stamps
        calls_per_hour         per_hour   F calls an hour, mean over the run's recorded time stamps
        peak_tokens_per_minute per_minute C tokens of the calls that started in the fullest 60 seconds
        peak_calls_per_minute  per_minute C requests, retries too, that started in the fullest 60 seconds
        concurrency            count      C most calls in flight at one time
        """),
    *_table("cost", "cost", "cost", """
        run_usd         usd C cost of the run
        day_usd         usd C cost of the day, over the store
        month_usd       usd C cost of the month, over the store
        per_hour_usd    usd C cost an hour over the run's recorded time stamps
        per_call_usd    usd C mean cost of a call
        per_success_usd usd C cost of the run over its successful tasks
        max_call_usd    usd C cost of the dearest call
        """),
    *_table("tokens", "cost", "cost", """
        input_per_call  tokens C mean input tokens of a call
        output_per_call tokens C mean output tokens of a call
        total_per_call  tokens C mean tokens of a call
        max_output      tokens C most output tokens of a call
        run_total       tokens C tokens of the run
        """),
    *_table("errors", "availability", "errors", """
        rate             ratio C failed over logical calls
        rate_limited     ratio C attempts answered 429 over attempts
        timeouts         ratio C timed-out over logical calls
        incomplete       ratio C incomplete over logical calls
        retries_per_call count* C mean retries of a logical call
        """, kind="test", test=True),
    *_table("safety", "quality", "quality", """
        injection  ratio C share of outputs with injection markers
        secrets    ratio C share of outputs with secrets
        pii        ratio C share of outputs with personal data
        policy     ratio C share of calls that broke a policy
        refusals   ratio C share of refusals
        guardrails ratio C share of calls that a filter of the provider cut or refused
        """),
    *_table("outcome", "quality", "quality", """
        success_rate     ratio F share of tasks that succeeded
        reask_rate       ratio C share of answers after which the user asked again
        correction_rate  ratio C share of answers that had to be corrected
        escalation_rate  ratio C share of tasks that were escalated
        thumbs_down_rate ratio C share of negative among all feedback
        """),
    *_table("agent", "quality", "quality", """
        steps_per_task          count C mean model calls of a task
        max_steps               count C most model calls of a task
        tool_calls_per_task     count C mean tool calls of a task
        tool_error_rate         ratio C share of tool calls that failed
        invalid_arguments       ratio C share of tool calls whose arguments do not fit the tool's schema
        unauthorised_tools      ratio C share of tool calls to a tool that was not offered
        wrong_tools             ratio C share of tool calls to a tool that the case does not expect
        loops                   ratio C share of tasks that call one tool with the same arguments three times
        repeated_side_effects   ratio C share of tasks that repeat a call with side effects, arguments the same
        tool_retry_rate         ratio C share of tool calls whose tool had just failed in the task
        call_retry_rate         ratio C share of LLM calls that the SDK had to send again
        lost_tool_results       ratio C share of tool calls whose result the next request lacks
        mismatched_tool_results ratio C share of tool results that belong to no tool call, or are its second
        step_time               s     C mean time of a step: a model call and the tools it asked for
        step_time_p95           s     C 95th percentile of the time of a step
        fallback_rate           ratio C share of LLM calls to another model or server after the first one failed
        cache_hit_rate          ratio F share of calls with tokens from a cache, the provider's or your own
        task_success            ratio F share of tasks that succeeded
        """),
    *_table("retrieval", "quality", "quality", """
        hit_rate       ratio F share of retrievals with a golden document among those returned
        hit_at_1       ratio F share of retrievals with a golden document in the first place
        mrr            ratio F mean reciprocal rank of the first golden document
        precision_at_k ratio F share of golden documents among the k returned, mean over retrievals
        recall_at_k    ratio F share of a case's golden documents that its retrievals returned
        documents      count F mean documents that a retrieval returned
        empty_rate     ratio C share of retrievals without a document
        """),
    *_table("judge", "cost", "cost", """
        run_usd usd   C cost of what judges were asked, which is in no rule of [cost]
        calls   count C questions to judges
        """),
    *_table("judge", "availability", "errors", """
        error_rate ratio C share of judgements without a usable grade: the call failed, or its answer was invalid
        """),
)  # fmt: skip

QUALITY_KEYS: dict[str, str] = {
    "composite": "weighted composite",
    "pass_rate": "share of executions that passed",
    "parse_success": "share of JSON answers that parse",
}

KNOWN_SCORERS: tuple[str, ...] = (
    "json", "json_schema", "regex", "length", "equals", "contains", "must_mention", "must_not_mention",
    "relevance", "groundedness", "hit_rate", "hit_at_1", "mrr", "precision_at_k", "recall_at_k",
    "markers", "consistency", "tool_calls", "refusal", "injection", "secrets", "pii", "composite",
    "starts_with", "ends_with", "exact_match", "word_f1", "rouge", "gleu", "meteor", "bleu", "chrf", "levenshtein",
    "numeric", "list_contains", "json_diff", "json_fields", "data_compare", "yaml", "csv", "python_code", "xml",
    "html", "markdown", "sql", "language", "short_output", "perplexity", "quoted_spans", "context_precision",
    "context_recall", "context_hit_rate", "context_mrr", "context_ndcg", "context_use", "tool_used",
    "tool_sequence", "tool_schema", "step_count", "finish_reason", "guardrail", "prompt_leak", "policy",
    "function", "any_of", "k_of", "all_of", "derived", "judge", "judge_pairwise", "groundedness_judge",
    "factuality", "closedqa", "answer_relevance", "context_relevance", "context_recall_judge",
    "conversation_relevance", "goal_success", "possible", "security_judge", "moderation_judge", "sql_judge",
    "summary_judge", "translation_judge",
)  # fmt: skip
"""Scorer names that a budget may gate without being told of more."""

COMPARE_METRICS: tuple[str, ...] = (
    "passed", "error", "latency", "ttft", "cost_usd", "input_tokens", "output_tokens",
    "answer_distribution", "format_distribution",
)  # fmt: skip

METRIC_KEYS: dict[str, Direction] = {"mean": C, "p95": C, "max": C, "min": F}

LIMIT_TABLES: tuple[str, ...] = tuple(dict.fromkeys([s.table for s in RULES] + ["quality", "metric"]))

SCOPE_KINDS: tuple[str, ...] = (
    "feature", "team", "user", "model", "prompt_version", "environment", "tag", "marker", "stage",
)  # fmt: skip

LIMIT_FIELDS: tuple[str, ...] = ("warn", "fail", "test", "min_n")

FAMILY_SHARES: dict[Family, float] = {"quality": 0.50, "latency": 0.20, "cost": 0.15, "errors": 0.15}
"""Share of alpha by family of tests (.005, .002, .0015, .0015 of .01)."""


def rule_spec(table: str, key: str) -> RuleSpec | None:
    """Return the spec of ``[table] key``, None where the grammar has none (``[quality]``: any scorer)."""
    if table == "quality":
        meaning = QUALITY_KEYS.get(key, f"mean {key} score")
        return RuleSpec(table, key, "ratio", F, "quality", "quality", "fact", False, meaning)
    return _BY_NAME.get((table, key))


def metric_spec(key: str, direction: Direction) -> RuleSpec:
    """Return the spec of ``[metric.NAME] key``."""
    return RuleSpec("metric", key, "number", direction, "quality", "quality", "fact", False, f"{key} of a metric")


_BY_NAME = {(s.table, s.key): s for s in RULES}

FieldType = Literal[
    "string", "strings", "number", "integer", "share", "duration", "boolean", "date", "choice", "any"
]


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: its type, whether it is required, choices, and an inclusive lower bound for numbers."""

    type: FieldType
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    required: bool = False
    meaning: str = ""


_SEVERITIES = ("SEV1", "SEV2", "SEV3", "SEV4")
INCIDENT_CATEGORIES = (
    "outage", "rate_limits", "guardrail_surge", "retrieval_failure", "tool_failure", "cost_spike", "output_format",
    "latency_spike", "hallucination", "quality", "feedback_drop",
)  # fmt: skip
"""Ids of the categories of incidents, as the package's data has them."""

SECTIONS: dict[str, dict[str, Field]] = {
    "gate": {
        "alpha": Field("number", meaning="chance that a build with nothing wrong goes red, in (0, 0.5]"),
        "inconclusive": Field("choice", ("warn", "fail", "pass"), meaning="what inconclusive rules do"),
        "min_effect": Field("share", meaning="smallest change worth a failure"),
        "margin": Field("share", meaning="change that a pass rules out"),
        "allow_empty": Field("boolean", meaning="whether a run that measured nothing may exit 0"),
        "exit_code": Field("integer", low=1, high=125, meaning="exit code for every failure of the gate"),
    },
    "model": {
        "model": Field("string", meaning="model of `llm_call` and of golden sets that name none"),
        "base_url": Field("string", meaning="where it is; by default `OPENAI_BASE_URL`, else OpenAI"),
        "api": Field("choice", ("responses", "chat"), meaning="API of `llm_call`, responses by default"),
        "prompt_version": Field("string", meaning="version of the prompt, noted on calls that name none"),
    },
    "drift": {
        "baseline": Field(
            "string", meaning="file, stored run, store URL or COMMIT:path that the run is compared with"
        ),
        "metrics": Field("strings", meaning="what is compared; by default all that both runs have"),
        "margin": Field("share", meaning="change that a pass rules out, 0.05 by default"),
        "min_effect": Field("share", meaning="smallest change worth a failure, 0.02 by default"),
        "repeats": Field("integer", low=1, high=1000, meaning="most rounds of `--llm-repeats=auto`, 5 by default"),
    },
    "redact": {
        "patterns": Field("any", meaning="more secrets: `{ name, regex }`, or a table of names and expressions"),
        "pii": Field("boolean", meaning="whether personal data is hidden too, true by default"),
    },
    "capture": {
        "base_urls": Field("strings", meaning="URL prefixes of LLM endpoints, beside those of the known vendors"),
        "include": Field("strings", meaning="globs over host/path that are captured too"),
        "exclude": Field("strings", meaning="globs over host/path that are never captured; they win"),
        "max_cassette_bytes": Field(
            "integer", low=1, meaning="size of a cassette over which the run says so, 5 MB by default"
        ),
        "max_set_bytes": Field("integer", low=1, meaning="size of a folder of cassettes over which it does"),
        "cassettes": Field(
            "strings", meaning="files, folders or globs of other cassettes that every test may replay"
        ),
        "request_metadata": Field(
            "strings",
            ("metadata", "safety_identifier", "user"),
            meaning="parameters filled into live requests to OpenAI: test, feature and run, and the hashed user",
        ),
    },
    "report": {
        "dir": Field("string", meaning="folder of the report's files, llmwatch-report by default"),
        "title": Field("string", meaning="title of report.html"),
        "body_share": Field("share", meaning="most calls whose texts report.html holds, as a share of all"),
        "max_bodies": Field("integer", low=0, meaning="most calls whose texts report.html holds; 0 = none"),
    },
    "store": {
        "url": Field("string", meaning="where runs are kept: a folder, or the URL of a database"),
        "keep_days": Field("integer", low=1, meaning="days that `llmwatch history prune` keeps a run"),
        "keep_runs": Field("integer", low=1, meaning="newest runs that it keeps"),
        "keep_bodies_days": Field("integer", low=0, meaning="days that it keeps texts, asked and answered"),
        "keep_bodies_bytes": Field(
            "integer", low=0, meaning="bytes of runs, newest first, beyond which texts go and figures stay"
        ),
        "max_bytes": Field("integer", low=1, meaning="size over which it removes the oldest runs"),
    },
    "plugins": {
        "modules": Field("strings", meaning="Python modules that bring scorers, patterns, prices, channels")
    },
    "telemetry": {
        "otlp": Field("string", meaning="OTLP/HTTP endpoint that the run's spans are sent to"),
        "pushgateway": Field("string", meaning="Pushgateway that the run's metrics are pushed to"),
        "job": Field("string", meaning="job of metrics and service.name of spans, llmwatch by default"),
        "join": Field("boolean", meaning="whether spans also go through the application's own tracer provider"),
        "bodies": Field("boolean", meaning="whether spans hold what was asked and answered, redacted"),
        "timeout": Field("duration", low=0.1, high=600, meaning="seconds that sending may take, 10 by default"),
        "max_labels": Field("integer", low=1, high=10_000, meaning="values of a label in metrics, 50 by default"),
        "log_share": Field("share", meaning="share of tests in events.jsonl; failed ones always are"),
        "trace_share": Field("share", meaning="share of tests in the trace, 1 by default; failed ones always are"),
        "log_max_bytes": Field("integer", low=10_000, meaning="size of events.jsonl, 50 MB by default"),
        "log_files": Field("integer", low=1, high=1000, meaning="most files of events.jsonl, 10 by default"),
    },
    "price": {
        "input_per_million": Field("number", low=0, required=True, meaning="USD for a million input tokens"),
        "output_per_million": Field("number", low=0, required=True, meaning="USD for a million output tokens"),
        "cached_per_million": Field("number", low=0, meaning="USD for a million cached input tokens"),
        "source": Field("string", meaning="where the price was found"),
        "date": Field("date", meaning="day on which it was found"),
    },
    "alert": {
        "name": Field("string", meaning="name of the route, by which its messages are told apart"),
        "to": Field(
            "strings",
            meaning="channels: `env:NAME` of a variable that holds a URL, or `plugin:NAME` of an extension",
        ),
        "severity": Field("strings", _SEVERITIES, meaning="severities of incidents that go there; by default all"),
        "rules": Field("strings", meaning="rules such as `latency.p95`, or globs; by default all"),
        "layers": Field("strings", ("availability", "cost", "quality"), meaning="layers; by default all"),
        "categories": Field("strings", meaning="categories of incidents, or globs"),
        "scopes": Field("strings", meaning="slices such as feature:support, or globs"),
        "when": Field("string", meaning="a condition such as `latency.p95 > 10 s`"),
        "for": Field("duration", meaning="how long it must have been so"),
        "consecutive": Field("integer", low=1, meaning="how many builds or windows in a row must show it"),
        "cooldown": Field(
            "duration", meaning="time between messages on one incident and channel, 300 s by default"
        ),
        "quiet": Field("string", meaning="span of the day, UTC, in which only SEV1 is sent: 22:00-06:00"),
        "recovery": Field("boolean", meaning="whether a message says that it is over, true by default"),
        "template": Field("string", meaning="text of the message, with {fields}"),
    },
    "incidents": {
        "open": Field("choice", ("warn", "fail", "off"), meaning="least verdict that opens one, warn by default"),
        "ignore": Field("strings", INCIDENT_CATEGORIES, meaning="categories that open none"),
        "fail": Field("choice", _SEVERITIES, meaning="severity of a failed rule to begin with, SEV2 by default"),
        "warn": Field("choice", _SEVERITIES, meaning="severity of a warning to begin with, SEV4 by default"),
        "many": Field("share", meaning="share of the calls from which on a warning is SEV3, 0.05 by default"),
        "features": Field("integer", low=1, meaning="features from which on a warning is SEV3, 2 by default"),
        "users": Field("integer", low=1, meaning="hashed users from which on a warning is SEV3, 10 by default"),
        "everyone": Field("share", meaning="share of the calls from which on an outage is SEV1, 0.9 by default"),
        "outage": Field("share", meaning="share of 5xx from which on an outage is SEV1, 0.5 by default"),
        "expected_minutes": Field(
            "number", low=1, high=100_000, meaning="minutes to mend one, where no [[runbook]] gives its own"
        ),
    },
    "runbook": {
        "category": Field("string", meaning="category of incidents that it is for"),
        "rule": Field("string", meaning="the one rule that it is for, instead"),
        "title": Field("string", meaning="its title"),
        "trigger": Field("string", meaning="what happened when it is needed"),
        "diagnosis": Field("strings", meaning="steps that find the cause"),
        "mitigation": Field("strings", meaning="steps that mend it"),
        "escalation": Field("strings", meaning="whom to tell when they do not"),
        "minutes": Field("number", low=0, meaning="minutes that mending is expected to take"),
        "url": Field("string", meaning="where the whole runbook stands"),
    },
    "waiver": {
        "rule": Field("string", required=True, meaning="rule that may fail, such as `latency.p95`"),
        "reason": Field("string", required=True, meaning="why; it is shown wherever the rule is"),
        "expires": Field("date", required=True, meaning="last day on which it holds"),
    },
}

COST_SETTINGS: dict[str, Field] = {
    "warn_at": Field("share", meaning="share of a sum that warns"),
    "critical_at": Field("share", meaning="share of a sum that warns and opens a SEV2"),
    "rate_warn": Field("number", meaning="factor of the budget's rate that warns"),
    "rate_critical": Field("number", meaning="factor of the budget's rate that fails"),
}

AGENT_SETTINGS: dict[str, Field] = {
    "side_effects": Field("strings", meaning="tools whose call changes something, as names or globs"),
}

JUDGE_SETTINGS: dict[str, Field] = {
    "model": Field("string", meaning="model that judges, where a scorer names none"),
    "base_url": Field("string", meaning="where the judge is; by default where the application's model is"),
    "api": Field("choice", ("responses", "chat"), meaning="API of the judge, chat by default"),
    "share": Field("share", meaning="share of the cases that are judged, the same ones in every run"),
    "min_kappa": Field(
        "share", meaning="what the lower bound of kappa must reach before a judge may fail a build"
    ),
    "min_labels": Field("integer", low=1, meaning="labels that a calibration must hold, 50 by default"),
    "calibration": Field(
        "strings", meaning="files of `llmwatch judge calibrate`, judge.json beside it by default"
    ),
}

THROUGHPUT_QUOTAS: tuple[str, ...] = ("tpm_quota", "rpm_quota")
QUOTA_WARN, QUOTA_FAIL = 0.80, 0.95

TOP_TABLES: tuple[str, ...] = (
    "gate", "model", *LIMIT_TABLES, "drift", "scope", "prices", "redact", "capture", "report", "store",
    "plugins", "telemetry", "incidents", "alert", "runbook", "waiver",
)  # fmt: skip
