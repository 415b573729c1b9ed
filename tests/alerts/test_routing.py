"""Who hears of what, and how often, over builds that share nothing but the store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch import pipeline_alerts as alerts
from pytest_llmwatch.alerts.memory import Memory
from pytest_llmwatch.budget import parse_budget
from pytest_llmwatch.errors import BudgetError
from pytest_llmwatch.store.state import open_states

LIMITS = "[latency]\np95 = 10\n[errors]\nrate = 0.05\n[cost]\nday_usd = 10\n"


@pytest.fixture
def build(
    receiver: Any, tmp_path: Path, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., alerts.Outcome]:
    """Run one CI build at a minute: a fresh process, as far as alerts know."""
    monkeypatch.delenv("LLMWATCH_REPORT_URL", raising=False)

    def run(toml: str, minute: int, *verdicts: Any, mode: str = "on", **more: Any) -> alerts.Outcome:
        budget = parse_budget(LIMITS + toml)
        step = alerts.step_of(report(minute, *verdicts, partial=more.pop("partial", False)), budget)
        return alerts.send(
            [step],
            budget,
            more.pop("store", "store"),
            tmp_path,
            mode=mode,
            environment={"HOOK": f"json://{receiver.host}/hook", "OTHER": f"json://{receiver.host}/other"},
            now=more.pop("now", step.time),
            seconds=10,
            **more,
        )

    return run


def told(receiver: Any) -> list[str]:
    return [body["title"] for _, _, body in receiver.got]


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_one_message_per_incident_and_cooldown_then_a_recovery(
    build: Any, receiver: Any, verdict: Any, tmp_path: Path, *, kind: str, require: Callable[..., None]
) -> None:
    if kind == "sqlite":
        import importlib.util

        require(importlib.util.find_spec("sqlalchemy"), "sqlalchemy", "pip install 'pytest-llmwatch[sql]'")
    store = "store" if kind == "folder" else f"sqlite:///{tmp_path}/x.db"
    toml = (
        '[[alert]]\nto = "env:HOOK"\ncooldown = "10 min"\n[[alert]]\nname = "b"\nto = ["env:HOOK", "env:OTHER"]\n'
    )
    slow, fine = verdict("latency.p95", "fail"), verdict("latency.p95", "pass")
    assert build(toml, 0, slow, store=store).sent == 2
    assert build(toml, 0, slow, store=store).sent == 0
    assert build(toml, 4, slow, store=store).sent == 0
    assert sorted(path for path, _, _ in receiver.got) == ["/hook", "/other"]
    assert build(toml, 11, fine, partial=True, store=store).sent == 0
    assert build(toml, 12, verdict("latency.p95", "inconclusive"), store=store).sent == 0
    assert build(toml, 13, fine, store=store).sent == 2
    assert build(toml, 14, fine, store=store).sent == 0
    assert told(receiver)[2:] == ["[RESOLVED] latency spike: latency.p95"] * 2
    assert build(toml, 40, slow, store=store).sent == 2


def test_filters_conditions_and_streaks(build: Any, receiver: Any, verdict: Any) -> None:
    scoped = verdict("scope.feature:support.latency.p95", "warn", scope="feature:support")
    broken = (verdict("errors.rate", "fail", observed=0.6, limit=0.05), scoped)
    for toml, count in (
        ('severity = ["SEV1"]', 1),
        ('severity = ["SEV2"]', 0),
        ('scopes = ["feature:*"]', 1),
        ('scopes = ["team:*"]', 0),
        ('categories = ["Outage"]', 1),
        ('layers = ["cost"]', 0),
        ('rules = ["errors.*"]', 1),
        ('when = "errors.rate > 50 %"', 1),
        ('when = "errors.rate > 70 %"', 0),
        ('when = "errors.rate >= 11 of limit"', 1),
        ('for = "5 min"', 0),
        ("consecutive = 2", 0),
    ):
        out = build(f'[[alert]]\nto = "env:HOOK"\n{toml}\n', 0, *broken, store=f"s{abs(hash(toml))}")
        assert out.sent == count, toml
    for toml, minutes in (("consecutive = 3", 2), ('for = "5 min"', 6)):
        counts = [
            build(f'[[alert]]\nto = "env:HOOK"\n{toml}\n', m, *broken, store=f"t{minutes}").sent
            for m in (0, 1, minutes)
        ]
        assert counts == [0, 0, 2], toml


def test_what_is_not_delivered_waits_in_the_store(build: Any, receiver: Any, verdict: Any) -> None:
    toml = '[[alert]]\nto = "env:HOOK"\n'
    receiver.mood = 500
    slow = verdict("latency.p95", "fail")
    out = build(toml, 0, slow)
    assert (out.sent, out.waiting) == (0, 1)
    assert "not delivered to env:HOOK" in out.notes[0]
    assert "tried again" in out.notes[0]
    receiver.mood = 200
    assert build(toml, 1, slow).sent == 1
    assert build(toml, 2, slow).sent == 0


def test_quiet_hours_hold_back_all_but_an_outage(build: Any, receiver: Any, verdict: Any) -> None:
    toml = '[[alert]]\nto = "env:HOOK"\nquiet = "22:00-06:00"\n'
    out = build(toml, 30, verdict("latency.p95", "fail"), verdict("errors.rate", "fail", observed=0.9))
    assert (out.sent, out.waiting) == (1, 1)
    assert told(receiver)[0].startswith("[SEV1]")
    assert build(toml, 5 * 60, verdict("latency.p95", "inconclusive")).sent == 0
    assert build(toml, 6 * 60 + 1, verdict("latency.p95", "inconclusive")).sent == 1


def test_a_dry_run_sends_and_keeps_nothing(build: Any, receiver: Any, verdict: Any, tmp_path: Path) -> None:
    out = build('[[alert]]\nto = "env:HOOK"\n', 0, verdict("latency.p95", "fail"), mode="dry")
    assert out.notes == ("alert (dry run) would be sent to env:HOOK: [SEV2] latency spike: latency.p95",)
    assert receiver.got == []
    assert not (tmp_path / "store").exists()
    assert build('[[alert]]\nto = "env:HOOK"\n', 0, verdict("latency.p95", "fail"), mode="off").notes == ()


def test_ten_thousand_incidents_are_twenty_messages_and_a_digest(
    build: Any, receiver: Any, notice: Any, tmp_path: Path
) -> None:
    budget = parse_budget(LIMITS + '[[alert]]\nto = "env:HOOK"\n')
    step = alerts.route.Step(0.0, "r", tuple(notice(key=f"k{i:05}") for i in range(10_000)))
    environment = {"HOOK": f"json://{receiver.host}/"}
    out = alerts.send([step], budget, "s", tmp_path, mode="on", environment=environment, now=1.0, seconds=60)
    assert out.sent == 21
    assert told(receiver)[-1] == "[SEV2] and 9,980 more incidents"
    assert len(json.loads((tmp_path / "s/state/alerts.json").read_text())["seen"]) == 10_000


def test_a_store_that_fails_is_a_note(build: Any, receiver: Any, verdict: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    out = build('[[alert]]\nto = "env:HOOK"\n', 0, verdict("latency.p95", "fail"), store="file")
    assert out.sent == 0
    assert "alert-state" in out.notes[0]


@pytest.mark.parametrize(
    ("toml", "slug"),
    [
        ('to = "slack://TOKEN-VALUE/b/c"', "alert-secret"),
        ('to = "env:X"\nwhen = "latency.p59 > 1 s"', "alert-when"),
        ('to = "env:X"\nwhen = "slow"', "budget-range"),
        ('to = "env:X"\nquiet = "at night"', "budget-range"),
        ('to = "env:X"\ntemplate = "{nothing}"', "alert-template"),
        ('to = "env:X"\ntemplate = "{title"', "alert-template"),
    ],
)
def test_bad_rules_are_refused_with_their_line_and_no_secret(toml: str, slug: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_budget(LIMITS + "[[alert]]\n" + toml)
    assert caught.value.slug == slug
    assert caught.value.line is not None
    assert "TOKEN-VALUE" not in str(caught.value)


def test_a_memory_that_cannot_be_read_is_forgotten_not_fatal() -> None:
    for text in ("", "{", "[]", '{"seen": {"a": 1}}', '{"version": 99}'):
        assert Memory.read(text).waiting == []


@pytest.mark.parametrize("kind", ["folder", "sqlite", "postgresql"])
def test_jobs_that_write_at_once_lose_nothing(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    urls = {"folder": "here", "sqlite": f"sqlite:///{tmp_path}/x.db"}
    url = urls[kind] if kind in urls else str(request.getfixturevalue("postgres"))

    def add() -> None:
        for _ in range(5):
            open_states(url, tmp_path).update("count", lambda old: str(int(old or 0) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert open_states(url, tmp_path).update("count", lambda old: old or "") == "20"


def test_the_ready_rules_are_a_budget() -> None:
    from pytest_llmwatch import operations

    limits = "[latency]\np95 = 10\n[errors]\nrate = 0.05\nrate_limited = 0.05\n[cost]\nday_usd = 10\n"
    budget = parse_budget(limits + "[quality]\ncomposite = 0.5\n" + operations.alert_rules())
    assert len(budget.alerts) == 3 + len(operations.ALERTS)
    of_limit = {a.name: a.condition.of_limit for a in budget.alerts if a.condition}
    assert of_limit == {
        "error-rate": False,
        "slow": False,
        "budget": True,
        "quality": False,
        "rate-limits": False,
    }
