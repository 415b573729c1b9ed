"""``llmwatch init``: a budget, a golden set, a test and a CI job, into a project as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_llmwatch import atomic, operations

NEXT = """
next:
  export OPENAI_API_KEY=...                       # or OPENAI_BASE_URL for a local server
  pytest golden_sets --llm-budget=budget.toml     # records once, then replays: commit the cassettes
  open llmwatch-report/report.html
  llmwatch budget suggest                         # limits from what was measured"""

STARTER = """\
# What this project promises about its LLM calls. `pytest --llm-budget=budget.toml` keeps the promise.
# Reference: llmwatch budget schema. Limits from a measured run: llmwatch budget suggest.

[gate]
alpha = 0.01                    # chance that a build with nothing wrong goes red, over all tests together

[model]
model = "gpt-4o-mini"           # what llm_call uses where the test names none

[latency]
p95 = { warn = "8 s", fail = "15 s" }

[errors]
rate = 0.05                     # failed calls, of all calls

[cost]
run_usd = 1.00

[quality]
composite = { warn = 0.6 }      # format .3, relevance .3, groundedness .4
must_mention = { warn = 0.8 }
"""

SET = """\
description: Questions that the assistant must answer from its documents.
licence: MIT
api: chat
prompt_version: v1
system: Answer in one or two sentences, from the context only.
prompt: |
  Context:
  {{ context }}

  Question: {{ input }}
parameters:
  temperature: 0
scorers:
  - must_mention
  - relevance
  - groundedness
  - composite
feature: support
"""

CASES = """\
{"id": "returns-window", "input": "How long do I have to return an order?", "context": ["Orders can be returned within 30 days of delivery. Opened items are excluded."], "must_mention": ["30 days"], "tags": ["returns"]}
{"id": "returns-opened", "input": "Can I return an item that I have opened?", "context": ["Orders can be returned within 30 days of delivery. Opened items are excluded."], "must_not_mention": ["refund is guaranteed"], "tags": ["returns"]}
"""  # noqa: E501

TEST = '''\
"""Replace the prompt by your application: every call that it makes through the OpenAI SDK is recorded."""


def test_answers_in_french(llm_call):
    reply = llm_call("Translate into French: good morning")
    assert "bonjour" in reply.text.lower()
'''

WORKFLOW = """\
name: llm quality
on: [push, pull_request]
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: { python-version: "3.12" }
      - run: pip install pytest-llmwatch
      - run: pytest golden_sets tests --llm-budget=budget.toml --llm-record=none
      - uses: actions/upload-artifact@v4
        if: always()
        with: { name: llmwatch-report, path: llmwatch-report }
"""


def write(root: Path, *, preset: str = "starter") -> Iterator[tuple[Path, bool]]:
    """Write what is missing below ``root`` and yield each path with whether it was written.

    Args:
        root: The project; made where it is missing.
        preset: ``starter``, or ``operations`` for the starting thresholds of operators.
    """
    files = {
        "budget.toml": operations.preset() if preset == "operations" else STARTER,
        "golden_sets/support/set.yaml": SET,
        "golden_sets/support/cases.jsonl": CASES,
        "tests/test_llm.py": TEST,
        ".github/workflows/llm.yml": WORKFLOW,
    }
    taken = (root / "golden_sets").exists()
    for name, text in files.items():
        path = root / name
        if path.exists() or (taken and name.startswith("golden_sets/")):
            yield path, False
            continue
        atomic.write_text(path, text)
        yield path, True
