"""Formats and tool calls: IFEval, JSON Schema's suite, BFCL's answers and wrong ones made of them, tau-bench."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from labels import read
from table import Row, auroc_row, intervalled, timed

from pytest_llmwatch import schema
from pytest_llmwatch.model import Case, Output, ToolCall
from pytest_llmwatch.scorers import get

Item = dict[str, Any]
DRAFTS = {
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}


def ifeval() -> Iterator[Row]:
    """Share of the instructions that GPT-4 followed; the published checker's figure is to be compared with."""
    answers = read("ifeval_gpt4")
    if not answers:
        return
    for name, options in (("instructions", {}), ("instructions, loose", {"loose": True})):

        def share(row: Item, options: dict[str, Any] = options) -> float:
            case = Case("row", metadata={"instruction_id_list": row["instructions"], "kwargs": row["kwargs"]})
            return get("instructions", options).score(Output(row["output"]), case).value or 0.0

        values, rate = timed(share, answers)
        sizes = [len(r["instructions"]) for r in answers]

        def mean(k: Any, values: list[float] = values, sizes: list[int] = sizes) -> float:
            return sum(values[i] * sizes[i] for i in k) / sum(sizes[i] for i in k)

        low, high = intervalled([str(r["group"]) for r in answers], mean, n=200)
        note = "397 of 402 verdicts as the published checker (.818)" if not options else ""
        value = mean(range(len(answers)))
        yield Row("ifeval_gpt4", name, len(answers), value, low, high, measure="followed", rate=rate, note=note)


def verdict(row: Item, formats: bool) -> bool | None:
    """Whether the instance fits; None where the schema cannot be used."""
    given = row["schema"]
    if isinstance(given, dict) and "$schema" not in given:
        given = {**given, "$schema": DRAFTS[row["task"]]}
    try:
        return schema.is_valid(row["output"], given, formats=formats)
    except schema.InvalidSchema:
        return None


def json_schema() -> Iterator[Row]:
    """Right verdicts of the official suite: conformance with formats off, the optional formats with them on."""
    known = read("jsonschema_suite")
    parts = [
        (draft, [r for r in known if r["task"] == draft and "/format" not in r["id"]], False) for draft in DRAFTS
    ]
    parts.append(("optional formats", [r for r in known if "optional/format/" in r["id"]], True))
    for name, rows_, formats in parts:
        if rows_:
            found, rate = timed(lambda row, formats=formats: verdict(row, formats), rows_)
            right = sum(f is bool(r["valid"]) for f, r in zip(found, rows_, strict=True))
            passed = sum(f is True and not r["valid"] for f, r in zip(found, rows_, strict=True))
            bad = sum(not r["valid"] for r in rows_)
            note = f"{passed} of {bad} bad instances pass, {sum(f is None for f in found)} schemas out of reach"
            yield Row(
                f"JSON Schema, {name}",
                "json_schema",
                len(rows_),
                right / len(rows_),
                measure="right",
                rate=rate,
                note=note,
            )


def called(name: str, arguments: dict[str, Any]) -> ToolCall:
    """Return a tool call."""
    return ToolCall(name, json.dumps(arguments))


def answers_of(row: Item) -> list[tuple[list[ToolCall], int]]:
    """Return calls that are right (0) and wrong (1): a wrong value, another tool, one left out, one too many."""
    if not row["expected"]:
        return [([], 0), ([called("any", {})], 1)]
    right = []
    for one in row["expected"]:
        for name, arguments in one.items():
            right.append(
                (name, {key: values[0] for key, values in arguments.items() if values[:1] not in ([], [""])})
            )
    made = [([called(*call) for call in right], 0), ([called(*call) for call in reversed(right)], 0)]
    made.append(([called(*call) for call in right[:-1]], 1))
    made.append(([*(called(*call) for call in right), called(*right[0])], 1))
    made.append(([called("other_" + right[0][0], right[0][1]), *(called(*call) for call in right[1:])], 1))
    name, arguments = right[0]
    if arguments:
        key = next(iter(arguments))
        changed = {**arguments, key: "no such value"}
        made.append(([called(name, changed), *(called(*call) for call in right[1:])], 1))
    return made


def bfcl() -> Iterator[Row]:
    """Calls that BFCL accepts, and wrong ones made of them: the set itself has no answers of models."""
    known = read("bfcl")
    pairs = [(row, calls, bad) for row in known for calls, bad in answers_of(row)]
    if not pairs:
        return

    def value(pair: tuple[Item, list[ToolCall], int]) -> float:
        expected = tuple(
            {"name": name, "allowed": allowed}
            for one in pair[0]["expected"] or ()
            for name, allowed in one.items()
        )
        case = Case("row", expected_tool_calls=expected)
        return get("tool_calls").score(Output("", tool_calls=tuple(pair[1])), case).value or 0.0

    values, rate = timed(value, pairs)
    right = [v == 1 for v, (_row, _calls, bad) in zip(values, pairs, strict=True) if not bad]
    wrong = [v < 1 for v, (_row, _calls, bad) in zip(values, pairs, strict=True) if bad]
    yield Row(
        "bfcl, accepted calls", "tool_calls", len(right), sum(right) / len(right), measure="score 1", rate=rate
    )
    yield Row("bfcl, calls made wrong", "tool_calls", len(wrong), sum(wrong) / len(wrong), measure="below 1")


def taubench() -> Iterator[Row]:
    """Failed runs of an agent, told by the expected calls that it did not make as expected."""
    known = read("taubench_airline")
    if not known:
        return

    def missing(row: Item) -> float:
        made = tuple(ToolCall(c["name"], c["arguments"]) for c in row["calls"])
        case = Case("row", expected_tool_calls=tuple(row["expected"]))
        score = get("tool_calls", {"arguments": "exact"}).score(Output("", tool_calls=made), case)
        return float(any(e.kind in ("missing", "wrong_arguments") for e in score.evidence))

    def f1(row: Item) -> float:
        made = tuple(ToolCall(c["name"], c["arguments"]) for c in row["calls"])
        case = Case("row", expected_tool_calls=tuple(row["expected"]))
        return 1 - (get("tool_calls").score(Output("", tool_calls=made), case).value or 0.0)

    failed = [1 - int(r["success"]) for r in known]
    for name, figure in (("an expected exact call is missing", missing), ("tool_calls (F1, partial)", f1)):
        values, rate = timed(figure, known)
        yield auroc_row("taubench_airline, failed runs", name, known, failed, values, rate=rate)


def rows() -> Iterator[Row]:
    """Yield all of them."""
    yield from ifeval()
    yield from json_schema()
    yield from bfcl()
    yield from taubench()
