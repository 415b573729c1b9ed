"""Which golden sets a run names. Light: every run that meets a ``set.yaml`` asks, wanted or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


def golden_roots(config: pytest.Config) -> tuple[Path, ...]:
    """Return the folders that hold golden sets (ini ``llm_golden_paths``)."""
    return tuple(config.getini("llm_golden_paths")) or (config.rootpath / "golden_sets",)


def named_paths(config: pytest.Config) -> list[str]:
    """Return the paths that the user gave on the command line, absolute; empty for a bare ``pytest``."""
    if config.args_source is not config.ArgsSource.ARGS:
        return []
    out = []
    for arg in config.args:
        path = Path(str(arg).split("::")[0])
        out.append(str((config.invocation_params.dir / path).resolve()))
    return out


def asked(config: pytest.Config, file: Path) -> bool:
    """Whether this run may start the calls of the golden set ``file``: it was named, or the ini file says so."""
    if config.getini("llm_golden_collect") and any(_below(file, root) for root in golden_roots(config)):
        return True
    worker = getattr(config, "workerinput", None)
    shared = (worker or {}).get("llmwatch") or {}
    named = shared.get("golden_named") if worker is not None else None
    paths = [Path(p) for p in (named if named is not None else named_paths(config))]
    for path in paths:
        if path == file:
            return True
        for root in golden_roots(config):
            if _below(file, root) and _below(path, root) and _below(file, path):
                return True
    return False


def _below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def named_sets(config: pytest.Config) -> Iterator[Path]:
    """Yield the set.yaml files whose tests the command line asks for."""
    for root in golden_roots(config):
        for file in sorted(root.rglob("set.yaml")):
            if asked(config, file):
                yield file
