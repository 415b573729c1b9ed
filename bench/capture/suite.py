"""A suite of tests with one call each: live, watched, replayed, under pytest-recording, and with a stub."""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import subjects as s

_APP = """\
import openai

CLIENT = openai.OpenAI(base_url={url!r}, api_key="sk-bench-key", max_retries=0)
SYSTEM = {system!r}


def ask(number):
    answer = CLIENT.chat.completions.create(
        model={model!r},
        max_tokens=60,
        temperature=0,
        messages=[
            {{"role": "system", "content": SYSTEM}},
            {{"role": "user", "content": f"Question {{number}}: which spade would you take for heavy soil?"}},
        ],
    )
    return answer.choices[0].message.content
"""
_TEST = """\
import app
import pytest

{mark}
@pytest.mark.parametrize("number", range({tests}))
def test_answer(number):
    assert "fox" in app.ask(number)
"""
_VCR = """\
pytestmark = pytest.mark.vcr


@pytest.fixture(scope="module")
def vcr_config():
    return {"match_on": ["method", "uri", "body"]}
"""
_STUB = """\
import httpx2
import app

ANSWER = {answer}


def _handle(request):
    return httpx2.Response(200, json=ANSWER)


app.CLIENT = app.CLIENT.with_options(http_client=httpx2.Client(transport=httpx2.MockTransport(_handle)))
"""
_OFF = (
    "-p",
    "no:cacheprovider",
    "-p",
    "no:llmock",
    "-p",
    "no:timeout",
    "-p",
    "no:rerunfailures",
    "-p",
    "no:xdist",
)


def suite(server: s.Server, folder: Path, *, tests: int, rounds: int) -> list[dict[str, Any]]:
    """Processor time of a whole suite; ``pytest-recording`` is installed for the purpose.

    The first rows are live: without the plugin, with it installed but not asked for, and watching. Then replays,
    beside a suite whose answers are stubbed.
    """
    recording = folder / "pytest-recording"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(recording)]
    subprocess.run([*command, "pytest-recording"], check=True, stdin=subprocess.DEVNULL)
    plain, ours = ("-p", "no:llmwatch"), ("--llm-budget=budget.toml",)
    variants: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
        "stub": (plain, plain, ""),
        "live, plugin off": (plain, plain, ""),
        "live, plugin idle": ((), (), ""),
        "live, watched": (ours, (*ours, "--llm-record=off"), ""),
        "pytest-llmwatch": ((*ours, "--llm-record=all"), (*ours, "--llm-record=none"), ""),
        "pytest-recording": ((*plain, "--record-mode=rewrite"), (*plain, "--record-mode=none"), str(recording)),
    }
    for name, (record, _, path) in variants.items():
        _project(server, folder / name, name, tests)
        _run(folder / name, record, path)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name in random.sample(list(variants), len(variants)):
            spent = _run(folder / name, variants[name][1], variants[name][2])
            if number:
                seconds[name].append(spent)
    stub = seconds["stub"]
    return [
        {
            "subject": name,
            "cpu": statistics.median(values),
            "over the stub, per test": statistics.median(a - b for a, b in zip(values, stub, strict=True)) / tests,
        }
        for name, values in seconds.items()
    ]


def _project(server: s.Server, folder: Path, name: str, tests: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    (folder / "app.py").write_text(_APP.format(url=server.url, system=s.SYSTEM, model=s.MODEL), "utf-8")
    mark = _VCR if name == "pytest-recording" else ""
    (folder / "test_app.py").write_text(_TEST.format(mark=mark, tests=tests), "utf-8")
    (folder / "budget.toml").write_text("[latency]\np95 = 60.0\n\n[cost]\nrun_usd = 100\n", "utf-8")
    if name == "stub":
        client = s.client(server.url)
        answer = json.loads(client.chat.completions.create(**s.asked(1)).to_json())
        client.close()
        (folder / "conftest.py").write_text(_STUB.format(answer=answer), "utf-8")


def _run(folder: Path, args: tuple[str, ...], path: str) -> float:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OPENAI_")) and k != "CI"}
    before = _children()
    command = [sys.executable, "-m", "pytest", "-q", *_OFF, *args]
    env["PYTHONPATH"] = path
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{folder.name}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return _children() - before


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
