"""What scorers need of a log line, and no more: a broken latency does not keep an answer from being scored."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pytest_llmwatch import records_fields as fields
from pytest_llmwatch.call import JUDGE
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import JSON, Case, Output
from pytest_llmwatch.records import why_no_json
from pytest_llmwatch.records_calls import texts
from pytest_llmwatch.records_outcome import key_of
from pytest_llmwatch.records_shapes import (
    PLAIN,
    USAGE_OBJECTS,
    flatten,
    may_open,
    messages_of,
    opened,
)

_READ = frozenset(
    {
        *("id", "case", "request_id", "input", "output", "context", "reference", "schema", "set", "status"),
        *("expected_tool_calls", "tool_calls", "retrieved", "finish_reason", "tags", "cluster", "sample"),
    }
)
_CASE_KEYS = frozenset({"must_mention", "must_not_mention", "expected_documents", "format", "metadata"})
_NO_ANSWER = frozenset({"error", "timeout", "rate_limited"})
_ROLE = "role"


class Answer(NamedTuple):
    """One line as scorers take it. ``answered`` is False where nothing came back that could be judged."""

    id: JSON
    case: Case
    output: Output
    answered: bool
    judging: bool = False
    """Whether a judge was asked here: a call of a scorer, not of the application."""
    group: str | None = None
    """What repeats have in common: their set and case, else their input; None where nothing tells."""
    sample: JSON = None
    """Which repeat it is, where the line says so."""


class _Plan(NamedTuple):
    """What to do with lines of certain keys: (key, our field, exact name) to read, and keys to look at."""

    reads: tuple[tuple[str, str, bool], ...]
    odd: tuple[str, ...]
    """Not understood, with the name of a metric."""
    may_open: tuple[str, ...]
    usage: tuple[str, ...]


_MAX_PLANS = 1000
_NESTED = (dict, list)


class AnswerReader:
    """Reads lines one by one and remembers nothing of them but the notes, so memory stays flat."""

    def __init__(
        self,
        file: str,
        *,
        rename: Mapping[str, str] | None = None,
        cases: Mapping[str, Case] | None = None,
        schema: JSON = None,
        grouped: bool = False,
    ) -> None:
        """Take what all lines share.

        Args:
            file: The file as the user would name it.
            rename: Key of the file -> one of our names or aliases.
            cases: Golden cases by id; a line of such a case takes from it what it does not say itself.
            schema: JSON Schema of lines that bring none.
            grouped: Whether to tell which lines are repeats of each other.
        """
        self.file = file
        self.notes: dict[str, str] = {}
        """Key -> what a reader should be told once about it."""
        self._rename = dict(rename or {})
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._cases = cases or {}
        self._schema = schema
        self.grouped = grouped

    def parse(self, raw: bytes, line: int) -> Answer:
        """Return what scorers need of one line.

        Raises:
            RecordsError: It is not UTF-8, not a JSON object, or a field that is scored cannot be understood.
        """
        try:
            text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
            value = json.loads(text)
        except UnicodeDecodeError as error:
            raise self._error("is not UTF-8", "records-encoding", line) from error
        except (ValueError, RecursionError) as error:
            raise self._error(f"is not valid JSON: {why_no_json(error)}", "records-json", line) from error
        if not isinstance(value, dict):
            raise self._error("a record must be a JSON object on one line", "records-json", line)
        try:
            data = self._fields(value)
            return self._answer(data, line)
        except fields.BadValue as error:
            raise self._error(str(error), "records-type", line) from error
        except RecursionError as error:
            raise self._error("is nested too deep", "records-json", line) from error

    def _fields(self, value: Mapping[str, Any]) -> dict[str, Any]:
        plan = self._plan(tuple(value))
        for key in plan.may_open:
            item = value[key]
            if item is not None and (item.__class__ in _NESTED or key not in PLAIN):
                line = dict(flatten(opened(value), self._rename))
                return self._read(self._plan(tuple(line)), line)
        for key in plan.usage:
            if value[key].__class__ is dict:
                self._look(value[key])
        return self._read(plan, value)

    def _read(self, plan: _Plan, value: Mapping[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, name, exact in plan.reads:
            item = value[key]
            if item is not None and (exact or name not in data):
                data[name] = messages_of(item) if name == "input" or name == "output" else item  # noqa: PLR1714
        for key in plan.odd:
            if key not in self.notes and fields.looks_like_metric(key, value[key]):
                self._name(key)
        return data

    def _plan(self, keys: tuple[str, ...]) -> _Plan:
        """Return what to do with the keys of a line; a log has few sorts of lines, so it is kept."""
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._planned(keys)
            if len(self._plans) < _MAX_PLANS:
                self._plans[keys] = plan
        return plan

    def _planned(self, keys: tuple[str, ...]) -> _Plan:
        dotted = {key.split(".", 1)[0] for key in self._rename if "." in key}
        reads, odd, may, usage = [], [], [], []
        for key in keys:
            ours = self._rename.get(key, key)
            target = fields.target_of(ours)
            if ours in _CASE_KEYS or key == _ROLE:
                reads.append((key, ours, True))
            elif target is None:
                odd.append(key)
            elif target.field in _READ:
                reads.append((key, target.field, target.exact))
            if key in dotted or may_open(key):
                may.append(key)
            elif key in USAGE_OBJECTS:
                usage.append(key)
        return _Plan(
            tuple(reads),
            tuple(k for k in odd if fields.is_metric_name(k) and key_of(k) is None),
            tuple(may),
            tuple(usage),
        )

    def _look(self, usage: Mapping[str, Any]) -> None:
        """Name what is not understood in a ``usage`` object; nothing in it is scored."""
        keys = tuple(usage)
        if keys not in self._seen:
            if len(self._seen) < _MAX_PLANS:
                self._seen.add(keys)
            line = dict(flatten({"usage": usage}))
            self._read(self._plan(tuple(line)), line)

    def _answer(self, data: Mapping[str, Any], line: int) -> Answer:
        identity = next((data[k] for k in ("id", "request_id", "case") if data.get(k) not in (None, "")), line)
        case_id = data.get("case")
        text = fields.as_text(data.get("output"))
        calls = _named(fields.tool_calls, "tool_calls", data, ())
        reason = data.get("finish_reason")
        case = self._case(data, identity if case_id is None else case_id)
        output = Output(
            text or "",
            tool_calls=calls,
            finish_reason=None if reason is None else fields.text(reason),
            retrieved=_retrieved(data, case),
            call_id=str(identity),
        )
        failed = not text and str(data.get("status", "")).lower() in _NO_ANSWER
        answered = bool(calls) or (text is not None and not failed)
        judging = data.get(_ROLE) == JUDGE
        group = _group(data, case) if self.grouped and answered and not judging else None
        return Answer(identity, case, output, answered, judging, group, data.get("sample"))

    def _case(self, data: Mapping[str, Any], case_id: JSON) -> Case:
        expected = data.get("expected_tool_calls")
        if expected is not None and not isinstance(expected, list):
            raise fields.BadValue("expected_tool_calls must be a list")
        metadata = data.get("metadata")
        known: dict[str, Any] = {
            "input": data.get("input"),
            "reference": _reference(data.get("reference")),
            "must_mention": _facts("must_mention", data),
            "must_not_mention": _facts("must_not_mention", data),
            "context": _named(fields.documents, "context", data, ()),
            "schema": _schema(data.get("schema")),
            "expected_tool_calls": None if expected is None else tuple(expected),
            "expected_documents": texts(data.get("expected_documents")) or None,
            "format": data["format"] if isinstance(data.get("format"), str) else None,
            "metadata": metadata if isinstance(metadata, dict) else {},
        }
        golden = self._cases.get(str(case_id)) if self._cases else None
        if golden is not None:
            said = {key: item for key, item in known.items() if item not in (None, (), {})}
            # a log holds the whole prompt; the set knows what the question in it was
            said = said if golden.input is None else {k: v for k, v in said.items() if k != "input"}
            return dataclasses.replace(golden, **said)
        if known["schema"] is None:
            known["schema"] = self._schema
        cluster = data.get("cluster")
        return Case(str(case_id), cluster=None if cluster is None else str(cluster), **known)

    def _name(self, key: str) -> None:
        hint = f"say what it is, e.g. --map {key}=latency_ms"
        self.notes[key] = f"{self.file}: key {key!r} looks like a metric but is not understood; {hint}"

    def _error(self, message: str, slug: str, line: int) -> RecordsError:
        return RecordsError(message, slug=slug, file=self.file, line=line)


def _named(convert: Any, name: str, data: Mapping[str, Any], default: Any) -> Any:
    if name not in data:
        return default
    try:
        return convert(data[name])
    except fields.BadValue as error:
        raise fields.BadValue(f"{name} {error}") from error


def _group(data: Mapping[str, Any], case: Case) -> str | None:
    if data.get("case") is not None:
        return json.dumps([data.get("set"), case.id], default=str)
    asked = case.input_text()
    return f"asked {asked}" if asked else None


def _retrieved(data: Mapping[str, Any], case: Case) -> tuple[str, ...]:
    """Return ids where the case names documents by them, else texts."""
    found: tuple[str, ...] = _named(fields.documents, "retrieved", data, ())
    ids = fields.ids(data.get("retrieved"))
    return ids if set(ids) & set(case.expected_documents or ()) else found


def _facts(name: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    given = data.get(name)
    return (given,) if isinstance(given, str) else texts(given)


def _reference(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and value and isinstance(value[0], str):
        return value[0]
    return json.dumps(value, ensure_ascii=False)


def _schema(value: Any) -> JSON:
    return _read_schema(value) if isinstance(value, str) else value


@functools.lru_cache(maxsize=64)
def _read_schema(value: str) -> JSON:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise fields.BadValue(f"schema is a text that is no JSON ({why_no_json(error)})") from error
