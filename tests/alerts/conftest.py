"""Real receivers on loopback: HTTP in several moods, SMTP, Alertmanager."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_llmwatch.alerts.notice import Figure, Notice
from pytest_llmwatch.model import Report, Run, Verdict


class Receiver:
    """An HTTP server that keeps what it was sent; ``mood`` is a status to answer, or ``hang``."""

    def __init__(self) -> None:
        self.mood: int | str = 200
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    body = json.loads(raw)
                except ValueError:
                    body = raw
                outer.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                if outer.mood == "hang":
                    outer.release.wait(30)
                    return
                status = int(outer.mood)
                answer = b"ok" if self.path.startswith("/slack") else b'{"status": "success", "requestId": "1"}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _needs_apprise(require: Callable[..., None]) -> None:
    require(importlib.util.find_spec("apprise"), "apprise", "pip install 'pytest-llmwatch[alerts]'")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def closed_port() -> int:
    """A port at which nobody listens."""
    return free_port()


@pytest.fixture
def mailbox(require: Callable[..., None]) -> Iterator[tuple[int, list[Any]]]:
    """Port of a real SMTP server, and the letters that it took."""
    require(importlib.util.find_spec("aiosmtpd"), "aiosmtpd", "pip install aiosmtpd")
    from aiosmtpd.controller import Controller

    letters: list[Any] = []

    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            letters.append(envelope)
            return "250 Message accepted for delivery"

    controller = Controller(Keep(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port, letters
    controller.stop()


@pytest.fixture
def alertmanager(tmp_path: Path, require: Callable[..., None]) -> Iterator[str]:
    """``host:port`` of a real Alertmanager."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    require(program, "prometheus-alertmanager", "install it (Debian: apt-get install prometheus-alertmanager)")
    port = free_port()
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with (tmp_path / "alertmanager.log").open("wb") as log:
        server = subprocess.Popen(
            [
                str(program),
                f"--config.file={config}",
                f"--storage.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
                    break
            except OSError:
                assert server.poll() is None, (tmp_path / "alertmanager.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def notice() -> Callable[..., Notice]:
    """Make a notice; keyword arguments replace its parts."""

    def make(**changes: Any) -> Notice:
        given: dict[str, Any] = {
            "key": "category:latency spike",
            "severity": "SEV2",
            "category": "latency spike",
            "layers": ("availability",),
            "title": "latency spike: latency.p95",
            "sentence": "p95 is 12 s, over 10 s",
            "rules": ("latency.p95",),
            "figures": (Figure("latency.p95", 12.0, 10.0, "s"),),
            "link": "https://ci.example/run/1",
            "runbook": "https://wiki.example/latency",
            "action": "scale out, set a timeout",
        }
        return Notice(**{**given, **changes})

    return make


@pytest.fixture
def verdict() -> Callable[..., Verdict]:
    def make(rule: str, grade: str, **changes: Any) -> Verdict:
        given: dict[str, Any] = {
            "metric": rule.rpartition(".")[2],
            "layer": "availability",
            "kind": "fact",
            "because": f"{rule} is {grade}",
            "unit": "ratio",
        }
        return Verdict(rule=rule, verdict=grade, **{**given, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def report() -> Callable[..., Report]:
    """Make the report of a run at a minute, with verdicts."""

    def make(minute: int, *verdicts: Verdict, partial: bool = False) -> Report:
        run = Run(
            run_id=f"run-{minute}", time=f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00Z", partial=partial
        )
        worst = "fail" if any(v.verdict == "fail" for v in verdicts) else "pass"
        return Report(run, worst, "sentence", 0, verdicts=verdicts)  # type: ignore[arg-type]

    return make
