"""Incidents of real runs: opened by a red build, resolved by a clean one, never in the build's way."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from pytest_llmwatch import pipeline_incidents
from pytest_llmwatch.store.base import open_store

TEST = """
def test_it(llm_call, llm_watch):
    with llm_watch.tag(feature="greeting"):
        llm_call("Say hi.", model="gpt-4o-mini", api="chat")
"""


def test_a_red_build_opens_one_and_a_clean_one_resolves_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmock.testing import LLMockServer

    pytester.makepyfile(TEST)
    budget = pytester.path / "budget.toml"
    store = "runs"
    options = ["--llm-budget=budget.toml", "--llm-record=off", f"--llm-store={store}"]
    with LLMockServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url())
        monkeypatch.setenv("OPENAI_API_KEY", "no-key")
        budget.write_text("[tokens]\ninput_per_call = 0.5\n")
        red = pytester.runpytest_subprocess(*options)
        assert red.ret == 1
        red.stdout.fnmatch_lines(
            ["incidents (llmwatch incidents show ID --store runs)", "*SEV2  Cost spike (triaged, inc-*"]
        )
        report = pytester.path / "llmwatch-report"
        (told,) = json.loads((report / "run.json").read_text())["incidents"]
        assert json.loads((report / "incidents" / f"{told['id']}.json").read_text()) == told
        assert told["affected"]["features"] == {"greeting": 1}
        assert told["id"] in (report / "summary.md").read_text()
        budget.write_text("[tokens]\ninput_per_call = 1000\n")
        green = pytester.runpytest_subprocess(*options)
    assert green.ret == 0
    green.stdout.fnmatch_lines([f"*SEV2  Cost spike (resolved, {told['id']}*"])
    (known,), bad = pipeline_incidents.known(open_store(store, pytester.path))
    assert (known.id, known.state, bad) == (told["id"], "resolved", 0)


@pytest.mark.parametrize(
    "options", [[], ["--llm-report=out of here"], ["--llm-store=a store"], ["--llm-store=.llmwatch/"]]
)
def test_the_command_that_is_printed_finds_the_incident(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    from llmock.testing import LLMockServer

    pytester.makepyfile(TEST)
    (pytester.path / "budget.toml").write_text("[tokens]\ninput_per_call = 0.5\n")
    with LLMockServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url())
        monkeypatch.setenv("OPENAI_API_KEY", "no-key")
        red = pytester.runpytest_subprocess("--llm-budget=budget.toml", "--llm-record=off", *options)
    assert red.ret == 1
    (command,) = (m[1] for line in red.outlines if (m := re.match(r"incidents \((llmwatch .*)\)$", line)))
    (found,) = {m[0] for line in red.outlines if (m := re.search(r"inc-\d{8}-[0-9a-f]{6}", line))}
    words = shlex.split(command.replace("ID", found))
    shown = pytester.run(sys.executable, "-m", "pytest_llmwatch.cli", *words[1:])
    assert shown.ret == 0, shown.stderr.str()
    assert found in shown.stdout.str()


def test_incidents_that_nobody_notes_have_no_command(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmock.testing import LLMockServer

    pytester.makepyfile(TEST)
    (pytester.path / "budget.toml").write_text("[tokens]\ninput_per_call = 0.5\n")
    with LLMockServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url())
        monkeypatch.setenv("OPENAI_API_KEY", "no-key")
        pytester.runpytest_subprocess("--llm-budget=budget.toml", "--llm-record=off")
    gate = ("-m", "pytest_llmwatch.cli", "gate", "llmwatch-report", "--budget", "budget.toml")
    shown = pytester.run(sys.executable, *gate)
    assert shown.ret == 1
    assert [line for line in shown.outlines if line.startswith("incidents")] == ["incidents"]
    kept = pytester.run(sys.executable, *gate, "--keep")
    kept.stdout.fnmatch_lines(["incidents (llmwatch incidents show ID)"])


def test_a_fault_in_incidents_leaves_the_build_as_it_was(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmock.testing import LLMockServer

    pytester.makeconftest(
        """
        from pytest_llmwatch import incidents

        def fails(*_, **__):
            raise RuntimeError("a fault of our own")

        incidents.detect = fails
        """
    )
    pytester.makepyfile(TEST)
    Path(pytester.path / "budget.toml").write_text("[tokens]\ninput_per_call = 0.5\n")
    with LLMockServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url())
        monkeypatch.setenv("OPENAI_API_KEY", "no-key")
        result = pytester.runpytest_subprocess("--llm-budget=budget.toml", "--llm-record=off")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*incidents could not be worked out: RuntimeError: a fault of our own*"])
    result.stdout.fnmatch_lines(["*tokens.input_per_call*"])
