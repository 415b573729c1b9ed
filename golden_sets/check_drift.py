#!/usr/bin/env python
"""Compare five recordings with their baselines, and check that the gate tells them apart.

The same prompt again and the same prompt in other words must not go red. A careless prompt, a prompt twice as long
and a slower machine must, each in the rules that it touches. Exit code 0: all of it was so. 1 otherwise, with the
difference.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPORTS = "llmwatch-report/drift"


@dataclass(frozen=True, slots=True)
class Build:
    """One build: a variant of a set, the rules that must break, and those that may (they follow from the first)."""

    golden: str
    variant: str
    story: str
    broken: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()


QUALITY = frozenset({"drift.passed", "drift.composite", "drift.must_mention"})
BUILDS = (
    Build("facts", "", "the same prompt again"),
    Build("facts", "paraphrase", "the same instruction in other words"),
    Build("facts", "careless", "a careless prompt", QUALITY,
          frozenset({"drift.input_tokens", "drift.output_tokens", "drift.cost_usd", "drift.latency"})),
    Build("facts", "wordy", "a prompt twice as long", frozenset({"drift.input_tokens", "drift.cost_usd"}),
          QUALITY | {"drift.latency"}),
    Build("support", "", "the same prompt again"),
    Build("support", "slower", "a slower machine", frozenset({"drift.latency"})),
)  # fmt: skip


def folder(build: Build) -> str:
    """Return where the report of ``build`` goes."""
    return f"{REPORTS}/{build.golden}-{build.variant or 'same'}"


def run_pytest(build: Build, arguments: list[str]) -> int:
    """Replay one build through the gate and return pytest's exit code."""
    command = [
        *(sys.executable, "-m", "pytest", f"golden_sets/{build.golden}", "--llm-budget=golden_sets/drift.toml"),
        *("--llm-record=none", f"--llm-report={folder(build)}", "-q", *arguments),
    ]
    if build.variant:
        command.append(f"--llm-variant={build.variant}")
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def difference(build: Build, code: int, verdicts: list[dict[str, Any]]) -> list[str]:
    """Return what is not as expected of ``build``, a line each."""
    broken = {v["rule"] for v in verdicts if v["verdict"] == "fail"}
    lines = [f"  + {rule}: broke, and should not" for rule in sorted(broken - build.broken - build.may)]
    lines += [f"  - {rule}: did not break" for rule in sorted(build.broken - broken)]
    expected = 1 if build.broken else 0
    if code != expected:
        lines.append(f"  exit code {code} where {expected} was due")
    return lines


def main(arguments: list[str]) -> int:
    """Run all builds, say what was found."""
    wrong = []
    table = []
    for build in BUILDS:
        name = f"{build.golden}: {build.story}"
        print(f"\n##### {name}\n", flush=True)
        run_json = ROOT / folder(build) / "run.json"
        run_json.unlink(missing_ok=True)
        code = run_pytest(build, arguments)
        if not run_json.is_file():
            print(f"NOT AS EXPECTED: pytest exited {code} and wrote no run.json")
            return 1
        verdicts = json.loads(run_json.read_text(encoding="utf-8"))["verdicts"]
        broken = sorted(v["rule"] for v in verdicts if v["verdict"] == "fail")
        table.append((name, ", ".join(broken) or "nothing"))
        wrong += [f"{name}:", *lines] if (lines := difference(build, code, verdicts)) else []
    print("\nWhat broke:")
    for story, broken_rules in table:
        print(f"  {story:<46} {broken_rules}")
    if wrong:
        print("NOT AS EXPECTED", *wrong, sep="\n")
        return 1
    print("As expected: red where the application got worse, and nowhere else.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
