"""Applications on real SDKs and frameworks, run by pytest with ``--llm-budget``: recorded, then replayed.

``.ci/frameworks`` makes the environment that holds them all and runs these tests in it; they are not collected
elsewhere. The server is a real one on the loopback interface that speaks every vendor's format.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from llmock.testing import LLMockServer

APPS = Path(__file__).parent / "apps"
collect_ignore_glob = [] if os.environ.get("LLMWATCH_FRAMEWORKS") else ["test_*"]

# what a replay may say differently: that it is one, how long the test took; and in which order threads came, the
# last of which bears the test's result
_OF_THE_RUN = ("capture_mode", "result", "passed", "id", "span_id", "index", "outer")


@dataclass
class Outcome:
    """What one application's tests gave: its calls while it was recorded, by test, and while it was replayed."""

    live: list[dict[str, Any]]
    replayed: list[dict[str, Any]]
    cassettes: str = field(repr=False)

    def calls(self, test: str) -> list[dict[str, Any]]:
        """Return the calls of one test of the recorded run, in order."""
        found = [c for c in self.live if c["nodeid"].partition("::")[2] == test]
        return sorted(found, key=lambda c: c.get("index", 0))

    def call(self, test: str) -> dict[str, Any]:
        """Return the only call of one test."""
        (found,) = self.calls(test)
        return found

    def check(self) -> None:
        """Assert that the replay says of every call what the recording said."""
        assert self.live
        assert len(self.replayed) == len(self.live)
        pairs = zip(_ordered(self.live), _ordered(self.replayed), strict=True)
        differ = [
            (a["nodeid"], name, a.get(name), b.get(name))
            for a, b in pairs
            for name in sorted({*a, *b})
            if a.get(name) != b.get(name)
        ]
        assert differ == []
        assert {c["capture_mode"] for c in self.live} == {"recorded"}
        assert {c["capture_mode"] for c in self.replayed} == {"replayed"}


def _ordered(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    told = [{k: v for k, v in call.items() if k not in _OF_THE_RUN} for call in calls]
    return sorted(told, key=lambda c: (c["nodeid"], c["time"], c["input"]))


@pytest.fixture(scope="session")
def server() -> Iterator[LLMockServer]:
    """A real server that speaks the formats of OpenAI, Anthropic, Gemini and Mistral."""
    with LLMockServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(server: LLMockServer) -> None:
    server.state.reset()


@pytest.fixture
def script(server: LLMockServer) -> Callable[..., None]:
    """Tell the server how to behave from now on: ``script(Fail(403, match=Match(model="x")))``."""
    return server.state.scenarios.add


@pytest.fixture
def present(require: Any) -> Callable[..., None]:
    """Ask for modules, by name: the test is skipped, or fails where they are demanded."""

    def ask(*modules: str) -> None:
        missing = [m for m in modules if importlib.util.find_spec(m.partition(".")[0]) is None]
        require(not missing, "frameworks", f"not installed: {', '.join(missing)}; run .ci/frameworks")

    return ask


@pytest.fixture(scope="session")
def local_model(model_file: Path) -> Iterator[str]:
    """Address of llama.cpp's own server with SmolLM2-135M: it speaks Anthropic's Messages as well."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file)
    params.model_alias = {"smollm2"}
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.offline = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield server.listening_address  # a generator keeps the server alive
    del server


@pytest.fixture
def drive(pytester: pytest.Pytester, server: LLMockServer) -> Callable[..., Outcome]:
    """Run one application's tests twice, and return what was captured."""
    root = server.base_url("openai").removesuffix("/v1")
    environment = {
        "OPENAI_BASE_URL": f"{root}/v1",
        "OPENAI_API_KEY": "sk-loopback-openai-0123456789",
        "ANTHROPIC_BASE_URL": f"{root}/anthropic",
        "ANTHROPIC_API_KEY": "sk-ant-loopback-0123456789",
        "GOOGLE_GEMINI_BASE_URL": f"{root}/gemini",
        "GEMINI_API_KEY": "AIza-loopback-0123456789",
        "MISTRAL_URL": f"{root}/mistral",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would fetch its prices when it is imported
        "PYTHONWARNINGS": "default",
    }

    def run(monkeypatch: pytest.MonkeyPatch, report: str, *args: str) -> list[dict[str, Any]]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        result = pytester.runpytest_subprocess(
            "-q",
            "-p",
            "no:llmock",
            "-p",
            "no:cacheprovider",
            "--llm-budget=budget.toml",
            f"--llm-report={report}",
            *args,
        )
        assert result.ret == 0, result.stdout.str()[-4000:]
        with gzip.open(pytester.path / report / "calls.jsonl.gz", "rt") as lines:
            return [call for line in lines if "nodeid" in (call := json.loads(line))]

    def both(app: str, *, settings: Sequence[str] = (), **other: str) -> Outcome:
        environment.update(other)
        shutil.copy(APPS / f"{app}_app.py", pytester.path / "test_app.py")
        (pytester.path / "budget.toml").write_text("\n".join(["[errors]", "rate = 1.0", *settings, ""]))
        with pytest.MonkeyPatch.context() as monkeypatch:
            live = run(monkeypatch, "recorded", "--llm-record=once")
            seen = len(server.state.journal.records())
            replayed = run(monkeypatch, "replayed", "--llm-record=none")
        assert len(server.state.journal.records()) == seen, "the replay reached the server"
        files = sorted((pytester.path / "cassettes").rglob("*.yaml"))
        text = "".join(file.read_text() for file in files)
        for name, value in environment.items():
            assert not name.endswith("_KEY") or value not in text
        return Outcome(live, replayed, text)

    return both
