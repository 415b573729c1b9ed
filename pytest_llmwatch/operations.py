"""What operators start from, as data: thresholds and the first action for a broken rule.

Presets write these figures into a budget.toml, commented; they are never hidden constants of the gate.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_llmwatch.model import Layer


@dataclass(frozen=True, slots=True)
class Threshold:
    """A starting threshold: TOML table and key, values as they are written there, and the layer."""

    table: str
    key: str
    warn: str
    fail: str
    layer: Layer
    comment: str
    commented_out: bool = False


STARTING: tuple[Threshold, ...] = (
    Threshold("latency", "p50", '"2 s"', '"5 s"', "availability", "half of all calls"),
    Threshold("latency", "p95", '"8 s"', '"15 s"', "availability", "an alert rule fires at 10 s over 5 min"),
    Threshold("errors", "rate", "0.02", "0.05", "availability", "failed over logical calls"),
    Threshold("errors", "rate_limited", "0.01", "0.05", "availability", "429 over attempts; alert at 3 %"),
    Threshold("quality", "composite", "0.7", "0.5", "quality", "alert at .6", commented_out=True),
)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A ready ``[[alert]]``: severity, condition, how long it must hold in records, and the channel's variable."""

    name: str
    when: str
    severity: str
    channel: str
    wait: str | None = None


ALERTS: tuple[AlertRule, ...] = (
    AlertRule("error-rate", "errors.rate > 5 %", "SEV2", "PAGER_URL"),
    AlertRule("slow", "latency.p95 > 10 s", "SEV3", "TEAM_URL", "5 min"),
    AlertRule("budget", "cost.day_usd > 80 % of limit", "SEV3", "TEAM_URL"),
    AlertRule("quality", "quality.composite < 0.6", "SEV2", "PAGER_URL", "10 min"),
    AlertRule("rate-limits", "errors.rate_limited > 3 %", "SEV3", "TEAM_URL", "2 min"),
)
"""The rules that operators start from. A condition needs its rule in the budget."""

ROUTES: tuple[tuple[str, str], ...] = (
    ("SEV1", "PAGER_URL"),
    ("SEV2", "PAGER_URL"),
    ("SEV3", "TEAM_URL"),
    ("SEV4", "MAIL_URL"),
)
"""Who hears of which severity: a page, the team, a mail."""

CRITICAL_LATENCY = "4 s"
"""A single call slower than this is worth a flag."""

_GENERAL: dict[str, str] = {
    "latency": "look at the stage that dominates the slow calls; set a timeout",
    "throughput": "ask for quota, or send fewer requests at once",
    "cost": "throttle what is not critical, route to a cheaper model",
    "tokens": "cap the output, look for a longer prompt, loops and retries",
    "errors": "check quotas and the provider's status, open the circuit breaker",
    "quality": "look for prompt drift and a model change",
    "safety": "isolate the flagged calls and review them",
    "outcome": "sample and label the answers that users rejected",
    "agent": "look at the worst traces: tools, steps, loops; cap the steps",
    "retrieval": "check the index, the embeddings and the filters; fall back",
    "judge": "judge a smaller share of the cases, or ask a cheaper model; see why its answers are invalid",
    "metric": "look at the worst calls",
    "drift": "compare the worst cases with the baseline; revert the last prompt or pin the model",
}

_ACTIONS: dict[tuple[str, str], str] = {
    ("latency", "p50"): "check the model's load, shorten the prompt",
    ("latency", "p95"): "scale out, set a timeout",
    ("latency", "p99"): "scale out, set a timeout",
    ("latency", "max"): "set a timeout; look at the slowest call",
    ("latency", "ttft_p50"): "check the model's load, shorten the prompt",
    ("latency", "ttft_p95"): "check the model's load, shorten the prompt",
    ("latency", "tokens_per_second"): "check the model's load; a smaller model answers faster",
    ("errors", "rate_limited"): "less concurrency, back off",
    ("errors", "timeouts"): "look for upstream delay; shorter prompt, fallback",
    ("errors", "incomplete"): "look for dropped streams and output limits that are too low",
    ("errors", "retries_per_call"): "less concurrency, back off with jitter",
    ("cost", "rate"): "route to a cheaper model",
    ("cost", "per_hour_usd"): "route to a cheaper model",
    ("cost", "per_call_usd"): "route to a cheaper model, shorten the prompt",
    ("cost", "max_call_usd"): "cap the output; look for a loop in the dearest call",
    ("quality", "json"): "validate and retry; a stronger schema instruction",
    ("quality", "json_schema"): "validate and retry; a stronger schema instruction",
    ("quality", "parse_success"): "validate and retry; a stronger schema instruction",
    ("quality", "groundedness"): "tighten the grounding, look at what was retrieved",
    ("safety", "refusals"): "look for a policy change or an attack",
    ("safety", "guardrails"): "look for a changed filter, a new prompt, or an attack",
    ("agent", "tool_error_rate"): "disable the failing tool, retry safely, degrade",
    ("agent", "invalid_arguments"): "validate the arguments; a stronger tool schema",
    ("agent", "loops"): "cap the steps",
    ("agent", "unauthorised_tools"): "refuse the call and tell the model which tools there are",
    ("agent", "wrong_tools"): "look at the descriptions of the tools; offer fewer of them",
    ("agent", "repeated_side_effects"): "make the tool idempotent, or ask before it is called again",
    ("agent", "lost_tool_results"): "answer every tool call, with an error if need be",
    ("agent", "mismatched_tool_results"): "send each result once, with the id of its tool call",
    ("agent", "step_time"): "look at the slowest tool; set a timeout",
    ("agent", "step_time_p95"): "look at the slowest tool; set a timeout",
    ("agent", "fallback_rate"): "look at why the first model fails; check its quota and status",
    ("agent", "cache_hit_rate"): "keep what changes at the end of the prompt",
    ("throughput", "tpm_quota"): "ask for quota, or send fewer tokens at once",
    ("throughput", "rpm_quota"): "ask for quota, or send fewer requests at once",
    ("retrieval", "empty_rate"): "check the index and the filters",
}


def action(table: str, key: str) -> str | None:
    """Return the first thing to do about a broken rule, None where nothing general can be said."""
    return _ACTIONS.get((table, key)) or _GENERAL.get(table)


def preset() -> str:
    """Return the ``operations`` preset: a commented budget.toml with the starting thresholds."""
    lines = [
        "# Starting thresholds, as operators use them. Replace them by what you measured:",
        "#   llmwatch budget suggest --run latest",
        "# warn never turns the build red; fail does. latency and errors are tests: they fail only with",
        "# evidence, and say how many calls would settle them. Everything else compares this run's own figure.",
        "",
        "[gate]",
        "alpha = 0.01             # chance that a build with nothing wrong goes red, over all tests together",
        'inconclusive = "warn"    # or "fail", "pass"',
        "",
    ]
    table = ""
    for row in STARTING:
        if row.table != table:
            if table:
                lines.append("")
            table = row.table
            lines += _heading(row)
        text = f"{row.key} = {{ warn = {row.warn}, fail = {row.fail} }}"
        lines.append(f"{'# ' if row.commented_out else ''}{text.ljust(46)}# {row.comment}")
        if (row.table, row.key) == ("latency", "p95"):
            lines.append(
                f"# {f'max = {{ warn = {chr(34)}{CRITICAL_LATENCY}{chr(34)} }}':<44}# flags a single slow call"
            )
    lines += [
        "",
        "# tokens and requests a minute against your quota: warns at 80 %, fails at 95 %",
        "# [throughput]",
        '# tpm_quota = "headers"    # from the rate-limit headers, or a number',
        "",
        "# layer: cost. A sum warns at 80 %, is critical at 95 %, and fails over 100 % of its limit.",
        "[cost]",
        "warn_at = 0.80",
        "critical_at = 0.95",
        "# run_usd = 1.00",
        "# day_usd = 20.00",
        "# rate_warn = 1.2          # spending an hour against day_usd / 24: another signal than the share",
        "# rate_critical = 1.5",
        "",
        "# Alerts: who hears of it. Addresses stand in environment variables, in the form that apprise takes",
        "# (slack://..., pagerduty://..., mailto://..., json://...). Uncomment what you want.",
        *(f"# {line}".rstrip() for line in alert_rules().splitlines()),
        "",
    ]
    return "\n".join(lines)


def alert_rules() -> str:
    """Return the ready ``[[alert]]`` rules as TOML: routes by severity, then conditions."""
    lines: list[str] = []
    for channel in dict.fromkeys(name for _, name in ROUTES):
        levels = ", ".join(f'"{level}"' for level, name in ROUTES if name == channel)
        name = channel.removesuffix("_URL").lower()
        lines += ["[[alert]]", f'name = "{name}"', f"severity = [{levels}]", f'to = "env:{channel}"']
    for rule in ALERTS:
        lines += ["[[alert]]", f'name = "{rule.name}"', f'when = "{rule.when}"', f'severity = "{rule.severity}"']
        lines += [f'for = "{rule.wait}"'] if rule.wait else []
        lines += [f'to = "env:{rule.channel}"']
    return "\n".join(lines) + "\n"


def _heading(row: Threshold) -> list[str]:
    out = [f"# layer: {row.layer}"]
    if row.commented_out:
        out += [
            "# Limits on an uncalibrated composite mean little (published examples score 1.00 good, .60",
            "# hallucinated, .70 off topic): let `llmwatch budget suggest` set them, or test against a baseline.",
            f"# [{row.table}]",
        ]
    else:
        out.append(f"[{row.table}]")
    return out
