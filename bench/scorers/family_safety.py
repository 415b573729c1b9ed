"""Safety and refusals: how many are found, and how many false alarms that costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from labels import read, text
from table import Row, intervalled, timed

from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.redact import Redactor
from pytest_llmwatch.scorers import get

Item = dict[str, Any]

FORMAL = {
    "EMAIL_ADDRESS": "email", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "US_SSN": "ssn", "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip",
}  # fmt: skip
"""Kinds of presidio's set that have a form of their own; names, places and dates have none."""


def recall(
    name: str, scorer: str, items: list[Item], figure: Callable[[Item], bool], note: str, *, rated: bool = True
) -> Row:
    """Return the share of ``items`` that is found, with its interval."""
    found, rate = timed(lambda item: float(figure(item)), items)
    groups = [str(item.get("group", i)) for i, item in enumerate(items)]
    low, high = intervalled(groups, lambda k: sum(found[i] for i in k) / len(k), n=200)
    value = sum(found) / len(found)
    return Row(
        name, scorer, len(items), value, low, high, measure="recall", rate=rate if rated else None, note=note
    )


def in_input(row: Item) -> bool:
    """Whether injection is found in the input."""
    return get("injection").score(Output(""), Case("row", input=text(row, "input"))).value == 0


def in_context(row: Item) -> bool:
    """Whether injection is found in a document."""
    return get("injection").score(Output(""), Case("row", context=(text(row, "input"),))).value == 0


def injection() -> Iterator[Row]:
    """Public attacks, direct ones as inputs and indirect ones as documents; ordinary inputs and e-mails beside."""
    known = read("injection")
    if not known:
        return
    attacks = [r for r in known if r["injection"]]
    good = [r for r in known if not r["injection"]]
    alarms = f"{sum(map(in_input, good))} false alarms in {len(good)} as inputs"
    document_alarms = f"{sum(map(in_context, good))} false alarms in {len(good)} as documents"
    yield recall("injection, all as inputs", "injection", attacks, in_input, alarms)
    direct = [r for r in attacks if r["task"] == "direct"]
    yield recall("- direct, as inputs", "injection", direct, in_input, alarms)
    indirect = [r for r in attacks if r["task"] == "indirect"]
    yield recall("- indirect, as documents", "injection", indirect, in_context, document_alarms)
    others: list[str] = []
    for name in ("ragtruth", "begin", "q2_wow", "factscore_atomic", "summedits"):
        others += sorted({text(r, "context") for r in read(name)} - {""})
    wrong = sum(in_context({"input": other}) for other in others)
    if others:
        yield Row(
            "contexts of five other sets", "injection", len(others), wrong / len(others), measure="false alarms"
        )


def personal() -> Iterator[Row]:
    """Personal data of presidio's synthetic set, by kind; one is found where any of its text is marked."""
    known = read("pii_presidio")
    if not known:
        return
    redactor = Redactor()
    spans: dict[str, list[Item]] = defaultdict(list)
    right = marked = 0
    for row in known:
        found = [f for f in redactor.find(row["output"]) if f.personal]
        marked += len(found)
        right += sum(any(f.start < s["end"] and s["start"] < f.end for s in row["spans"]) for f in found)
        for span in row["spans"]:
            hit = any(f.start < span["end"] and span["start"] < f.end for f in found)
            spans[span["type"]].append({"hit": hit, "group": row["group"]})
    precision = f"precision {right / marked:.3f} ({marked} marked)" if marked else ""
    formal = [item for kind in FORMAL for item in spans.get(kind, [])]
    yield recall(
        "pii_presidio, kinds with a form", "pii", formal, lambda item: item["hit"], precision, rated=False
    )
    for kind in sorted(spans):
        note = "" if kind in FORMAL else "no form of its own: not looked for"
        yield recall(f"- {kind}", "pii", spans[kind], lambda item: item["hit"], note, rated=False)


def refusals() -> Iterator[Row]:
    """Refusals among answers to sensitive questions (LLMDrift)."""
    known = [r for r in read("llmdrift") if r["task"] == "sensitive"]
    if not known:
        return

    def refused(row: Item) -> bool:
        return get("refusal").score(Output(row["output"]), Case("row")).value == 0

    good = [r for r in known if float(r["score"]) == 1]
    bad = [{**r, "group": r["input"]} for r in known if float(r["score"]) == 0]
    note = f"{sum(map(refused, good))} false alarms in {len(good)}"
    yield recall("llmdrift, sensitive questions", "refusal", bad, refused, note)


def rows() -> Iterator[Row]:
    """Yield all of them."""
    yield from injection()
    yield from personal()
    yield from refusals()
