"""Drive every failure under each SDK given, and print what each application saw, live and replayed.

Runs ``tests/capture/test_failures.py`` with each interpreter and puts the outcomes side by side. `.ci/matrix`
makes environments of openai 1 and 2:

    MATRIX_DIR=DIR MATRIX_TESTS="--version" .ci/matrix VENV openai1 openai2
    python bench/capture/failures.py DIR/openai1/bin/python DIR/openai2/bin/python python [--write]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/failures.md"
BEGIN, END = "<!-- failures: begin -->\n", "<!-- failures: end -->\n"


@dataclass
class Outcomes:
    """What came of one failure under one SDK: the ways driven, those that differed, what the application saw."""

    driven: int = 0
    same: int = 0
    seen: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class Run:
    """One SDK's outcomes by failure, in the order of the table; ``said`` holds how each is recorded."""

    sdk: str
    rows: dict[str, Outcomes] = field(default_factory=lambda: defaultdict(Outcomes))
    said: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Run, print the table, and put it into the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", nargs="+", help="interpreter of an environment with an openai SDK")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    runs = [drive(python) for python in options.python]
    text = table(runs)
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + text + END + rest.partition(END)[2], "utf-8")


def drive(python: str) -> Run:
    """Run the failures with one interpreter.

    Raises:
        SystemExit: One of them did not do what its row says.
    """
    said = "import openai; print(openai.__version__)"
    version = subprocess.run([python, "-c", said], check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        command = [python, "-m", "pytest", "tests/capture/test_failures.py", "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={file}", "-o", "junit_family=xunit1"]
        command += ["--deselect", "tests/capture/test_failures.py::test_the_page_has_the_same_rows"]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"openai {version}:\n{done.stdout[-3000:]}")
        return read(version, file)


def read(version: str, file: Path) -> Run:
    """Return the outcomes that pytest's report holds."""
    run = Run(".".join(version.split(".")[:2]))
    for item in ElementTree.parse(file).iter("property"):
        told = json.loads(item.get("value") or "")
        row = run.rows[told["name"]]
        row.driven += 1
        row.same += told["same"]
        row.seen[told["seen"] or "nothing"].append(told["way"])
        run.said[told["name"]] = word(told)
    return run


def table(runs: list[Run]) -> str:
    """Return the table: a row per failure, a column per SDK."""
    sides = (f"{run.sdk} {side}" for run in runs for side in ("live", "replayed"))
    heads = ["what happens", "the record says", *sides]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, said in runs[-1].said.items():
        lines.append(f"| {name} | {said} | {' | '.join(cells(run.rows[name]) for run in runs)} |")
    driven = sum(o.driven for run in runs for o in run.rows.values())
    same = sum(o.same for run in runs for o in run.rows.values())
    return "\n".join(lines) + f"\n\n{same} of {driven} gave the same record and the same outcome on replay.\n"


def word(told: dict[str, Any]) -> str:
    """Return status, name and what else is told of a failure."""
    name = f"`{told['status']}`" + (f", `{told['error_type']}`" if told["error_type"] else "")
    more = [f"`{key}` {json.dumps(value).strip('[]')}" for key, value in told["more"].items()]
    return f"{name}; {', '.join(more)}" if more else name


def cells(outcomes: Outcomes) -> str:
    """Return what an application sees live (in which ways of asking, where not in all), and what replays gave."""
    seen = outcomes.seen
    words = [what if len(seen) == 1 else f"{what} ({', '.join(ways)})" for what, ways in seen.items()]
    verdict = "same" if outcomes.same == outcomes.driven else "differs"
    return f"{'; '.join(words)} | {verdict} {outcomes.same}/{outcomes.driven}"


if __name__ == "__main__":
    main()
