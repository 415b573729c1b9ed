"""Two stored runs or RECORDS files, compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmwatch import pipeline
from pytest_llmwatch.compare_samples import Samples, samples_of
from pytest_llmwatch.errors import RecordsError
from pytest_llmwatch.format import plural
from pytest_llmwatch.model import Report, Run

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
) -> tuple[Outcome, Report]:
    """Compare two RUNs or RECORDS files; return the outcome, and the candidate's report with it.

    The report's notes are on what was read and compared.

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

    earlier, before, notes = _samples(base, store, rename)
    run, after, more = _samples(candidate, store, rename)
    both = [m for m in before.metrics() if m in after.metrics()]
    if not both:
        raise RecordsError(
            f"has no metric in common with {base} ({_have(before)} against {_have(after)}); score both, or name "
            "keys with --map",
            slug="compare-nothing",
            file=candidate,
        )
    unknown = [m for m in metrics if not before.has(m) and not after.has(m)]
    if unknown:
        raise RecordsError(
            f"has no metric {unknown[0]!r}, nor has {base}; both have: {', '.join(both)}",
            slug="compare-metric",
            file=candidate,
        )
    options = comparing.Options(alpha=alpha, metrics=metrics, seed=_identity(before))
    outcome = comparing.compare(before, after, options)
    return outcome, _report(run, earlier, outcome, base, (*outcome.notes, *notes, *more))


def _samples(
    ref: str, store: str | Path, rename: Mapping[str, str] | None
) -> tuple[Run, Samples, tuple[str, ...]]:
    run, notes, unjudged = pipeline.load_judged(ref, store, rename=rename)
    return run, samples_of(run, unjudged=unjudged), notes


def _report(run: Run, before: Run, outcome: Outcome, base: str, notes: tuple[str, ...]) -> Report:
    from pytest_llmwatch import measure

    named = [v.metric for v in outcome.verdicts if v.verdict == outcome.verdict]
    n = len(outcome.verdicts)
    sentence = (
        f"compared with {base}: {', '.join(named[:4])} {outcome.verdict}" if named else f"compared with {base}"
    )
    if outcome.verdict == "pass":
        sentence = f"compared with {base}: {plural(n, 'metric')} within the margin"
    return Report(
        run,
        outcome.verdict,
        sentence,
        1 if outcome.verdict == "fail" else 0,
        verdicts=outcome.verdicts,
        aggregates=measure.aggregates(run),
        notes=notes,
        alpha_by_family=outcome.alpha_by_family,
        before=before,
    )


def _identity(side: Samples) -> str:
    # the data themselves: renamed or moved, a baseline gives the same verdict
    return repr(sorted((m, sorted((str(k), v) for k, v in rows.items())) for m, rows in side.values.items()))


def _have(side: Samples) -> str:
    return ", ".join(side.metrics()) or "none"
