"""The built wheel: all of the package, nothing else, small, typed, with its entry points."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

# text that compresses well: a file of a model or of data would stand out at once
MAX_BYTES = 1_000_000


@pytest.fixture(scope="module")
def wheel(
    project_root: Path, tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None]
) -> zipfile.ZipFile:
    require(importlib.util.find_spec("hatchling"), "hatchling", "pip install hatchling")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(project_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("*.whl")
    return zipfile.ZipFile(file)


def test_it_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile, project_root: Path) -> None:
    names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    package = project_root / "pytest_llmwatch"
    files = {f for f in package.rglob("*") if f.is_file() and "__pycache__" not in f.parts}
    assert names == {f.relative_to(project_root).as_posix() for f in files}
    assert "pytest_llmwatch/py.typed" in names


def test_it_is_small(wheel: zipfile.ZipFile) -> None:
    assert sum(info.compress_size for info in wheel.infolist()) < MAX_BYTES


def test_its_entry_points_lead_somewhere(wheel: zipfile.ZipFile) -> None:
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert points["pytest11"]["llmwatch"] == "pytest_llmwatch.plugin.entry"
    module, _, function = points["console_scripts"]["llmwatch"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_its_metadata_names_the_promised_extras(wheel: zipfile.ZipFile, project_root: Path) -> None:
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    metadata = wheel.read(name).decode()
    for extra in ("embeddings", "alerts", "otel", "sql", "all", "dev"):
        assert f"Provides-Extra: {extra}\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    assert any(n.endswith("licenses/LICENSE") for n in wheel.namelist())


def test_the_source_archive_takes_what_exists(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text("utf-8"))
    wanted = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in wanted if not (project_root / name).exists()] == []


def _declared(project_root: Path) -> set[str]:
    project = tomllib.loads((project_root / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return {re.split(r"[<>=!~;\[ ]", text, maxsplit=1)[0] for group in groups for text in group} - {
        "pytest-llmwatch"
    }


def test_every_dependency_has_its_reason(project_root: Path) -> None:
    page = (project_root / "docs" / "design" / "dependencies.md").read_text("utf-8")
    named = set(re.findall(r"[a-z0-9][a-z0-9.-]*[a-z0-9]", page.lower()))
    declared = _declared(project_root)
    assert len(declared) > 40
    assert sorted(name for name in declared if name.lower() not in named) == []
    adapters = (project_root / "pytest_llmwatch" / "scorers" / "adapters").glob("[a-z]*.py")
    assert [p.stem for p in adapters if p.stem != "common" and p.stem.replace("_", "-") not in named] == []


# what a declared dependency always brings (the OpenAI client its transport, jsonschema its registry, ...)
BROUGHT = {
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "anyio",
    "referencing",
    "markupsafe",
    "_pytest",
    "xdist",
} | {
    # where an application uses it; never imported for its own sake
    "aiohttp",
    "multidict",
    # other tools, whose metrics are run where somebody has them and names one
    "deepeval",
    "ragas",
    "autoevals",
    "pydantic_evals",
}
# imported by the modules of an extra alone, see the owners in test_layers.py
OF_EXTRAS = {"sqlalchemy": "sql", "opentelemetry": "otel", "apprise": "alerts"}
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "vcr": "vcrpy",
    "genai_prices": "genai-prices",
    "prometheus_client": "prometheus-client",
    "Stemmer": "pystemmer",
}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[<>=!~;\[ ]", line)[0].lower() for line in project["dependencies"]}
    found = set()
    for file in (project_root / "pytest_llmwatch").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    for name, extra in OF_EXTRAS.items():
        brought = " ".join(project["optional-dependencies"][extra]).lower()
        assert name in found and name in brought, f"{name} is not what the extra {extra} is for"  # noqa: PT018
    outside = found - set(sys.stdlib_module_names) - {"pytest_llmwatch"} - BROUGHT - set(OF_EXTRAS)
    assert {DISTRIBUTIONS.get(name, name) for name in outside} == declared
