"""Telemetry of real runs of pytest: what is written, sent and joined, and what a dead endpoint does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.export import otel

CONFTEST = """
import logging
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from pytest_llmwatch.export.log_file import JsonLinesHandler

class Lines(SpanExporter):
    def export(self, spans):
        with open("app-spans.jsonl", "a") as file:
            for span in spans:
                file.write(span.to_json(indent=None) + "\\n")
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
trace.set_tracer_provider(provider)
logging.getLogger("llmwatch.events").addHandler(JsonLinesHandler("logs/app.jsonl"))
"""
TESTS = """
import openai
import pytest
from opentelemetry import trace

def ask():
    return openai.OpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])

def test_in_a_span_of_the_application(llm_watch):
    with llm_watch.tag(user="ann@example.org", feature="chat"):
        with trace.get_tracer("app").start_as_current_span("request"):
            ask()

def test_alone():
    ask()
"""


class Gateway(BaseHTTPRequestHandler):
    """Keeps what is put."""

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def do_PUT(self) -> None:
        server: Any = self.server
        server.got.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def gateway() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    server.got = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_run_writes_sends_and_joins_and_a_dead_endpoint_is_a_note(
    project: Any, gateway: Any, dead_url: str, require: Any
) -> None:
    try:
        otel.check()
    except UsageError as error:
        require(False, "otel", str(error))
    project.pytester.makeconftest(CONFTEST)
    project.pytester.makepyfile(test_app=TESTS)
    project.budget(
        "[errors]\nretries_per_call = 5\n[telemetry]\njob = 'shop'\njoin = true\ntimeout = 3\n"
        f"otlp = '{dead_url}'\nlog_share = 0.0\n"
    )
    url = f"http://127.0.0.1:{gateway.server_port}"
    result = project.run("--llm-budget=budget.toml", "--llm-record=off", LLMWATCH_PUSHGATEWAY=url)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*note: spans not sent to http://*", "*telemetry-delivery*"])

    report = Path(project.path) / "llmwatch-report"
    assert 'llm_requests_total{model="gpt-4o-mini",status="success"} 2.0' in (report / "metrics.prom").read_text()
    assert gateway.got == [(report / "metrics.prom").read_text()]
    events = [json.loads(line) for line in (report / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["run_started", "llm_gate", "run_completed"]  # all went well
    assert (Path(project.path) / "logs" / "app.jsonl").read_text() == (report / "events.jsonl").read_text()

    app = [json.loads(x) for x in (Path(project.path) / "app-spans.jsonl").read_text().splitlines()]
    by_name: dict[str, list[Any]] = {}
    for span in app:
        by_name.setdefault(span["name"], []).append(span)
    (request,) = by_name["request"]
    inside, alone = sorted(by_name["chat gpt-4o-mini"], key=lambda s: s["attributes"]["test.case.name"])[::-1]
    assert inside["context"]["trace_id"] == request["context"]["trace_id"]
    assert inside["parent_id"] == request["context"]["span_id"]
    tests = {s["attributes"]["test.case.name"]: s for n, many in by_name.items() if n[:5] == "test " for s in many}
    assert (
        inside["links"][0]["context"]["span_id"]
        == (tests["test_app.py::test_in_a_span_of_the_application"]["context"]["span_id"])
    )
    assert alone["parent_id"] == tests["test_app.py::test_alone"]["context"]["span_id"]
    texts = (report / "trace.otlp.json").read_text() + json.dumps(app) + gateway.got[0]
    assert "ann@example.org" not in texts
    assert "hello" not in texts
    assert request["context"]["trace_id"].removeprefix("0x") in texts  # the file has the application's trace too


def test_an_endpoint_that_cannot_be_meant_ends_the_run_before_a_call(project: Any) -> None:
    project.pytester.makepyfile(test_app="def test_x(llm_call):\n    llm_call('x', model='m')\n")
    project.budget("[latency]\nmax = 5\n[telemetry]\npushgateway = 'gateway:9091'\n")
    result = project.run("--llm-budget=budget.toml", "--llm-record=off")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*telemetry.pushgateway must be an address*telemetry-url*"])
