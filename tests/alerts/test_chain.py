"""The whole chain: a broken budget, its incident, the message, the clean build; and what is damaged on the way."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import cli, incidents_catalog, pipeline, pipeline_alerts, pipeline_incidents, pipeline_store
from pytest_llmwatch.alerts import message
from pytest_llmwatch.alerts.memory import Message
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Attempt, Call, Report, Run

BUDGET = """
[latency]
p95 = { fail = "1 s", test = false }
[[alert]]
name = "team"
categories = ["latency spike"]
to = "env:HOOK"
[[alert]]
name = "chat"
severity = "SEV2"
to = "env:SLACK"
[[alert]]
name = "others"
categories = ["cost_*"]
to = "env:NOBODY"
[[runbook]]
category = "latency spike"
url = "https://wiki.example/latency"
minutes = 20
"""


@pytest.fixture
def build(receiver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Run one CI build at an hour: gate, incidents, store, alerts and files, as a test run does it."""
    import apprise
    from apprise.plugins.slack import NotifySlack

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what apprise's services import; they load before the time counts
        assert apprise.Apprise.instantiate("json://127.0.0.1/")
    monkeypatch.setenv("HOOK", f"json://{receiver.host}/hook")
    monkeypatch.setenv("SLACK", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops")
    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://{receiver.host}/slack")
    monkeypatch.setenv("LLMWATCH_REPORT_URL", "https://ci.example/42/report.html")
    monkeypatch.chdir(tmp_path)

    def run(
        hour: int, latency: float, *, partial: bool = False, text: str = BUDGET, files: bool = False
    ) -> Report:
        calls = tuple(
            Call(id=f"c{i}", nodeid=f"t.py::t[{i}]", latency=latency, model="m", attempts=(Attempt(200, latency),))
            for i in range(10)
        )
        budget = parse_budget(text, display="budget.toml")
        time = f"2026-03-01T{hour:02}:00:00.000Z"
        found = Run(f"run-{hour}", time, calls, partial=partial, environment={"branch": "main"})
        report = pipeline.judge(found, budget)
        folder = tmp_path / "report"
        report = pipeline_incidents.attach(report, budget, url="runs", root=tmp_path, folder=folder, now=time)
        pipeline_store.keep(report, "runs", tmp_path)
        done = pipeline_alerts.send_report(report, budget, "runs", tmp_path, mode="on", seconds=60)
        report = dataclasses.replace(report, notes=(*report.notes, *done.notes))
        if files:
            pipeline.write_outputs(report, folder)
        return report

    return run


def incident(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert cli.main(["incidents", "list", "--json", "--store", "runs", *more]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    return dict(found)


def test_from_a_broken_budget_to_the_recovery(
    build: Any, receiver: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(8, 0.5).incidents == ()
    assert receiver.got == []
    # a partial run sees it first: a message, but no incident that the next run would not know
    (first,) = build(9, 3.0, partial=True).incidents
    (body,) = (body for path, _, body in receiver.got if path == "/hook")
    assert "incident" not in body
    assert f"incident: {first.id}" not in body["message"]
    receiver.got.clear()
    red = build(10, 3.0, files=True)
    (opened,) = red.incidents
    assert (red.exit_code, opened.severity, opened.category) == (1, "SEV2", "latency_spike")
    hook = next(body for path, _, body in receiver.got if path == "/hook")
    assert hook["title"] == f"[SEV2] {opened.title}"
    link = f"https://ci.example/42/report.html#{opened.id}"
    assert (hook["incident"], hook["runbook"], hook["link"]) == (opened.id, "https://wiki.example/latency", link)
    for wanted in (
        f"incident: {opened.id}",
        "runbook: https://wiki.example/latency",
        link,
        "latency.p95 3.00 s (limit at most 1.00 s)",
    ):
        assert wanted in hook["message"], wanted
    slack = next(body for path, _, body in receiver.got if path != "/hook")
    assert opened.id in json.dumps(slack)
    # the link leads to a place on the page
    assert f'id="{opened.id}"' in (tmp_path / "report" / "report.html").read_text()
    # people
    assert incident(capsys)["state"] == "triaged"
    assert cli.main(["incidents", "ack", opened.id, "--by", "ann", "--store", "runs"]) == 0
    assert "overdue" in capsys.readouterr().out  # 20 minutes, in a March long ago
    # the next red build within the cool-down of the channel is one message more, of the same incident
    receiver.got.clear()
    assert [i.id for i in build(11, 3.0).incidents] == [opened.id]
    assert {body["incident"] for path, _, body in receiver.got if path == "/hook"} == {opened.id}
    # a clean build resolves it, and says so once on each channel that heard of it
    receiver.got.clear()
    green = build(12, 0.5)
    assert (green.exit_code, green.incidents[0].state) == (0, "resolved")
    hook = next(body for path, _, body in receiver.got if path == "/hook")
    assert (hook["kind"], hook["incident"]) == ("recovery", opened.id)
    assert "every rule holds in run run-12; it took 2.0 h" in hook["message"]
    assert len(receiver.got) == 2
    receiver.got.clear()
    build(13, 0.5)
    assert receiver.got == []
    assert incident(capsys)["state"] == "resolved"
    assert cli.main(["incidents", "show", opened.id, "--store", "runs"]) == 0
    assert "acknowledged by ann" in capsys.readouterr().out


def test_what_people_resolved_and_came_back_is_one_recovery(
    build: Any, receiver: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (opened,) = build(10, 3.0).incidents
    assert cli.main(["incidents", "resolve", opened.id, "--store", "runs"]) == 0
    capsys.readouterr()
    receiver.got.clear()
    (back,) = build(11, 3.0).incidents
    assert back.earlier == opened.id
    assert {b["incident"] for p, _, b in receiver.got if p == "/hook"} == {back.id}
    receiver.got.clear()
    build(12, 0.5)
    assert [(b["kind"], b["incident"]) for p, _, b in receiver.got if p == "/hook"] == [("recovery", back.id)]


def test_without_incidents_rules_are_told_by_category(build: Any, receiver: Any) -> None:
    report = build(10, 3.0, text=f'{BUDGET}[incidents]\nopen = "off"\n')
    assert report.incidents == ()
    (body,) = (body for path, _, body in receiver.got if path == "/hook")
    assert (body["title"], body.get("incident", "")) == ("[SEV2] latency spike: latency.p95", "")
    assert body["runbook"] == "https://wiki.example/latency"


def test_damaged_runbooks_are_named_and_an_incident_is_opened_without(
    build: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(monkeypatch, "runbooks.toml", "[[runbook]]\ncategory = 'outage'\n")
    report = build(10, 3.0)
    assert (report.verdict, report.exit_code, len(report.incidents)) == ("fail", 1, 1)
    assert report.incidents[0].runbook["url"] == "https://wiki.example/latency"  # the budget's own still holds
    (note,) = (n for n in report.notes if "incident-data" in n)
    assert "runbooks.toml of the package cannot be used" in note
    assert len(note) < 500
    assert len(receiver.got) == 2


@pytest.mark.parametrize("name", ["categories.toml", "policy.toml"])
def test_other_damaged_data_is_named_and_changes_no_verdict(
    build: Any, monkeypatch: pytest.MonkeyPatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(monkeypatch, name, "=")
    report = build(10, 3.0)
    assert (report.verdict, report.exit_code, report.incidents) == ("fail", 1, ())
    assert any(f"{name} of the package cannot be used" in n for n in report.notes)
    assert cli.main(["incidents", "status", "--store", "runs"]) in (0, 4)
    assert "Traceback" not in capsys.readouterr().err


def damage(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Replace a data file of the package by ``text`` for one test."""
    real = incidents_catalog.read_text
    monkeypatch.setattr(incidents_catalog, "read_text", lambda n: text if n == name else real(n))
    for found in (incidents_catalog.runbooks, incidents_catalog.categories, incidents_catalog.policy):
        found.cache_clear()
        monkeypatch.setattr(incidents_catalog, found.__name__, found.__wrapped__)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{severity", "alert-template"),
        ("{nothing}", "alert-template"),
        ("{title:999999999}", "without ':' or '!'"),
        ("{title!r}", "without ':' or '!'"),
        ("{title.__class__}", "alert-template"),
        ("x" * 1501, "1,501 characters"),
    ],
)
def test_a_broken_template_of_a_budget_is_one_line(template: str, said: str) -> None:
    with pytest.raises(Exception, match=said) as caught:
        parse_budget(
            f'[cost]\nrun_usd = 1\n[[alert]]\nto = "env:HOOK"\ntemplate = "{template}"\n', display="b.toml"
        )
    assert str(caught.value).startswith("b.toml:5: alert.template")
    assert len(str(caught.value)) < 600
    parse_budget('[cost]\nrun_usd = 1\n[[alert]]\nto = "env:H"\ntemplate = "{severity} {incident} {{}}"\n')


def test_a_broken_template_that_waited_in_the_store_is_sent_as_the_usual_text(notice: Any) -> None:
    text = message.body(Message("env:HOOK", "alert", notice(), 0.0, "r", template="{gone}"))
    assert "p95 is 12 s" in text
    assert "the template of this alert cannot be used: KeyError" in text


@pytest.mark.parametrize("text", ["[[runbook]\n", "[[runbook]]\n", "runbook = 3\n", ""])
def test_a_damaged_package_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    damage(monkeypatch, "runbooks.toml", text)
    with pytest.raises(UsageError, match=r"runbooks.toml of the package cannot be used"):
        incidents_catalog.runbooks()
