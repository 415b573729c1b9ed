"""Baselines as they stand in a commit: ``main:golden_sets``, ``v1.2:golden_sets/support/baseline.json``."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

from pytest_llmwatch import baseline_file
from pytest_llmwatch.errors import BaselineError

SECONDS = 30


def named(ref: str, base: Path) -> list[tuple[str, str]] | None:
    """Return name and text of each baseline that ``COMMIT:PATH`` names; None where ``ref`` does not read so.

    Args:
        ref: A branch, tag or commit, a colon, and a file or a folder that is searched; the path is relative to
            the root of the repository, or with ``./`` to ``base``.
        base: A folder of the repository.

    Raises:
        BaselineError: There is no such commit or path, or no baseline below it.
    """
    commit, sep, path = ref.partition(":")
    if not sep or not commit or commit.startswith("-") or len(commit) == 1:  # one letter is a Windows drive
        return None
    kind = _git(base, "cat-file", "-t", ref)
    if kind is None:
        raise BaselineError(
            f"git knows no {path or '.'} in {commit}; fetch it (a CI job often has only the newest commit), or "
            "correct the path, which starts at the root of the repository",
            slug="baseline-git",
            file=ref,
        )
    if kind.strip() == "blob":
        return [(ref, _git(base, "cat-file", "blob", ref) or "")]
    listed = (_git(base, "ls-tree", "--full-tree", "-r", "-z", "--name-only", ref) or "").split("\0")
    names = sorted(name for name in listed if PurePosixPath(name).name == baseline_file.NAME)
    if not names:
        raise BaselineError(f"holds no {baseline_file.NAME}", slug="baseline-missing", file=ref)
    lead = ref if ref.endswith((":", "/")) else f"{ref}/"
    return [(lead + name, _git(base, "cat-file", "blob", lead + name) or "") for name in names]


def _git(folder: Path, *args: str) -> str | None:
    """Return what git says, None where it refuses or is not there."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *args],  # noqa: S607
            cwd=folder,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", errors="replace") if done.returncode == 0 else None
