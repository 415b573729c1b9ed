"""The cells of the LLMDrift study (GPT-4 and GPT-3.5, March against June 2023) through ``llmwatch compare``.

    python bench/statistics/llmdrift.py [--data DIR] [--splits 200]

Real answers, scores, times and costs. Cells whose score got worse must be red, better ones never; random halves of
one snapshot, which have no case in common, must be red at most alpha of the time. Says so where the data are not.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path

from pytest_llmwatch.pipeline_compare import compare

ALPHA = 0.01
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def cells(data: Path) -> dict[tuple[str, str, str], list[dict]]:
    out = defaultdict(list)
    with gzip.open(data / "llmdrift.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            model = "gpt-4" if "gpt-4" in row["model"] else "gpt-3.5"
            out[row["task"], model, row["version"]].append(
                {
                    "case": f"{row['task']} {row['input']}",
                    "input": row["input"],
                    "output": row["output"],
                    "passed": bool(row["score"]),
                    "latency": row["latency"],
                    "cost_usd": row["cost"],
                    "output_tokens": row["output_tokens"],
                }
            )
    return out


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--splits", type=int, default=200)
    args = parser.parse_args()
    if not (args.data / "llmdrift.jsonl.gz").is_file():
        print(f"skipped: no llmdrift.jsonl.gz in {args.data} (--data names another folder)")
        return
    found = cells(args.data)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        print("| cell | March | June | verdict on the score | p |\n|---|---|---|---|---|")
        for task, model in sorted({k[:2] for k in found}):
            march = write(here / "march.jsonl", found[task, model, "mar"])
            june = write(here / "june.jsonl", found[task, model, "jun"])
            outcome, _ = compare(march, june, here, metrics=("passed",), alpha=ALPHA)
            v = outcome.verdicts[0]
            print(f"| {task} {model} | {v.baseline:.3f} | {v.candidate:.3f} | {v.verdict} | {v.p:.2g} |")
        print(f"\nRandom halves of one snapshot, unpaired ({args.splits} splits): share that is red\n")
        print("| cell | score | any metric |\n|---|---|---|")
        rng = random.Random(1)
        for key in sorted(found):
            rows, red, any_red = list(found[key]), 0, 0
            for _ in range(args.splits):
                rng.shuffle(rows)
                half = len(rows) // 2
                one, two = write(here / "a.jsonl", rows[:half]), write(here / "b.jsonl", rows[half:])
                outcome, _ = compare(one, two, here, alpha=ALPHA)
                any_red += outcome.verdict == "fail"
                red += any(v.verdict == "fail" and v.metric == "passed" for v in outcome.verdicts)
            print(f"| {' '.join(key)} | {red / args.splits:.3f} | {any_red / args.splits:.3f} |")


if __name__ == "__main__":
    main()
