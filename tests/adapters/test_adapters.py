"""What holds without the tools: a missing one is told in one line, and nothing of another kind is adapted."""

from __future__ import annotations

import sys

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, ToolCall
from pytest_llmwatch.scorers.adapters import TOOLS, adapt, common


@pytest.mark.parametrize("tool", TOOLS)
def test_a_missing_tool_is_named_in_one_line(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # as if it were not installed, where it is
    class Absent:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.partition(".")[0] == tool:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [n for n in sys.modules if n.partition(".")[0] == tool]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(UsageError) as told:
        scorers.get(tool, {"metric": "NotLookedFor"})
    package = tool.replace("_", "-")
    assert str(told.value).startswith(
        f"scorer {tool} needs {package}, which is not installed; run: pip install {package}"
    )
    assert told.value.slug == "scorer-adapter"


@pytest.mark.parametrize("tool", TOOLS)
def test_no_metric_no_claim_and_no_import(tool: str) -> None:
    before = set(sys.modules)
    (found,) = scorers.score(Output("x"), Case("c"), [tool])
    assert found.label == "not_assessable"
    assert tool not in set(sys.modules) - before


def test_what_is_no_metric_is_not_adapted() -> None:
    with pytest.raises(UsageError, match=r"adapt takes a metric of deepeval, .* \(got builtins\.int\)") as told:
        adapt(3)
    assert told.value.slug == "scorer-adapter"


def test_tool_calls_are_read_as_the_case_and_the_model_wrote_them() -> None:
    assert common.arguments(ToolCall("f", '{"a": 1}')) == {"a": 1}
    assert common.arguments(ToolCall("f", "{broken")) == {"raw": "{broken"}
    assert common.arguments(ToolCall("f", "[1]")) == {"raw": [1]}
    assert common.arguments(ToolCall("f")) == {}
    case = Case(
        "c",
        expected_tool_calls=(
            "search",
            {"name": "book", "arguments": {"n": 1}},
            {"function": {"name": "pay", "arguments": '{"eur": 2}'}},
        ),
    )
    assert common.expected_calls(case) == [("search", {}), ("book", {"n": 1}), ("pay", {"eur": 2})]
    assert common.expected_calls(Case("c")) == []


def test_json_is_read_where_asked_for_and_where_it_is_json() -> None:
    assert common.read("[1]", "json") == [1]
    assert common.read("[1]", "text") == "[1]"
    assert common.read("no json", "json") == "no json"
    assert common.read("[" * 100_000, "json") == "[" * 100_000
    assert common.read(None, "json") is None
