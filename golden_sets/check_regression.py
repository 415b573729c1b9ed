#!/usr/bin/env python
"""Run the golden sets with their worse prompts, and check that the gate goes red exactly where it should.

Exit code 0: pytest went red (exit 1), and the rules that broke are those in expected_regression.txt, neither
more nor less. Exit code 1 otherwise, with the difference.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
EXPECTED = HERE / "expected_regression.txt"
REPORT = "llmwatch-report/regression"


def expected_rules() -> set[str]:
    """Return the rules listed in expected_regression.txt: one a line, ``#`` begins a comment."""
    lines = (line.split("#")[0].strip() for line in EXPECTED.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line}


def run_pytest(arguments: list[str]) -> int:
    """Run the sets' variant ``careless`` from its recordings and return pytest's exit code."""
    command = [
        *(sys.executable, "-m", "pytest", "golden_sets"),
        *("--llm-variant=careless", "--llm-budget=budget.toml", "--llm-record=none", f"--llm-report={REPORT}"),
        *arguments,
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """Run, compare, say what was found."""
    run_json = ROOT / REPORT / "run.json"
    run_json.unlink(missing_ok=True)
    code = run_pytest(arguments)
    print()
    if code != 1:
        print(f"NOT AS EXPECTED: pytest exited {code}; a quality regression must exit 1")
        return 1
    if not run_json.is_file():
        print(f"NOT AS EXPECTED: pytest exited 1 but wrote no {REPORT}/run.json")
        return 1
    verdicts = json.loads(run_json.read_text(encoding="utf-8"))["verdicts"]
    broken = {verdict["rule"] for verdict in verdicts if verdict["verdict"] == "fail"}
    expected = expected_rules()
    for rule in sorted(broken - expected):
        print(f"  + {rule}: broke, but is not listed")
    for rule in sorted(expected - broken):
        print(f"  - {rule}: is listed, but did not break")
    if broken != expected:
        print(f"NOT AS EXPECTED: the broken rules differ from {EXPECTED.relative_to(ROOT)}")
        return 1
    kept = sum(verdict["verdict"] != "fail" for verdict in verdicts)
    print(f"As expected: the worse prompts broke exactly the {len(broken)} listed rules; the other {kept} held.")
    print(f"The report: {ROOT / REPORT / 'report.html'} (open it in a browser)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
