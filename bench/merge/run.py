"""Memory and time of ``llmwatch merge`` by the number of shards: ``python bench/merge/run.py [--calls N]``.

Shards of 10,000 calls with texts of a usual length are written as a job writes them; each merge runs in a process
of its own, whose highest resident memory and processor time are printed. With ``--quick`` shards of 1,000 calls.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_llmwatch.store import files

WORDS = ("refund", "was", "sent", "to", "your", "bank", "on", "Monday", "and", "takes", "five", "working", "days")


def shard(folder: Path, number: int, of: int, calls: int) -> None:
    """Write one shard: every call is a test of its own with two scores."""
    rng = random.Random(number)
    lines, cases = [], []
    for i in range(calls):
        name = f"golden_sets/support/set.yaml::case-{i:05d}-{number:03d}[r1]"
        text = " ".join(rng.choices(WORDS, k=60))
        identity = f"{number:03d}{i:05d}"
        lines.append(
            {
                "schema_version": 1, "id": identity, "case": f"c{i}", "sample": 0, "nodeid": name,
                "set": "support", "input": text, "output": text[::-1], "model": "m",
                "latency": rng.lognormvariate(0, 0.7), "time": "2026-01-01T00:00:00.000Z",
                "input_tokens": 80, "output_tokens": 60, "cost_usd": 1e-5,
                "status": "success", "passed": True, "scores": {"relevance": 0.9, "json": 1.0},
                "result": {"nodeid": name, "set": "support", "case": f"c{i}", "call_ids": [identity]},
            }
        )  # fmt: skip
        scores = {s: {"value": 0.9, "label": None, "explanation": "as asked"} for s in ("relevance", "json")}
        cases.append(
            {
                "set": "support", "case": f"c{i}", "repeat": 0, "attempt": 0, "nodeid": name, "outcome": "passed",
                "passed": True, "reason": None, "problem": None, "scores": scores, "call_ids": [identity],
                "tags": [], "weight": 1.0, "cluster": None, "duration": 0.1,
            }
        )  # fmt: skip
    data = {
        "schema_version": 1, "run_id": f"run-{number:03d}", "time": "2026-01-01T00:00:00.000Z", "verdict": "none",
        "environment": {"budget_hash": "b", "shard": f"{number + 1}/{of}"}, "aggregates": {"calls": calls},
        "cases": cases, "problems": [], "spans": 0,
    }  # fmt: skip
    files.write_run(folder, data, lines)


def measured(folders: list[Path], out: Path) -> dict[str, float]:
    """Merge in a process of its own; return megabytes of memory and seconds of processor time."""
    code = (
        "import json, resource, sys; from pytest_llmwatch.cli import main; code = main(sys.argv[1:])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(json.dumps({'code': code, 'mb': used.ru_maxrss / 1024, 'cpu': used.ru_utime + used.ru_stime}))"
    )
    command = [sys.executable, "-c", code, "merge", *map(str, folders), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if found["code"]:
        raise SystemExit(done.stdout + done.stderr)
    return found


def main() -> None:
    """Print a row per number of shards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shards of 1,000 calls")
    parser.add_argument("--calls", type=int, help="calls of a shard")
    parser.add_argument("--shards", type=int, nargs="*", default=[10, 100])
    args = parser.parse_args()
    calls = args.calls or (1_000 if args.quick else 10_000)
    print("| shards | calls | memory, MB | processor time, s |\n| ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(prefix="llmwatch-bench-") as made:
        for count in args.shards:
            folders = [Path(made) / f"{count}-{n}" for n in range(count)]
            for number, folder in enumerate(folders):
                shard(folder, number, count, calls)
            found = measured(folders, Path(made) / "out")
            print(f"| {count} | {count * calls:,} | {found['mb']:.0f} | {found['cpu']:.0f} |", flush=True)
    print(f"(this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB)")


if __name__ == "__main__":
    main()
