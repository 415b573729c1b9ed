"""Groundedness against human labels: python bench/scorers/groundedness.py [--parts]

Prints the AUROC (label 1 = hallucinated) of length, unsupported content words, 1 - ROUGE-L precision and our
scorer, on the same rows; ours again over pairs of the same length; the difference to word support with its 95 %
interval; and the speed beside the machine's load. With --parts also the formula with one part taken out or its
constant changed by half.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from labels import SETS, TASKS, auroc, auroc_at_length, interval, read, text

from pytest_llmwatch.model import Case, Output
from pytest_llmwatch.scorers import get, grounding
from pytest_llmwatch.scorers.source import Source
from pytest_llmwatch.scorers.source import read as source_of
from pytest_llmwatch.scorers.support import judge
from pytest_llmwatch.scorers.words import content_words, stem

Row = dict[str, Any]
_PLAIN = re.compile(r"\w+")


def length(row: Row) -> float:
    """Words of the answer."""
    return len(_PLAIN.findall(row["output"]))


def unsupported_words(row: Row) -> float:
    """Share of the answer's content words whose stem is not in the context."""
    known = {stem(w) for w in content_words(text(row, "context"))}
    words = [stem(w) for w in content_words(row["output"])]
    return sum(w not in known for w in words) / len(words) if words else 0.0


def rouge(row: Row) -> float:
    """1 - ROUGE-L precision of the whole answer, on lower-case words."""
    source = Source(())
    source.words = _PLAIN.findall(text(row, "context").lower())
    for i, word in enumerate(source.words):
        source.bits[word] = source.bits.get(word, 0) | 1 << i
    words = _PLAIN.findall(row["output"].lower())
    return 1 - source.common(words) / len(words) if words else 0.0


def ours(row: Row) -> float:
    """1 - groundedness; 0 where it is not assessable."""
    score = get("groundedness").score(Output(row["output"]), Case("row", context=(text(row, "context"),)))
    return 0.0 if score.value is None else 1 - score.value


FIGURES: dict[str, Callable[[Row], float]] = {
    "length": length,
    "unsupported words": unsupported_words,
    "1 - ROUGE-L": rouge,
    "groundedness": ours,
}


def table() -> bool:
    """Print the AUROC table; False where there is no data at all."""
    any_rows = False
    head = "".join(f"{name:>19}" for name in FIGURES)
    print(f"{'set':24}{'n':>6}{head}{'same length':>14}{'difference to words':>30}")
    for name in SETS:
        rows = read(name)
        if not rows:
            continue
        any_rows = True
        figures = {label: np.array([figure(r) for r in rows]) for label, figure in FIGURES.items()}
        y = np.array([int(r["hallucinated"]) for r in rows])
        parts = [(name, np.ones(len(rows), bool))]
        parts += [(f"- {task}", np.array([r["task"] == task for r in rows])) for task in TASKS.get(name, ())]
        for label, chosen in parts:
            kept = [r for r, keep in zip(rows, chosen, strict=True) if keep]
            cells = {k: auroc(y[chosen], v[chosen]) for k, v in figures.items()}
            mine, words = figures["groundedness"][chosen], figures["unsupported words"][chosen]
            low, high = interval(kept, y[chosen], mine, words)
            delta = cells["groundedness"] - cells["unsupported words"]
            shown = "".join(f"{v:>19.3f}" for v in cells.values())
            controlled = auroc_at_length(y[chosen], mine, figures["length"][chosen])
            print(f"{label:24}{len(kept):>6}{shown}{controlled:>14.3f}{delta:>+14.3f} [{low:+.3f}, {high:+.3f}]")
    return any_rows


def variants(parts: grounding.Parts) -> dict[str, float]:
    """Return the score with one part of the formula taken out, or its constant changed by half."""
    out = {"as it is": parts.value}
    for label, changed in {
        "no word support": {"words": parts.passage},
        "no passage": {"passage": parts.words},
        "no wording": {"wording": (parts.words + parts.passage) / 2},
        "no flaws": {"flaws": 0.0},
        "flaws halved": {"flaws": parts.flaws / 2},
        "flaws times 1.5": {"flaws": parts.flaws * 1.5},
        "no weak sentences": {"weak": 0},
    }.items():
        out[label] = dataclasses.replace(parts, **changed).value  # type: ignore[arg-type]
    return out


def ablation() -> None:
    """Print the AUROC of each variant of the formula."""
    found: dict[str, list[float]] = {}
    for name in SETS:
        rows = read(name)
        values: dict[str, list[float]] = {}
        labels = []
        for row in rows:
            source = source_of((text(row, "context"),))
            judged, _whole = judge(row["output"], source)
            if any(s.words for s in judged) and source.words:
                labels.append(int(row["hallucinated"]))
                for label, value in variants(grounding.parts(judged, source)).items():
                    values.setdefault(label, []).append(-value)
        for label, badness in values.items():
            found.setdefault(label, []).append(auroc(labels, badness))
    print(f"\n{'variant':24}" + "".join(f"{name[:16]:>18}" for name in SETS))
    for label, cells in found.items():
        print(f"{label:24}" + "".join(f"{v:>18.3f}" for v in cells))


def abbreviations() -> None:
    """Print what it would change on RAGTruth if "CA" in a context were known to be California."""
    rows = read("ragtruth")
    spelt = []
    for row in rows:
        context = text(row, "context")
        spelt.append({**row, "context": context + " California" * ('"state": "CA"' in context)})
    y = np.array([int(r["hallucinated"]) for r in rows])
    values = np.array([ours(r) for r in spelt])
    there = np.array([r["task"] == "Data2txt" for r in rows])
    print(f"\nwith CA spelt out as California: ragtruth {auroc(y, values):.3f}, ", end="")
    print(f"- Data2txt {auroc(y[there], values[there]):.3f}")


def speed() -> None:
    """Print RAGTruth responses a second: first time (words unknown to the caches) and again."""
    rows = read("ragtruth")
    if not rows:
        return
    scorer = get("groundedness")
    pairs = [(Output(r["output"]), Case("row", context=(text(r, "context"),))) for r in rows]
    words = sum(len(c.context[0].split()) for _o, c in pairs) / len(pairs)
    load = os.getloadavg()[0]
    print(f"\nspeed on one core, {len(rows):,} RAGTruth responses over {words:.0f} words of context on average")
    for label in ("first time", "again"):
        wall, cpu = time.perf_counter(), time.process_time()
        for output, case in pairs:
            scorer.score(output, case)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"  {label:12}{len(rows) / wall:>8,.0f}/s (wall) {len(rows) / cpu:>8,.0f}/s (processor time)")
    print(f"  load average {load:.1f} on {os.cpu_count()} processors")


def main() -> int:
    """Measure; exit 0 also where the data are absent, after saying so."""
    speed()
    print()
    if table() and "--parts" in sys.argv[1:]:
        ablation()
        abbreviations()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
