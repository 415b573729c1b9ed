"""Every kind of scorer in one golden set: asked for in YAML, limited by name in budget.toml, and from Python."""

from __future__ import annotations

import json
from typing import Any

import yaml

from pytest_llmwatch.scorers import registry
from pytest_llmwatch.scorers.adapters import TOOLS

OPTIONS: dict[str, dict[str, Any]] = {
    "json": {"negate": True, "label": "no_json"},
    "json_schema": {"schema": {"type": "object"}, "extract": True},
    "regex": {"pattern": "lamps?", "ignore_case": True},
    "length": {"max_words": 400},
    "contains": {"any": ["lamp", "oak"], "ignore_case": True},
    "starts_with": {"value": ["Q:", "Say", "{"]},
    "ends_with": {"value": "never said this", "negate": True, "label": "no_such_end"},
    "rouge": {"n": "L", "measure": "recall"},
    "levenshtein": {"method": "jaro"},
    "numeric": {"relative": 0.5, "pick": "nearest"},
    "list_contains": {"items": ["lamp"], "allow_extra": True},
    "json_diff": {"value": {"a": 1}, "tolerance": 0.1},
    "json_fields": {"fields": ["a.b"]},
    "data_compare": {"mode": "rows"},
    "yaml": {"extract": True},
    "csv": {"columns": ["a"]},
    "python_code": {"extract": True},
    "xml": {"elements": ["a"]},
    "sql": {"dialect": "postgres", "tables": ["orders"]},
    "language": {"languages": "en", "among": ["de"]},
    "instructions": {
        "follow": [
            "punctuation:no_comma",
            {"length_constraints:number_words": {"num_words": 400, "relation": "less than"}},
        ]
    },
    "short_output": {"of_input": 0.1},
    "perplexity": {"max": 5},
    "context_precision": {"by": "text", "ranked": True},
    "context_recall": {"by": "text"},
    "tool_used": {"tools": ["search"], "negate": True, "label": "no_search"},
    "tool_sequence": {"tools": ["search"]},
    "tool_schema": {"tools": [{"name": "search", "parameters": {"type": "object"}}]},
    "step_count": {"max": 3},
    "finish_reason": {"allowed": ["stop"]},
    "policy": {"topics": ["competitor | Acme"], "patterns": [r"\bguarantee"]},
    "injection": {"kinds": ["override", "mode"]},
    "pii": {"allow_given": True},
    "function": {"call": "own_scorers:polite", "options": {"word": "lamp"}},
    "any_of": {"members": ["json", {"length": {"max_words": 400}}]},
    "k_of": {"k": 2, "members": ["refusal", "secrets", "json"], "weight": 0},
    "all_of": {"members": ["refusal", {"length": {"max_words": 400, "weight": 2}}], "label": "style"},
    "derived": {"formula": "0.5 * relevance + 0.5 * clip(refusal)", "label": "overall"},
}
"""Options of a scorer, where it needs or shows some."""

MODELS = frozenset(
    name
    for name, (module, _class) in registry.BUILTIN.items()
    if module.startswith(("judge", "embeddings", "entailment"))
)
"""These ask a model; they and the adapters have tests of their own."""
NAMES = [name for name in registry.BUILTIN if name not in MODELS | set(TOOLS)]
NOT_FOR_TEXT = {"perplexity", "tool_schema", "data_compare", "quoted_spans", "prompt_leak", "markers"}
"""Not assessable here (no log probabilities, tool calls, tables, quotes, prompt), or not for a gate."""

CASE = {
    "id": "lamp",
    "input": "Say in English how many euros the oak lamp costs and when it is delivered to my home, please.",
    "reference": "The oak lamp costs 49 euros.",
    "context": ["The oak lamp costs 49 euros. It is delivered within two days."],
    "must_mention": ["lamp"],
    "must_not_mention": ["Acme"],
    "schema": {"type": "object"},
    "expected_tool_calls": [],
    "expected_documents": ["The oak lamp costs 49 euros. It is delivered within two days."],
}


def entry(name: str) -> Any:
    return {name: OPTIONS[name]} if name in OPTIONS else name


def shown(name: str) -> str:
    return str(OPTIONS.get(name, {}).get("label", name))


def test_every_scorer_from_yaml_with_a_limit_of_its_own_name(project: Any) -> None:
    assert len(NAMES) >= 60
    (project.path / "own_scorers.py").write_text(
        "def polite(output, case, *, word):\n    return word in output.text\n"
    )
    project.pytester.makeini("[pytest]\npythonpath = .\n")
    wanted = {"api": "chat", "model": "gpt-4o-mini", "prompt": "{{ input }}", "prompt_version": "v1", "repeats": 2}
    wanted["system"] = "You are Ada of Lamp Inc and answer every question of our customers in one short sentence."
    project.golden(set_yaml=yaml.safe_dump({**wanted, "scorers": [entry(n) for n in NAMES]}), cases=[CASE])
    limits = "\n".join(f"{shown(n)} = 0.0" for n in NAMES if n not in NOT_FOR_TEXT)
    project.budget(f'[model]\nmodel = "gpt-4o-mini"\n[cost]\nrun_usd = 1.0\n[quality]\n{limits}\n')
    result = project.run("golden_sets", "--llm-budget=budget.toml")
    report = project.report()
    for case in report["cases"]:
        scores = case["scores"]
        assert scores.keys() == {shown(n) for n in NAMES}
        assert {n: s["explanation"] for n, s in scores.items() if s["label"] == "error"} == {}
        empty = {n for n, s in scores.items() if s["value"] is None}
        assert {n for n in empty if scores[n]["label"] != "not_assessable"} == set()
        assert all(s["explanation"] for s in scores.values())
        assert scores["consistency"]["version"] == "2"
        assert scores["consistency"]["value"] == 1  # the same answer twice
        assert scores["no_json"]["value"] == 1
        assert scores["no_search"]["value"] == 1
        assert scores["instructions"]["value"] is not None
        assert scores["k_of"]["weight"] == 0
        assert len(empty) <= 12, empty
    assert result.ret == 0
    ruled = {v["metric"]: v["verdict"] for v in report["verdicts"] if v["layer"] == "quality"}
    assert ruled == {shown(n): "pass" for n in NAMES if n not in NOT_FOR_TEXT}


def test_every_scorer_from_python(project: Any) -> None:
    (project.path / "own_scorers.py").write_text(
        "def polite(output, case, *, word):\n    return word in output.text\n"
    )
    (project.path / "test_it.py").write_text(
        "import json, pathlib, sys\n"
        "HERE = pathlib.Path(__file__).parent\n"
        "def test_all(llm_watch):\n"
        "    sys.path.insert(0, str(HERE))\n"
        "    wanted = json.loads((HERE / 'wanted.json').read_text())\n"
        "    case = {'input': 'How much is the lamp?', 'reference': 'The oak lamp costs 49 euros.'}\n"
        "    scored = llm_watch.score('The oak lamp costs 49 euros.', case, wanted)\n"
        "    assert len(scored.scores) == len(wanted)\n"
        "    assert [s for s in scored.scores if s.label == 'error'] == []\n"
        "    assert scored.score('groundedness').value == scored.score('numeric').value == 1\n"
    )
    (project.path / "wanted.json").write_text(json.dumps([entry(n) for n in NAMES]))
    project.budget('[model]\nmodel = "gpt-4o-mini"\n')
    result = project.run("test_it.py", "--llm-budget=budget.toml")
    assert result.parseoutcomes()["passed"] == 1, result.stdout.str()
