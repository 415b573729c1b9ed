"""Two stored runs or RECORDS files, compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmwatch import pipeline
from pytest_llmwatch.compare_samples import Samples, samples_of
from pytest_llmwatch.errors import RecordsError

if TYPE_CHECKING:
    from pytest_llmwatch.compare import Outcome


def compare(
    base: str,
    candidate: str,
    store: str | Path,
    *,
    metrics: tuple[str, ...] = (),
    alpha: float = 0.01,
    rename: Mapping[str, str] | None = None,
) -> tuple[Outcome, tuple[str, ...]]:
    """Compare two RUNs or RECORDS files; return the outcome and notes on what was read.

    Args:
        base: What to compare with.
        candidate: What may be worse.
        store: Where runs are looked up by id.
        metrics: Names to compare; empty = all that both sides have.
        alpha: Chance that a comparison in which nothing changed fails.
        rename: Keys of RECORDS to rename.

    Raises:
        LlmwatchError: A side cannot be read, or there is nothing to compare.
    """
    from pytest_llmwatch import compare as comparing

    before, notes = _samples(base, store, rename)
    after, more = _samples(candidate, store, rename)
    both = [m for m in before.metrics() if m in after.metrics()]
    if not both:
        raise RecordsError(
            f"has no metric in common with {base} ({_have(before)} against {_have(after)}); score both, or name "
            "keys with --map",
            slug="compare-nothing",
            file=candidate,
        )
    unknown = [m for m in metrics if m not in before.metrics() and m not in after.metrics()]
    if unknown:
        raise RecordsError(
            f"has no metric {unknown[0]!r}, nor has {base}; both have: {', '.join(both)}",
            slug="compare-metric",
            file=candidate,
        )
    options = comparing.Options(alpha=alpha, metrics=metrics, seed=_identity(before))
    return comparing.compare(before, after, options), (*notes, *more)


def _samples(ref: str, store: str | Path, rename: Mapping[str, str] | None) -> tuple[Samples, tuple[str, ...]]:
    run, notes, unjudged = pipeline.load_judged(ref, store, rename=rename)
    return samples_of(run, unjudged=unjudged), notes


def _identity(side: Samples) -> str:
    # the data themselves: renamed or moved, a baseline gives the same verdict
    return repr(sorted((m, sorted((str(k), v) for k, v in rows.items())) for m, rows in side.values.items()))


def _have(side: Samples) -> str:
    return ", ".join(side.metrics()) or "none"
