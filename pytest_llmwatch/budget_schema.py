"""The published JSON Schema of budget.toml, derived from the grammar that the parser reads.

For editors and other tools. What a schema cannot say (warn beyond fail, a waiver of an unknown rule) only
the parser refuses.
"""

from __future__ import annotations

from typing import Any

from pytest_llmwatch.budget_grammar import (
    AGENT_SETTINGS,
    COST_SETTINGS,
    JUDGE_SETTINGS,
    METRIC_KEYS,
    QUALITY_KEYS,
    RULES,
    SCOPE_KINDS,
    SECTIONS,
    THROUGHPUT_QUOTAS,
    Field,
    RuleSpec,
)
from pytest_llmwatch.budget_limits import MAX_MIN_N

JSONSchema = dict[str, Any]

_DURATION: JSONSchema = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*[A-Za-z]+\s*$"},
    ]
}
_SHARE: JSONSchema = {"type": "number", "minimum": 0, "maximum": 1}
_DATE: JSONSchema = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}"}


def budget_schema() -> JSONSchema:
    """Return the schema (draft 2020-12). TOML dates are taken as strings ``YYYY-MM-DD``."""
    limits = _limit_tables()
    scoped = dict(limits, drift=_object(SECTIONS["drift"]))
    scoped |= {table: _closed(_rules(table)) for table in ("cost", "agent", "judge")}
    limits["quality"]["properties"] = {
        **limits["quality"]["properties"],
        "weights": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    }
    kinds = "|".join(SCOPE_KINDS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "budget.toml of pytest-llmwatch",
        "type": "object",
        "additionalProperties": False,
        "$defs": {"duration": _DURATION},
        "properties": {
            **limits,
            **{
                name: _object(SECTIONS[name])
                for name in (
                    "gate",
                    "model",
                    "drift",
                    "capture",
                    "report",
                    "store",
                    "plugins",
                    "telemetry",
                    "incidents",
                )
            },
            "redact": _redact(),
            "scope": {
                "type": "object",
                "additionalProperties": False,
                "patternProperties": {f"^({kinds}):.*\\S": _closed(scoped) | {"minProperties": 1}},
            },
            "prices": {"type": "object", "additionalProperties": _object(SECTIONS["price"])},
            **{
                name: {"type": "array", "items": _object(SECTIONS[name])}
                for name in ("alert", "runbook", "waiver")
            },
        },
    }


def _limit_tables() -> dict[str, JSONSchema]:
    tables: dict[str, JSONSchema] = {}
    for table in dict.fromkeys(s.table for s in RULES):
        properties = _rules(table)
        if table == "cost":
            properties |= {key: _field(f) for key, f in COST_SETTINGS.items()}
        if table == "agent":
            properties |= {key: _field(f) for key, f in AGENT_SETTINGS.items()}
        if table == "judge":
            properties |= {key: _field(f) for key, f in JUDGE_SETTINGS.items()}
        if table == "throughput":
            quota = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "headers"}, {"const": True}]}
            properties |= dict.fromkeys(THROUGHPUT_QUOTAS, quota)
        tables[table] = _closed(properties)
    share = _limit(_SHARE, testable=False)
    tables["quality"] = {
        "type": "object",
        "properties": {key: share | {"description": text} for key, text in QUALITY_KEYS.items()},
        "additionalProperties": share,
    }
    metric = {key: _limit({"type": "number"}, testable=False) for key in METRIC_KEYS}
    tables["metric"] = {
        "type": "object",
        "additionalProperties": _closed(metric | {"direction": {"enum": ["ceiling", "floor"]}})
        | {"anyOf": [{"required": [key]} for key in METRIC_KEYS]},
    }
    return tables


def _rules(table: str) -> dict[str, JSONSchema]:
    return {
        s.key: _limit(_amount(s), testable=s.testable) | {"description": s.meaning}
        for s in RULES
        if s.table == table
    }


def _amount(spec: RuleSpec) -> JSONSchema:
    if spec.unit == "s":
        return {"$ref": "#/$defs/duration"}
    return _SHARE if spec.bounded else {"type": "number", "minimum": 0}


def _limit(amount: JSONSchema, *, testable: bool) -> JSONSchema:
    properties = {
        "warn": amount,
        "fail": amount,
        "test": {"type": "boolean"} if testable else {"const": False},
        "min_n": {"type": "integer", "minimum": 1, "maximum": MAX_MIN_N},
    }
    return {"anyOf": [amount, _closed(properties) | {"anyOf": [{"required": ["warn"]}, {"required": ["fail"]}]}]}


def _closed(properties: dict[str, Any]) -> JSONSchema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _object(fields: dict[str, Field]) -> JSONSchema:
    schema = _closed({key: _field(f) for key, f in fields.items()})
    required = [key for key, f in fields.items() if f.required]
    return schema | {"required": required} if required else schema


def _field(field: Field) -> JSONSchema:
    schema: JSONSchema = {
        "string": {"type": "string", "pattern": r"\S"},
        "share": _SHARE,
        "number": {"type": "number"},
        "integer": {"type": "integer"},
        "boolean": {"type": "boolean"},
        "duration": {"$ref": "#/$defs/duration"},
        "date": _DATE,
        "choice": {"enum": list(field.choices)},
        "any": {},
        "strings": _strings(field),
    }[field.type]
    out = dict(schema)
    if field.low is not None:
        out["minimum"] = field.low
    if field.high is not None:
        out["maximum"] = field.high
    if field.meaning:
        out["description"] = field.meaning
    return out


def _strings(field: Field) -> JSONSchema:
    item: JSONSchema = {"enum": list(field.choices)} if field.choices else {"type": "string", "pattern": r"\S"}
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _redact() -> JSONSchema:
    text = {"type": "string", "pattern": r"\S"}
    pattern = _closed({"name": text, "regex": text}) | {"required": ["name", "regex"]}
    return _closed(
        {
            "patterns": {
                "anyOf": [
                    {"type": "object", "additionalProperties": text},
                    {"type": "array", "items": pattern},
                ]
            },
            "pii": {"type": "boolean"},
        }
    )
