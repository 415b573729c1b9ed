"""How often does the gate turn an unchanged build red, and how often does the naive rule?

Two questions, simulated builds, one seed:

1. A p95 budget, the true p95 5 % under it: share of builds red by the gate's exact test, and by the rule
   that most tools use (sample p95 > budget), on the same builds. Must be <= .01 (the naive rule: .13-.28).
2. A whole budget, every truth exactly on its limit (the hardest unchanged build there is): five tests in two
   families. Share of builds with any failed rule; must be <= alpha. The naive rule beside it.

Power beside both, so that a gate which never fires would show: the same builds with latency 1.5 times as long.

Run ``python bench/gate_false_alarms.py`` (a few minutes) or with ``--quick`` (under half a minute). Exits 1
where a figure misses its bound by more than the simulation's own error.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import sys
from collections.abc import Sequence

import numpy as np

from pytest_llmwatch import gate
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.model import Call, Cost, Run, Usage
from pytest_llmwatch.stats import quantile

Z95 = 1.6448536269514722
ALPHA = 0.01
BOUND = 0.01
SIGMAS = (0.67, 0.9, 1.31)  # log-sd of real latencies
SIZES = (60, 100, 200, 400, 1000)

WHOLE = """
[latency]
p50 = 1.0
p95 = {p95!r}
ttft_p50 = 0.5
ttft_p95 = {ttft_p95!r}
[errors]
rate = 0.02
"""


def one_budget(builds: int, rng: np.random.Generator) -> float:
    """Print question 1 and return the worst share of red builds."""
    family = ALPHA  # latency alone takes the shares of the unused families too
    print(f"\n1. p95 budget, true p95 5 % under it ({builds:,} builds a row)")
    print(f"{'log-sd':>7} {'n':>6} {'naive red':>10} {'gate red':>9} {'gate finds x1.5':>16}")
    worst = 0.0
    for sigma in SIGMAS:
        budget = math.exp(Z95 * sigma) * 1.05
        for n in SIZES:
            x = np.exp(rng.standard_normal((builds, n)) * sigma)
            naive = float(np.mean(np.quantile(x, 0.95, axis=1) > budget))
            red = share_red(x, budget, family)
            found = share_red(x * 1.5, budget, family)
            worst = max(worst, red)
            print(f"{sigma:>7} {n:>6} {naive:>10.3f} {red:>9.4f} {found:>16.3f}")
    return worst


def share_red(x: np.ndarray, budget: float, alpha: float) -> float:
    """Return the share of rows in which the exact test is significant; equal counts are tested once."""
    n = x.shape[1]
    counts, rows = np.unique((x > budget).sum(axis=1), return_counts=True)
    red = 0
    for k, many in zip(counts.tolist(), rows.tolist(), strict=True):
        values = [budget + 1.0] * k + [0.0] * (n - k)
        red += many * (quantile.against_ceiling(values, 0.95, budget).p <= alpha)
    return red / len(x)


def whole_budget(builds: int, n: int, rng: np.random.Generator) -> float:
    """Print question 2 and return the share of red builds."""
    sigma = 0.9
    text = WHOLE.format(p95=math.exp(Z95 * sigma), ttft_p95=0.5 * math.exp(Z95 * sigma))
    budget = parse_budget(text)
    limits = {x.rule: x.fail for x in budget.limits}
    today = datetime.date(2026, 1, 1)
    red = naive = found = 0
    for _ in range(builds):
        latency = np.exp(rng.standard_normal(n) * sigma)
        ttft = 0.5 * np.exp(rng.standard_normal(n) * sigma)
        failed = rng.random(n) < 0.02
        run = run_of(latency, ttft, failed)
        red += any(v.verdict == "fail" for v in gate.judge(run, budget, today=today))
        worse = gate.judge(run_of(latency * 1.5, ttft, failed), budget, today=today)
        found += any(v.verdict == "fail" for v in worse)
        ok = latency[~failed]
        naive += bool(
            np.quantile(ok, 0.5) > 1.0
            or np.quantile(ok, 0.95) > limits["latency.p95"]
            or np.quantile(ttft[~failed], 0.5) > 0.5
            or np.quantile(ttft[~failed], 0.95) > limits["latency.ttft_p95"]
            or failed.mean() > 0.02
        )
    print(f"\n2. five tests, every truth on its limit, n = {n} ({builds:,} builds)")
    print(f"naive red {naive / builds:.3f}   gate red {red / builds:.4f}   gate finds x1.5 {found / builds:.3f}")
    print(f"ratio naive / gate: {naive / max(red, 1):.0f}")
    return red / builds


def run_of(latency: np.ndarray, ttft: np.ndarray, failed: np.ndarray) -> Run:
    """Return a run with these calls."""
    calls = (
        Call(
            id=str(i),
            latency=t,
            ttft=f,
            status="error" if bad else "success",
            cost=Cost(0.0),
            usage=Usage(1, 1, 2),
        )
        for i, (t, f, bad) in enumerate(zip(latency.tolist(), ttft.tolist(), failed.tolist(), strict=True))
    )
    return Run("bench", "2026-01-01T00:00:00.000Z", calls=tuple(calls))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 where every bound holds."""
    parser = argparse.ArgumentParser(description="False alarms of the gate on unchanged builds.")
    parser.add_argument("--quick", action="store_true", help="fewer builds")
    parser.add_argument("--seed", type=int, default=20260101)
    options = parser.parse_args(argv)
    rng = np.random.default_rng(options.seed)
    builds, whole = (2_000, 300) if options.quick else (20_000, 4_000)
    print(f"load {os.getloadavg()[0]:.1f}, seed {options.seed}")
    worst = one_budget(builds, rng)
    red = whole_budget(whole, 200, rng)
    slack_one = 3 * math.sqrt(BOUND * (1 - BOUND) / builds)
    slack_whole = 3 * math.sqrt(ALPHA * (1 - ALPHA) / whole)
    held = worst <= BOUND + slack_one and red <= ALPHA + slack_whole
    print(
        f"\nworst of 1: {worst:.4f} (must be <= {BOUND}); 2: {red:.4f} (must be <= {ALPHA}): "
        f"{'ok' if held else 'MISSED'}"
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
