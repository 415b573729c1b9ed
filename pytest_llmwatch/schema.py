"""JSON Schema validation: the only importer of jsonschema.

Used for model outputs, tool arguments, budget.toml, golden sets. The format checker is on by default
(without it 108 of 2,907 bad instances of the official suite pass, with it 3).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SchemaIssue:
    """One violation: where in the instance, what is wrong, which keyword, and what was given."""

    path: tuple[str | int, ...]
    message: str
    keyword: str
    instance: Any = None
    schema: Any = None

    @property
    def json_path(self) -> str:
        """The place as a JSON path, ``$`` for the root."""
        return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path)


class InvalidSchema(ValueError):
    """The schema itself is not a valid JSON Schema."""


def issues(instance: Any, schema: Any, *, formats: bool = True) -> list[SchemaIssue]:
    """Return all violations of ``schema`` by ``instance``, in document order; empty when valid.

    The draft is taken from ``$schema``, 2020-12 without one. Remote references are never fetched.

    Raises:
        InvalidSchema: The schema is not valid, or refers to something that is not in it.
    """
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    validator = _validator(json.dumps(schema, sort_keys=True), formats)
    try:
        errors = sorted(validator.iter_errors(instance), key=lambda e: [str(p) for p in e.absolute_path])
    except Unresolvable as error:
        raise InvalidSchema(f"cannot resolve reference: {error}") from error
    out = []
    for found in errors:
        leaf = (best_match([found]) or found) if found.context else found
        out.append(
            SchemaIssue(tuple(leaf.absolute_path), leaf.message, str(leaf.validator), leaf.instance, leaf.schema)
        )
    return out


def is_valid(instance: Any, schema: Any, *, formats: bool = True) -> bool:
    """Whether ``instance`` fits ``schema``.

    Raises:
        InvalidSchema: The schema is not valid.
    """
    return not issues(instance, schema, formats=formats)


@functools.lru_cache(maxsize=256)
def _validator(schema_text: str, formats: bool) -> Any:
    import jsonschema
    import referencing
    from jsonschema.validators import validator_for

    from pytest_llmwatch.schema_formats import checker

    schema = json.loads(schema_text)
    cls = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        cls.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise InvalidSchema(error.message) from error
    # an empty registry: a "$ref" to the network is an error, never a download
    return cls(
        schema,
        format_checker=checker(cls) if formats else None,
        registry=referencing.Registry(),
    )
