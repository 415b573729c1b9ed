"""Bad input: one clean line each, with the mend, before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SIMPLE = 'api: chat\nmodel: gpt-4o-mini\nprompt: "{{ input }}"\n'
WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["serial", "n2"])


def clean(result: pytest.RunResult) -> str:
    """Return all that was printed, after checking that no traceback is in it."""
    text: str = result.stdout.str() + result.stderr.str()
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    return text


@WORKERS
@pytest.mark.parametrize(
    ("set_yaml", "cases", "expected"),
    [
        ("promt: x\n", None, ["set.yaml:1:", "promt", "prompt"]),
        (SIMPLE + "repeats: 0\n", None, ["set.yaml:4:", "repeats"]),
        (SIMPLE + "scorers: [relevanse]\n", None, ["set.yaml:4:", "relevanse", "relevance"]),
        (SIMPLE, [], ["cases.jsonl", "no case"]),
        (SIMPLE, [{"id": "a", "input": "x"}, {"id": "a", "input": "y"}], ["cases.jsonl:2:", "duplicate"]),
        (SIMPLE, [{"id": "a", "imput": "x"}], ["cases.jsonl:1:", "imput", "input"]),
        ("api: chat\nprompt: [\n", None, ["set.yaml:", "llmwatch:golden"]),
    ],
    ids=["unknown-key", "bad-value", "unknown-scorer", "empty", "duplicate", "case-key", "bad-yaml"],
)
def test_a_wrong_set_is_4(
    project: Any, set_yaml: str, cases: Any, expected: list[str], workers: tuple[str, ...]
) -> None:
    project.golden(set_yaml=set_yaml, **({} if cases is None else {"cases": cases}))
    result = project.run("golden_sets", *workers)
    text = clean(result)
    assert result.ret == 4, text
    for part in expected:
        assert part in text
    assert not list(project.path.rglob("cassettes"))


def test_a_marker_that_names_no_set_is_4_with_the_nearest_name(project: Any) -> None:
    project.golden(name="support")
    project.pytester.makepyfile(
        "import pytest\n@pytest.mark.llm_golden('suport')\ndef test_x(llm_case):\n    assert llm_case\n"
    )
    result = project.run()
    assert result.ret == 4
    assert "did you mean 'support'" in clean(result)


@pytest.mark.parametrize("damage", ["interactions: [", "version: 1\ninteractions: 7\n", "\x00\x01"])
def test_a_corrupt_cassette_is_named_with_the_mend(project: Any, damage: str) -> None:
    folder = project.golden()
    project.run("golden_sets")
    cassette: Path = folder / "cassettes" / "one.yaml"
    cassette.write_text(damage)
    result = project.run("golden_sets", "--llm-record=none")
    text = clean(result)
    assert result.ret == 1
    assert "golden_sets/qa/cassettes/one.yaml" in text
    assert "llmwatch:" in text
    result.assert_outcomes(passed=2, errors=1)


def test_a_changed_prompt_names_the_difference_and_the_command(project: Any) -> None:
    folder = project.golden()
    project.run("golden_sets")
    text = (folder / "set.yaml").read_text().replace("Answer briefly.", "Answer at length.")
    (folder / "set.yaml").write_text(text)
    result = project.run("golden_sets", "--llm-record=none")
    out = clean(result)
    assert result.ret == 1
    assert "$.messages" in out
    assert "briefly" in out
    assert "--llm-record=" in out


def test_an_unknown_model_is_infrastructure_with_one_line(project: Any, loopback: Any) -> None:
    from llmock.scenarios import Fail

    loopback.state.scenarios.add(Fail(404, times=None))
    project.golden()
    project.budget('[model]\nmodel = "gpt-4o-mini"\n[latency]\nmax = "60 s"\n')
    result = project.run("golden_sets", "--llm-budget=budget.toml")
    text = clean(result)
    assert result.ret == 7, text
    assert "gpt-4o-mini" in text
    assert "llmwatch:unknown-model" in text


def test_a_refused_key_is_infrastructure(project: Any, loopback: Any) -> None:
    from llmock.scenarios import Fail

    loopback.state.scenarios.add(Fail(401, times=None))
    project.golden()
    result = project.run("golden_sets", "--llm-report=out")
    assert result.ret == 7
    assert "llmwatch:api-key-refused" in clean(result)


def test_a_scorer_that_raises_is_an_error_to_show_never_a_zero(project: Any) -> None:
    project.path.joinpath("ours.py").write_text(
        "from pytest_llmwatch.hookspecs import hookimpl\n"
        "def broken(output, case):\n    raise RuntimeError('scorer fell over')\n"
        "@hookimpl\ndef llmwatch_scorers():\n    return {'broken': broken}\n"
    )
    project.golden(set_yaml=SIMPLE + "scorers: [relevance]\n")
    project.budget('[plugins]\nmodules = ["ours"]\n[quality]\nbroken = 0.5\n')
    (project.path / "golden_sets" / "qa" / "set.yaml").write_text(SIMPLE + "scorers: [relevance]\n")
    result = project.run("golden_sets", "--llm-budget=budget.toml", PYTHONPATH=str(project.path))
    assert result.ret in (0, 7), clean(result)  # no case was scored by it: not measured
    (project.path / "golden_sets" / "qa" / "set.yaml").write_text(SIMPLE + "scorers: [relevance, broken]\n")
    result = project.run("golden_sets", "--llm-budget=budget.toml", PYTHONPATH=str(project.path))
    data = project.report()
    scores = [c["scores"]["broken"] for c in data["cases"]]
    assert all(s["value"] is None and s["label"] == "error" for s in scores)
    assert any("scorer fell over" in p["message"] for p in data["problems"])
    assert not [v for v in data["verdicts"] if v["rule"] == "quality.broken" and v["verdict"] in ("fail", "pass")]
