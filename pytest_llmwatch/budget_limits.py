"""The limits of budget.toml: tables of rules to ``Limit`` records, contradictions refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pytest_llmwatch import budget_values as values
from pytest_llmwatch.budget_grammar import (
    AGENT_SETTINGS,
    COST_SETTINGS,
    JUDGE_SETTINGS,
    LIMIT_FIELDS,
    METRIC_KEYS,
    QUOTA_FAIL,
    QUOTA_WARN,
    RULES,
    THROUGHPUT_QUOTAS,
    RuleSpec,
    metric_spec,
    rule_spec,
)
from pytest_llmwatch.budget_positions import Path
from pytest_llmwatch.budget_types import Limit, Scope
from pytest_llmwatch.budget_values import Source
from pytest_llmwatch.model import RuleKind

MAX_MIN_N = 10_000_000

_SETTINGS = {"cost": COST_SETTINGS, "agent": AGENT_SETTINGS, "judge": JUDGE_SETTINGS}


def read_table(source: Source, table: str, given: Any, path: Path, scope: Scope | None) -> Iterator[Limit]:
    """Yield the limits of one table (``[latency]``, ``[quality]``, ...; not ``[metric]``).

    Raises:
        BudgetError: An unknown key, a bad value or a contradiction.
    """
    for key, value in values.table(source, path, given).items():
        here = (*path, key)
        if table == "quality" and key == "weights":
            if scope is not None:
                raise source.error(here, f"{values.name_of(here)}: weights hold for the whole run", "budget-key")
            continue
        if key in _SETTINGS.get(table, {}):
            if scope is not None:
                raise source.error(
                    here, f"{values.name_of(here)} is set once, in [{table}], for all scopes", "budget-key"
                )
            continue
        if table == "throughput" and key in THROUGHPUT_QUOTAS:
            yield _quota(source, key, value, here, scope)
            continue
        spec = rule_spec(table, key)
        if spec is None:
            raise _unknown(source, table, key, here)
        yield _limit(source, spec, value, here, scope)


def read_metrics(source: Source, given: Any, path: Path, scope: Scope | None) -> Iterator[Limit]:
    """Yield the limits of ``[metric.NAME]`` tables.

    Raises:
        BudgetError: As ``read_table``; a metric without limits too.
    """
    for name, table in values.table(source, path, given).items():
        here = (*path, name)
        limits = dict(values.table(source, here, table))
        direction = limits.pop("direction", None)
        if direction not in (None, "ceiling", "floor"):
            raise source.bad((*here, "direction"), "one of ceiling, floor", direction)
        for key, value in limits.items():
            if key not in METRIC_KEYS:
                raise source.unknown((*here, key), "a known limit of a metric", [*METRIC_KEYS, "direction"])
            way = METRIC_KEYS[key]
            if key == "mean":
                way = direction or _way_of(value)
            yield _limit(source, metric_spec(key, way), value, (*here, key), scope, name=name)
        if not limits:
            raise source.error(
                here,
                f"[{values.name_of(here)}] has no limit; give one of {', '.join(METRIC_KEYS)}",
                "budget-missing-key",
            )


def read_weights(source: Source, given: Any) -> dict[str, float]:
    """Return ``[quality.weights]``.

    Raises:
        BudgetError: A negative weight, or weights that are all zero.
    """
    path: Path = ("quality", "weights")
    weights = {}
    for name, value in values.table(source, path, given).items():
        weight = values.number(source, (*path, name), value, "a weight >= 0")
        if weight < 0:
            raise source.bad((*path, name), "a weight >= 0", value)
        weights[name] = weight
    if weights and not any(weights.values()):
        raise source.error(path, "quality.weights are all zero; at least one must be > 0", "budget-contradiction")
    return weights


def with_side_effects(source: Source, given: Any, limits: list[Limit]) -> list[Limit]:
    """Return the limits, those on repeated side effects with the tools that ``[agent]`` names.

    Raises:
        BudgetError: ``side_effects`` is no list of names.
    """
    if "side_effects" not in given:
        return limits
    names = values.strings(source, ("agent", "side_effects"), given["side_effects"])
    return [replace(x, names=names) if x.metric == "agent.repeated_side_effects" else x for x in limits]


def _way_of(value: Any) -> Any:
    """A mean whose warn limit lies above its fail limit can only be a floor."""
    if isinstance(value, dict):
        warn, fail = value.get("warn"), value.get("fail")
        if isinstance(warn, int | float) and isinstance(fail, int | float) and warn > fail:
            return "floor"
    return "ceiling"


def _unknown(source: Source, table: str, key: str, path: Path) -> Exception:
    known = [s.key for s in RULES if s.table == table]
    extra = list(THROUGHPUT_QUOTAS) if table == "throughput" else list(_SETTINGS.get(table, ()))
    elsewhere = next((s for s in RULES if s.key == key and s.table != table), None)
    if elsewhere is not None and values.nearest(key, known + extra) is None:
        return source.error(
            path,
            f"{values.name_of(path)} is not a known limit; {key} belongs to [{elsewhere.table}]",
            "budget-key",
        )
    return source.unknown(path, "a known limit", known + extra)


def _limit(
    source: Source, spec: RuleSpec, value: Any, path: Path, scope: Scope | None, *, name: str | None = None
) -> Limit:
    given = value if isinstance(value, dict) else {"fail": value}
    for key in given:
        if key not in LIMIT_FIELDS:
            raise source.unknown((*path, key), "a known part of a limit", LIMIT_FIELDS)
    inner = isinstance(value, dict)
    tiers = {
        tier: _amount(source, spec, given[tier], (*path, tier) if inner else path)
        for tier in ("warn", "fail")
        if tier in given
    }
    if not tiers:
        raise source.error(path, f"{values.name_of(path)} needs warn or fail, or both", "budget-missing-key")
    warn, fail = tiers.get("warn"), tiers.get("fail")
    _check_order(source, spec, warn, fail, path)
    kind = _kind(source, spec, given, path)
    return Limit(
        rule=(f"scope.{scope.text}." if scope else "") + _rule(spec, name),
        table=spec.table,
        key=spec.key,
        layer=spec.layer,
        kind=kind,
        family=spec.family,
        unit=spec.unit,
        direction=spec.direction,
        warn=warn,
        fail=fail,
        min_n=_min_n(source, given, path),
        scope=scope,
        line=source.line(path),
        name=name,
    )


def _rule(spec: RuleSpec, name: str | None) -> str:
    return f"{spec.table}.{name}.{spec.key}" if name is not None else f"{spec.table}.{spec.key}"


def _amount(source: Source, spec: RuleSpec, value: Any, path: Path) -> float:
    if spec.unit == "s":
        return values.duration(source, path, value)
    if spec.bounded:
        return values.share(source, path, value)
    if spec.unit == "number":
        return values.number(source, path, value)
    result = values.number(source, path, value, "a number >= 0")
    if result < 0:
        raise source.bad(path, "a number >= 0", value)
    return result


def _check_order(source: Source, spec: RuleSpec, warn: float | None, fail: float | None, path: Path) -> None:
    if warn is None or fail is None:
        return
    wrong = warn >= fail if spec.direction == "ceiling" else warn <= fail
    if wrong:
        word = "below" if spec.direction == "ceiling" else "above"
        raise source.error(
            path,
            f"{values.name_of(path)}: warn must be {word} fail (got warn = {warn:g}, fail = {fail:g}); "
            f"it could never warn",
            "budget-contradiction",
        )


def _kind(source: Source, spec: RuleSpec, given: dict[str, Any], path: Path) -> RuleKind:
    test = given.get("test")
    if test is not None and not isinstance(test, bool):
        raise source.bad((*path, "test"), "true or false", test, slug="budget-type")
    if test and not spec.testable:
        mend = "; [drift] tests quality against a baseline" if spec.table == "quality" else ""
        raise source.error(
            (*path, "test"),
            f"{values.name_of(path)} is a fact and has no test; leave test out{mend}",
            "budget-undecidable",
        )
    if spec.table == "errors" and spec.testable and 0 in (given.get("warn"), given.get("fail")):
        if test:
            raise source.error(
                (*path, "test"),
                f"{values.name_of(path)}: no number of calls can prove a rate of 0; "
                f"use a limit > 0 or test = false",
                "budget-undecidable",
            )
        return "fact"  # zero tolerance: one error breaks it, no statistics needed
    if test is None:
        return spec.kind
    return "test" if test else "fact"


def _min_n(source: Source, given: dict[str, Any], path: Path) -> int | None:
    value = given.get("min_n")
    if value is None:
        return None
    here = (*path, "min_n")
    if isinstance(value, bool) or not isinstance(value, int):
        raise source.bad(here, "a whole number", value, slug="budget-type")
    if not 1 <= value <= MAX_MIN_N:
        raise source.bad(here, f"between 1 and {MAX_MIN_N:,}", value, slug="budget-undecidable")
    return value


def _quota(source: Source, key: str, value: Any, path: Path, scope: Scope | None) -> Limit:
    rule = 'a quota > 0 a minute, or "headers"'
    reference = None
    if value not in ("headers", True):
        reference = values.number(source, path, value, rule)
        if reference <= 0:
            raise source.bad(path, rule, value)
    return Limit(
        rule=(f"scope.{scope.text}." if scope else "") + f"throughput.{key}",
        table="throughput",
        key=key,
        layer="availability",
        kind="fact",
        family="latency",
        unit="ratio",
        direction="ceiling",
        warn=QUOTA_WARN,
        fail=QUOTA_FAIL,
        scope=scope,
        line=source.line(path),
        reference=reference,
    )
