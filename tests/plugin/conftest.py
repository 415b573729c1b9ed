"""Runs of pytest under test: a project with a golden set and a real loopback server that speaks OpenAI's API."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from llmock.testing import LLMockServer

SET = """\
description: two questions
api: chat
model: gpt-4o-mini
system: Answer briefly.
prompt: "Q: {{ input }}"
prompt_version: v1
repeats: 1
scorers: [must_mention, relevance]
"""
CASES = [
    {"id": "one", "input": "Say something about apples", "tags": ["fruit"], "cluster": "a"},
    {"id": "two", "input": "Say something about pears", "tags": ["fruit"], "cluster": "a"},
    {"id": "three", "input": "Say something about rivers", "tags": ["water"], "cluster": "b"},
]


@pytest.fixture(scope="session")
def loopback() -> Iterator[LLMockServer]:
    """A real server on the loopback interface."""
    with LLMockServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _clean(loopback: LLMockServer) -> None:
    loopback.state.scenarios.clear()


@dataclass
class Project:
    """A project in a temporary folder, and the run of pytest in it."""

    pytester: pytest.Pytester
    env: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.pytester.path

    def golden(
        self, name: str = "qa", set_yaml: str = SET, cases: Sequence[dict[str, Any]] = tuple(CASES)
    ) -> Path:
        folder = self.path / "golden_sets" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "set.yaml").write_text(set_yaml)
        (folder / "cases.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases))
        return folder

    def budget(self, text: str) -> None:
        (self.path / "budget.toml").write_text(text)

    def run(self, *args: str, **env: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        kept = dict(os.environ)
        os.environ.update({**self.env, **env})
        try:
            return self.pytester.runpytest_subprocess(
                "-p", "no:llmock", "-p", "no:cacheprovider", "-p", "no:timeout", "-p", "no:hypothesispytest", *args
            )
        finally:
            os.environ.clear()
            os.environ.update(kept)

    def report(self) -> dict[str, Any]:
        """Return the run.json that the last run wrote."""
        data: dict[str, Any] = json.loads((self.path / "llmwatch-report" / "run.json").read_text())
        return data


@pytest.fixture
def project(pytester: pytest.Pytester, loopback: LLMockServer) -> Project:
    """An empty project whose OpenAI endpoint is the loopback server."""
    return Project(pytester, {"OPENAI_BASE_URL": loopback.base_url("openai"), "OPENAI_API_KEY": "sk-loopback"})


@pytest.fixture
def dead_url() -> str:
    """A URL where nobody listens."""
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return f"http://127.0.0.1:{port}/v1"


def _completion(model: str, content: str, tokens: tuple[int, int]) -> dict[str, Any]:
    """Return the body of a chat completion."""
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c-1", "created": 1, "object": "chat.completion", "model": model}
    return {**body, "choices": [choice], "usage": usage}


Answer = str | tuple[int, dict[str, Any]]


class ChatServer(http.server.ThreadingHTTPServer):
    """A loopback server of a test's own: ``answer`` makes a text, or status and body, of what was asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any]], Answer], tokens: tuple[int, int]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                made = answer(asked)
                status, body = (200, _completion(asked["model"], made, tokens)) if isinstance(made, str) else made
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more; the second time nothing happens."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join(timeout=10)
        self.server_close()


@pytest.fixture
def serve(project: Project) -> Iterator[Callable[..., ChatServer]]:
    """Start a server that is the project's OpenAI endpoint; it is stopped at the end."""
    servers: list[ChatServer] = []

    def start(answer: Callable[[dict[str, Any]], Answer], tokens: tuple[int, int] = (7, 3)) -> ChatServer:
        servers.append(ChatServer(answer, tokens))
        project.env["OPENAI_BASE_URL"] = servers[-1].url
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
