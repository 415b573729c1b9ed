"""Where money, time and errors went: the calls grouped by feature, team, user, model and prompt version."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch import format as fmt
from pytest_llmwatch.measure_calls import is_unpriced
from pytest_llmwatch.model import Call

DIMENSIONS: tuple[tuple[str, str, Callable[[Call], str | None]], ...] = (
    ("model", "Model", lambda c: c.response_model or c.model),
    ("feature", "Feature", lambda c: c.feature),
    ("prompt_version", "Prompt version", lambda c: c.prompt_version),
    ("team", "Team", lambda c: c.team),
    ("set", "Golden set", lambda c: c.set),
    ("user", "User (hashed)", lambda c: c.user),
)
_TOP = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that share a value.

    ``cost`` is None where no call has a price; ``share`` is of the dimension's sum. ``unpriced`` calls are billed,
    but at a price that is not known; calls that failed without usage are neither.
    """

    name: str
    calls: int
    failed: int
    cost: float | None
    priced: int
    unpriced: int
    share: float
    input_tokens: int
    output_tokens: int
    p50: float | None
    p95: float | None
    rest: bool = False

    @property
    def per_call(self) -> float | None:
        """Mean cost of the priced calls."""
        return self.cost / self.priced if self.cost is not None else None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One dimension. ``by_cost`` tells what the shares are of: dollars, else calls."""

    key: str
    title: str
    groups: tuple[Group, ...]
    by_cost: bool

    @property
    def largest(self) -> float:
        """The largest share, for the length of bars; never 0."""
        return max((g.share for g in self.groups), default=0.0) or 1.0


def breakdowns(calls: Sequence[Call]) -> list[Breakdown]:
    """Return a breakdown per dimension that tells something: two values, or one that is not just absent."""
    out = []
    for key, title, value in DIMENSIONS:
        groups: dict[str | None, list[Call]] = defaultdict(list)
        for call in calls:
            groups[value(call)].append(call)
        if set(groups) <= {None} or (key == "set" and len(groups) < 2):
            continue
        out.append(_breakdown(key, title, groups))
    return out


@dataclass(frozen=True, slots=True)
class Agents:
    """What agents and retrievals did: facts as (label, text, note), and a row of texts for each tool."""

    facts: tuple[tuple[str, str, str | None], ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def agents(aggregates: Mapping[str, Any]) -> Agents | None:
    """Return the table "agents and retrieval" of a run's totals, None where it has neither."""
    given = aggregates.get("agents")
    if not given:
        return None
    facts: list[tuple[str, str, str | None]] = []
    if given["tasks"]:
        steps = fmt.value(given["steps"] / given["tasks"], "count")
        facts.append(("steps a task", steps, fmt.plural(given["tasks"], "task")))
    if given["tool_calls"]:
        facts.append(("tool calls", f"{given['tool_calls']:,}", None))
        facts.append(("tasks in a loop", f"{given['loops']:,}", None))
    if given["fallbacks"]:
        facts.append(("fallbacks", f"{given['fallbacks']:,}", None))
    if given["retrieval"]:
        facts += _retrieval_facts(given["retrieval"])
    head = ("Tool", "Calls", "Failed", "Invalid arguments", "Not offered", "p50", "p95")
    rows = tuple(
        (
            str(t["name"]),
            f"{t['calls']:,}",
            f"{t['failed']:,}" + (f" ({t['unknown']:,} not known)" if t["unknown"] else ""),
            f"{t['invalid']:,}",
            f"{t['not_offered']:,}",
            fmt.value(t["p50"], "s"),
            fmt.value(t["p95"], "s"),
        )
        for t in given["tools"]
    )
    return Agents(tuple(facts), head, rows)


def _retrieval_facts(given: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    empty = f"{given['empty']:,} empty" if given["empty"] else None
    yield "retrievals", f"{given['n']:,}", empty
    top_k = ", ".join(str(k) for k in given["top_k"])
    yield "documents each", fmt.value(given["documents"], "count"), f"top_k {top_k}" if top_k else None
    if given["sources"]:
        shown = list(given["sources"].items())[:_TOP]
        yield "documents by source", ", ".join(f"{name} {n:,}" for name, n in shown), None


def _breakdown(key: str, title: str, groups: dict[str | None, list[Call]]) -> Breakdown:
    total = math.fsum(c.cost.usd or 0.0 for found in groups.values() for c in found)
    count = sum(len(found) for found in groups.values())

    def share(calls: list[Call]) -> float:
        return math.fsum(c.cost.usd or 0.0 for c in calls) / total if total else len(calls) / count

    ordered = sorted(groups.items(), key=lambda item: (-share(item[1]), -len(item[1]), item[0] or ""))
    made = [_group(name or "not given", found, share(found)) for name, found in ordered[:_TOP]]
    rest = [c for _, found in ordered[_TOP:] for c in found]
    if rest:
        made.append(_group(f"{len(ordered) - _TOP:,} more", rest, share(rest), rest=True))
    return Breakdown(key, title, tuple(made), by_cost=total > 0)


def _group(name: str, calls: list[Call], share: float, *, rest: bool = False) -> Group:
    prices = [c.cost.usd for c in calls if c.cost.usd is not None]
    times = sorted(c.latency for c in calls if c.latency is not None)
    return Group(
        name=name,
        calls=len(calls),
        failed=sum(c.failed for c in calls),
        cost=math.fsum(prices) if prices else None,
        priced=len(prices),
        unpriced=sum(map(is_unpriced, calls)),
        share=share,
        input_tokens=sum(c.usage.input_tokens or 0 for c in calls),
        output_tokens=sum(c.usage.output_tokens or 0 for c in calls),
        p50=quantile(times, 0.5),
        p95=quantile(times, 0.95),
        rest=rest,
    )


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """Return the inverse-CDF quantile of ascending values: the least x with at least q of them <= x."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)]
