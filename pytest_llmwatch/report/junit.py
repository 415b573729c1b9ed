"""JUnit XML of a report without pytest: of a merged or stored run. Rules and tests are test cases.

A run under pytest gets the same from ``--junitxml``; this is for ``llmwatch gate`` after the shards have met.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from pytest_llmwatch.model import Call, CaseResult, Report, Verdict
from pytest_llmwatch.report import cases, view
from pytest_llmwatch.report.text import visible

_INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def render(report: Report) -> str:
    """Return the JUnit XML of ``report``: rules, then tests; costs, tokens, scores as properties."""
    root = ET.Element("testsuites", name="llmwatch")
    rules = [_rule(v, report.budget or "budget.toml") for v in report.verdicts]
    index = cases.Index(report.run)
    tests = [_test(r, index) for r in report.run.results]
    for name, found in (("rules", rules), ("tests", tests)):
        counts = {kind: sum(c.find(kind) is not None for c in found) for kind in ("failure", "error", "skipped")}
        suite = ET.SubElement(
            root,
            "testsuite",
            name=f"llmwatch {name}",
            tests=str(len(found)),
            failures=str(counts["failure"]),
            errors=str(counts["error"]),
            skipped=str(counts["skipped"]),
            time=f"{sum(float(c.get('time', 0)) for c in found):.3f}",
            timestamp=report.run.time[:19],
        )
        suite.extend(found)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def rule_properties(verdict: Verdict) -> Iterator[tuple[str, str | float]]:
    """Yield what a rule's test case tells beside its outcome: known figures only."""
    for name in ("verdict", "layer", "observed", "limit", "unit", "n", "p", "baseline", "delta"):
        value = getattr(verdict, name)
        if value is not None:
            yield name, value


def result_properties(result: CaseResult, calls: Sequence[Call]) -> Iterator[tuple[str, str | float]]:
    """Yield cost, tokens, calls and scores of one test; unknown figures are left out.

    Args:
        result: The test's result.
        calls: Its calls.
    """
    own = list(calls)
    if own:
        yield "llm.calls", len(own)
        priced = [c.cost.usd for c in own]
        if all(usd is not None for usd in priced):
            yield "llm.cost_usd", round(sum(usd for usd in priced if usd is not None), 8)
        for name in ("input_tokens", "output_tokens"):
            counts = [getattr(c.usage, name) for c in own]
            if all(n is not None for n in counts):
                yield f"llm.{name}", sum(counts)
        times = [c.latency for c in own if c.latency is not None]
        if len(times) == len(own):
            yield "llm.latency_s", round(sum(times), 4)
    for score in result.scores:
        yield f"score.{score.name}", score.value if score.value is not None else score.label or "unscored"


def _rule(verdict: Verdict, file: str) -> ET.Element:
    case = ET.Element(
        "testcase", classname=_clean(file), name=_clean(verdict.rule), file=_clean(file), time="0.000"
    )
    if verdict.line is not None:
        case.set("line", str(verdict.line))
    _properties(case, rule_properties(verdict))
    state = view.state_of(verdict)
    if state == "broken":
        text = f"{verdict.because}\n{verdict.action or ''}".strip()
        ET.SubElement(case, "failure", message=_clean(verdict.because)).text = _clean(text)
    elif state in ("blind", "undecided"):
        ET.SubElement(case, "skipped", message=_clean(verdict.because))
    return case


def _test(result: CaseResult, index: cases.Index) -> ET.Element:
    file, _, name = result.nodeid.partition("::")
    again = f" (attempt {result.attempt + 1})" if result.attempt else ""
    case = ET.Element(
        "testcase",
        classname=_clean(file.removesuffix(".py").replace("/", ".")),
        name=_clean((name or file) + again),
        file=_clean(file),
        time=f"{result.duration or 0:.3f}",
    )
    _properties(case, result_properties(result, [index.calls[i] for i in result.call_ids if i in index.calls]))
    reason = _clean(result.reason or result.outcome)
    if result.outcome in ("failed", "error"):
        ET.SubElement(case, "failure" if result.outcome == "failed" else "error", message=reason).text = reason
    elif result.outcome in ("skipped", "not_run"):
        ET.SubElement(case, "skipped", message=reason)
    return case


def _properties(case: ET.Element, found: Iterator[tuple[str, str | float]]) -> None:
    rows = [(n, v) for n, v in found if not isinstance(v, float) or math.isfinite(v)]
    if rows:
        parent = ET.SubElement(case, "properties")
        for name, value in rows:
            ET.SubElement(parent, "property", name=_clean(name), value=_clean(str(value)))


def _clean(text: str) -> str:
    return _INVALID.sub("?", visible(text))
