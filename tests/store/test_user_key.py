"""The key that user ids are hashed with."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.pipeline_users import hash_with, key_of, with_hashed_users
from pytest_llmwatch.store.user_key import FILE, VARIABLE, UserKey


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_it_is_made_once_for_its_owner_and_out_of_gits_sight(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    key = UserKey(folder)()
    assert len(key) == 64
    assert UserKey(folder)() == key
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"
    assert sorted(p.name for p in folder.iterdir()) == [".gitignore", FILE]


def test_a_folder_that_is_there_keeps_its_ignore_rules(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.tmp")
    UserKey(tmp_path)()
    UserKey(tmp_path)()
    assert (tmp_path / ".gitignore").read_text() == f"*.tmp\n/{FILE}\n"


def test_the_environment_wins_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "of the team")
    assert UserKey(tmp_path / "store")() == b"of the team"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    reader = UserKey(tmp_path, create=False)
    assert reader() == reader()
    assert list(tmp_path.iterdir()) == []
    made = UserKey(tmp_path)()
    assert UserKey(tmp_path, create=False)() == made


def test_a_folder_that_cannot_be_made_gives_a_key_for_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    key = UserKey(tmp_path / "file" / "store")
    assert key() == key()


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pytest_llmwatch.store.user_key import UserKey;"
        "sys.stdin.readline(); print(UserKey(Path(sys.argv[1]))().decode())"
    )
    folder = str(tmp_path / "store")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert len({process.communicate()[0] for process in started}) == 1
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == [".gitignore", FILE]


@pytest.mark.parametrize("url", [None, "sqlite:///runs.db", "llmwatch-report", "llmwatch-report/store"])
def test_it_is_never_in_the_report(url: str | None, tmp_path: Path) -> None:
    key_of(url, tmp_path, report=tmp_path / "llmwatch-report")()
    assert [p.name for p in tmp_path.iterdir()] == [".llmwatch"]


def test_a_budget_names_users_in_clear(tmp_path: Path) -> None:
    text = '[cost]\nrun_usd = 1\n[scope."user:jane".cost]\nrun_usd = 1\n[scope."user:*".cost]\nrun_usd = 1\n'
    hash_user = hash_with(UserKey(tmp_path))
    budget = with_hashed_users(parse_budget(text, "budget.toml"), hash_user)
    assert [x.scope and (x.scope.text, x.scope.also) for x in budget.limits] == [
        None,
        ("user:jane", hash_user("jane")),
        ("user:*", None),
    ]
    assert [x.rule for x in budget.limits][1] == "scope.user:jane.cost.run_usd"
