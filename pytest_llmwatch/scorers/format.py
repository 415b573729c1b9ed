"""Format: is the answer JSON, and does it fit its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch import schema as json_schema
from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option

DRIFT = 0.5
"""Value of good JSON wrapped in a code fence or in prose: readable by people, not by ``json.loads``."""

DRIFT_LABEL = "format_drift"

_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_MAX_TRIES = 64


@dataclass(frozen=True, slots=True)
class Found:
    """A JSON value in an answer. ``wrapping`` is None where the whole answer is the value."""

    value: Any
    start: int
    end: int
    wrapping: str | None = None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def find_json(text: str) -> Found | str:
    """Return the JSON value in ``text``: all of it, else in a code fence, else the longest one in the prose.

    Returns:
        The value found, or why there is none, in a few words. Takes time linear in the length of the text.
    """
    stripped = text.strip(" \t\r\n")
    start = text.index(stripped) if stripped else 0
    try:
        return Found(json.loads(stripped, parse_constant=_refuse), start, start + len(stripped))
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        why = _why(error)
    for fence in _FENCE.finditer(text):
        try:
            return Found(json.loads(fence[1], parse_constant=_refuse), fence.start(1), fence.end(1), "code fence")
        except (ValueError, RecursionError):
            continue
    return max(_in_prose(text), key=lambda f: f.end - f.start, default=None) or why


def _in_prose(text: str) -> Iterator[Found]:
    """Yield objects and arrays within ``text``; gives up after reading four times its length in vain."""
    position, budget = 0, 4 * len(text)
    for _try in range(_MAX_TRIES):
        opening = _OPENING.search(text, position)
        if opening is None or budget < 0:
            return
        start = opening.start()
        try:
            value, end = _DECODER.raw_decode(text, start)
        except RecursionError:
            return
        except json.JSONDecodeError as error:
            budget -= max(1, error.pos - start)
            position = start + 1
        except ValueError:
            budget -= len(text)
            position = start + 1
        else:
            yield Found(value, start, end, "prose")
            position = end


def _why(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        if not error.doc:
            return "the answer is empty"
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    return " ".join(str(error).split())[:120]


def _drift_evidence(text: str, found: Found) -> list[Evidence]:
    around = [(0, found.start), (found.end, len(text))]
    return [Evidence("format_drift", text[a:b], start=a, end=b) for a, b in around if text[a:b].strip()]


@dataclass(frozen=True, slots=True)
class Json(Base):
    """Whether the answer is JSON: 1 it is, 0 it is not.

    0.5 (label ``format_drift``) where it holds JSON in a code fence or in prose.
    """

    name = "json"

    extract: bool = option("flag", False)
    """Take JSON in a fence or in prose for good (the application extracts it)."""

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether the case asks for JSON, by a schema or by ``format: json``."""
        return case.schema is not None or (case.format or "").lower() in ("json", "json_schema")

    def score(self, output: Output, case: Case) -> Score:
        """Score the answer's text."""
        found = find_json(output.text)
        if isinstance(found, str):
            return self.result(0.0, f"Not JSON: {found}.")
        if found.wrapping is None:
            return self.result(1.0, "The answer is valid JSON.")
        evidence = _drift_evidence(output.text, found)
        if self.extract:
            return self.result(1.0, f"Valid JSON, extracted from a {found.wrapping}.", evidence)
        return self.result(
            DRIFT, f"Valid JSON, but wrapped in {found.wrapping}: json.loads fails.", evidence, label=DRIFT_LABEL
        )


@dataclass(frozen=True, slots=True)
class JsonSchema(Base):
    """Whether the answer is JSON that fits the schema: 1 or 0.

    0.5 (label ``format_drift``) where JSON in a code fence or in prose fits.

    Raises:
        ValueError: The ``schema`` option is not a JSON Schema.
    """

    name = "json_schema"
    version = "2"

    schema: Any = option("any")  # noqa: RUF009
    """JSON Schema; None = the case's."""
    extract: bool = option("flag", False)
    formats: bool = option("flag", True)
    """Check ``format`` (date, email, ...) as well."""

    def __post_init__(self) -> None:
        if self.schema is not None:
            try:
                json_schema.issues(None, self.schema, formats=self.formats)
            except json_schema.InvalidSchema as error:
                raise ValueError(f"schema is not a JSON Schema ({error})") from error

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a schema."""
        return self.schema is not None or case.schema is not None

    def score(self, output: Output, case: Case) -> Score:
        """Validate the answer; each violation is evidence, with its JSON path."""
        schema = self.schema if self.schema is not None else case.schema
        if schema is None:
            return self.not_assessable("The case has no schema.")
        found = find_json(output.text)
        if isinstance(found, str):
            return self.result(0.0, f"Not JSON: {found}.")
        issues = json_schema.issues(found.value, schema, formats=self.formats)
        if issues:
            evidence = [
                Evidence("schema", f"{i.json_path}: {_short(i.message)}", where="item", note=i.keyword)
                for i in issues
            ]
            more = f" (and {len(issues) - 1:,} more)" if len(issues) > 1 else ""
            return self.result(0.0, f"Does not fit the schema: {evidence[0].text}{more}.", evidence)
        if found.wrapping is None or self.extract:
            return self.result(1.0, "Fits the schema.")
        return self.result(
            DRIFT,
            f"Fits the schema, but is wrapped in {found.wrapping}: json.loads fails.",
            _drift_evidence(output.text, found),
            label=DRIFT_LABEL,
        )


def _short(message: str, limit: int = 200) -> str:
    message = " ".join(message[: 4 * limit].split())
    return message if len(message) <= limit else message[: limit - 1] + "…"
