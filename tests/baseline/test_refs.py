"""What a baseline may be named by: a file in a commit, a folder of one, a stored run, a store."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_llmwatch import baseline_file, pipeline_baseline
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.errors import BaselineError, UsageError
from pytest_llmwatch.model import Baseline, BaselineCase

BUDGET = parse_budget("[drift]\nmetrics = ['relevance']\n")


@pytest.fixture
def repository(tmp_path: Path, require: Callable[..., None]) -> Path:
    """A repository whose branch ``main`` holds two baselines; the work tree holds another."""
    require(shutil.which("git"), "git", "install it")
    root = tmp_path / "project"
    for name in ("a", "b"):
        base = Baseline(f"id-{name}", name, "2026-01-01", {"c": BaselineCase("p", {"relevance": (0.9,)}, (0,))})
        (root / "sub" / "golden_sets" / name).mkdir(parents=True)
        baseline_file.save(base, root / "sub" / "golden_sets" / name / "baseline.json")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "-q", "-b", "main"), ("add", "."), (*identity, "commit", "-q", "-m", "one")):
        subprocess.run(["git", *command], cwd=root, check=True)
    changed = root / "sub" / "golden_sets" / "a" / "baseline.json"
    baseline_file.save(replace(baseline_file.load(changed), id="newer"), changed)
    return root


def ids(ref: str, base: Path) -> dict[str, str]:
    found = pipeline_baseline.load(ref, BUDGET, [], base=base, store=base / ".llmwatch")
    return {name: b.id for name, b in found.items()}


def test_a_commit_gives_the_baselines_that_it_holds(repository: Path) -> None:
    sub = repository / "sub"
    assert ids("golden_sets", sub) == {"a": "newer", "b": "id-b"}
    both = {"a": "id-a", "b": "id-b"}
    assert ids("main:sub/golden_sets", sub) == both
    assert ids("HEAD:./golden_sets/", sub) == both
    assert ids("main:", repository) == both
    assert ids("main:sub/golden_sets/b/baseline.json", sub) == {"b": "id-b"}


@pytest.mark.parametrize(
    ("ref", "slug"),
    [
        ("gone:sub/golden_sets", "baseline-git"),
        ("main:nowhere", "baseline-git"),
        ("--upload-pack=touch x:y", "run-missing"),
        ("main:sub/golden_sets/b/notes", "baseline-git"),
    ],
)
def test_what_git_does_not_know_is_one_line(repository: Path, ref: str, slug: str) -> None:
    with pytest.raises(UsageError) as caught:
        ids(ref, repository)
    assert caught.value.slug == slug
    assert "\n" not in str(caught.value)


def test_damage_in_a_commit_names_the_file(repository: Path) -> None:
    (repository / "bad.json").write_text("{", "utf-8")
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, "commit", "-q", "-m", "two"], cwd=repository, check=True)
    with pytest.raises(BaselineError, match=r"main:bad\.json:1: is not valid JSON"):
        ids("main:bad.json", repository)
