"""Every deterministic kind of the peers has a scorer (or a rule) here, and a test of it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_llmwatch import scorers
from pytest_llmwatch.budget_grammar import RULES
from pytest_llmwatch.scorers.specs import as_spec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE: dict[str, dict[str, dict[str, str]]] = tomllib.loads((HERE / "coverage.toml").read_text("utf-8"))

# The deterministic kinds of the peers, as their documentation lists them; `trajectory` and `trace` spelt out.
PROMPTFOO = """
equals contains icontains contains-any contains-all icontains-any icontains-all starts-with regex word-count
levenshtein rouge-n bleu gleu meteor is-refusal is-json contains-json is-xml contains-xml is-html contains-html
is-sql contains-sql is-valid-function-call is-valid-openai-function-call is-valid-openai-tools-call javascript
python webhook latency cost perplexity perplexity-score finish-reason guardrails tool-call-f1 trace-span-count
trace-span-duration trace-error-spans assert-set not- derivedMetrics threshold trajectory:tool-used
trajectory:tool-sequence trajectory:step-count
"""
AUTOEVALS = "Levenshtein ExactMatch NumericDiff JSONDiff ValidJSON ListContains"
RAGAS = """
NonLLMContextPrecisionWithReference NonLLMContextRecall IDBasedContextPrecision IDBasedContextRecall BleuScore
RougeScore CHRFScore ExactMatch StringPresence ToolCallAccuracy ToolCallF1 DataCompyScore QuotedSpansAlignment
"""


def problems(row: dict[str, str], known_kinds: set[str]) -> list[str]:
    """Return what is wrong with a row of the table."""
    out = [f"unknown key {key!r}" for key in row if key not in ("write", "budget", "test")]
    out += [f"{key} is empty" for key, value in row.items() if not value.strip()]
    if ("write" in row) == ("budget" in row):
        out.append("one of write and budget")
    if row.get("budget") and row["budget"] not in {f"{rule.table}.{rule.key}" for rule in RULES}:
        out.append(f"no rule {row['budget']}")
    if row.get("write"):
        try:
            scorers.validate(as_spec(yaml.safe_load(row["write"])))
        except Exception as error:
            out.append(str(error))
    test = row.get("test", "")
    if "::" in test:
        path, _, name = test.partition("::")
        file = ROOT / path
        tree = ast.parse(file.read_text("utf-8")) if file.is_file() else ast.Module([], [])
        if name not in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}:
            out.append(f"no test {test}")
    elif test not in known_kinds:
        out.append(f"no row {test!r} in test_kinds.py")
    return out


@pytest.fixture(scope="module")
def kinds() -> set[str]:
    """The names of the rows of test_kinds.py, read off its source."""
    tree = ast.parse((HERE / "test_kinds.py").read_text("utf-8"))
    table = next(n for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "KINDS")
    assert isinstance(table.value, ast.List)
    return {str(ast.literal_eval(row.elts[0])) for row in table.value.elts if isinstance(row, ast.Tuple)}


@pytest.mark.parametrize(
    ("tool", "wanted"), [("promptfoo", PROMPTFOO), ("autoevals", AUTOEVALS), ("ragas", RAGAS)]
)
def test_no_kind_of_the_peers_is_left_out(tool: str, wanted: str) -> None:
    assert set(wanted.split()) - TABLE[tool].keys() == set()


def test_no_cell_is_empty_and_every_test_exists(kinds: set[str]) -> None:
    found = {f"{tool} {kind}": problems(row, kinds) for tool, rows in TABLE.items() for kind, row in rows.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_every_scorer_says_what_it_cannot_see() -> None:
    blind = tomllib.loads((ROOT / "docs" / "reference" / "scorers_cannot_see.toml").read_text("utf-8"))
    assert blind.keys() == scorers.registry.BUILTIN.keys()
    assert {name for name, said in blind.items() if len(said) < 20 or not said.endswith(".")} == set()


def test_an_emptied_cell_of_the_table_fails(kinds: set[str]) -> None:
    cells = [(row, key) for rows in TABLE.values() for row in rows.values() for key in row]
    assert len(cells) > 150
    for row, key in cells:
        assert problems({**row, key: ""}, kinds), (row, key)
        assert problems({k: v for k, v in row.items() if k != key}, kinds), (row, key)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"write": "equals: {}", "test": ""}, "test is empty"),
        ({"write": "equals: {}", "test": "nowhere"}, "no row 'nowhere'"),
        ({"write": "equals: {}", "test": "tests/scorers/test_kinds.py::test_gone"}, "no test"),
        ({"write": "equal: {}", "test": "equals"}, "unknown scorer 'equal'"),
        ({"write": "equals: {valu: a}", "test": "equals"}, "unknown option 'valu'"),
        ({"budget": "latency.p96", "test": "equals"}, "no rule"),
        ({"test": "equals"}, "one of write and budget"),
    ],
)
def test_a_bad_row_is_seen(row: dict[str, Any], says: str, kinds: set[str]) -> None:
    assert says in "; ".join(problems(row, kinds))
