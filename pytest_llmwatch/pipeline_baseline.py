"""Baselines by the names that users give them: files, folders of sets, stored runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_llmwatch import baseline as frozen
from pytest_llmwatch import baseline_file, pipeline, pipeline_git
from pytest_llmwatch.budget_types import Budget
from pytest_llmwatch.compare import Options
from pytest_llmwatch.errors import BaselineError, UsageError
from pytest_llmwatch.model import Baseline, Run
from pytest_llmwatch.store.base import is_url


def load(
    ref: str | None, budget: Budget, roots: Iterable[Path], *, base: Path, store: str | Path
) -> dict[str, Baseline]:
    """Return the baselines to compare with, by golden set.

    Args:
        ref: A baseline file, a folder of golden sets, either in a commit (``main:golden_sets``), a stored run,
            a store; None = from ``[drift] baseline``, else the
            ``baseline.json`` beside each golden set.
        budget: Its ``[drift]`` may name them; without one, and without ``ref``, there is nothing to compare.
        roots: Folders of golden sets.
        base: What a relative path is relative to.
        store: Where runs are looked up by id.

    Raises:
        UsageError: ``ref`` names nothing, or a baseline is damaged.
    """
    named = [ref] if ref else list(dict.fromkeys(d.baseline for d in budget.drifts if d.baseline))
    if not named and not budget.drifts:
        return {}
    if not named:
        return _files(file for root in roots for file in sorted(root.glob(f"**/{baseline_file.NAME}")))
    out: dict[str, Baseline] = {}
    for name in named:
        out |= _named(name, base, store)
    return out


def _named(ref: str, base: Path, store: str | Path) -> dict[str, Baseline]:
    inside = None if is_url(ref) or (base / ref).exists() else pipeline_git.named(ref, base)
    if inside is not None:
        return _loaded((baseline_file.loads(text, name), name) for name, text in inside)
    path = base / ref
    if path.is_file() and path.name != "run.json" and path.suffix == ".json":
        return _files([path])
    found = sorted(path.glob(f"**/{baseline_file.NAME}")) if path.is_dir() else []
    if found and not (path / "run.json").is_file():
        return _files(found)
    run, _, _ = pipeline.load_judged(str(path) if path.exists() else ref, store)
    return {str(b.set): b for b in from_runs([run])}


def _files(paths: Iterable[Path]) -> dict[str, Baseline]:
    return _loaded((baseline_file.load(path, display=_shown(path)), _shown(path)) for path in paths)


def _loaded(baselines: Iterable[tuple[Baseline, str]]) -> dict[str, Baseline]:
    out: dict[str, Baseline] = {}
    for found, shown in baselines:
        name = str(found.set)
        if name in out:
            raise BaselineError(
                f"is a second baseline of the set {name}; keep one", slug="baseline-twice", file=shown
            )
        out[name] = found
    return out


def _shown(path: Path) -> str:
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def from_runs(runs: Sequence[Run], set_name: str | None = None, *, reason: str | None = None) -> list[Baseline]:
    """Return a baseline for each golden set that the runs hold, or for the one named.

    Raises:
        UsageError: A run is partial or holds no golden set.
    """
    names = sorted({r.set for run in runs for r in run.results if r.set is not None})
    if set_name is not None:
        names = [set_name]
    if not names:
        if any(run.results for run in runs):
            return [frozen.make(runs, None, reason=reason)]
        raise UsageError("the run holds nothing that can be a baseline", slug="baseline-empty")
    return [frozen.make(runs, name, reason=reason) for name in names]


def checked(base: Baseline, *, alpha: float) -> Baseline:
    """Return ``base`` with the outcome of its self-check."""
    return replace(base, self_check=frozen.self_check(base, alpha=alpha))


def accept(
    base: Baseline, runs: Sequence[Run], options: Options, *, reason: str, new_anchor: bool
) -> frozen.Acceptance:
    """Return whether the runs may replace ``base``, see `baseline.accept`."""
    candidate = frozen.make(runs, base.set, reason=reason)
    return frozen.accept(
        base, checked(candidate, alpha=options.alpha), reason=reason, new_anchor=new_anchor, options=options
    )


def path_of(set_name: str | None, root: Path) -> Path:
    """Return where the baseline of a set is kept: beside its ``set.yaml``, wherever below ``root`` that is."""
    for file in sorted(root.glob("**/set.yaml")):
        if file.parent.name == set_name:
            return file.parent / baseline_file.NAME
    return root / (set_name or ".") / baseline_file.NAME
