"""Whatever stands in a budget: it is read, or refused in one line; never a traceback."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_llmwatch.budget import Budget, parse_budget
from pytest_llmwatch.budget_grammar import COST_SETTINGS, LIMIT_FIELDS, RULES, SECTIONS, TOP_TABLES
from pytest_llmwatch.errors import BudgetError

KEYS = sorted(
    {s.key for s in RULES}
    | {key for fields in SECTIONS.values() for key in fields}
    | {*COST_SETTINGS, *LIMIT_FIELDS, "weights", "json", "relevance", "tpm_quota", "mean", "direction", "p59", "x"}
)
TABLES = [*TOP_TABLES, "latncy"]
SCOPES = ["feature:x", "tag:a:b", "featur:x", "feature", "tag: "]

numbers = (
    st.integers(-3, 3) | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.5, 0.9, 10**400])
)
words = st.sampled_from(
    ["2 s", "800 ms", "warn", "headers", "floor", "", " ", "2026-01-01", "(", "SEV1", "latency.p95"]
)
leaves = numbers | words | st.booleans() | st.text(max_size=5)
parts = st.dictionaries(st.sampled_from(LIMIT_FIELDS), leaves, max_size=4)
rows = st.dictionaries(st.sampled_from(KEYS), leaves | parts | st.lists(leaves, max_size=2), max_size=4)
scoped = st.dictionaries(
    st.sampled_from(SCOPES), st.dictionaries(st.sampled_from(TABLES), rows, max_size=2), max_size=2
)
documents = st.dictionaries(
    st.sampled_from(TABLES),
    rows | st.dictionaries(st.sampled_from(["m", *KEYS]), rows, max_size=2) | st.lists(rows, max_size=2) | leaves,
    max_size=4,
)


def write(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        clean = value.encode("utf-8", "replace").decode()
        return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, list):
        return "[" + ", ".join(write(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write(k)} = {write(v)}" for k, v in value.items()) + "}"
    return str(value)


def outcome(text: str) -> Budget | str:
    try:
        return parse_budget(text, "b.toml")
    except BudgetError as error:
        return str(error)


@given(documents, scoped)
def test_a_budget_or_one_clean_line(document: dict[str, Any], scopes: dict[str, Any]) -> None:
    if scopes:
        document = {**document, "scope": scopes}
    found = outcome("\n".join(f"{write(key)} = {write(value)}" for key, value in document.items()))
    if isinstance(found, str):
        assert re.fullmatch(r"b\.toml:\d+: .+ \[llmwatch:budget-[a-z-]+\]", found)
        return
    assert all(x.warn is not None or x.fail is not None for x in found.limits)
    assert all(x.line is not None for x in found.limits)


@given(st.text())
def test_any_text_at_all(text: str) -> None:
    found = outcome(text)
    assert isinstance(found, Budget) or "\n" not in found
