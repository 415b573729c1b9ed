"""The published JSON Schemas of a golden set: ``set.yaml`` and one case (data, no logic)."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string", "minLength": 1}
_STRINGS = {"type": "array", "items": {"type": "string", "minLength": 1}}
_FILE = {
    "type": "object",
    "properties": {"file": {**_TEXT, "description": "Path inside the set's folder."}},
    "required": ["file"],
    "additionalProperties": False,
}
_TEXT_OR_FILE = {"type": ["string", "object"], **{k: v for k, v in _FILE.items() if k != "type"}}
_SCHEMA = {
    "type": ["object", "boolean", "string"],
    "description": "A JSON Schema, or the path of one inside the set's folder.",
}
_WEIGHT = {"type": "number", "exclusiveMinimum": 0}

CASE_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Golden case",
    "type": "object",
    "properties": {
        "id": {**_TEXT, "maxLength": 200, "description": "Unique in its set; names the test and the cassette."},
        "input": {
            "type": ["string", "object", "array"],
            "description": "The user's text, a list of chat messages, or an object of template variables.",
        },
        "reference": {"type": "string", "description": "An answer that is right."},
        "must_mention": {**_STRINGS, "description": "Facts that a right answer contains."},
        "must_not_mention": {**_STRINGS, "description": "Facts that a right answer does not contain."},
        "context": {
            "type": "array",
            "items": _TEXT_OR_FILE,
            "description": "Documents that the answer must rest on: texts, or {file: path}.",
        },
        "schema": _SCHEMA,
        "expected_tool_calls": {
            "type": "array",
            "items": {
                "type": ["string", "object"],
                "properties": {"name": _TEXT, "arguments": {"type": ["object", "string"]}},
                "required": ["name"],
            },
        },
        "expected_documents": _STRINGS,
        "format": {**_TEXT, "description": "What the answer must be, e.g. json, list, number."},
        "tags": _STRINGS,
        "weight": _WEIGHT,
        "cluster": {**_TEXT, "description": "Cases of one cluster are not independent, e.g. one document."},
        "metadata": {"type": "object"},
    },
    "required": ["id", "input"],
    "additionalProperties": False,
}
"""One line of cases.jsonl, or one entry of ``cases:`` in set.yaml."""

_VARIANT = {
    "type": "object",
    "properties": {
        "description": {"type": "string"},
        "prompt": _TEXT_OR_FILE,
        "system": _TEXT_OR_FILE,
        "prompt_version": {"type": ["string", "number"]},
        "model": _TEXT,
        "parameters": {"type": "object"},
    },
    "additionalProperties": False,
}

SET_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Golden set (set.yaml)",
    "type": "object",
    "properties": {
        "name": {**_TEXT, "description": "Default: the folder's name."},
        "description": {"type": "string"},
        "licence": {"type": "string"},
        "source": {"type": "string", "description": "Where the cases come from."},
        "api": {"enum": ["responses", "chat"]},
        "model": _TEXT,
        "system": _TEXT_OR_FILE,
        "prompt": {**_TEXT_OR_FILE, "description": "Template with {{ input }}, {{ context }}, {{ any key }}."},
        "prompt_name": _TEXT,
        "prompt_version": {"type": ["string", "number"]},
        "target": {
            "type": "string",
            "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
            "description": "module:function of the application to call instead of a prompt.",
        },
        "parameters": {"type": "object", "description": "Handed to the OpenAI client as they are."},
        "stream": {"type": "boolean", "description": "Stream the answers, so that time to first token is known."},
        "structured": {"type": "boolean", "description": "Ask the API to enforce the case's schema."},
        "tools": {"type": "array", "items": {"type": "object"}},
        "schema": {**_SCHEMA, "description": "JSON Schema of the answers of cases that have none of their own."},
        "scorers": {
            "type": "array",
            "items": {"type": ["string", "object"]},
            "description": "Names, {name: options}, or {name:, threshold:, ...}. Default: all that apply.",
        },
        "weights": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
        "repeats": {"type": "integer", "minimum": 1, "maximum": 1000},
        "seed": {"type": "integer", "minimum": 0, "description": "Repeat r is sampled with seed + r."},
        "seed_per_repeat": {"type": "boolean", "description": "false: every repeat uses the same seed."},
        "feature": _TEXT,
        "team": _TEXT,
        "tenant": _TEXT,
        "environment": _TEXT,
        "stage": _TEXT,
        "tags": {**_STRINGS, "description": "Added to the tags of every case."},
        "variants": {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$"},
            "additionalProperties": _VARIANT,
            "description": "Other prompts or models for the same cases, tried with --llm-variant.",
        },
        "cases": {
            "type": ["array", "string"],
            "description": "Cases inline, or the name of a JSON lines file. Default: cases.jsonl.",
        },
    },
    "additionalProperties": False,
}
"""The whole of set.yaml; entries of ``cases`` are checked against `CASE_SCHEMA` one by one."""

SCORER_KEYS = ("threshold", "required", "negate", "weight", "label")
"""Keys of a ``scorers:`` entry that are ours; all others are options of the scorer."""

SCORER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "threshold": {"type": "number", "minimum": 0, "maximum": 1},
        "required": {"type": "boolean"},
        "negate": {"type": "boolean"},
        "weight": {"type": "number", "minimum": 0},
        "label": _TEXT,
    },
}
