"""RECORDS: one JSON object a line, one call each: production logs, stored outputs, our own calls.jsonl.gz.

Reading is forgiving about names (aliases, OpenTelemetry names, a rename map) and strict about values: a
latency that is no number is an error with its line, never a guess. Unknown keys are kept; one that looks
like a metric is named once.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_llmwatch import records_fields as fields
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import JSON, Call, Case, CaseResult, Output, Run
from pytest_llmwatch.records_calls import (
    dump_line,
    foreign_call,
    own_call,
    own_result,
    texts,
    to_record,
    to_records,
)
from pytest_llmwatch.records_calls import scores as read_scores
from pytest_llmwatch.records_outcome import key_of, outcome_object
from pytest_llmwatch.records_shapes import flatten, messages_of, opened

__all__ = ["Reader", "Record", "Records", "dump_line", "read_records", "to_record", "to_records", "to_run"]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a RECORDS file.

    ``result`` is None on a line of ours that is not the last call of its test. ``passed`` is None where the
    file does not say. ``data`` holds the understood fields by our names, ``extra`` all other keys.
    """

    line: int
    id: str
    call: Call
    result: CaseResult | None
    passed: bool | None
    data: Mapping[str, JSON]
    extra: Mapping[str, JSON] = field(default_factory=dict)

    def case(self) -> Case:
        """Return what scorers take as the case."""
        data = self.data
        expected = data.get("expected_tool_calls")
        return Case(
            id=str(data.get("case") or self.id),
            input=data.get("input"),
            set=self.call.set,
            reference=self.call.reference,
            must_mention=texts(self.extra.get("must_mention")),
            must_not_mention=texts(self.extra.get("must_not_mention")),
            context=self.call.context,
            schema=data.get("schema"),
            expected_tool_calls=tuple(expected) if isinstance(expected, list) else None,
            expected_documents=texts(self.extra.get("expected_documents")) or None,
            tags=self.call.tags,
            cluster=data.get("cluster"),
        )

    def output(self) -> Output:
        """Return what scorers take as the answer; a missing output is empty text."""
        retrieved = self.call.retrieval.documents if self.call.retrieval else ()
        return Output(
            self.call.output or "",
            tool_calls=self.call.tool_calls,
            finish_reason=self.call.finish_reason,
            retrieved=retrieved,
            call_id=self.call.id,
        )


@dataclass(frozen=True, slots=True)
class Records:
    """A file's records in order, and what a reader should be told once about it."""

    file: str
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


def read_records(
    path: Path, *, rename: Mapping[str, str] | None = None, display: str | None = None, need_id: bool = True
) -> Records:
    """Read a RECORDS file, gzip or not.

    Args:
        path: The file.
        rename: Key of the file -> one of our names or aliases; a dotted key reaches into objects.
        display: The file as the user would name it.
        need_id: Whether a line with neither ``id`` nor ``case`` is an error (else its id is the line number).

    Raises:
        RecordsError: The file cannot be read, is empty, or a line is wrong; one line with file and line number.
    """
    reader = Reader(display or str(path), rename=rename, need_id=need_id)
    found = tuple(reader.read(path))
    if not found:
        raise RecordsError("holds no record", slug="records-empty", file=reader.file)
    return Records(reader.file, found, tuple(reader.notes))


class Reader:
    """Reads lines one by one; ``notes`` fills up while it does."""

    def __init__(self, file: str, *, rename: Mapping[str, str] | None = None, need_id: bool = True) -> None:
        self.file = file
        self.notes: list[str] = []
        self._rename = dict(rename or {})
        self._need_id = need_id
        self._named: set[str] = set()
        self._samples: dict[str, int] = {}
        self._ids: dict[str, int] = {}

    def read(self, path: Path) -> Iterator[Record]:
        """Yield the records of ``path``.

        Raises:
            RecordsError: See `read_records`.
        """
        for number, raw in _lines(path, self.file):
            yield self.parse(raw, number)

    def parse(self, raw: str, line: int) -> Record:
        """Return the record of one line.

        Raises:
            RecordsError: The line is not a JSON object, or a value is wrong.
        """
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._error(f"is not valid JSON: {why_no_json(error)}", "records-json", line) from error
        if not isinstance(value, dict):
            raise self._error("a record must be a JSON object on one line", "records-json", line)
        if "schema_version" in value and isinstance(value.get("nodeid"), str | None):
            return self._own(value, line)
        data, extra = self._understand(value, line)
        return self._foreign(data, extra, line)

    # our own lines -----------------------------------------------------------------------------------------

    def _own(self, value: dict[str, Any], line: int) -> Record:
        try:
            call = own_call(value)
            result = own_result(value, call)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise self._error(f"is not a call as we write it ({error})", "records-type", line) from error
        known = {k: v for k, v in value.items() if k in fields.FIELDS}
        extra = {k: v for k, v in value.items() if k not in known}
        return Record(line, call.id, call, result, value.get("passed"), known, extra)

    # other people's lines ----------------------------------------------------------------------------------

    def _understand(self, value: dict[str, Any], line: int) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        exact: set[str] = set()
        for key, item in flatten(opened(value), self._rename):
            target = fields.target_of(self._rename.get(key, key))
            if target is None:
                extra[key] = item
                if fields.looks_like_metric(key, item) and key_of(key) is None:
                    self._name_once(key)
                continue
            if item is None or (target.field in exact and not target.exact):
                continue
            if target.exact:
                exact.add(target.field)
            elif target.field in data:
                continue
            try:
                data[target.field] = self._value(target, item, key)
            except fields.BadValue as error:
                shown = json.dumps(item, ensure_ascii=False, default=str)[:60]
                raise self._error(f"{key} {error} (got {shown})", "records-type", line) from error
        return data, extra

    def _value(self, target: fields.Target, item: Any, key: str) -> Any:
        name = target.field
        if name == "time":
            moment = fields.time(item)
            if moment is None:
                self._note_once(key, f"key {key!r} holds times that cannot be understood (ISO 8601 or seconds)")
            return moment
        if name in fields.NUMBER_FIELDS:
            return fields.number(item, target.factor)
        if name in fields.INTEGER_FIELDS:
            return fields.integer(item)
        if name == "status":
            return fields.status(fields.text(item))
        if name in fields.TEXT_FIELDS:
            return fields.text(item)
        if name in fields.MAPPING_FIELDS:
            if name == "outcome":
                return outcome_object(item)
            if not isinstance(item, Mapping):
                raise fields.BadValue("must be an object")
            return dict(item)
        if name == "passed" and not isinstance(item, bool):
            raise fields.BadValue("must be true or false")
        return messages_of(item) if name in ("input", "output") and not target.exact else item

    def _foreign(self, data: dict[str, Any], extra: dict[str, Any], line: int) -> Record:
        try:
            call = foreign_call(data, extra)
            scores = read_scores(data.get("scores", {}))
            metrics = {str(k): fields.number(abs(v)) * (1 if v >= 0 else -1) for k, v in
                       data.get("metrics", {}).items() if isinstance(v, int | float)}  # fmt: skip
        except fields.BadValue as error:
            raise self._error(str(error), "records-type", line) from error
        identity = self._identity(data, line)
        case = data.get("case")
        repeat = data["sample"] if "sample" in data else self._next_sample(case)
        call = dataclasses.replace(call, id=identity, repeat=repeat, metrics=metrics)
        passed = data.get("passed")
        expected = data.get("expected_tool_calls")
        golden = Case("", expected_tool_calls=tuple(expected) if isinstance(expected, list) else None)
        result = CaseResult(
            nodeid=identity,
            set=call.set,
            case=case,
            repeat=repeat,
            outcome="failed" if passed is False else "passed",
            scores=scores,
            call_ids=(identity,),
            input=call.input,
            output=call.output,
            context=call.context,
            reference=call.reference,
            tags=call.tags,
            cluster=data.get("cluster"),
            expected_tools=golden.expected_tools(),
            expected_documents=texts(extra.get("expected_documents")) or None,
        )
        return Record(line, identity, call, result, passed, data, extra)

    def _identity(self, data: Mapping[str, Any], line: int) -> str:
        found = data.get("id") or data.get("request_id") or data.get("case")
        if not found:
            if self._need_id:
                raise self._error(
                    "has neither `id` nor `case`; name the key that has it with --map KEY=id", "records-id", line
                )
            return str(line)
        count = self._ids.get(found, 0)
        self._ids[found] = count + 1
        if count and data.get("id"):
            self._note_once(
                "id", f"id {found!r} (line {line}) is used more than once; each is a record of its own"
            )
        # calls are told apart by their ids in a run
        return str(found) if count == 0 else f"{found}#{count + 1}"

    def _next_sample(self, case: str | None) -> int:
        if case is None:
            return 0
        self._samples[case] = self._samples.get(case, -1) + 1
        return self._samples[case]

    def _name_once(self, key: str) -> None:
        hint = f"say what it is, e.g. --map {key}=latency_ms"
        self._note_once(key, f"key {key!r} looks like a metric but is not understood; {hint}")

    def _note_once(self, key: str, note: str) -> None:
        if key not in self._named:
            self._named.add(key)
            self.notes.append(f"{self.file}: {note}")

    def _error(self, message: str, slug: str, line: int) -> RecordsError:
        return RecordsError(message, slug=slug, file=self.file, line=line)


def to_run(
    records: Iterable[Record],
    *,
    run_id: str = "records",
    time: str = "",
    hash_user: Callable[[str], str] | None = None,
) -> Run:
    """Return records as a run.

    Args:
        records: What was read.
        run_id: Identifier of the run.
        time: ISO 8601; by default the earliest time of a record.
        hash_user: Applied to the user of lines that we did not write ourselves (ours are hashed already).
    """
    calls, results = [], []
    for record in records:
        call = record.call
        if call.user is not None and hash_user is not None and "schema_version" not in record.extra:
            call = dataclasses.replace(call, user=hash_user(call.user))
        calls.append(call)
        if record.result is not None:
            results.append(record.result)
    moments = sorted(call.time for call in calls if call.time)
    return Run(
        run_id=run_id, time=time or (moments[0] if moments else ""), calls=tuple(calls), results=tuple(results)
    )


def why_no_json(error: Exception) -> str:
    """Return in a few words why a line could not be read as JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    if isinstance(error, RecursionError):
        return "too deep"
    return "a number in it has too many digits"  # Python's limit against slow conversions


def _lines(path: Path, display: str) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise RecordsError(
            "is not UTF-8; save the file as UTF-8", slug="records-encoding", file=display, line=number
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordsError(
            f"is a broken gzip file ({error}); write it again", slug="records-gzip", file=display
        ) from error
    except OSError as error:
        raise RecordsError(f"cannot be read ({error.strerror})", slug="records-missing", file=display) from error
