"""An idle plugin costs nothing: hardly a module, no socket, no file, no word.

Each test runs pytest in a process of its own on a small project, with the plugin installed but not asked for
anything, and the same with ``-p no:llmwatch``. What is compared is counted, never timed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAX_MODULES = 4
FORBIDDEN = ("openai", "vcr", "scipy", "numpy", "jsonschema", "httpx", "httpx2", "pydantic", "jinja2", "yaml")

# tempfile tries its folder with a file of a random name
RANDOM_NAME = re.compile(r"/[a-z0-9_]{8}(?=$|')")

# What a run under test touches is written down at its very end, after every plugin had its last word.
SITECUSTOMIZE = """
import atexit, json, os, sys

WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir", "os.rename",
           "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.", "tempfile.", "sqlite3.",
           "ftplib.", "smtplib.", "urllib.", "http.client.", "webbrowser.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
seen = []

def hook(event, args):
    if event == "open":
        path, mode, flags = args
        writes = flags & WRITING or (mode and set(mode) & set("wax+"))
        if writes and isinstance(path, (str, bytes)):
            seen.append(["open", os.fsdecode(path)])
    elif event.startswith(WATCHED):
        seen.append([event, repr(args[:1]) if event.startswith("os.") else ""])

def report():
    events, modules = list(seen), sorted(sys.modules)
    with open(os.environ["IDLE_OUT"], "w") as out:
        json.dump({"events": events, "modules": modules}, out)

atexit.register(report)
sys.addaudithook(hook)
"""

TESTS = """
import pytest

def test_passes(tmp_path, capsys, monkeypatch):
    assert tmp_path.exists()

def test_fails():
    assert [1, 2] == [1, 3]

@pytest.mark.skip(reason="later")
def test_skipped():
    pass
"""


class Project:
    """A folder with a small test suite, and a way to run pytest in it."""

    def __init__(self, folder: Path, tests: str = TESTS) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        (self.folder / "test_plain.py").write_text(tests, "utf-8")
        (self.folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n", "utf-8")
        # a golden set that nobody named on the command line must not wake the plugin
        golden = self.folder / "golden_sets" / "qa"
        golden.mkdir(parents=True)
        (golden / "set.yaml").write_text("prompt: '{{ input }}'\ncases: [{id: one, input: hello}]\n", "utf-8")
        self.site = folder / "site"
        self.site.mkdir()
        (self.site / "sitecustomize.py").write_text(SITECUSTOMIZE, "utf-8")
        self.out = folder / "seen.json"

    def add_plugin(self, source: str) -> str:
        (self.site / "planted_plugin.py").write_text(source, "utf-8")
        return "planted_plugin"

    def run(self, *args: str, autoload: bool = True) -> Outcome:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        env |= {"PYTHONPATH": str(self.site), "IDLE_OUT": str(self.out), "PYTHONDONTWRITEBYTECODE": "1"}
        if not autoload:
            env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        basetemp = self.folder.parent / "basetemp"
        shutil.rmtree(basetemp, ignore_errors=True)
        command = [sys.executable, "-m", "pytest", f"--basetemp={basetemp}", *args]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        seen = json.loads(self.out.read_text("utf-8"))
        events = [f"{event} {RANDOM_NAME.sub('/NAME', what)}" for event, what in seen["events"]]
        return Outcome(done.returncode, done.stdout, done.stderr, set(seen["modules"]), events)


class Outcome:
    def __init__(self, code: int, out: str, err: str, modules: set[str], events: list[str]) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.modules = modules
        self.events = events

    @property
    def plain_output(self) -> str:
        """What was printed, without the time and without the header's list of installed plugins."""
        text = re.sub(r"in \d+\.\d+s", "in N s", self.out)
        text = re.sub(r"^=+ (.*?) =+$", r"= \1 =", text, flags=re.MULTILINE)
        return re.sub(r"^plugins: .*\n", "", text, flags=re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


ALONE = ("-p", "pytest_llmwatch.plugin.entry")


def _heavy(modules: set[str]) -> set[str]:
    return {m for m in modules if m.split(".")[0] in FORBIDDEN}


def test_alone_it_adds_at_most_four_modules(project: Project) -> None:
    without = project.run("-q", autoload=False)
    loaded = project.run("-q", *ALONE, autoload=False)
    assert "pytest_llmwatch.plugin.entry" in loaded.modules
    assert "pytest_llmwatch.plugin.entry" not in without.modules
    added = loaded.modules - without.modules
    assert len(added) <= MAX_MODULES, sorted(added)
    assert _heavy(loaded.modules) == set()
    assert [event for event in loaded.events if event.startswith("socket.")] == []
    assert loaded.events == without.events
    assert loaded.code == without.code == 1


@pytest.mark.parametrize("args", [(), ("--collect-only",), (".", "-k", "nothing_has_this_name")])
def test_as_installed_it_adds_at_most_four_modules(project: Project, args: tuple[str, ...]) -> None:
    without = project.run("-q", "-p", "no:llmwatch", *args)
    loaded = project.run("-q", *args)
    assert "pytest_llmwatch.plugin.entry" in loaded.modules, "is the project installed?"
    assert "pytest_llmwatch" not in without.modules
    added = loaded.modules - without.modules
    assert len(added) <= MAX_MODULES, sorted(added)
    assert _heavy(added) == set()
    assert loaded.code == without.code


def test_it_touches_nothing(project: Project) -> None:
    without = project.run("-p", "no:llmwatch")
    loaded = project.run()
    assert loaded.events == without.events
    assert not list(project.folder.glob("llmwatch*")) + list(project.folder.glob(".llmwatch*"))


@pytest.mark.parametrize("args", [("-v", "-ra"), ("-q", "-x", "--tb=short")])
def test_it_prints_nothing(project: Project, args: tuple[str, ...]) -> None:
    without = project.run("-p", "no:llmwatch", *args)
    loaded = project.run(*args)
    assert loaded.plain_output == without.plain_output
    assert loaded.err == without.err
    assert loaded.code == without.code
    assert "test_plain" in loaded.out


def test_two_workers_stay_as_quiet(project: Project) -> None:
    pytest.importorskip("xdist")
    without = project.run("-q", "-n2", "-p", "no:llmwatch")
    loaded = project.run("-q", "-n2")
    assert loaded.code == without.code == 1
    assert loaded.plain_output.count("\n") == without.plain_output.count("\n")
    assert len(loaded.modules - without.modules) <= MAX_MODULES


# The checks above see what they claim to see: a plugin that does each of these things is caught.

NOISY = """
import socket

def pytest_configure(config):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
    with open("noise.txt", "w") as f:
        f.write("x")

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("look at me")
"""


def test_a_noisy_plugin_would_be_seen(project: Project) -> None:
    name = project.add_plugin(NOISY)
    quiet = project.run("-p", "no:llmwatch")
    loud = project.run("-p", "no:llmwatch", "-p", name)
    assert "open noise.txt" in loud.events
    assert "open noise.txt" not in quiet.events
    assert loud.events.count("socket.bind ") == quiet.events.count("socket.bind ") + 1
    assert "look at me" in loud.plain_output
    assert loud.plain_output != quiet.plain_output


def test_a_heavy_plugin_would_be_seen(project: Project) -> None:
    name = project.add_plugin("import imaplib, poplib, netrc, colorsys, wave\nimport yaml\n")
    light = project.run("-q", autoload=False)
    heavy = project.run("-q", "-p", name, autoload=False)
    added = heavy.modules - light.modules
    assert len(added) > MAX_MODULES
    assert "yaml" in _heavy(added)
