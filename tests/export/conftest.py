"""Reports to export, and real receivers of what is exported: Prometheus, a Pushgateway, servers that misbehave."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPORT = Path(__file__).resolve().parent.parent / "report" / "factory.py"


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """The module that makes reports (tests are no package: by path)."""
    name = "llmwatch_export_factory"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, REPORT)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def wait_for(what: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Return what ``what`` returns, as soon as that is true; the limit only ends a wait that would not end."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            found = what()
            if found:
                return found
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def running(command: list[str], ready: str, folder: Path) -> Iterator[None]:
    """Run a server until the block ends; ``ready`` answers as soon as it is up."""
    with (folder / "server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: fetch(ready) or True)
            yield
        finally:
            process.terminate()


@pytest.fixture
def pushgateway(require: Any, tmp_path: Path) -> Iterator[str]:
    """Address of a real Pushgateway."""
    program = shutil.which("prometheus-pushgateway")
    require(program, "pushgateway", "apt-get install prometheus-pushgateway")
    port = free_port()
    (tmp_path / "gateway").mkdir()
    command = [str(program), f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, f"http://127.0.0.1:{port}/-/ready", tmp_path / "gateway"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def prometheus(require: Any, tmp_path: Path) -> Iterator[Callable[..., Callable[[str], list[dict[str, Any]]]]]:
    """Return ``start(job=address, ...)``, which scrapes the addresses and returns ``query(promql)``."""
    program = shutil.which("prometheus")
    require(program, "prometheus", "apt-get install prometheus")
    with contextlib.ExitStack() as stack:

        def start(rules: Path | None = None, **jobs: str) -> Callable[[str], list[dict[str, Any]]]:
            port = free_port()
            config = {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(rules)] if rules else [],
                "scrape_configs": [
                    {
                        "job_name": job,
                        "honor_labels": True,
                        "static_configs": [{"targets": [address.removeprefix("http://")]}],
                    }
                    for job, address in jobs.items()
                ],
            }
            file = tmp_path / "prometheus.yml"
            file.write_text(json.dumps(config))  # YAML takes JSON
            command = [
                str(program), f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ]  # fmt: skip
            base = f"http://127.0.0.1:{port}"
            stack.enter_context(running(command, f"{base}/-/ready", tmp_path))

            def query(promql: str) -> list[dict[str, Any]]:
                found = fetch(f"{base}/api/v1/query?{urllib.parse.urlencode({'query': promql})}")
                result: list[dict[str, Any]] = json.loads(found)["data"]["result"]
                return result

            def alerts() -> list[dict[str, Any]]:
                given: list[dict[str, Any]] = json.loads(fetch(f"{base}/api/v1/alerts"))["data"]["alerts"]
                return given

            query.alerts = alerts  # type: ignore[attr-defined]
            wait_for(lambda: len(query("up == 1")) == len(jobs))
            return query

        yield start


class Handler(BaseHTTPRequestHandler):
    """Serves one text, keeps what is posted, or misbehaves."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        self._answer(200, self.server.text.encode())  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server: Any = self.server
        server.posted.append((self.path, dict(self.headers), body))
        if server.hang:
            server.released.wait()
            return
        self._answer(server.status, b"")

    do_PUT = do_POST

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def receiver() -> Iterator[Callable[..., Any]]:
    """Return ``start(text=, status=, hang=)``: a server on loopback with ``url`` and ``posted``."""
    started: list[tuple[Any, threading.Thread]] = []

    def start(text: str = "", status: int = 200, hang: bool = False) -> Any:
        server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.text, server.status, server.hang = text, status, hang
        server.posted, server.released = [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
