"""Patterns of a team's own, from budget.toml and from an extension's hook, hide what they name in every file."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llmock.scenarios import Fail, Match, Reply, ToolCall
from llmock.testing import LLMockServer

OWN = {"ticket": "TCK-493021", "customer": "30418827", "badge": "BDG-QWERT77"}
"""What is planted, by the pattern that is to find it; the third comes from the extension."""
PATTERNS = r"""
[redact.patterns]
ticket = 'TCK-\d{6}'
customer = 'customer (?P<secret>\d{8})'
[plugins]
modules = ["house_rules"]
"""
EXTENSION = r"""
from pytest_llmwatch.hookspecs import hookimpl

@hookimpl
def llmwatch_redaction_patterns():
    return [("badge", r"BDG-[A-Z]{5}\d{2}")]
"""
SUITE = """
import contextlib

import openai

TEXT = "TCK-493021 of customer 30418827, badge BDG-QWERT77"
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}

def ask(model, **more):
    messages = [{"role": "system", "content": TEXT}, {"role": "user", "content": f"About {TEXT}?"}]
    client = openai.OpenAI(max_retries=0)
    return client.chat.completions.create(model=model, messages=messages, **more)

def test_plain():
    assert TEXT in ask("plain").choices[0].message.content

def test_stream():
    pieces = [c.choices[0].delta.content or "" for c in ask("stream", stream=True) if c.choices]
    assert len(pieces) > 5 and TEXT in "".join(pieces)

def test_tools():
    assert TEXT in ask("tools", tools=[TOOL]).choices[0].message.tool_calls[0].function.arguments

def test_error():
    with contextlib.suppress(openai.InternalServerError):
        ask("broken")

def test_url():
    query, headers = {"note": TEXT}, {"x-note": TEXT}
    ask("plain", extra_query=query, extra_headers=headers, extra_body={"note": TEXT})

def test_watch(llm_watch):
    with llm_watch.span("look up", note=TEXT), llm_watch.tool("find", {"what": TEXT}) as tool:
        tool.result = TEXT
    llm_watch.retrieval(TEXT, [{"id": TEXT, "text": TEXT}])
    llm_watch.tag(feature=TEXT, tenant=TEXT)
    ask("plain")
"""


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """All that the files of a run say: unpacked, and the pieces of streams put together."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix in (".py", ".pyc", ".toml"):
            continue
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", "replace")
        name = path.relative_to(folder).as_posix()
        yield name, text
        yield f"{name}, pieces", "".join(re.findall(r'"content":\s*"((?:[^"\\]|\\.)*)', text))
        for packed in re.findall(r"H4sI[A-Za-z0-9+/=]{20,}", text):
            yield f"{name}, packed", gzip.decompress(base64.b64decode(packed)).decode("utf-8", "replace")


def leaks(folder: Path) -> dict[str, set[str]]:
    """Where each of the planted is found: the file's name without its folder."""
    found: dict[str, set[str]] = {name: set() for name in OWN}
    for where, text in texts(folder):
        for name, secret in OWN.items():
            if secret in text:
                found[name].add(where.rpartition("/")[2])
    return found


@pytest.mark.parametrize("defended", [True, False], ids=["patterns", "control"])
def test_own_patterns_hide_in_every_file(project: Any, loopback: LLMockServer, defended: bool) -> None:
    text = "TCK-493021 of customer 30418827, badge BDG-QWERT77"
    add = loopback.state.scenarios.add
    add(Reply(f"It is {text}, is it not?", times=3, match=Match(model="plain")))
    add(Reply(f"It is {text}, is it not?", match=Match(model="stream")))
    add(Reply(None, (ToolCall("find", {"what": text}),), match=Match(model="tools")))
    add(Fail(500, message=f"no {text} here", match=Match(model="broken")))
    project.path.joinpath("house_rules.py").write_text(EXTENSION)
    project.path.joinpath("test_shop.py").write_text(SUITE)
    project.budget("[latency]\nmax = 60\n" + (PATTERNS if defended else ""))
    options = ("--llm-budget=budget.toml", "--llm-store=store", "--log-file=log.txt", "--log-level=DEBUG")
    live = project.run("test_shop.py", *options, PYTHONPATH=str(project.path))
    assert live.ret == 0, live.stdout.str()
    found = leaks(project.path)
    if defended:
        assert found == {name: set() for name in OWN}
        kept = (project.path / "cassettes/test_shop/test_plain.yaml").read_text()
        assert all(kept.count(f"[{name.upper()}:") >= 3 for name in OWN), kept  # system, user, answer
    else:
        files = set.intersection(*found.values())
        assert {f"test_{t}.yaml" for t in ("plain", "tools", "error", "watch", "url")} <= files
        assert {"test_stream.yaml, pieces", "calls.jsonl.gz", "spans.jsonl.gz", "report.html, packed"} <= files
        assert "log.txt" in files
