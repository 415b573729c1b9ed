"""The whole of a budget.toml document: sections, scopes, prices, waivers, and what contradicts what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pytest_llmwatch import budget_values as values
from pytest_llmwatch.budget_alerts import read_alerts
from pytest_llmwatch.budget_grammar import (
    COST_SETTINGS,
    JUDGE_SETTINGS,
    LIMIT_TABLES,
    RULES,
    SCOPE_KINDS,
    SECTIONS,
    TOP_TABLES,
)
from pytest_llmwatch.budget_limits import read_metrics, read_table, read_weights, with_side_effects
from pytest_llmwatch.budget_positions import Path
from pytest_llmwatch.budget_types import (
    Budget,
    CaptureLimits,
    CostPolicy,
    Drift,
    GateOptions,
    IncidentPolicy,
    JudgeOptions,
    Limit,
    ModelDefaults,
    PluginOptions,
    RedactOptions,
    ReportOptions,
    Runbook,
    Scope,
    StoreOptions,
    TelemetryOptions,
)
from pytest_llmwatch.budget_values import Source
from pytest_llmwatch.model import Price, Waiver

HOURS_OF_DAY, HOURS_OF_MONTH = 24.0, 720.0


def read_document(source: Source, document: dict[str, Any]) -> Budget:
    """Return the budget that a parsed TOML document says.

    Raises:
        BudgetError: The first mistake.
    """
    _check_tables(source, document)
    limits: list[Limit] = []
    drifts: list[Drift] = []
    for table, given in document.items():
        if table in LIMIT_TABLES:
            limits += _limits(source, table, given, (table,), None)
        elif table == "drift":
            drifts.append(_drift(source, given, ("drift",), None))
        elif table == "scope":
            for more, drift in _scopes(source, given):
                limits += more
                drifts += drift
    cost = _cost(source, document.get("cost", {}))
    limits += _rate_rule(source, cost, limits)
    limits = with_side_effects(source, document.get("agent", {}), limits)
    quality = document.get("quality", {})

    def section(name: str, build: Callable[..., Any]) -> Any:
        return build(**values.read_fields(source, (name,), document.get(name, {}), SECTIONS[name]))

    return Budget(
        path=source.display,
        gate=_gate(source, document.get("gate", {})),
        model=section("model", ModelDefaults),
        limits=tuple(limits),
        weights=read_weights(source, quality.get("weights", {})),
        prices=_prices(source, document.get("prices", {})),
        waivers=_waivers(source, document.get("waiver", []), limits, drifts),
        cost=cost,
        drifts=tuple(drifts),
        judge=_judge(source, document.get("judge", {})),
        redact=_redact(source, document.get("redact", {})),
        capture=section("capture", CaptureLimits),
        report=section("report", ReportOptions),
        store=section("store", StoreOptions),
        plugins=section("plugins", PluginOptions),
        telemetry=section("telemetry", TelemetryOptions),
        incidents=_incidents(source, document.get("incidents", {})),
        alerts=read_alerts(source, _tables(source, "alert", document.get("alert", [])), [x.rule for x in limits]),
        runbooks=_runbooks(source, document.get("runbook", [])),
    )


def _check_tables(source: Source, document: dict[str, Any]) -> None:
    for name in document:
        if name in TOP_TABLES:
            continue
        owner = next((s.table for s in RULES if s.key == name), None)
        if owner is not None:
            raise source.error((name,), f"{name} must stand in a table; write it under [{owner}]", "budget-key")
        guess = values.nearest(name, TOP_TABLES)
        mend = f"; did you mean [{guess}]?" if guess else f"; known are {', '.join(TOP_TABLES)}"
        raise source.error((name,), f"[{name}] is not a known table{mend}", "budget-key")


def _limits(source: Source, table: str, given: Any, path: Path, scope: Scope | None) -> Iterator[Limit]:
    if table == "metric":
        return read_metrics(source, given, path, scope)
    return read_table(source, table, given, path, scope)


def _scopes(source: Source, given: Any) -> Iterator[tuple[list[Limit], list[Drift]]]:
    for text, tables in values.table(source, ("scope",), given).items():
        path: Path = ("scope", text)
        kind, colon, value = text.partition(":")
        if not colon or not value.strip() or kind not in SCOPE_KINDS:
            guess = values.hint(kind, SCOPE_KINDS)
            raise source.error(
                path, f'[scope."{text}"] must name a slice such as "feature:support"{guess}', "budget-scope"
            )
        scope = Scope(kind, value)
        limits: list[Limit] = []
        drifts: list[Drift] = []
        for table, rows in values.table(source, path, tables).items():
            if table in LIMIT_TABLES:
                limits += _limits(source, table, rows, (*path, table), scope)
            elif table == "drift":
                drifts.append(_drift(source, rows, (*path, "drift"), scope))
            else:
                raise source.unknown((*path, table), "a table of limits", [*LIMIT_TABLES, "drift"])
        if not limits and not drifts:
            raise source.error(path, f'[scope."{text}"] has no limit', "budget-missing-key")
        yield limits, drifts


def _gate(source: Source, given: Any) -> GateOptions:
    options = GateOptions(**values.read_fields(source, ("gate",), given, SECTIONS["gate"]))
    if not 0 < options.alpha <= 0.5:
        raise source.bad(("gate", "alpha"), "in (0, 0.5]", options.alpha)
    return options


def _drift(source: Source, given: Any, path: Path, scope: Scope | None) -> Drift:
    found = values.read_fields(source, path, given, SECTIONS["drift"])
    drift = Drift(**found, scope=scope, line=source.line(path))
    if drift.margin <= 0:
        raise source.bad((*path, "margin"), "> 0", drift.margin)
    if drift.min_effect > drift.margin:
        raise source.error(
            path,
            f"{values.name_of(path)}: min_effect must not exceed margin "
            f"(got min_effect = {drift.min_effect:g}, margin = {drift.margin:g})",
            "budget-contradiction",
        )
    return drift


def _cost(source: Source, given: Any) -> CostPolicy:
    table = values.table(source, ("cost",), given)
    found = values.read_fields(
        source, ("cost",), {k: v for k, v in table.items() if k in COST_SETTINGS}, COST_SETTINGS
    )
    policy = CostPolicy(**found)
    for key in ("warn_at", "critical_at"):
        if not 0 < getattr(policy, key) < 1:
            raise source.bad(("cost", key), "a share between 0 and 1, both excluded", getattr(policy, key))
    for key in ("rate_warn", "rate_critical"):
        factor = getattr(policy, key)
        if factor is not None and factor <= 0:
            raise source.bad(("cost", key), "a factor > 0", factor)
    _ordered(source, "warn_at", policy.warn_at, "critical_at", policy.critical_at)
    if policy.rate_warn is not None and policy.rate_critical is not None:
        _ordered(source, "rate_warn", policy.rate_warn, "rate_critical", policy.rate_critical)
    return policy


def _judge(source: Source, given: Any) -> JudgeOptions:
    table = values.table(source, ("judge",), given)
    settings = {k: v for k, v in table.items() if k in JUDGE_SETTINGS}
    return JudgeOptions(**values.read_fields(source, ("judge",), settings, JUDGE_SETTINGS))


def _ordered(source: Source, low: str, low_value: float, high: str, high_value: float) -> None:
    if low_value >= high_value:
        path = ("cost", low) if ("cost", low) in source.lines else ("cost", high)
        raise source.error(
            path,
            f"cost.{low} must be below {high} (got {low} = {low_value:g}, {high} = {high_value:g})",
            "budget-contradiction",
        )


def _rate_rule(source: Source, cost: CostPolicy, limits: list[Limit]) -> list[Limit]:
    """Return the rule on the cost rate, where its factors are written: they need a rate to multiply."""
    if cost.rate_warn is None and cost.rate_critical is None:
        return []
    key = "rate_critical" if cost.rate_critical is not None else "rate_warn"
    sums = {x.key: x.fail for x in limits if x.table == "cost" and x.scope is None}
    reference = None
    for name, hours in (("day_usd", HOURS_OF_DAY), ("month_usd", HOURS_OF_MONTH), ("per_hour_usd", 1.0)):
        amount = sums.get(name)
        if amount:
            reference = amount / hours
            break
    if reference is None:
        raise source.error(
            ("cost", key),
            f"cost.{key} multiplies the budget's rate; give cost.day_usd, month_usd or per_hour_usd (> 0)",
            "budget-contradiction",
        )
    return [
        Limit(
            rule=f"cost.{key}",
            table="cost",
            key="rate",
            layer="cost",
            kind="fact",
            family="cost",
            unit="number",
            direction="ceiling",
            warn=cost.rate_warn,
            fail=cost.rate_critical,
            line=source.line(("cost", key)),
            reference=reference,
        )
    ]


def _prices(source: Source, given: Any) -> dict[str, Price]:
    return {
        model: Price(**values.read_fields(source, ("prices", model), row, SECTIONS["price"]))
        for model, row in values.table(source, ("prices",), given).items()
    }


def _tables(source: Source, name: str, given: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    if not isinstance(given, list):
        raise source.bad((name,), "an array of tables", given, slug="budget-type", mend=f"write [[{name}]]")
    for index, row in enumerate(given):
        path: Path = (name, index)
        yield path, values.read_fields(source, path, row, SECTIONS[name])


def _waivers(source: Source, given: Any, limits: list[Limit], drifts: list[Drift]) -> tuple[Waiver, ...]:
    rules = [x.rule for x in limits]
    prefixes = tuple((f"scope.{d.scope.text}." if d.scope else "") + "drift" for d in drifts)
    out: list[Waiver] = []
    for path, row in _tables(source, "waiver", given):
        rule = row["rule"]
        known = (
            rule in rules
            or rule == "cases.missing"
            or any(rule == p or rule.startswith(p + ".") for p in prefixes)
        )
        if not known:
            raise source.error(
                (*path, "rule"),
                f"waiver.rule: {rule} is not a rule of this budget{values.hint(rule, rules)}",
                "budget-waiver",
            )
        if any(w.rule == rule for w in out):
            raise source.error((*path, "rule"), f"waiver.rule: {rule} is waived twice", "budget-waiver")
        out.append(Waiver(rule, row["reason"], row["expires"], source.line(path)))
    return tuple(out)


def _redact(source: Source, given: Any) -> RedactOptions:
    found = values.read_fields(source, ("redact",), given, SECTIONS["redact"])
    patterns = found.get("patterns", {})
    path: Path = ("redact", "patterns")
    if isinstance(patterns, list):
        rows = []
        for index, row in enumerate(patterns):
            here = (*path, index)
            table = values.table(source, here, row)
            for key in table:
                if key not in ("name", "regex"):
                    raise source.unknown((*here, key), "a known part of a pattern", ("name", "regex"))
            rows.append((values.string(source, here, table.get("name")), table.get("regex"), here))
    else:
        rows = [(k, v, (*path, k)) for k, v in values.table(source, path, patterns).items()]
    checked = []
    for name, regex, here in rows:
        text = values.string(source, here, regex)
        try:
            re.compile(text)
        except re.error as error:
            raise source.bad(here, f"a regular expression ({error})", text) from None
        checked.append((name, text))
    return replace(RedactOptions(), patterns=tuple(checked), pii=found.get("pii", True))


def _incidents(source: Source, given: Any) -> IncidentPolicy:
    found = values.read_fields(source, ("incidents",), given, SECTIONS["incidents"])
    policy = IncidentPolicy(minutes=found.pop("expected_minutes", None), **found)
    warn, fail = policy.warn or "SEV4", policy.fail or "SEV2"
    if warn < fail:
        raise source.error(
            ("incidents",),
            f"incidents.warn ({warn}) is more severe than incidents.fail ({fail}); a warning cannot weigh more",
            "budget-range",
        )
    return policy


def _runbooks(source: Source, given: Any) -> tuple[Runbook, ...]:
    out = []
    for path, row in _tables(source, "runbook", given):
        if "category" not in row and "rule" not in row:
            raise source.error(path, "[[runbook]] needs category or rule", "budget-missing-key")
        out.append(Runbook(**row, line=source.line(path)))
    return tuple(out)
