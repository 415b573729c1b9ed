"""What continuous integration systems are told beside the exit code: GitHub's log and summary.

Only where ``GITHUB_ACTIONS`` says that this is such a job; ``LLMWATCH_GITHUB=off`` keeps silent even there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_llmwatch.model import Report

SWITCH = "LLMWATCH_GITHUB"


def in_github(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a step of GitHub Actions that wants to be told."""
    wanted = environ.get(SWITCH, "").lower() not in ("off", "0", "false", "no")
    return wanted and environ.get("GITHUB_ACTIONS") == "true"


def log_lines(
    report: Report, root: Path, places: Mapping[str, tuple[str, int | None]] | None = None
) -> Iterator[str]:
    """Yield the workflow commands that annotate files; nothing elsewhere than in GitHub Actions.

    Args:
        report: What to tell.
        root: What the report's paths are relative to.
        places: File and line of tests by node id, where they are known.
    """
    if not in_github():
        return
    from pytest_llmwatch.report import github

    for found in github.remarks(report, places):
        yield found.command(_in_repository((Path() if found.budget else root) / found.file) or found.file)


def append_summary(report: Report) -> bool:
    """Append summary.md to the step's summary where GitHub gives a file for it; whether it was written.

    A file that cannot be written changes nothing of the verdict: it is a copy of summary.md.
    """
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target or not in_github():
        return False
    from pytest_llmwatch.report import github, markdown

    path = Path(target)
    with contextlib.suppress(OSError):
        taken = path.stat().st_size if path.exists() else 0
        text = github.room_for(markdown.render(report), taken + 1)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(("\n" if taken else "") + text)
        return bool(text)
    return False


def _in_repository(path: Path) -> str | None:
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace:
        with contextlib.suppress(ValueError, OSError):
            return path.resolve().relative_to(Path(workspace).resolve()).as_posix()
    return None
