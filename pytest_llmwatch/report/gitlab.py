"""The metrics report of GitLab: one figure per rule in OpenMetrics' text format, compared in a merge request.

GitLab lists each series with its value on both branches, and takes a changed label for another series: so the
labels hold nothing that differs between runs (https://docs.gitlab.com/ci/testing/metrics_reports/).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from pytest_llmwatch.model import Report
from pytest_llmwatch.report.text import visible

_UNITS = {"s": "seconds", "usd": "usd", "tokens": "tokens", "ratio": "ratio"}
_STATES = {"pass": 0, "warn": 1, "inconclusive": 2, "fail": 3}
_TOTALS = (
    ("calls", "calls", "LLM calls of the run"),
    ("failed", "failed_calls", "calls that failed"),
    ("cost_usd", "cost_usd", "US dollars, of the calls whose price is known"),
    ("unpriced", "unpriced_calls", "calls whose price is not known"),
    ("input_tokens", "input_tokens", "tokens sent"),
    ("output_tokens", "output_tokens", "tokens received"),
)


def render(report: Report) -> str:
    """Return the metrics of ``report``; what was not measured is left out."""
    return "\n".join([*_totals(report), *_scores(report), *_rules(report), "# EOF"]) + "\n"


def _totals(report: Report) -> Iterator[str]:
    for key, name, told in _TOTALS:
        value = report.aggregates.get(key)
        if isinstance(value, int | float) and math.isfinite(value):
            yield from _family(name, told, [("", value)])


def _scores(report: Report) -> Iterator[str]:
    scores = report.aggregates.get("scores")
    found = []
    for name, score in sorted(scores.items()) if isinstance(scores, dict) else ():
        mean = score.get("mean") if isinstance(score, dict) else None
        if isinstance(mean, int | float) and math.isfinite(mean):
            found.append((f'{{scorer="{_label(name)}"}}', mean))
    if found:
        yield from _family("score_ratio", "mean score, 1 is best", found)


def _rules(report: Report) -> Iterator[str]:
    # a user's id is no label: it is shown in the merge request, to whoever reads it
    verdicts = sorted((v for v in report.verdicts if not v.rule.startswith("scope.user:")), key=lambda v: v.rule)
    for unit in sorted({v.unit for v in verdicts}):
        found = [
            (f'{{rule="{_label(v.rule)}"}}', v.observed)
            for v in verdicts
            if v.unit == unit and v.observed is not None and math.isfinite(v.observed)
        ]
        if found:
            name = "rule_" + _UNITS.get(unit, re.sub(r"\W+", "_", unit) or "value")
            yield from _family(name, f"what a rule observed, {unit}", found)
    if verdicts:
        told = "0 holds, 1 warns, 2 inconclusive, 3 broken"
        states = [(f'{{rule="{_label(v.rule)}"}}', _STATES[v.verdict]) for v in verdicts]
        yield from _family("rule_state", told, states)


def _family(name: str, told: str, samples: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield f"# TYPE llmwatch_{name} gauge"
    yield f"# HELP llmwatch_{name} {told}"
    for labels, value in samples:
        yield f"llmwatch_{name}{labels} {value!r}"


def _label(text: str) -> str:
    return visible(str(text)).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
