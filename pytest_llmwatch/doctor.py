"""``llmwatch doctor``: versions, settings, and what a run here would capture. Opens no connection."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_llmwatch import __version__, pipeline
from pytest_llmwatch.errors import LlmwatchError

_NEEDED = ("pytest", "openai", "vcrpy", "jsonschema", "scipy", "tabulate", "genai-prices", "Jinja2", "PyYAML")
_OPTIONAL = ("pytest-xdist", "pytest-rerunfailures", "httpx", "httpx2", "aiohttp")


def lines(root: Path, budget: Path | None) -> Iterator[str]:
    """Yield the report line by line.

    Args:
        root: The project's folder.
        budget: A budget file to look at; ``budget.toml`` in ``root`` where there is one.
    """
    yield f"pytest-llmwatch {__version__}, Python {platform.python_version()}, {platform.system()}"
    yield "needed:   " + ", ".join(f"{n} {_version(n) or 'MISSING'}" for n in _NEEDED)
    yield "found:    " + (", ".join(f"{n} {v}" for n in _OPTIONAL if (v := _version(n))) or "no optional packages")
    transports = [n for n in ("httpx", "httpx2") if importlib.util.find_spec(n)]
    yield f"captured: calls of LLM APIs through {' and '.join(transports) or 'nothing (no HTTP client found)'}"
    base = os.environ.get("OPENAI_BASE_URL")
    key = "set" if os.environ.get("OPENAI_API_KEY") else "not set (replay needs none)"
    yield f"endpoint: {base or 'the provider default'} (OPENAI_BASE_URL), OPENAI_API_KEY {key}"
    in_ci = bool(os.environ.get("CI"))
    yield f"record:   {'none (CI is set)' if in_ci else 'once (CI is not set)'}"
    path = budget or root / "budget.toml"
    if budget is not None or path.is_file():
        try:
            found = pipeline.load_setup(path, path.name if budget is None else str(path)).budget
            yield f"budget:   {path.name}: {len(found.limits)} limits, model {found.model.model or 'not set'}"
        except LlmwatchError as error:
            yield f"budget:   {error}"
    else:
        yield "budget:   no budget.toml here; `llmwatch init` writes one"
    sets = sorted((root / "golden_sets").glob("*/set.yaml"))
    for file in sets:
        try:
            golden = pipeline.load_golden(file)
            recorded = len(list((golden.folder / "cassettes").glob("*.yaml")))
            yield f"set:      {golden.name}: {len(golden.cases)} cases, {recorded} recorded"
        except LlmwatchError as error:
            yield f"set:      {error}"
    if not sets:
        yield "set:      no golden_sets/*/set.yaml here"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
