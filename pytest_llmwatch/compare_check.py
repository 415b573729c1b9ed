"""How often one baseline would call an unchanged build worse."""

from __future__ import annotations

import hashlib
from typing import Any

from pytest_llmwatch.compare_alpha import split_alpha
from pytest_llmwatch.compare_samples import Metric, Samples, metric_named


def false_alarms(base: Samples, *, alpha: float, builds: int, seed: str) -> dict[str, Any]:
    """Return the share of ``builds`` simulated unchanged builds that any family calls worse at its share of alpha.

    ``false_alarms`` is None where no case was repeated, so that nothing can be resampled.
    """
    from pytest_llmwatch.stats import selfcheck

    metrics = [metric_named(m) for m in base.metrics()]
    shares = split_alpha(alpha, {m.family for m in metrics})
    families = []
    for family, share in shares.items():
        members = [m for m in metrics if m.family == family]
        families.append(
            selfcheck.Family(
                cases=[
                    (_rows(base, members, key), base.clusters[key], base.weights.get(key, 1.0))
                    for key in sorted(base.cases, key=str)
                ],
                alpha=share,
                higher_is_worse=members[0].higher_is_worse,
                ratio=members[0].shape == "ratio",
            )
        )
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    rate = selfcheck.false_alarms(families, builds=builds, seed=number)
    return {"builds": builds if rate is not None else 0, "false_alarms": rate, "alpha": alpha}


def _rows(base: Samples, members: list[Metric], key: Any) -> list[list[float | None]]:
    columns = [base.values.get(m.name, {}).get(key, []) for m in members]
    length = max(map(len, columns), default=0)
    return [[c[i] if i < len(c) else None for c in columns] for i in range(length)]
