"""What the gate's statistics reach, simulated beside other rules on the same data.

    python bench/statistics/run.py            # full: 2,000 builds a cell, up to an hour on two cores
    python bench/statistics/run.py --quick    # 200 builds a cell, about two minutes

Prints Markdown. Seeded: the same command prints the same table. "±" is the simulation's standard error.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import rules
from models import MODELS, World

ALPHA = 0.01


def rng_of(*names: object) -> np.random.Generator:
    import hashlib

    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:8], "big"))


def share(job: tuple) -> tuple[tuple, float]:
    """Return how often one rule is red in one cell."""
    model, cases, kb, kc, drop, concentrated, rule, alpha, builds = job
    rng = rng_of(model, cases, kb, kc, drop, concentrated)
    red = 0
    for build in range(builds):
        world = World.make(model, cases, rng)
        base = world.draw(kb, rng)
        after = world.dropped(drop, concentrated=concentrated, rng=rng) if drop else None
        red += bool(rules.RULES[rule](base, world.draw(kc, rng, after), alpha, build))
    return job, red / builds


def sequential_cell(job: tuple) -> tuple[tuple, tuple[float, float, float]]:
    """Return shares of fail and pass, and the mean share of all rounds used."""
    model, cases, drop, builds = job
    rng = rng_of("adaptive", model, cases, drop)
    verdicts, used = [], 0
    for build in range(builds):
        world = World.make(model, cases, rng)
        base = world.draw(5, rng)
        after = world.dropped(drop, concentrated=False, rng=rng) if drop else None
        end, took = rules.adaptive(
            base, lambda w=world, a=after: w.draw(1, rng, a), alpha=ALPHA, margin=0.05, rounds=5, seed=build
        )
        verdicts.append(end)
        used += took
    n = len(verdicts)
    return job, (verdicts.count("fail") / n, verdicts.count("pass") / n, used / (5 * n))


def family_cell(job: tuple) -> tuple[tuple, float]:
    """Return how often any of several scorers is red in an unchanged build: ours, adjusted over all of them."""
    from pytest_llmwatch.stats import permutation
    from pytest_llmwatch.stats.samples import Pair

    model, cases, kb, kc, scorers, builds = job
    rng = rng_of("family", *job)
    red = 0
    for build in range(builds):
        world = World.make(model, cases, rng)
        # half of each scorer's noise is common to all: scorers of one answer agree
        common = world.draw(kb + kc, rng)
        columns = [
            np.where(rng.random(common.shape) < 0.5, common, world.draw(kb + kc, rng)) for _ in range(scorers)
        ]
        table = np.stack(columns, axis=2)
        pairs = [Pair(rows[:kb], rows[kb:], str(i)) for i, rows in enumerate(table)]
        found = permutation.compare(pairs, seed=build, draws=max(999, 200 * scorers))
        red += min(c.p_adjusted for c in found) <= ALPHA
    return job, red / builds


def red_after(
    base: list[np.ndarray], candidate: np.ndarray, known: bool, seed: int, *, higher_is_worse: bool
) -> bool:
    """Return whether a build is red after sessions (cases by repeats each), their spread known or ignored."""
    from pytest_llmwatch.stats import permutation, sessions
    from pytest_llmwatch.stats.samples import Pair

    effect = sessions.effect(base) if known else None
    before = np.concatenate(base, axis=1)
    pairs = [Pair(b[:, None], c[:, None], str(i)) for i, (b, c) in enumerate(zip(before, candidate, strict=True))]
    found = permutation.compare(
        pairs,
        seed=seed,
        draws=999,
        higher_is_worse=higher_is_worse,
        session=[effect.sd] if effect else (),
        sessions=effect.sessions if effect else 0,
    )[0]
    return bool(found.p <= ALPHA)


def sessions_cell(job: tuple) -> tuple[tuple, float]:
    """Return how often an unchanged build is red where speed varies from session to session."""
    log_sd, cases, count, known, builds = job
    rng = rng_of("sessions", *job)
    red = 0
    for build in range(builds):
        pace = rng.normal(0, 0.9, cases)[:, None]
        moods = rng.normal(0, log_sd, count + 1)
        base = [pace + mood + rng.normal(0, 0.25, (cases, max(1, 5 // count))) for mood in moods[:-1]]
        candidate = pace + moods[-1] + rng.normal(0, 0.25, (cases, 1))
        red += red_after(base, candidate, known, build, higher_is_worse=True)
    return job, red / builds


def scores_cell(job: tuple) -> tuple[tuple, float]:
    """Return how often an unchanged build is red where a scorer's mean varies from session to session."""
    sd, cases, known, builds = job
    rng = rng_of("score sessions", *job)
    red = 0
    for build in range(builds):
        levels = rng.beta(6, 2, cases)[:, None]
        moods = rng.normal(0, sd, 6)
        base = [levels + mood + rng.normal(0, 0.02, (cases, 1)) for mood in moods[:-1]]
        candidate = levels + moods[-1] + rng.normal(0, 0.02, (cases, 1))
        red += red_after(base, candidate, known, build, higher_is_worse=False)
    return job, red / builds


def by_case_cell(job: tuple) -> tuple[tuple, tuple[float, float, float]]:
    """Return how often looks by case are red, how often one look at all of them is, and the share of calls."""
    from pytest_llmwatch.stats import by_case

    model, cases, drop, builds = job
    rng = rng_of("by case", *job)
    parts = by_case.order([0] * cases, seed=1)
    red = fixed = asked = 0
    for build in range(builds):
        world = World.make(model, cases, rng)
        base = world.draw(5, rng)
        after = world.dropped(drop, concentrated=False, rng=rng) if drop else None
        pairs = rules.pairs(base, world.draw(1, rng, after))
        found = by_case.compare(pairs, parts, alpha=ALPHA, seed=build, draws=1999)
        red += found.look is not None
        asked += found.cases
        fixed += by_case.compare(pairs, [range(cases)], alpha=ALPHA, seed=build, draws=1999).look is not None
    return job, (red / builds, fixed / builds, asked / (cases * builds))


def more(builds: int, workers: int) -> str:
    """Return tables of other repeats, of sessions in scores, and of looks by case."""
    out = ["### Unchanged builds that are red, by repeats (ours)\n"]
    shapes, cells = ((1, 1), (3, 1), (3, 3), (5, 5)), [(m, n) for m in MODELS for n in (30, 100)]
    ours = "permutation minP (ours)"
    jobs = [(m, n, kb, kc, 0.0, False, ours, ALPHA, builds) for m, n in cells for kb, kc in shapes]
    found = spread(jobs, share, workers)
    rows = [
        [f"{kb}+{kc}", *(error(found[m, n, kb, kc, 0.0, False, ours, ALPHA, builds], builds) for m, n in cells)]
        for kb, kc in shapes
    ]
    out.append(table(["repeats", *(f"{m} {n}" for m, n in cells)], rows))
    out.append("### Scores of unchanged builds where sessions differ (5 sessions of 100 cases, stable scorer)\n")
    sds = (0.0, 0.01, 0.02)
    jobs = [(sd, 100, known, builds) for sd in sds for known in (False, True)]
    found = spread(jobs, scores_cell, workers)
    rows = [[f"sd {sd:g}", *(error(found[sd, 100, k, builds], builds) for k in (False, True))] for sd in sds]
    out.append(table(["between sessions", "ignored", "known (ours)"], rows))
    out.append("### Looks by case, 5 looks, 5 + 1 repeats\n")
    jobs = [(m, 100, d, builds) for m in MODELS for d in (0.0, 0.05, 0.1)]
    found = spread(jobs, by_case_cell, workers)
    rows = [
        [f"{j[0]}, {j[1]} cases, drop {j[2]:g}", error(r, builds), error(f, builds), f"{a:.2f}"]
        for j, (r, f, a) in found.items()
    ]
    out.append(table(["data", "red by looks", "red by one look at all", "share of all calls"], rows))
    return "\n".join(out)


def error(p: float, builds: int) -> str:
    return f"{p:.3f} ± {math.sqrt(max(p * (1 - p), 1 / builds) / builds):.3f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def spread(jobs: list[tuple], work: Callable, workers: int) -> dict:
    if workers == 1:
        return dict(map(work, jobs))
    with ProcessPoolExecutor(workers) as pool:
        return dict(pool.map(work, jobs, chunksize=1))


def false_alarms(builds: int, workers: int, *, quick: bool) -> str:
    sizes = (30, 100) if quick else (10, 30, 100, 300)
    names = [n for n in rules.RULES if n != "permutation, mean only"]
    jobs = [(m, n, 5, 1, 0.0, False, r, ALPHA, builds) for r in names for m in MODELS for n in sizes]
    found = spread(jobs, share, workers)
    rows = [
        [r, *(error(found[m, n, 5, 1, 0.0, False, r, ALPHA, builds], builds) for m in MODELS for n in sizes)]
        for r in names
    ]
    return table(["rule", *(f"{m} {n}" for m in MODELS for n in sizes)], rows)


def powers(builds: int, workers: int) -> str:
    cells = [
        ("judge", 100, 5, 1, 0.10, False), ("judge", 100, 5, 1, 0.05, False), ("judge", 30, 10, 10, 0.05, True),
        ("binary", 100, 5, 1, 0.10, False), ("stable", 100, 5, 1, 0.05, False), ("stable", 100, 5, 1, 0.05, True),
    ]  # fmt: skip
    names = ["permutation minP (ours)", "permutation, mean only", "Welch's t", "paired t", "Wilcoxon"]
    jobs = [(*c, r, ALPHA, builds) for c in cells for r in names]
    found = spread(jobs, share, workers)
    rows = []
    for model, n, kb, kc, drop, concentrated in cells:
        kind = "concentrated" if concentrated else "diffuse"
        cell = (model, n, kb, kc, drop, concentrated)
        rows.append(
            [f"{model}, {n} cases, {kb}+{kc} repeats, drop {drop:g} {kind}"]
            + [error(found[(*cell, r, ALPHA, builds)], builds) for r in names]
        )
    return table(["data", *names], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--builds", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--more", action="store_true", help="only other repeats, sessions in scores, looks by case"
    )
    args = parser.parse_args()
    builds = args.builds or (200 if args.quick else 2000)
    quick, workers = args.quick, args.workers
    print(f"alpha {ALPHA}, {builds} builds a cell, {rules.DRAWS} permutations\n")
    if args.more:
        print(more(builds, workers))
        return
    print("### Unchanged builds that are red (5 + 1 repeats)\n")
    print(false_alarms(builds, workers, quick=quick))
    print("### The same with several scorers, any of them red (ours)\n")
    jobs = [
        (m, n, 5, 1, s, max(100, builds // 4))
        for m in MODELS
        for n in (30, 100)
        for s in ((5,) if quick else (5, 20))
    ]
    found = spread(jobs, family_cell, workers)
    print(
        table(
            ["data", "red"], [[f"{j[0]}, {j[1]} cases, {j[4]} scorers", error(p, j[5])] for j, p in found.items()]
        )
    )
    print("### Regressions found\n")
    print(powers(builds, workers))
    print("### Adaptive repeats, up to 5 rounds, margin .05\n")
    jobs = [
        (m, n, d, builds // 2)
        for m, n in (("stable", 30), ("stable", 100), ("judge", 30), ("judge", 100), ("binary", 100))
        for d in (0.0, 0.05, 0.1)
    ]
    ends = spread(jobs, sequential_cell, workers)
    rows = [
        [f"{j[0]}, {j[1]} cases, drop {j[2]:g}", error(f, j[3]), error(p, j[3]), f"{u:.2f}"]
        for j, (f, p, u) in ends.items()
    ]
    print(table(["data", "fail", "pass", "share of all calls used"], rows))
    print("### Latency of unchanged builds where sessions differ (5 repeats of 100 cases, ours)\n")
    jobs = [
        (s, 100, c, k, builds // 2) for s in (0.0, 0.05, 0.1, 0.2) for c, k in ((1, False), (5, False), (5, True))
    ]
    found = spread(jobs, sessions_cell, workers)
    words = {(1, False): "1 session", (5, False): "5 sessions, ignored", (5, True): "5 sessions (ours)"}
    rows = [
        [f"log-sd {s:g}", *(error(found[s, 100, c, k, builds // 2], builds // 2) for c, k in words)]
        for s in (0.0, 0.05, 0.1, 0.2)
    ]
    print(table(["between sessions", *words.values()], rows))
    if not quick:
        print(more(builds // 2, workers))


if __name__ == "__main__":
    main()
