"""Two hundred secrets planted wherever a call can hold one: none is in any file that a run writes.

The control switches the defence off, and the same detector finds each of them, in each channel.
"""

from __future__ import annotations

import gzip
import json
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CHANNELS = [
    "test_request_headers", "test_authorization", "test_cookies", "test_url_userinfo", "test_url_query",
    "test_prompt_user", "test_prompt_others", "test_prompt_encoded", "test_request_members",
    *(f"test_answer[{act}]" for act in (
        "plain", "stream", "escaped", "logprobs", "tools", "tools_stream", "fields", "headers",
    )),
    "test_stream_cut_off", "test_responses_stream", "test_error[error]", "test_error[page]", "test_exception",
    "test_multipart", "test_embeddings", "test_watch", "test_node_id", "test_assertion", "test_raised",
    "test_labels",
    "golden_sets/planted",
]  # fmt: skip
OWN = ("test_node_id", "test_assertion", "test_raised")
"""What pytest itself writes of a test: its name and its failure. That is the test's, also where it is secret."""


@pytest.fixture
def suite(pytester: pytest.Pytester, hostile_server: str, monkeypatch: pytest.MonkeyPatch, planted: Any) -> Any:
    """A project whose tests plant all secrets; call it with a record mode and more options."""
    names = {"channels": "test_channels", "own": "test_own", "conftest": "conftest", "rows": "planted_rows"}
    for source, name in {**names, "defence_off": "defence_off"}.items():
        (pytester.path / f"{name}.py").write_text((HERE / f"suite_{source}.txt").read_text("utf-8"), "utf-8")
    folder = pytester.path / "golden_sets" / "planted"
    folder.mkdir(parents=True)
    (folder / "set.yaml").write_text(
        'description: planted\napi: chat\nmodel: gpt-4o-mini\nsystem: Hi.\nprompt: "Q: {{ input }}"\n'
        "repeats: 1\nscorers: [must_mention, relevance, groundedness, pii, secrets]\n"
    )
    cases = []
    for start in range(0, len(planted), 20):
        rows = planted[start : start + 20]
        text = "\n".join(p.text for p in rows)
        one_line = [p.text for p in rows if "\n" not in p.text]
        case = {"id": f"c{start}", "input": text, "context": [text], "reference": text, "must_mention": one_line}
        cases.append({**case, "tags": one_line[:2], "metadata": {"note": text}})
    (folder / "cases.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases), "utf-8")
    (pytester.path / "budget.toml").write_text(f'[model]\nbase_url = "{hostile_server}"\nmodel = "gpt-4o-mini"\n')
    monkeypatch.setenv("PLANTED_URL", hostile_server)
    monkeypatch.setenv("PLANTED_FILE", str(HERE / "planted.jsonl"))
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("LLMWATCH_HASH_KEY", "a key of the test")

    def run(mode: str, *options: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(
            "-p", "no:llmock", "-p", "no:cacheprovider", "-p", "no:timeout",
            "-p", "no:hypothesispytest", "--import-mode=prepend", "-q",
            "--llm-budget=budget.toml", f"--llm-record={mode}", "--llm-store=store", "--junitxml=junit.xml",
            "-o", "junit_logging=all", "--log-file=log.txt", "--log-level=DEBUG",
            "test_channels.py", "test_own.py", "golden_sets", *options,
        )  # fmt: skip

    return run


def _outcomes(result: pytest.RunResult) -> None:
    """Assert that each channel did what it is to do: only those fail that plant by failing."""
    failed = [line for line in result.outlines if line.startswith(("FAILED", "ERROR"))]
    assert {line.split("::")[1].split("[")[0] for line in failed} <= {"test_assertion", "test_raised"}, failed
    assert len(failed) == 10, result.stdout.str()[-3000:]


def _our_junit(folder: Path) -> None:
    """Drop from the XML what pytest writes of the tests that plant in their own name and failure."""
    path = folder / "junit.xml"
    tree = ET.parse(path)
    for suite in tree.getroot():
        for case in list(suite):
            if case.get("name", "").startswith(OWN):
                suite.remove(case)
    tree.write(path)


CASES = frozenset({"cases.jsonl", "stdout", "stderr"})  # what the team wrote itself, and the terminal


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_no_planted_secret_is_in_any_file(
    suite: Any, pytester: pytest.Pytester, detector: Any, workers: tuple[str, ...]
) -> None:
    _outcomes(suite("once", *workers))
    written = {p.name for p in pytester.path.rglob("*") if p.is_file()}
    assert {"run.json", "report.html", "events.jsonl", "summary.md", "calls.jsonl.gz", "junit.xml"} <= written
    assert (pytester.path / "log.txt").stat().st_size > (0 if workers else 300_000)
    assert list(pytester.path.glob("spool-copy/*/*.jsonl"))
    _our_junit(pytester.path)
    assert detector.find(pytester.path, CASES) == []
    if not workers:
        _outcomes(suite("none"))
        _our_junit(pytester.path)
        assert detector.find(pytester.path, CASES) == []


def test_without_the_defence_all_of_them_leak(
    suite: Any, pytester: pytest.Pytester, detector: Any, planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_CONTROL", "1")
    suite("all")
    texts = list(detector.texts(pytester.path, CASES))
    leaks = detector.leaks(texts)
    assert {id_ for id_, _ in leaks} == {p.id for p in planted}
    by_channel = _leaks_by_channel(pytester.path, detector, texts)
    assert [channel for channel in CHANNELS if not by_channel[channel]] == []
    for kind in ("report.html (packed)", "log.txt", "run.json", "calls.jsonl.gz", "events.jsonl", "spool-copy"):
        assert any(kind in where for _, where in leaks), kind


def _leaks_by_channel(folder: Path, detector: Any, written: list[tuple[str, str]]) -> dict[str, bool]:
    """Return whether secrets are in each channel's own cassettes, records and test cases."""
    texts: dict[str, list[str]] = defaultdict(list)
    for name, text in written:
        texts[name].append(text)
    lines = gzip.decompress((folder / "llmwatch-report" / "calls.jsonl.gz").read_bytes()).decode().splitlines()
    cases = {c.get("name"): ET.tostring(c, "unicode") for c in ET.parse(folder / "junit.xml").iter("testcase")}
    found: dict[str, bool] = {}
    for channel in CHANNELS:
        stem = channel.replace("[", "-").replace("]", "")
        own = [t for name, ts in texts.items() if channel in name or stem in name for t in ts]
        own += [line for line in lines if channel in line]
        own += [xml for name, xml in cases.items() if (name or "").startswith(channel)]
        found[channel] = any(detector.leaks([(channel, text)]) for text in own)
    return found
