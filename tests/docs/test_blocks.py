"""Every code block of README.md and docs/ runs. The convention stands in docs/design/0003-pages-run.md.

A page is one temporary project. Its blocks are taken in order: named blocks become files, budgets and golden sets
are loaded, Python runs, and the commands of ``console`` blocks are executed against a loopback server.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "toml", "yaml", "json", "jsonl", "console", "text", "html"}
# commands that a reader types and that are not ours to run: they install, clone, or open a window
# other people's programs that a page shows, run where they are
OPTIONAL = ("jq",)
NOT_RUN = ("pip", "python3 -m venv", "git", "cd", "export", "open", "make", "source", ". ")
FENCE = re.compile(
    r"(?P<notes>(?:^<!-- docs: [^\n]* -->\n\s*)*)^```(?P<lang>[^\n]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NAMED = re.compile(r"^(?:#|//) ((?:[\w.-]+/)*[\w-]+\.[\w.]+)(?=\s|$)")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its text, and the notes in comments before it."""

    where: str
    language: str
    text: str
    notes: dict[str, str]

    @property
    def file(self) -> str | None:
        """The file that the block is, where its first line or a note names one."""
        named = NAMED.match(self.text)
        return self.notes.get("file") or (named.group(1) if named else None)


def blocks(name: str, page: str) -> Iterator[Block]:
    """Yield the code blocks of a page."""
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start("lang")) + 1
        notes = {}
        for note in re.findall(r"<!-- docs: (.*?) -->", match["notes"]):
            key, _, value = note.partition(" ")
            notes[key] = value
        yield Block(f"{name}:{line}", match["lang"].strip(), match["body"], notes)


class Page:
    """The temporary project of one page."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        venv = str(Path(sys.executable).parent)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OPENAI_"))}
        self.env |= {"OPENAI_BASE_URL": server, "OPENAI_API_KEY": "sk-none", "COLUMNS": "110"}
        self.env["PATH"] = venv + os.pathsep + self.env["PATH"]
        self.loose = 0

    def take(self, block: Block) -> None:
        """Run ``block``, or fail with the place where it stands."""
        assert block.language in LANGUAGES, f"{block.where}: language {block.language!r} is none of {LANGUAGES}"
        if "skip" in block.notes:
            assert block.notes["skip"], f"{block.where}: a skipped block says why"
            return
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        run = getattr(self, f"_{block.language}", None)
        if run is not None:
            run(block)

    def _toml(self, block: Block) -> None:
        from pytest_llmwatch.budget import parse_budget

        tomllib.loads(block.text)
        if block.file is None or Path(block.file).name.startswith("budget"):
            parse_budget(block.text, block.where)

    def _yaml(self, block: Block) -> None:
        assert yaml.safe_load(block.text), block.where
        if block.file and block.file.endswith("set.yaml"):
            self._check_sets(block)

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _jsonl(self, block: Block) -> None:
        assert [json.loads(line) for line in block.text.splitlines()], block.where
        if block.file and block.file.endswith("cases.jsonl"):
            self._check_sets(block)

    def _check_sets(self, block: Block) -> None:
        from pytest_llmwatch.golden import load_set

        folder = (self.folder / str(block.file)).parent
        whole = (folder / "set.yaml").exists() and (
            (folder / "cases.jsonl").exists() or "cases:" in (folder / "set.yaml").read_text("utf-8")
        )
        if whole:
            assert load_set(folder).cases, block.where

    def _python(self, block: Block) -> None:
        compile(block.text, block.where, "exec")
        if block.file:
            return
        self.loose += 1
        name = f"test_block_{self.loose}.py" if "def test_" in block.text else f"block_{self.loose}.py"
        (self.folder / name).write_text(block.text, "utf-8")
        self._run(block, f"pytest -q {name}" if name.startswith("test_") else f"python {name}")
        (self.folder / name).unlink()

    def _console(self, block: Block) -> None:
        lines = block.text.splitlines()
        commands = [line[2:] for line in lines if line.startswith("$ ")]
        assert commands, f"{block.where}: a console block shows commands after '$ '"
        printed = "".join(self._run(block, command) for command in commands if not command.startswith(NOT_RUN))
        if "shows" in block.notes:
            shown = [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]
            assert [line for line in shown if line != "..." and line not in printed] == [], printed

    def _run(self, block: Block, command: str) -> str:
        words = shlex.split(command, comments=True)
        if words[0] in OPTIONAL and shutil.which(words[0]) is None:
            return ""
        if words[0] in ("pytest", "python"):
            words = [sys.executable, *(["-m", "pytest"] if words[0] == "pytest" else []), *words[1:]]
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        wanted = int(block.notes.get("exit", "0"))
        assert done.returncode == wanted, f"{block.where}: {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_page_runs(page: Path, tmp_path: Path, canned_server: str) -> None:
    project = Page(tmp_path, canned_server)
    name = page.relative_to(ROOT).as_posix()
    text = page.read_text("utf-8")
    found = list(blocks(name, text))
    assert text.count("\n```") + text.startswith("```") == 2 * len(found), "a fence is not closed"
    for block in found:
        project.take(block)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```toml\n[latncy]\np95 = 1\n```\n", "latncy"),
        ("```python\ndef f(:\n```\n", "invalid syntax"),
        ("```python\ndef test_f():\n    assert 1 == 2\n```\n", "1 failed"),
        ("```console\n$ python -c 'raise SystemExit(3)'\n```\n", "SystemExit"),
        ("<!-- docs: shows -->\n```console\n$ python -c 'print(1)'\n2\n```\n", "2"),
        ("```jsonl\n{]\n```\n", "Expecting"),
        ("```ini\n[pytest]\n```\n", "none of"),
        ("<!-- docs: skip -->\n```toml\nx\n```\n", "says why"),
        ("```yaml\n# golden_sets/a/set.yaml\nprompt: x\ncases: []\n```\n", "a/set.yaml"),
    ],
)
def test_a_broken_block_is_found(text: str, says: str, tmp_path: Path, canned_server: str) -> None:
    project = Page(tmp_path, canned_server)
    (block,) = blocks("page.md", text)
    with pytest.raises((AssertionError, Exception), match=re.escape(says)):
        project.take(block)


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []
