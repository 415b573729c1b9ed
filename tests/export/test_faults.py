"""What happens when the place that telemetry is sent to is down, slow or refuses: bounded, named, never fatal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from pytest_llmwatch import pipeline_telemetry
from pytest_llmwatch.budget_types import TelemetryOptions
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.export import otel

DEAD = "http://127.0.0.1:9"  # the discard port: nobody listens


@pytest.fixture
def extra(require: Any) -> None:
    try:
        otel.check()
    except UsageError as error:
        require(False, "otel", str(error))


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("fault", ["unreachable", "refuses", "hangs"])
def test_a_broken_receiver_is_a_note_and_the_other_one_still_receives(
    fault: str, factory: ModuleType, receiver: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    report = factory.make_report(20)
    good = receiver()
    bad = {"refuses": lambda: receiver(status=403), "hangs": lambda: receiver(hang=True)}
    url = DEAD if fault == "unreachable" else bad[fault]().url
    options = TelemetryOptions(otlp=url, pushgateway=good.url, timeout=2.0)
    began = time.monotonic()
    told = pipeline_telemetry.delivered(report, options)
    # not a limit of speed: without a bound this would wait for minutes (or, hanging, for ever)
    assert time.monotonic() - began < 30
    assert good.posted
    assert told.verdict == report.verdict
    assert told.exit_code == report.exit_code
    note = told.notes[-1]
    assert len(told.notes) == len(report.notes) + 1
    assert note.startswith(f"spans not sent to {url}: ")
    assert note.endswith("[llmwatch:telemetry-delivery]")

    other = TelemetryOptions(otlp=good.url, pushgateway=url, timeout=2.0)
    sent = pipeline_telemetry.deliver(report, other)
    assert [s.problem is None for s in sent] == [False, True]


def test_a_delivery_that_fails_first_is_tried_again(factory: ModuleType, receiver: Callable[..., Any]) -> None:
    server = receiver(status=500)

    def recover() -> None:
        server.status = 200

    jobs = [("metrics", server.url, lambda left: _push(server, left, recover))]
    sent = pipeline_telemetry._all(jobs, 20.0)
    assert sent[0].problem is None
    assert len(server.posted) == 2


def _push(server: Any, left: float, recover: Callable[[], None]) -> None:
    import urllib.request

    request = urllib.request.Request(server.url, data=b"x", method="PUT")
    try:
        urllib.request.urlopen(request, timeout=left).close()
    except OSError as error:
        recover()
        raise OSError("no") from error


def test_credentials_in_an_address_are_sent_and_never_shown(
    factory: ModuleType, receiver: Callable[..., Any]
) -> None:
    server = receiver()
    url = server.url.replace("http://", "http://ann:p%40ss@")
    report = factory.make_report(4)
    sent = pipeline_telemetry.deliver(report, TelemetryOptions(pushgateway=url, timeout=20))
    assert [s.problem for s in sent] == [None]
    assert server.posted[0][0] == "/metrics/job/llmwatch"
    assert server.posted[0][1]["Authorization"] == "Basic YW5uOnBAc3M="
    assert "ann" not in sent[0].text
    dead = TelemetryOptions(pushgateway="http://ann:hushhush@127.0.0.1:9/?key=hushhush", timeout=1)
    failed = pipeline_telemetry.deliver(report, dead)
    assert failed[0].problem is not None
    assert "hushhush" not in failed[0].text


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://h/", "http://", "grpc://u:hush@h:1"])
def test_an_address_that_cannot_be_meant_is_refused_before_the_run(url: str) -> None:
    for key in ("otlp", "pushgateway"):
        options = replace(TelemetryOptions(), **{key: url})
        with pytest.raises(UsageError, match=f"telemetry.{key} must be an address") as caught:
            pipeline_telemetry.check(options)
        assert caught.value.slug == "telemetry-url"
        assert "hush" not in str(caught.value)


def test_a_missing_extra_is_named_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'pytest-llmwatch\[otel\]'") as caught:
        pipeline_telemetry.check(TelemetryOptions(otlp=DEAD))
    assert caught.value.slug == "otel-extra"


def test_the_environment_names_the_endpoints() -> None:
    given = {"LLMWATCH_OTLP_ENDPOINT": "http://a:1", "LLMWATCH_PUSHGATEWAY": "http://b:2"}
    found = pipeline_telemetry.chosen(TelemetryOptions(otlp="http://c:3", job="shop"), given)
    assert (found.otlp, found.pushgateway, found.job) == ("http://a:1", "http://b:2", "shop")
    assert pipeline_telemetry.chosen(TelemetryOptions(otlp="http://c:3"), {}).otlp == "http://c:3"
