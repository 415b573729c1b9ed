"""The workflow files of the how-to pages: their commands are run, in their order, on a small project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs" / "how-to"
BUDGET = """
[model]
model = "gpt-4o-mini"
[latency]
max = "{limit}"
[quality]
relevance = 0.1
"""
SET = """
api: chat
prompt: "{{ context }} {{ input }}"
scorers: [relevance, must_mention]
"""
CASES = [
    {"id": f"case-{n}", "input": f"When is the {word} open?", "context": [f"The {word} is open on Monday."]}
    for n, word in enumerate(("shop", "bank", "library"))
]
TEST = """
def test_french(llm_call):
    assert "onjour" in llm_call("Translate: good morning", api="chat").text
"""


def workflow(page: str) -> dict[str, Any]:
    """Return the workflow of a page; ``on`` stays text."""
    block = re.search(r"^```yaml\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    found: dict[str, Any] = yaml.load(block[1], Loader=yaml.BaseLoader)
    return found


class Comments(BaseHTTPRequestHandler):
    """The comments of a pull or merge request: listed, added, replaced."""

    kept: list[dict[str, Any]]
    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def _answer(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer(self.kept)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(f"{self.command} {self.path}")
        if self.command == "POST":
            self.kept.append({"id": 100 + len(self.kept), **body})
        else:
            next(c for c in self.kept if str(c["id"]) == self.path.rsplit("/", 1)[-1]).update(body)
        self._answer({})

    do_PATCH = do_PUT = do_POST


@pytest.fixture
def comments() -> Iterator[tuple[str, type[Comments]]]:
    """A server of comments that holds one of somebody else."""
    handler = type("Kept", (Comments,), {"kept": [{"id": 7, "body": "nice work"}], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


class Project:
    """A repository with a golden set, a test and a remote, and a shell in it."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path / "work"
        golden = self.path / "golden_sets" / "hours"
        golden.mkdir(parents=True)
        (golden / "set.yaml").write_text(SET)
        (golden / "cases.jsonl").write_text("".join(json.dumps(c) + "\n" for c in CASES))
        (self.path / "tests").mkdir()
        (self.path / "tests" / "test_app.py").write_text(TEST)
        (self.path / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:cacheprovider -p no:llmock -p no:timeout\n"
        )
        self.limit("60 s")
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": "sk-loopback",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        for name in ("GIT_DIR", "GIT_WORK_TREE"):
            self.env.pop(name, None)
        self.shell(
            "git init -q --bare ../origin.git && git init -q -b main . && git remote add origin ../origin.git"
        )
        self.commit("first")
        self.shell("git push -q -u origin main")

    def limit(self, text: str) -> None:
        (self.path / "budget.toml").write_text(BUDGET.format(limit=text))

    def commit(self, message: str) -> None:
        self.shell(f"git add -A && git -c user.name=a -c user.email=a@b.invalid commit -q -m {message}")

    def shell(self, script: str, code: int = 0, **env: str) -> str:
        """Run a script as a runner does, by bash that stops at the first failure."""
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=self.path,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def small(tmp_path: Path, canned_server: str) -> Project:
    """A project that has its recordings."""
    project = Project(tmp_path, canned_server)
    project.shell("pytest -q golden_sets tests --llm-budget=budget.toml --llm-record=once")
    project.shell("rm -rf llmwatch-report")
    project.commit("recordings")
    return project


def runs(job: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield script and environment of each step that is ours to run, expressions replaced."""

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda m: values[m[1]], text)

    for step in job["steps"]:
        if "run" in step and not step["run"].startswith("pip install"):
            yield filled(step["run"]), {k: filled(v) for k, v in step.get("env", {}).items()}


def test_the_jobs_of_github(small: Project, comments: tuple[str, type[Comments]]) -> None:
    url, server = comments
    jobs = workflow("github-actions.md")["jobs"]
    assert list(jobs) == ["shard", "gate", "baseline", "nightly"]
    before = small.shell("git rev-parse HEAD~1").strip()
    values = {
        "github.token": "t", "github.api_url": url, "github.repository": "me/it", "github.event.number": "5",
        "github.event.before": before, "secrets.OPENAI_API_KEY": "sk-loopback",
    }  # fmt: skip
    step = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(small.path), "CI": "true", "GITHUB_SHA": "abc123",
            "GITHUB_STEP_SUMMARY": str(small.path.parent / "step.md")}  # fmt: skip
    matrix = jobs["shard"]["strategy"]["matrix"]["include"]
    for line in matrix:
        filled = {**values, "matrix.shard": line["shard"], "matrix.paths": line["paths"]}
        for script, env in runs(jobs["shard"], filled):
            small.shell(script, **step, **env)
    merge, gate, comment = runs(jobs["gate"], values)
    small.shell(merge[0], **step)
    small.shell(gate[0], **step)
    for _ in range(2):
        small.shell(comment[0], **comment[1])
    assert server.asked == ["POST /repos/me/it/issues/5/comments",
                            "PATCH /repos/me/it/issues/comments/101"]  # fmt: skip
    assert server.kept[0]["body"] == "nice work"
    assert server.kept[1]["body"].startswith("<!-- pytest-llmwatch summary -->\n### ✅ PASS")
    assert "PASS" in (small.path.parent / "step.md").read_text()

    # the artifact of two paths is unpacked into a folder of its name
    small.shell("mkdir art && mv llmwatch-report art/ && mv art llmwatch-report && rm -rf shard-1 shard-2")
    ((script, env),) = runs(jobs["baseline"], values)
    small.shell(script, **step, **env)
    assert "Accept the baseline of abc123" in small.shell("git log -1 --format=%s origin/main")
    assert small.shell("git show --stat --format= origin/main").count("baseline.json") == 1
    # now there is one: three cases cannot show that they are as good as the anchor, and that is said
    assert "not accepted" in small.shell(script, code=1, **step, **env)

    ((script, env),) = runs(jobs["nightly"], values)
    small.shell(script, **step, **env)
    assert json.loads((small.path / "llmwatch-report" / "run.json").read_text())["environment"]["record"] == "off"

    small.limit("0.001 ms")  # negative control: the gate of the page does fail
    out = small.shell("llmwatch gate merged --budget budget.toml -o llmwatch-report", code=1, **step)
    assert "::error file=budget.toml,line=5,title=latency.max broken::" in out


def test_the_jobs_of_gitlab(small: Project, comments: tuple[str, type[Comments]]) -> None:
    url, server = comments
    jobs = workflow("gitlab-ci.md")
    assert {"shard", "gate", "comment", "baseline", "nightly"} <= set(jobs)
    env = {"CI": "true", "CI_API_V4_URL": url, "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "9",
           "LLMWATCH_GITLAB_TOKEN": "t", "CI_COMMIT_SHA": "abc123", "CI_COMMIT_BRANCH": "main",
           "CI_SERVER_HOST": "git.invalid", "CI_PROJECT_PATH": "me/it"}  # fmt: skip
    for line in jobs["shard"]["parallel"]["matrix"]:
        small.shell("\n".join(jobs["shard"]["script"]), **env, **line)
    small.shell("\n".join(jobs["gate"]["script"]), **env)
    reports = jobs["gate"]["artifacts"]["reports"]
    assert "llmwatch_rule_state" in (small.path / reports["metrics"]).read_text()
    assert "testcase" in (small.path / reports["junit"]).read_text()
    for _ in range(2):
        small.shell("\n".join(jobs["comment"]["script"]), **env)
    notes = "/projects/3/merge_requests/9/notes"
    assert server.asked == [f"POST {notes}", f"PUT {notes}/101"]

    # the push goes to the remote that is here
    script = "\n".join(jobs["baseline"]["script"])
    address = re.search(r'"https://llm:\$LLMWATCH_GITLAB_TOKEN@\$CI_SERVER_HOST/\$CI_PROJECT_PATH\.git"', script)
    assert address is not None
    small.shell("git -C ../origin.git config receive.advertisePushOptions true")
    small.shell(script.replace(address[0], "origin"), **env)
    assert "Accept the baseline of abc123" in small.shell("git log -1 --format=%s origin/main")
