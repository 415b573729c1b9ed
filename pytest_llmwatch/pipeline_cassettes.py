"""What a run does with its cassettes as a whole: merging, sizes, and the note of which recordings it used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import atomic
from pytest_llmwatch.errors import RecordsError, UsageError
from pytest_llmwatch.model import SCHEMA_VERSION, Problem

if TYPE_CHECKING:
    from pytest_llmwatch.capture.cassette_check import Finding, Note

USES = "cassettes.json"
"""File beside run.json: which recordings the run used."""


class Uses:
    """What the processes of one run did with each cassette, by its path."""

    def __init__(self) -> None:
        self.files: dict[Path, dict[str, Any]] = {}

    def add(self, path: Path, played: Iterable[str], *, complete: bool) -> None:
        """Take in what one process did with a cassette.

        Args:
            path: The cassette.
            played: Names of the recordings replayed or made: ``repeat/attempt/fingerprint/k``.
            complete: Whether every execution that opened it came to its end.
        """
        known = self.files.setdefault(path, {"complete": True, "played": set()})
        known["played"].update(played)
        known["complete"] = known["complete"] and complete

    def dumps(self) -> str:
        """Return it as JSON text, for the way from a worker."""
        return json.dumps([[str(p), sorted(u["played"]), u["complete"]] for p, u in self.files.items()])

    def loads(self, text: str) -> None:
        """Add what another process's `dumps` wrote."""
        for path, played, complete in json.loads(text):
            self.add(Path(path), played, complete=complete)


def merge(folders: Iterable[Path], run: str) -> list[Path]:
    """Merge the part files that workers left in ``folders`` and below; return the cassettes that changed."""
    from pytest_llmwatch.capture.cassette_parts import merge_parts

    return [path for folder in folders if folder.is_dir() for path in merge_parts(folder, run)]


def shared(patterns: Sequence[str], root: Path) -> tuple[Path, ...]:
    """Return the files that ``[capture] cassettes`` names: paths, folders, or globs below ``root``."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        place = root / pattern
        if place.is_dir():
            paths = sorted(p for p in place.rglob("*") if p.suffix in (".yaml", ".yml", ".json"))
        elif place.is_file():
            paths = [place]
        else:
            paths = sorted(p for p in root.glob(pattern) if p.is_file()) if not Path(pattern).is_absolute() else []
        found.update(dict.fromkeys(p for p in paths if ".part-" not in p.name))
    return tuple(found)


def size_problems(written: Iterable[Path], root: Path, max_set_bytes: int | None) -> list[Problem]:
    """Return a problem for each set of cassettes (one folder) that a run let grow over the limit.

    Args:
        written: Cassettes that the run saved.
        root: Names are shown relative to it.
        max_set_bytes: The limit, None for none.
    """
    if max_set_bytes is None:
        return []
    out = []
    for folder in sorted({path.parent for path in written}):
        sizes = sorted(((p.stat().st_size, p) for p in folder.glob("*.yaml") if p.is_file()), reverse=True)
        total = sum(size for size, _ in sizes)
        if total > max_set_bytes:
            largest = ", ".join(f"{p.stem} {size / 1e6:.2f} MB" for size, p in sizes[:3])
            shown = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)
            out.append(
                Problem(
                    "cassettes-large",
                    f"{shown} holds {total / 1e6:.2f} MB in {len(sizes)} cassettes (limit "
                    f"{max_set_bytes / 1e6:.2f} MB), the largest: {largest}; split the set, record "
                    "fewer repeats, or raise [capture] max_set_bytes",
                )
            )
    return out


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of cassettes found: ``partial`` says why unused recordings were not looked for."""

    findings: list[Finding]
    files: int
    run_id: str | None
    partial: str | None
    errors: frozenset[str]


def check(paths: Sequence[Path], report: Path, budget: str | None) -> Checked:
    """Check the cassettes below ``paths``.

    Args:
        paths: Files and folders.
        report: Folder of the run that says what was used.
        budget: Budget file with limits and patterns; None = budget.toml if there is one.

    Raises:
        LlmwatchError: A path does not exist, or the budget or the run's note cannot be read.
    """
    from pytest_llmwatch.capture import cassette_check
    from pytest_llmwatch.capture.options import CaptureOptions
    from pytest_llmwatch.pipeline import load_setup

    name = budget or ("budget.toml" if Path("budget.toml").is_file() else None)
    setup = load_setup(Path(name) if name else None, name, golden=[Path("golden_sets")])
    limits = setup.budget.capture
    note = read_uses(report)
    files = cassette_check.find(paths)
    checker = cassette_check.Checker(
        setup.redactor, max_bytes=limits.max_cassette_bytes or CaptureOptions().cassette_max_bytes, note=note
    )
    findings = [found for file in files for found in checker.check(file)]
    findings += [
        cassette_check.Finding(Path(), "large", problem.message)
        for problem in size_problems(files, Path(), limits.max_set_bytes)
    ]
    if note is None:
        partial: str | None = f"{report} holds no {USES}; run the whole suite with --llm-budget or --llm-report"
    else:
        partial = note.partial
    return Checked(findings, len(files), note.run_id if note else None, partial, cassette_check.ERRORS)


def prune(paths: Sequence[Path], report: Path, budget: str | None, *, dry_run: bool) -> list[Finding]:
    """Remove orphaned cassettes and unused recordings; return what was (or would be) removed.

    Raises:
        UsageError: No whole run says what is used.
        LlmwatchError: As `check`.
    """
    from pytest_llmwatch.capture import cassette_check
    from pytest_llmwatch.redact import Redactor

    result = check(paths, report, budget)
    if result.partial:
        raise UsageError(
            f"no whole run says which recordings are used ({result.partial}); run the whole suite with "
            "--llm-record=none, then prune",
            slug="cassettes-partial",
        )
    doomed = [f for f in result.findings if f.kind in ("orphan", "unused")]
    if not dry_run:
        redactor = Redactor()
        for finding in doomed:
            cassette_check.remove(finding, redactor)
    return doomed


def read_uses(report: Path) -> Note | None:
    """Return what a run noted in its report's folder, None if it noted nothing.

    Raises:
        RecordsError: The note is damaged.
    """
    from pytest_llmwatch.capture.cassette_check import Note

    path = report / USES
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        root = (report / data["root"]).resolve()
        files = {
            (root / name).resolve(): {**use, "played": frozenset(use["played"])}
            for name, use in data["cassettes"].items()
        }
        return Note(str(data["run_id"]), data["partial"], files)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordsError(
            f"cannot be read ({error}); run the suite again", slug="cassettes-note", file=str(path)
        ) from error


def write_uses(
    folder: Path, uses: Uses, *, run_id: str, root: Path, partial: str | None, environment: Mapping[str, Any]
) -> Path:
    """Write the note that ``llmwatch cassettes check`` and ``prune`` read; return its path.

    Args:
        folder: The report's folder.
        uses: What the run did.
        run_id: Of the run.
        root: The root directory; paths in the note are relative to it.
        partial: Why the run says nothing about what it did not use; None where it was whole.
        environment: ``record``, ``variant`` of the run.
    """
    from pytest_llmwatch.capture.cassette_check import digest

    files = {
        (path.relative_to(root) if path.is_relative_to(root) else path).as_posix(): {
            "sha256": digest(path),
            "complete": use["complete"],
            "played": sorted(use["played"]),
        }
        for path, use in sorted(uses.files.items())
        if path.is_file()
    }
    data = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "root": Path(os.path.relpath(root, folder)).as_posix(),
        "partial": partial,
        **environment,
        "cassettes": files,
    }
    path = folder / USES
    atomic.write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    return path
