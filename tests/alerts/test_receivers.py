"""What real receivers get, and what a run says of those that refuse, hang, or do not know us."""

from __future__ import annotations

import email
import json
import urllib.request
from collections.abc import Callable
from email.policy import default
from typing import Any

import pytest

from pytest_llmwatch.alerts import channels
from pytest_llmwatch.alerts.memory import Message
from pytest_llmwatch.alerts.notice import Notice

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"
PAGER = "pagerduty://A" + "b" * 31 + "@C" + "d" * 31


@pytest.fixture
def sent(notice: Callable[..., Notice]) -> Callable[..., str | None]:
    """Send one message to an address and return why that failed."""

    def send(url: str, kind: str = "alert", seconds: float = 20.0, **changes: Any) -> str | None:
        message = Message("env:CHANNEL_URL", kind, notice(**changes), 1_767_225_600.0, "run-1")
        (result,) = channels.deliver([message], {"CHANNEL_URL": url}, seconds=seconds)
        return result.error

    return send


def test_slack_gets_headline_figures_and_links(
    receiver: Any, sent: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://{receiver.host}/slack")
    assert sent(SLACK) is None
    path, headers, body = receiver.got[0]
    assert path == "/slack/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert headers["content-type"].startswith("application/json")
    assert body["channel"] == "#alerts"
    text = json.dumps(body)
    for part in (
        "[SEV2] latency spike: latency.p95",
        "limit at most 10",
        "https://ci.example/run/1",
        "https://wiki.example/latency",
        "scale out",
    ):
        assert part in text, part


def test_pagerduty_gets_one_incident_that_a_recovery_ends(
    receiver: Any, sent: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins import pagerduty

    enqueue = dict.fromkeys(pagerduty.PAGERDUTY_API_LOOKUP, f"http://{receiver.host}/v2/enqueue")
    monkeypatch.setattr(pagerduty, "PAGERDUTY_API_LOOKUP", enqueue)
    receiver.mood = 202
    assert sent(PAGER) is None
    assert sent(PAGER, kind="recovery") is None
    assert sent(PAGER, key="category:cost spike") is None
    (_, _, first), (_, _, over), (_, _, other) = receiver.got
    assert (first["event_action"], over["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == over["dedup_key"] != other["dedup_key"]
    assert first["routing_key"]
    assert first["payload"]["severity"] in ("critical", "error", "warning", "info")
    assert first["payload"]["source"] and "latency spike" in first["payload"]["summary"]  # noqa: PT018


def test_a_webhook_gets_fields_of_its_own(receiver: Any, sent: Callable[..., str | None]) -> None:
    assert sent(f"json://{receiver.host}/hook?+X-Token=abc") is None
    path, headers, body = receiver.got[0]
    assert (path, headers["x-token"]) == ("/hook", "abc")
    assert (body["severity"], body["category"], body["kind"], body["run"]) == (
        "SEV2",
        "latency spike",
        "alert",
        "run-1",
    )
    assert json.loads(body["figures"]) == {"latency.p95": 12.0}
    assert body["link"] == "https://ci.example/run/1"
    assert body["title"] == "[SEV2] latency spike: latency.p95"


def test_jira_and_teams_get_theirs(
    receiver: Any, sent: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins import jira

    monkeypatch.setattr(
        jira, "JIRA_API_LOOKUP", dict.fromkeys(jira.JIRA_API_LOOKUP, f"http://{receiver.host}/jsm")
    )
    receiver.mood = 202
    assert sent("jira://a1b2c3d4-e5f6-7890-abcd-ef1234567890") is None
    path, headers, body = receiver.got[0]
    assert path == "/jsm"
    assert headers["authorization"].endswith("a1b2c3d4-e5f6-7890-abcd-ef1234567890")
    assert "latency spike" in json.dumps(body)
    # Teams takes adaptive cards through a workflow, over https alone: here without its encryption
    from apprise.plugins import workflows

    real = workflows.requests.post
    monkeypatch.setattr(
        workflows.requests, "post", lambda url, **more: real(url.replace("https:", "http:", 1), **more)
    )
    assert sent(f"workflows://{receiver.host}/Workflow1/Signature1") is None
    path, headers, body = receiver.got[1]
    assert path.startswith("/workflows/Workflow1/triggers/manual/paths/invoke?")
    assert "sig=Signature1" in path
    (card,) = body["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    for part in ("[SEV2] latency spike: latency.p95", "12 s", "https://wiki.example/latency"):
        assert part in json.dumps(card["content"]), part


def test_mail_goes_through_a_real_server(mailbox: tuple[int, list[Any]], sent: Callable[..., str | None]) -> None:
    port, letters = mailbox
    url = f"mailto://127.0.0.1:{port}?from=ci@example.org&to=team@example.org&mode=insecure"
    assert sent(url) is None
    (envelope,) = letters
    assert envelope.rcpt_tos == ["team@example.org"]
    letter = email.message_from_bytes(envelope.content, policy=default)
    assert "[SEV2] latency spike: latency.p95" in str(letter["Subject"])
    body = letter.get_body(("plain", "html"))
    assert body is not None
    assert "12 s" in body.get_content()


def test_alertmanager_shows_the_alert_until_it_is_over(alertmanager: str, sent: Callable[..., str | None]) -> None:
    assert sent(f"alertmanager://{alertmanager}") is None
    with urllib.request.urlopen(f"http://{alertmanager}/api/v2/alerts") as answer:
        (alert,) = json.load(answer)
    assert alert["status"]["state"] == "active" or alert["status"]["state"] == "unprocessed"
    assert (alert["labels"]["alertname"], alert["labels"]["severity"]) == ("llmwatch", "SEV2")
    assert "12 s" in alert["annotations"]["description"]
    assert alert["generatorURL"] == "https://ci.example/run/1"
    assert sent(f"alertmanager://{alertmanager}", kind="recovery") is None
    with urllib.request.urlopen(f"http://{alertmanager}/api/v2/alerts") as answer:
        assert json.load(answer) == []
    assert "404" in (sent(f"alertmanager://{alertmanager}/elsewhere") or "")


@pytest.mark.parametrize(("mood", "says"), [(500, "500"), (401, "401"), (403, "403")])
def test_a_refusal_is_told_with_its_status_and_without_the_token(
    receiver: Any, sent: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch, mood: int, says: str
) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://{receiver.host}/slack")
    receiver.mood = mood
    for url in (SLACK, f"json://user:s3cretpass@{receiver.host}/hook"):
        said = sent(url) or ""
        assert says in said or "nauthorized" in said or "rror" in said, said
        assert "TIiajkdnlazkcOXrIdevi7FQ" not in said
        assert "s3cretpass" not in said
    assert receiver.got


def test_a_closed_port_a_missing_variable_and_nonsense_are_named(
    closed_port: int, sent: Callable[..., str | None]
) -> None:
    assert "onnection" in (sent(f"json://127.0.0.1:{closed_port}/") or "")
    assert "cannot be reached" in (sent(f"alertmanager://127.0.0.1:{closed_port}") or "")
    assert sent("") == "the environment variable CHANNEL_URL is not set"
    assert "none that apprise understands" in (sent("nonsense-without-a-scheme") or "")


def test_a_channel_that_hangs_holds_up_no_other(receiver: Any, notice: Callable[..., Notice]) -> None:
    other = type(receiver)()
    receiver.mood = "hang"
    environment = {"SLOW": f"json://{receiver.host}/", "GOOD": f"json://{other.host}/"}
    messages = [
        Message(f"env:{name}", "alert", notice(key=str(i)), 0.0, "r")
        for name in ("SLOW", "GOOD")
        for i in range(3)
    ]
    try:
        results = channels.deliver(messages, environment, seconds=2.0)
    finally:
        receiver.release.set()
        other.close()
    assert [r.error for r in results[3:]] == [None] * 3
    assert [r.error for r in results[:3]] == ["no answer within 2 s"] * 3
    assert len(other.got) == 3
    assert len(receiver.got) == 1
