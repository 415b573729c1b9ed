"""The union of runs that jobs made apart: commutative, associative, idempotent.

A call is known by its id (a hash of test, repeat, attempt and index), so the same call twice is one call. Whatever
cannot be true at once is refused with a clear line: two calls of one id that differ, runs of different budgets, a
shard that is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.model import JSON, CaseResult, Run

T = TypeVar("T")
_OWN = frozenset({"shard", "shards", "budget_hash"})
_VARIOUS = "various"


def merge(runs: Sequence[Run], *, allow_missing: bool = False) -> Run:
    """Return the union of ``runs`` in the stable order of a run.

    Args:
        runs: One per job, at least one; merged runs too.
        allow_missing: Take a union although a shard is missing; the run is partial then.

    Raises:
        RecordsError: The runs contradict each other, or a shard is missing.
    """
    _same_budget(runs)
    shards = _shards(runs)
    missing = _missing(shards)
    if missing and not allow_missing:
        raise RecordsError(
            f"shard {missing[0]} is missing (got {', '.join(sorted(shards))}): merge all, or allow it with "
            "--allow-missing",
            slug="merge-missing",
        )
    calls = _union((c for r in runs for c in r.calls), lambda c: c.id, "call")
    spans = _union((s for r in runs for s in r.spans), lambda s: s.id, "span")
    results = _union((x for r in runs for x in r.results), _place, "execution")
    problems = sorted({p for r in runs for p in r.problems}, key=lambda p: (p.kind, p.nodeid or "", p.message))
    reasons = sorted({r.partial_reason or "partial" for r in runs if r.partial})
    if missing:
        reasons.append(f"shards {', '.join(missing)} are missing")
    leaves = sorted({leaf for r in runs for leaf in _leaves(r)})
    return Run(
        run_id=leaves[0] if len(leaves) == 1 else f"merged-{_hash(leaves)}",
        time=min(r.time for r in runs),
        calls=tuple(
            sorted(
                calls.values(), key=lambda c: (c.nodeid or "", c.repeat, c.attempt, c.index, c.time or "", c.id)
            )
        ),
        results=tuple(sorted(results.values(), key=lambda r: (r.nodeid, r.repeat, r.attempt))),
        spans=tuple(sorted(spans.values(), key=lambda s: (s.nodeid or "", s.repeat, s.attempt, s.index, s.id))),
        problems=tuple(problems),
        duration=_longest(runs),
        partial=bool(reasons),
        partial_reason="; ".join(reasons) or None,
        environment=_environment(runs, leaves, shards),
    )


def _place(result: CaseResult) -> tuple[str, int, int]:
    return result.nodeid, result.repeat, result.attempt


def _longest(runs: Sequence[Run]) -> float | None:
    known = [r.duration for r in runs if r.duration is not None]
    return max(known, default=None)


def _union(items: Iterable[T], key: Callable[[T], Hashable], noun: str) -> dict[Hashable, T]:
    out: dict[Hashable, T] = {}
    for item in items:
        name = key(item)
        known = out.setdefault(name, item)
        if known is not item and known != item:
            shown = name[0] if isinstance(name, tuple) else name
            where = getattr(item, "nodeid", None)
            raise RecordsError(
                f"two runs disagree about {noun} {shown}" + (f" of {where}" if where and where != shown else "")
                + ": they ran the same test and saw different things; give each job tests of its own",
                slug="merge-conflict",
            )  # fmt: skip
    return out


def _same_budget(runs: Sequence[Run]) -> None:
    found = {str(r.environment["budget_hash"]): r for r in runs if r.environment.get("budget_hash")}
    if len(found) > 1:
        names = [r.run_id for r in found.values()]
        raise RecordsError(
            f"runs {names[0]} and {names[1]} were made with different budgets; run all jobs with one",
            slug="merge-budget",
        )


def _leaves(run: Run) -> list[str]:
    return leaves_of(run.run_id, run.environment)


def leaves_of(run_id: str, environment: Mapping[str, JSON]) -> list[str]:
    """Return the ids of the jobs' runs that a run was merged from; its own where it was not."""
    given = environment.get("shards")
    return [str(x) for x in given] if isinstance(given, list | tuple) and given else [run_id]


def _shards(runs: Sequence[Run]) -> set[str]:
    out: set[str] = set()
    for run in runs:
        given = run.environment.get("shard")
        if isinstance(given, str):
            out |= set(given.split(" "))
    counts = {s.partition("/")[2] for s in out}
    if len(counts) > 1:
        raise RecordsError(
            f"shards of different splits: {', '.join(sorted(out))}; merge those of one build", slug="merge-shards"
        )
    return out


def _missing(shards: set[str]) -> list[str]:
    if not shards:
        return []
    total = int(next(iter(shards)).partition("/")[2])
    return [f"{k}/{total}" for k in range(1, total + 1) if f"{k}/{total}" not in shards]


def _environment(runs: Sequence[Run], leaves: list[str], shards: set[str]) -> dict[str, JSON]:
    """Keep what all runs say alike; what differs is "various", which swallows whatever it meets."""
    keys = sorted({k for r in runs for k in r.environment} - _OWN)
    out: dict[str, Any] = {}
    for key in keys:
        values = [r.environment.get(key) for r in runs]
        out[key] = values[0] if all(v == values[0] for v in values) else _VARIOUS
    for run in runs:
        if run.environment.get("budget_hash"):
            out["budget_hash"] = run.environment["budget_hash"]
    if shards:
        out["shard"] = " ".join(sorted(shards, key=lambda s: int(s.partition("/")[0])))
    if len(leaves) > 1:
        out["shards"] = leaves
    return out


def _hash(names: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:12]


def parse_shard(text: str) -> str:
    """Return a shard as ``K/N``.

    Raises:
        ValueError: It is something else.
    """
    k, sep, n = text.partition("/")
    if not sep or not k.isdigit() or not n.isdigit() or not 1 <= int(k) <= int(n):
        raise ValueError(f"must be K/N with 1 <= K <= N, as in 2/4 (got {text!r})")
    return f"{int(k)}/{int(n)}"


def is_part(environment: Mapping[str, JSON]) -> bool:
    """Whether a run is a shard, or some of the shards, and not yet the whole."""
    given = shard_of(environment)
    try:
        return given is not None and bool(_missing(set(map(parse_shard, given.split(" ")))))
    except ValueError:
        return False


def shard_of(environment: Mapping[str, JSON]) -> str | None:
    """Return which shard a run is, None where it is a whole."""
    given = environment.get("shard")
    return given if isinstance(given, str) else None
