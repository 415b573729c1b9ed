"""The life of an incident over builds, people and stores; what breaks on the way is named and nothing is lost."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import cli, incidents_life, incidents_text, pipeline, pipeline_incidents, pipeline_store
from pytest_llmwatch.budget import empty_budget, parse_budget
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Incident, Report
from pytest_llmwatch.store.base import open_store

SLOW = '[latency]\np95 = { fail = "1 s", test = false }\n'


def at(hour: int, minute: int = 0) -> str:
    return f"2026-03-01T{hour:02d}:{minute:02d}:00.000Z"


@pytest.fixture
def build(judged: Any, call: Any, tmp_path: Path) -> Any:
    """One build: judge, attach, keep. ``build(store, "r1", 10, latency)``; a fresh machine each time."""

    def make(store: str | None, run_id: str, hour: int, latency: float, **fields: Any) -> Report:
        report = judged(SLOW, [call(i, latency=latency) for i in range(8)], run_id=run_id, time=at(hour), **fields)
        folder = tmp_path / f"machine-{run_id}"
        budget = parse_budget(SLOW, display="budget.toml")
        report = pipeline_incidents.attach(
            report, budget, url=store, root=tmp_path, folder=folder, now=at(hour, 5)
        )
        if store is not None:
            pipeline_store.keep(report, store, tmp_path)
        return report

    return make


def test_an_incident_lives_through_builds_on_changing_machines(build: Any, store_url: str, tmp_path: Path) -> None:
    store = open_store(store_url, tmp_path)
    assert build(store_url, "r1", 10, 0.5).incidents == ()
    (first,) = build(store_url, "r2", 11, 3.0).incidents
    assert first.state == "triaged"
    pipeline_incidents.take_step(store, first.id[-6:], "acknowledged", by="ann", text="on it", now=at(11, 15))
    (again,) = build(store_url, "r3", 12, 4.0).incidents
    assert (again.id, again.state, again.run_id) == (first.id, "acknowledged", "r3")
    assert again.since["run_id"] == "r2"
    # the same build, judged again, adds nothing
    before = list(store.journal("incidents"))
    build(store_url, "r3", 12, 4.0)
    assert list(store.journal("incidents")) == before
    (over,) = build(store_url, "r4", 13, 0.5).incidents
    assert (over.id, over.state) == (first.id, "resolved")
    assert [e["event"] for e in over.timeline] == ["detected", "triaged", "acknowledged", "seen", "resolved"]
    times = incidents_life.clock(over, incidents_text.at(at(14)))
    assert (times.to_acknowledge, times.to_resolve) == (600, 7200)
    assert build(store_url, "r5", 14, 0.5).incidents == ()
    (back,) = build(store_url, "r6", 15, 3.0).incidents
    assert back.id != first.id
    assert back.earlier == first.id


def test_the_first_bad_build_comes_from_the_history(judged: Any, call: Any, build: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    build(url, "r1", 8, 0.5)
    for n, hour in ((2, 9), (3, 10)):  # stored by a version without incidents, or by another tool
        bad = judged(SLOW, [call(i, latency=3.0) for i in range(8)], run_id=f"r{n}", time=at(hour))
        pipeline_store.keep(bad, url, tmp_path)
    (found,) = build(url, "r4", 11, 3.0, environment={"branch": "main", "commit": "abc"}).incidents
    assert {k: found.since[k] for k in ("run_id", "builds")} == {"run_id": "r2", "builds": 3}
    assert "at_least" not in found.since
    # builds of another branch are no history of this one
    (other,) = build(url, "r5", 12, 3.0, environment={"branch": "feature"}).incidents
    assert other.since["run_id"] == "r5"
    assert other.id != found.id


@pytest.mark.parametrize("how", ["partial", "no budget", "inconclusive", "rule gone"])
def test_what_shows_nothing_resolves_nothing(build: Any, judged: Any, call: Any, tmp_path: Path, how: str) -> None:
    url = str(tmp_path / "store")
    (first,) = build(url, "r1", 10, 3.0).incidents
    calls = [call(i, latency=0.5) for i in range(8)]
    text = {"rule gone": "[cost]\nrun_usd = 9\n", "inconclusive": '[latency]\np95 = "1 s"\n'}.get(how, SLOW)
    report = judged(text, calls, run_id="r2", time=at(11), partial=how == "partial")
    budget = parse_budget(text, display="b")
    if how == "no budget":
        budget, report = empty_budget(), pipeline.judge(report.run, empty_budget())
    after = pipeline_incidents.attach(report, budget, url=url, root=tmp_path, folder=tmp_path, now=at(11))
    assert after.incidents == ()
    (known,), _ = pipeline_incidents.known(open_store(url, tmp_path))
    assert (known.id, known.state) == (first.id, "triaged")


def test_without_a_store_the_reports_folder_keeps_them(build: Any, tmp_path: Path) -> None:
    (found,) = build(None, "r1", 10, 3.0).incidents
    (known,), bad = pipeline_incidents.known(pipeline_incidents.place(None, tmp_path, tmp_path / "machine-r1"))
    assert (known.id, bad) == (found.id, 0)


def test_overdue_climbs_the_levels(build: Any, tmp_path: Path) -> None:
    (found,) = build(str(tmp_path / "store"), "r1", 10, 3.0).incidents
    levels = []
    for minutes in (10, 16, 31, 500):
        now = incidents_text.at(found.time or "") + datetime.timedelta(minutes=minutes)
        times = incidents_life.clock(found, now)
        levels.append((times.overdue, times.escalate_to))
    assert levels == [
        (None, "on-call engineer"),
        (60, "platform team"),
        (960, "leadership"),
        (29_100, "leadership"),
    ]
    assert "overdue by" in incidents_text.status([found], incidents_text.at(at(20)))


def test_steps_that_cannot_be_are_one_line(build: Any, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), tmp_path)
    (found,) = build(str(tmp_path / "store"), "r1", 10, 3.0).incidents
    step = {"by": "ann", "text": None, "now": at(11)}
    with pytest.raises(UsageError, match="a review follows the end"):
        pipeline_incidents.take_step(store, found.id, "reviewed", **step)
    pipeline_incidents.take_step(store, found.id, "resolved", **step)
    with pytest.raises(UsageError, match="is resolved already"):
        pipeline_incidents.take_step(store, found.id, "acknowledged", **step)
    with pytest.raises(UsageError, match=r"no incident 'inc-1'.*newest are: inc-20260301"):
        pipeline_incidents.take_step(store, "inc-1", "reviewed", **step)


def test_a_note_is_redacted(build: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    (found,) = build(url, "r1", 10, 3.0).incidents
    key = "sk-" + "proj-" + "Ab1" * 16
    store = open_store(url, tmp_path)
    pipeline_incidents.take_step(store, found.id, "acknowledged", by="ann", text=f"key {key} leaked", now=at(11))
    assert key not in (tmp_path / "store" / "journals" / "incidents.jsonl").read_text()


def test_jobs_that_write_at_once_lose_nothing(store_url: str, tmp_path: Path) -> None:
    def write(worker: int) -> None:
        store = open_store(store_url, tmp_path)
        for n in range(10):
            store.append("incidents", [{"id": f"{worker}-{n}", "n": n}, {"id": f"shared-{n}", "n": n}])

    open_store(store_url, tmp_path).append("incidents", [{"id": "first"}])
    threads = [threading.Thread(target=write, args=(w,)) for w in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [e["id"] for e in open_store(store_url, tmp_path).journal("incidents")]
    assert len(ids) == len(set(ids)) == 1 + 40 + 10


def test_a_torn_journal_is_told_and_the_rest_read(build: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    (found,) = build(url, "r1", 10, 3.0).incidents
    path = tmp_path / "store" / "journals" / "incidents.jsonl"
    with path.open("ab") as file:
        file.write(b'{"id": "x", "incident": "inc-2\n[1]\n{"id": "y", "incident": "z", "event": "detected", "ti')
    report = build(url, "r2", 11, 4.0)
    assert [i.id for i in report.incidents] == [found.id]
    assert any("3 entries of the journal" in n for n in report.notes)
    # and what was added after the torn line can be read
    (known,), _ = pipeline_incidents.known(open_store(url, tmp_path))
    assert known.run_id == "r2"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_is_a_note_and_changes_no_verdict(build: Any, tmp_path: Path) -> None:
    journal = tmp_path / "store" / "journals"
    journal.mkdir(parents=True)
    (journal / "incidents.jsonl").symlink_to("/dev/full")
    report = build(str(tmp_path / "store"), "r1", 10, 3.0)
    assert (report.verdict, report.exit_code) == ("fail", 1)
    assert len(report.incidents) == 1
    assert any("No space left" in n and "incident-journal" in n for n in report.notes)


def test_files_that_cannot_be_written_are_a_note(build: Any, tmp_path: Path) -> None:
    report = build(str(tmp_path / "store"), "r1", 10, 3.0)
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "incidents").write_text("in the way")
    paths = pipeline.write_outputs(report, folder)
    assert json.loads(paths["run"].read_text())["incidents"][0]["id"] == report.incidents[0].id
    assert "incident-files" in paths["summary"].read_text()


def test_a_fault_of_its_own_never_breaks_the_build(build: Any, judged: Any, call: Any, tmp_path: Path) -> None:
    report = judged(SLOW, [call(i, latency=3.0) for i in range(8)])
    broken = dataclasses.replace(report, aggregates=None)  # what no renderer of ours hands over
    budget = parse_budget(SLOW, display="b")
    after = pipeline_incidents.attach(broken, budget, url=None, root=tmp_path, folder=tmp_path)
    assert (after.verdict, after.exit_code, after.incidents) == ("fail", 1, ())
    assert any("incident-failed" in n for n in after.notes)


def test_ten_thousand_incidents_are_listed_bounded_and_none_is_lost(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = build(".llmwatch", "r1", 10, 3.0).incidents
    store = open_store(".llmwatch", tmp_path)
    # what matters is how many there are: evidence and runbook only make 10,000 lines longer to read
    small = Incident(found.id, "SEV3", "cost_spike", "Cost spike", ("cost.run_usd",), time=at(1), branch="main")
    one = incidents_life.entry(small.id, "detected", at(1), data=small)
    ids = [f"inc-20260101-{i:06d}" for i in range(9_999)]
    store.append("incidents", [{**one, "id": i, "incident": i, "data": {**one["data"], "id": i}} for i in ids])
    (again,) = build(".llmwatch", "r2", 11, 3.0).incidents
    assert again.id == found.id
    assert cli.main(["incidents", "list"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 51
    assert "and 9,950 more" in out
    assert cli.main(["incidents", "status"]) == 0
    assert "10000 open incidents" in capsys.readouterr().out.replace(",", "")


def test_hostile_text_stays_inert(build: Any, judged: Any, call: Any, tmp_path: Path) -> None:
    nasty = "\x1b[2J<script>alert(1)</script> [x](http://evil.example) @everyone\n# h"
    calls = [call(i, latency=3.0, feature=nasty, error=nasty) for i in range(8)]
    report = judged(SLOW, calls)
    report = pipeline_incidents.attach(
        report, parse_budget(SLOW, display="b"), url=None, root=tmp_path, folder=tmp_path, now=at(11)
    )
    (found,) = report.incidents
    now = incidents_text.at(at(12))
    for text in (incidents_text.show(found, now), incidents_text.post_mortem(found, now)):
        assert "\x1b" not in text
    assert "<script>" not in incidents_text.post_mortem(found, now)
    paths = pipeline.write_outputs(report, tmp_path / "out")
    assert "<script>alert" not in paths["report"].read_text()


def test_the_commands_take_a_step_each(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["incidents", "list"]) == 0
    assert capsys.readouterr().out == "no incidents\n"
    (found,) = build(".llmwatch", "r1", 10, 3.0).incidents
    for command, state in (("ack", "acknowledged"), ("mitigate", "mitigating"), ("resolve", "resolved")):
        assert cli.main(["incidents", command, found.id, "--by", "ann", "--note", "looked"]) == 0
        assert state in capsys.readouterr().out
    assert cli.main(["incidents", "show", found.id, "--post-mortem"]) == 0
    assert "## Why did detection or mitigation take time?" in capsys.readouterr().out
    assert cli.main(["incidents", "review", found.id]) == 0
    capsys.readouterr()
    assert cli.main(["incidents", "show", found.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "reviewed"
    assert cli.main(["incidents", "list", "--json", "--category", "latency spike"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert cli.main(["incidents", "list", "--open"]) == 0
    assert capsys.readouterr().out == "no incidents\n"
    assert cli.main(["incidents", "ack", found.id]) == 4
    assert "incident-state" in capsys.readouterr().err
