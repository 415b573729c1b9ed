"""A store that cannot be used: one line within seconds, no password in it; older tables are brought up to date."""

from __future__ import annotations

import importlib.util
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_llmwatch.cli import main
from pytest_llmwatch.errors import InfrastructureError, LlmwatchError, RecordsError, UsageError
from pytest_llmwatch.store.base import open_store

PASSWORD = "hu$h @3"
QUOTED = "hu%24h%20%403"


@pytest.fixture(autouse=True)
def _installed(require: Callable[..., None]) -> None:
    require(importlib.util.find_spec("sqlalchemy"), "sqlalchemy", "pip install 'pytest-llmwatch[sql]'")


def refused(url: str, kind: type[LlmwatchError], root: Path = Path()) -> LlmwatchError:
    """Open and check the store; it must fail with one line that holds no form of the password."""
    with pytest.raises(kind) as caught:
        open_store(url, root).check()
    said = str(caught.value)
    assert "\n" not in said
    for secret in (PASSWORD, QUOTED, "hu$h", "hu%24h"):
        assert secret not in said
    assert PASSWORD not in repr(caught.value.__cause__)
    return caught.value


@pytest.mark.parametrize(
    ("url", "slug", "says"),
    [
        ("mysql://u:hu%24h@h/d", "store-url", "a store mysql:// is not known"),
        ("s3://bucket/runs", "store-url", "name a folder, sqlite:///file.db"),
        ("postgresql+psycopg2://u:hu%24h@h/d", "store-url", "leave the driver 'psycopg2' out"),
        (f"postgresql://u:{QUOTED}@h:port/d", "store-url", "cannot be understood"),
        ("sqlite://", "store-url", "a store in memory keeps nothing"),
        ("sqlite:///:memory:", "store-url", "a store in memory keeps nothing"),
    ],
)
def test_a_url_that_is_none_is_named_without_its_password(url: str, slug: str, says: str) -> None:
    error = refused(url, UsageError)
    assert error.slug == slug
    assert says in str(error)


def test_a_missing_package_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['{}'] = None\n"
        "from pytest_llmwatch.cli import main\n"
        "sys.exit(main(['history', '--store', '{}']))"
    )
    for module, url in (("sqlalchemy", "sqlite:///x.db"), ("psycopg", "postgresql://u:hu%24h@h/d")):
        command = [sys.executable, "-c", code.format(module, url)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 4, done.stderr
        assert f"needs {module}: pip install 'pytest-llmwatch[sql]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "hu%24h" not in done.stderr


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    error = refused(f"postgresql://u:{QUOTED}@127.0.0.1:{port}/d", InfrastructureError)
    assert error.slug == "store-down"
    assert f"postgresql://u@127.0.0.1:{port}/d" in str(error)
    assert "refused" in str(error)


def test_a_server_that_never_answers_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        from_now = time.monotonic()
        url = f"postgresql://u:{QUOTED}@127.0.0.1:{port}/d?connect_timeout=2"
        assert main(["history", "--store", url]) == 7
        # what libpq allows, and some
        assert time.monotonic() - from_now < 60
    err = capsys.readouterr().err
    assert "store-down" in err
    assert "hu" not in err
    assert len(err.splitlines()) == 1


def test_a_wrong_password_is_not_repeated(postgres: str) -> None:
    host = postgres.rpartition("@")[2]
    error = refused(f"postgresql://llm:{QUOTED}@{host}", InfrastructureError)
    assert "password authentication failed" in str(error)
    missing = refused(f"{postgres}x", InfrastructureError)
    assert "does not exist" in str(missing)
    assert "hush" not in str(missing)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database at all\n" * 100)
    assert refused("sqlite:///x.db", RecordsError, tmp_path).slug == "store-corrupt"
    (tmp_path / "folder").mkdir()
    assert refused("sqlite:///folder", InfrastructureError, tmp_path).slug == "store-down"
    assert refused(str(tmp_path / "x.db"), InfrastructureError).slug == "store-down"


V1 = """
CREATE TABLE llmwatch_version (version INTEGER PRIMARY KEY);
INSERT INTO llmwatch_version VALUES (1);
CREATE TABLE llmwatch_runs (number INTEGER PRIMARY KEY AUTOINCREMENT, run_id VARCHAR(200) UNIQUE NOT NULL,
  time VARCHAR(40) NOT NULL, verdict VARCHAR(20), branch TEXT, commit_id TEXT, bodies BOOLEAN NOT NULL,
  size BIGINT NOT NULL, digest VARCHAR(64) NOT NULL, head TEXT NOT NULL);
CREATE TABLE llmwatch_parts (run_id VARCHAR(200), name VARCHAR(20), part INTEGER, data BLOB NOT NULL,
  PRIMARY KEY (run_id, name, part));
CREATE TABLE llmwatch_spent (run_id VARCHAR(200) PRIMARY KEY, day VARCHAR(10) NOT NULL, usd FLOAT NOT NULL);
INSERT INTO llmwatch_spent VALUES ('old', '2026-01-01', 2.5);
"""


def test_older_tables_are_brought_up_to_date_and_newer_ones_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    head = {"run_id": "old", "time": "2026-01-01", "environment": {}, "aggregates": {"latency": {"p95": 1.5}}}
    with sqlite3.connect(file) as db:
        db.executescript(V1)
        row = ("old", "2026-01-01", "pass", "", "", True, 0, "", json.dumps(head))
        db.execute(
            "INSERT INTO llmwatch_runs (run_id, time, verdict, branch, commit_id, bodies, size, digest, head) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    db.close()
    store = open_store("sqlite:///x.db", tmp_path)
    assert [r.id for r in store.runs()] == ["old"]
    assert store.find("latest") == "old"
    assert store.spent("2026-01-01") == {"day": 2.5, "month": 2.5}
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT version FROM llmwatch_version").fetchall() == [(4,)]
        assert db.execute("SELECT * FROM llmwatch_figures").fetchall() == [("old", "latency.p95", 1.5)]
        db.execute("UPDATE llmwatch_version SET version = 99")
    db.close()
    error = refused("sqlite:///x.db", RecordsError, tmp_path)
    assert error.slug == "store-version"
    assert "upgrade pytest-llmwatch" in str(error)


def test_old_tables_of_postgresql_are_brought_up_to_date_too(postgres: str) -> None:
    import psycopg

    script = V1.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGSERIAL PRIMARY KEY").replace("BLOB", "BYTEA")
    with psycopg.connect(postgres.replace("+psycopg", "")) as db:
        db.execute(script.encode())
    store = open_store(postgres, Path())
    assert store.spent("2026-01-01") == {"day": 2.5, "month": 2.5}
    with psycopg.connect(postgres.replace("+psycopg", "")) as db:
        assert db.execute("SELECT version FROM llmwatch_version").fetchall() == [(4,)]
        assert db.execute("SELECT part FROM llmwatch_runs").fetchall() == []
