"""``llmwatch score`` itself: python bench/scorers/score.py [--lines N ...] [--jobs N]

Prints, for logs of several lengths, rows a second of processor and wall time and the most memory of the process;
flat memory shows as a column that does not grow. Then rows a second by scorer, and RAGTruth responses a second for
groundedness where the data are there (see labels.py); start-up is taken off by a run over ten lines.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from labels import folder

TEXT = "the lamp costs 49 euros and is sold in Paris by Ada who made it with care for people that like warm light"
WORDS = TEXT.split()
CHEAP = (
    "json",
    "refusal",
    "relevance",
    "markers",
    "guardrail",
    "short_output",
    "contains",
    "equals",
    "regex",
    "length",
)
OPTIONS = ("contains.any=Paris", "equals.ignore_case=true", r"regex.pattern=\d+ euros", "length.max_words=50")


def write(path: Path, lines: int) -> None:
    """Write a log as a service would: an id, a prompt, an answer of 20 to 60 words, figures, labels."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as out:
        for i in range(lines):
            n = rng.randint(20, 60)
            row = {
                "id": f"req-{i}",
                "time": "2026-03-01T12:00:00Z",
                "input": "What does the lamp cost?",
                "output": " ".join(rng.choices(WORDS, k=n)).capitalize() + ".",
                "reference": "The lamp costs 49 euros.",
                "model": "gpt-4o-mini",
                "latency_ms": rng.randint(100, 2000),
                "usage": {"prompt_tokens": 100, "completion_tokens": n, "total_tokens": 100 + n},
                "finish_reason": "stop",
                "session_id": f"s{i % 1000}",
            }
            out.write(json.dumps(row) + "\n")


def run(log: Path, scorers: str, *more: str) -> tuple[float, float, float]:
    """Score a log; return processor seconds, wall seconds, and the largest memory in MiB."""
    command = [
        sys.executable,
        "-m",
        "pytest_llmwatch.cli",
        "score",
        str(log),
        "-o",
        os.devnull,
        "--scorers",
        scorers,
    ]
    began = time.perf_counter()
    process = subprocess.Popen([*command, *more])
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"llmwatch score failed on {log.name} with {scorers}")
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024


def memory(folder: Path, sizes: list[int], jobs: int) -> None:
    """Print speed and memory by the length of the log."""
    print(f"json and refusal, --jobs {jobs}")
    print(f"{'lines':>12}{'MB':>8}{'rows/s (wall)':>16}{'rows/s (processor)':>20}{'largest memory, MiB':>22}")
    for lines in sizes:
        log = folder / f"{lines}.jsonl"
        write(log, lines)
        cpu, wall, peak = run(log, "json,refusal", "--jobs", str(jobs))
        size = log.stat().st_size / 1e6
        print(f"{lines:>12,}{size:>8.0f}{lines / wall:>16,.0f}{lines / cpu:>20,.0f}{peak:>22.0f}", flush=True)
        log.unlink()


def speed(folder_: Path, lines: int) -> None:
    """Print rows a second of processor time by scorer."""
    log, few = folder_ / "speed.jsonl", folder_ / "few.jsonl"
    write(log, lines)
    write(few, 10)
    print(f"\n{lines:,} lines, one process, rows a second of processor time, start-up taken off")
    for name in CHEAP:
        more = [part for given in OPTIONS if given.startswith(f"{name}.") for part in ("--option", given)]
        start = run(few, name, *more)[0]
        print(f"  {name:14}{lines / (run(log, name, *more)[0] - start):>10,.0f}", flush=True)
    data = folder() / "ragtruth.jsonl.gz"
    if not data.is_file():
        print("SKIPPED groundedness on RAGTruth: no ragtruth.jsonl.gz in $LLMWATCH_DATA or ../shared/data.")
        return
    start = run(few, "groundedness")[0]
    print(f"  groundedness on 1,510 RAGTruth responses {1510 / (run(data, 'groundedness')[0] - start):,.0f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--speed", type=int, default=20_000, help="lines for the table by scorer; 0 for none")
    args = parser.parse_args()
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, Python {sys.version.split()[0]}\n"
    )
    with tempfile.TemporaryDirectory() as made:
        memory(Path(made), args.lines, args.jobs)
        if args.speed:
            speed(Path(made), args.speed)
    print(f"\nload average {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
