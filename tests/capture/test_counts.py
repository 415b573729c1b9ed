"""What a call costs, in operations: the benchmark's own check, which a busy machine cannot blur."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.capture import asked, fingerprint, values
from pytest_llmwatch.capture.cassette import CassetteHandle

BENCH = Path(__file__).parents[2] / "bench" / "capture"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's module ``run``, which imports those beside it."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("run")


@pytest.fixture
def server(run: Any) -> Iterator[Any]:
    made = run.subjects.Server()
    yield made
    made.close()


def counted(run: Any, server: Any, folder: Path, name: str) -> list[str]:
    (folder / name).mkdir()
    measure, _ = run.TABLES["counts"]
    broken: list[str] = run._broken(measure(server, folder / name, True))
    return broken


def test_a_call_costs_no_more_operations_than_it_did(
    run: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counted(run, server, tmp_path, "now") == []

    # the control: savings that are lost are told
    def again(body: bytes) -> Any:
        values.loads(body)
        return values.loads(body)

    with monkeypatch.context() as patched:
        for module in (asked, fingerprint):
            patched.setattr(module, "shared", again)
        assert any("bodies parsed" in line for line in counted(run, server, tmp_path, "parsed"))

    real = CassetteHandle.play

    def slow(handle: CassetteHandle, form: dict[str, Any], key: str | None = None) -> Any:
        for item in handle._file.interactions:  # a search through the whole file, as stock vcrpy makes it
            fingerprint.fingerprint({"body": item.key})
        return real(handle, form, key)

    monkeypatch.setattr(CassetteHandle, "play", slow)
    assert any(line.startswith("replayed") for line in counted(run, server, tmp_path, "searched"))


def test_no_concurrent_call_is_lost(run: Any, server: Any, tmp_path: Path) -> None:
    measure, _ = run.TABLES["concurrent"]
    rows = measure(server, tmp_path, True)
    assert run._lost(rows) == []
    ours = next(row for row in rows if row["subject"] == run.subjects.Ours.name)
    assert ours["records"] == ours["in the cassette"] == ours["asked"] == 20
    assert run._lost([{**ours, "records": 19}]) != []
    assert run._lost([{**ours, "in order": False}]) != []
