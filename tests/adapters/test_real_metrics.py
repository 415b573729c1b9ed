"""What the tools' own metrics say of right and wrong answers, through their adapters."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import scorers
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, ScorerSpec, ToolCall
from pytest_llmwatch.scorers.adapters import adapt

SEARCH = ToolCall("search", '{"q": "Paris"}')
PARIS = Case("c", input="What is the capital of France?", reference="Paris")
CALLS = Case("c", input="Find Paris.", expected_tool_calls=({"name": "search", "arguments": {"q": "Paris"}},))
DOCUMENTS = Case(
    "c",
    input="Where is the tower?",
    reference="Paris",
    context=("The tower stands in Paris.", "Bread is baked in the morning."),
    expected_documents=("a", "b"),
    metadata={"reference_contexts": ["The tower stands in Paris.", "Gustave built it in 1889."]},
)

# tool, options, case, answer, value (None: not_assessable)
METRICS: list[tuple[str, dict[str, Any], Case, Any, float | None]] = [
    ("deepeval", {"metric": "ExactMatchMetric"}, PARIS, " Paris ", 1.0),
    ("deepeval", {"metric": "ExactMatchMetric"}, PARIS, "Rome", 0.0),
    ("deepeval", {"metric": "ExactMatchMetric"}, Case("c", input="Hi"), "Rome", None),
    (
        "deepeval",
        {"metric": "deepeval.metrics:PatternMatchMetric", "options": {"pattern": r"\d+"}},
        PARIS,
        "42",
        1.0,
    ),
    ("deepeval", {"metric": "PatternMatchMetric", "options": {"pattern": r"\d+"}}, PARIS, "no", 0.0),
    ("autoevals", {"metric": "Levenshtein"}, PARIS, "Paris", 1.0),
    ("autoevals", {"metric": "Levenshtein"}, PARIS, "Pa", 0.4),
    ("autoevals", {"metric": "autoevals.value:ExactMatch"}, PARIS, "Rome", 0.0),
    ("autoevals", {"metric": "NumericDiff", "read": "json"}, Case("c", reference="10"), "10", 1.0),
    ("autoevals", {"metric": "NumericDiff", "read": "json"}, Case("c", reference="10"), "30", 0.5),
    ("autoevals", {"metric": "JSONDiff"}, Case("c", reference='{"a": 1, "b": 2}'), '{"b": 2, "a": 1}', 1.0),
    ("autoevals", {"metric": "JSONDiff"}, Case("c", reference='{"a": "x"}'), '{"b": "x"}', 0.0),
    ("autoevals", {"metric": "ListContains", "read": "json"}, Case("c", reference='["a"]'), '["a"]', 1.0),
    ("autoevals", {"metric": "ValidJSON"}, PARIS, '{"a": 1}', 1.0),
    ("autoevals", {"metric": "ValidJSON"}, PARIS, "{", 0.0),
    (
        "autoevals",
        {"metric": "ValidJSON", "options": {"schema": {"type": "object", "required": ["b"]}}},
        PARIS,
        '{"a": 1}',
        0.0,
    ),
    ("ragas", {"metric": "ExactMatch"}, PARIS, "Paris", 1.0),
    ("ragas", {"metric": "ExactMatch"}, PARIS, "Rome", 0.0),
    ("ragas", {"metric": "ExactMatch"}, Case("c", input="Hi"), "Rome", None),
    ("ragas", {"metric": "StringPresence"}, PARIS, "It is Paris.", 1.0),
    ("ragas", {"metric": "NonLLMStringSimilarity"}, PARIS, "Pa", 0.4),
    (
        "ragas",
        {"metric": "NonLLMStringSimilarity", "options": {"distance_measure": "hamming"}},
        PARIS,
        "Haris",
        0.8,
    ),
    ("ragas", {"metric": "ragas.metrics:ExactMatch"}, PARIS, "Paris", 1.0),
    ("ragas", {"metric": "ragas.metrics:ExactMatch"}, Case("c", input="Hi"), "Paris", None),
    ("ragas", {"metric": "ragas.metrics:BleuScore"}, Case("c", reference="a b c d e"), "a b c d e", 1.0),
    ("ragas", {"metric": "ragas.metrics:NonLLMContextRecall"}, DOCUMENTS, "Paris", 0.5),
    ("ragas", {"metric": "ragas.metrics:NonLLMContextRecall"}, PARIS, "Paris", None),
    ("ragas", {"metric": "ragas.metrics:IDBasedContextRecall"}, DOCUMENTS, Output("x", retrieved=("a", "z")), 0.5),
    ("ragas", {"metric": "ragas.metrics:ToolCallAccuracy"}, CALLS, Output("", (SEARCH,)), 1.0),
    ("ragas", {"metric": "ragas.metrics:ToolCallAccuracy"}, CALLS, Output("", (ToolCall("book", "{}"),)), 0.0),
    ("ragas", {"metric": "ToolCallF1"}, CALLS, Output("", (SEARCH,)), 1.0),
    ("ragas", {"metric": "ToolCallF1"}, CALLS, Output("", (ToolCall("book", "{}"),)), 0.0),
    ("pydantic_evals", {"metric": "Equals", "options": {"value": "Paris"}}, PARIS, "Paris", 1.0),
    ("pydantic_evals", {"metric": "EqualsExpected"}, PARIS, "Rome", 0.0),
    ("pydantic_evals", {"metric": "EqualsExpected"}, Case("c"), "Rome", None),
    ("pydantic_evals", {"metric": "Contains", "options": {"value": "aris"}}, PARIS, "Paris", 1.0),
    ("pydantic_evals", {"metric": "Contains", "options": {"value": "Rome"}}, PARIS, "Paris", 0.0),
    ("pydantic_evals", {"metric": "IsInstance", "options": {"type_name": "dict"}}, PARIS, "{}", 0.0),
    (
        "pydantic_evals",
        {"metric": "IsInstance", "options": {"type_name": "dict"}, "read": "json"},
        PARIS,
        "{}",
        1.0,
    ),
]


@pytest.mark.parametrize(("tool", "options", "case", "answer", "value"), METRICS)
def test_a_metric_says_what_its_tool_says(  # noqa: PLR0917
    tool: str, options: dict[str, Any], case: Case, answer: Any, value: float | None, present: Callable[..., None]
) -> None:
    present(tool)
    output = answer if isinstance(answer, Output) else Output(answer)
    (found,) = scorers.score(output, case, [{tool: options}])
    assert found.label == ("not_assessable" if value is None else None), found
    assert found.value == (None if value is None else pytest.approx(value)), found
    package = tool.replace("_", "-")
    assert found.version == f"{package} {version(package)} {options['metric'].rpartition(':')[2]}"
    assert found.explanation
    assert found.name == tool


def test_tool_calls_reach_deepeval_and_its_want_of_a_key_is_told(
    present: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    present("deepeval")
    with pytest.raises(
        UsageError, match=r"scorer deepeval: ToolCorrectnessMetric cannot be made .*[kK]ey"
    ) as told:
        scorers.get("deepeval", {"metric": "ToolCorrectnessMetric", "options": {"threshold": 0.9}})
    assert told.value.slug == "scorer-adapter"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-is-asked-0123456789")
    asked = [ScorerSpec("deepeval", {"metric": "ToolCorrectnessMetric", "options": {"threshold": 0.8}})]
    values = [
        scorers.score(Output("", calls), CALLS, asked)[0].value for calls in ((SEARCH,), (ToolCall("book"),))
    ]
    assert values == [1.0, 0.0]


def test_metric_objects_are_adapted_and_run_inside_a_loop(present: Callable[..., None]) -> None:
    present("deepeval", "ragas", "autoevals", "pydantic_evals")
    metrics = [
        importlib.import_module("deepeval.metrics").ExactMatchMetric(),
        importlib.import_module("ragas.metrics.collections").StringPresence(),
        importlib.import_module("autoevals").Levenshtein,  # a class is made without options
        importlib.import_module("pydantic_evals.evaluators").EqualsExpected(),
    ]
    asked = [adapt(m, threshold=0.5, required=True) for m in metrics]

    async def inside() -> Any:
        return scorers.score(Output("Paris"), PARIS, asked)

    for found in (scorers.score(Output("Paris"), PARIS, asked), asyncio.run(inside())):
        assert [s.name for s in found] == ["ExactMatchMetric", "StringPresence", "Levenshtein", "EqualsExpected"]
        assert [s.value for s in found] == [1, 1, 1, 1]
        assert all(s.passed and s.required for s in found)
    assert [s.passed for s in scorers.score(Output("Rome"), PARIS, asked)] == [False] * 4
    (negated,) = scorers.score(Output("Rome"), PARIS, [adapt(metrics[0], negate=True, label="not it")])
    assert (negated.name, negated.value) == ("not it", 1.0)


def test_own_evaluators_that_crash_wait_or_answer_otherwise(present: Callable[..., None]) -> None:
    present("pydantic_evals")
    evaluators = importlib.import_module("pydantic_evals.evaluators")

    def own(evaluate: Any, **options: Any) -> Any:
        metric = type("Own", (evaluators.Evaluator,), {"evaluate": evaluate})()
        spec = ScorerSpec("pydantic_evals", {"metric": metric, **options})
        (found,) = scorers.score(Output("Paris"), PARIS, [spec])
        return found

    def crash(self: Any, ctx: Any) -> float:
        raise RuntimeError("the evaluator's own fault")

    async def wait(self: Any, ctx: Any) -> Any:
        await asyncio.sleep(0)
        return evaluators.EvaluationReason(0.25, "for a reason")

    crashed = own(crash)
    assert (crashed.value, crashed.label) == (None, "error")
    assert "RuntimeError: the evaluator's own fault" in crashed.explanation
    waited = own(wait)
    assert (waited.value, waited.explanation) == (0.25, "for a reason")
    worded = own(lambda self, ctx: "formal")
    assert (worded.value, worded.label, worded.explanation) == (None, "unscored", "formal")
    outside = own(lambda self, ctx: 7)
    assert (outside.value, outside.label) == (None, "error")
    assert own(lambda self, ctx: float("nan")).label == "not_assessable"
    both = own(lambda self, ctx: {"a": True, "b": False})
    assert both.label == "error"
    assert "a, b; name one of them" in both.explanation
    assert own(lambda self, ctx: {"a": True, "b": False}, result_name="b").value == 0
    # no time is known, so a limit of time is an error and never passes
    assert scorers.score(
        Output("x"), PARIS, [{"pydantic_evals": {"metric": "MaxDuration", "options": {"seconds": 5}}}]
    )[0].label == ("error")


@pytest.mark.parametrize(
    ("tool", "options", "says"),
    [
        ("deepeval", {"metric": "ExactMachMetric"}, "did you mean 'ExactMatchMetric'?"),
        ("ragas", {"metric": "ragas.nowhere:Bleu"}, "cannot import ragas.nowhere"),
        (
            "autoevals",
            {"metric": "Levenshtein", "options": {"size": 3}},
            "Levenshtein cannot be made with options",
        ),
        ("pydantic_evals", {"metric": "Contains"}, "Contains cannot be made with options {}"),
        ("autoevals", {"metric": "Levenshtein", "reed": "json"}, "unknown option 'reed'"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_runs(
    tool: str, options: dict[str, Any], says: str, present: Callable[..., None]
) -> None:
    present(tool)
    with pytest.raises(UsageError) as told:
        scorers.validate(ScorerSpec(tool, options))
    assert says in str(told.value)
    assert "\n" not in str(told.value)


QUIET = """
import json, os, sys, tempfile
tempfile.gettempdir()
told = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        told.append([event, str(args[1:])])
    if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        told.append([event, str(args[0])])
    if event in ("os.mkdir", "os.rename", "os.remove"):
        told.append([event, str(args[0])])
from pytest_llmwatch import scorers
from pytest_llmwatch.model import Case, Output
assert not {"deepeval", "ragas", "autoevals", "pydantic_evals"} & sys.modules.keys()
case = Case("c", input="q", reference="Paris")
sys.addaudithook(watch)
for tool, metric in json.loads(sys.argv[1]):
    (found,) = scorers.score(Output("Paris"), case, [{tool: {"metric": metric}}])
    assert found.value == 1, found
import atexit
atexit._run_exitfuncs()
told = [x for x in told if "__pycache__" not in x[1] and x[1] != os.devnull]
assert not told, told
"""


def test_nothing_is_sent_written_or_printed(present: Callable[..., None], tmp_path: Path) -> None:
    present("deepeval", "ragas", "autoevals", "pydantic_evals")
    asked = [
        ("deepeval", "ExactMatchMetric"),
        ("ragas", "StringPresence"),
        ("ragas", "ragas.metrics:ExactMatch"),
        ("autoevals", "Levenshtein"),
        ("pydantic_evals", "EqualsExpected"),
    ]
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://elsewhere.invalid\n")
    done = subprocess.run(
        [sys.executable, "-c", QUIET, json.dumps(asked)],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [f.name for f in tmp_path.iterdir()] == [".env"]
