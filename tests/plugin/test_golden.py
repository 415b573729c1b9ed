"""Golden sets as tests: collected by name only, recorded, replayed, judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

BUDGET = """
[model]
model = "gpt-4o-mini"
[latency]
max = "30 s"
[cost]
run_usd = 1.0
[errors]
rate = { fail = 0.5, test = false }
"""


def test_a_bare_run_never_starts_a_golden_set(project: Any) -> None:
    project.golden()
    result = project.run()
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not (project.path / "llmwatch-report").exists()


def test_the_rootdir_as_argument_does_not_name_the_sets(project: Any) -> None:
    project.golden()
    assert project.run(".").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_ini_makes_a_bare_run_collect_them(project: Any) -> None:
    project.golden()
    project.pytester.makeini("[pytest]\nllm_golden_collect = true\n")
    result = project.run()
    result.assert_outcomes(passed=3)


def test_recorded_once_then_replayed_with_nobody_at_the_endpoint(project: Any, dead_url: str) -> None:
    folder = project.golden()
    project.budget(BUDGET)
    first = project.run("golden_sets", "--llm-budget=budget.toml")
    assert first.ret == 0, first.stdout.str()
    assert sorted(p.name for p in (folder / "cassettes").iterdir()) == ["one.yaml", "three.yaml", "two.yaml"]
    recorded = project.report()
    second = project.run(
        "golden_sets", "--llm-budget=budget.toml", "--llm-record=none", OPENAI_BASE_URL=dead_url, OPENAI_API_KEY=""
    )
    assert second.ret == 0, second.stdout.str()
    replayed = project.report()
    assert replayed["aggregates"]["calls"] == recorded["aggregates"]["calls"] == 3
    assert replayed["aggregates"]["latency"] == pytest.approx(recorded["aggregates"]["latency"], abs=2e-3)
    assert replayed["aggregates"]["cost_usd"] == pytest.approx(recorded["aggregates"]["cost_usd"])
    assert [c["scores"] for c in replayed["cases"]] == [c["scores"] for c in recorded["cases"]]
    second.stdout.fnmatch_lines(["*llm quality gate: PASS*"])


def test_the_same_run_for_any_number_of_workers(project: Any) -> None:
    project.golden(set_yaml=(SET_REPEATED))
    project.budget(BUDGET)
    assert project.run("golden_sets", "--llm-budget=budget.toml").ret == 0
    runs = []
    for workers in ("0", "2", "4"):
        result = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=none", "-n", workers)
        assert result.ret == 0, result.stdout.str()
        data = project.report()
        for case in data["cases"]:
            assert case.pop("duration") >= 0  # the time of the test itself, not of the call
        runs.append(json.dumps([data["aggregates"], data["cases"], data["verdicts"]], sort_keys=True))
    assert runs[0] == runs[1] == runs[2]


SET_REPEATED = """\
api: chat
model: gpt-4o-mini
prompt: "Q: {{ input }}"
repeats: 2
seed: 1
scorers: [relevance]
"""


def test_recording_under_workers_loses_nothing(project: Any) -> None:
    folder = project.golden(set_yaml=SET_REPEATED)
    project.budget(BUDGET)
    result = project.run("golden_sets", "--llm-budget=budget.toml", "-n2")
    assert result.ret == 0, result.stdout.str()
    assert project.report()["aggregates"]["calls"] == 6
    names = sorted(p.name for p in (folder / "cassettes").iterdir())
    assert names == ["one.yaml", "three.yaml", "two.yaml"]
    again = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=none")
    again.assert_outcomes(passed=6)


def test_repeats_option_beats_set(project: Any) -> None:
    project.golden(set_yaml=SET_REPEATED)
    project.budget(BUDGET)
    project.run("golden_sets", "--llm-budget=budget.toml", "--llm-repeats=3").assert_outcomes(passed=9)


def test_a_missing_recording_fails_with_the_reason(project: Any) -> None:
    project.golden()
    project.budget(BUDGET)
    result = project.run("golden_sets", "--llm-budget=budget.toml", "--llm-record=none")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*golden_sets/qa/cassettes/one.yaml*llmwatch:*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_marked_test_runs_each_case_and_repeat(project: Any) -> None:
    project.golden()
    project.pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.llm(feature="fruit", team="core")
        @pytest.mark.llm_golden("qa", repeats=2)
        def test_case(llm_call, llm_case):
            reply = llm_call(llm_case)
            assert reply.text
            llm_case.check(reply)
        """
    )
    project.budget(BUDGET + '[scope."feature:fruit".latency]\nmax = "30 s"\n')
    result = project.run("test_it.py", "golden_sets", "--llm-budget=budget.toml")
    result.assert_outcomes(passed=6)
    cases = project.report()["cases"]
    assert {(c["set"], c["case"], c["repeat"]) for c in cases} == {
        ("qa", name, r) for name in ("one", "two", "three") for r in (0, 1)
    }
    assert all("relevance" in c["scores"] for c in cases)


def test_a_required_score_fails_the_test_and_shows_why(project: Any) -> None:
    set_yaml = """\
api: chat
model: gpt-4o-mini
prompt: "Q: {{ input }}"
scorers:
  - name: must_mention
    threshold: 1.0
    required: true
"""
    project.golden(set_yaml=set_yaml, cases=[{"id": "x", "input": "hello", "must_mention": ["zebra-crossing-42"]}])
    result = project.run("golden_sets")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*must_mention is 0.000, required: at least 1*", "*case:*x*", "*output:*", "*zebra-crossing-42*"]
    )


def test_a_target_calls_the_application(project: Any) -> None:
    project.path.joinpath("shop.py").write_text(
        "import openai\n"
        "def answer(question):\n"
        "    c = openai.OpenAI()\n"
        "    asked = [{'role': 'user', 'content': question}]\n"
        "    r = c.chat.completions.create(model='gpt-4o-mini', messages=asked)\n"
        "    return 'ANSWER ' + r.choices[0].message.content\n"
    )
    project.golden(set_yaml="target: shop:answer\nscorers: [relevance]\n")
    project.budget(BUDGET)
    result = project.run("golden_sets", "--llm-budget=budget.toml")
    assert result.ret == 0, result.stdout.str()
    assert project.report()["aggregates"]["calls"] == 3


def test_two_runs_of_a_variant_have_recordings_of_their_own(project: Any) -> None:
    folder = project.golden(
        set_yaml=SET_REPEATED + "variants:\n  rude:\n    prompt: 'Rude: {{ input }}'\n    prompt_version: rude-1\n"
    )
    result = project.run("golden_sets", "--llm-variant=rude", "--llm-report=out")
    assert result.ret == 0, result.stdout.str()
    assert (folder / "cassettes" / "rude" / "one.yaml").exists()
    wrong = project.run("golden_sets", "--llm-variant=rudee")
    assert wrong.ret == 4
    wrong.stderr.fnmatch_lines(["*rude*"])
