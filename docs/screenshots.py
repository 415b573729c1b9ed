"""Make the README's terminal capture and the pictures in docs/images from the demo.

The demo with its worse prompts (``make demo-regression``) is replayed into a temporary folder. Its terminal part
goes between the marks in README.md and, in its colours, into a picture; its report is photographed by Chromium.
What the demo has not (an earlier run, traces of agents) is photographed in the report of tests/report/story.py.
``--check`` compares the text alone, as pictures differ between fonts and versions of a browser.
"""

from __future__ import annotations

import argparse
import html
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
README = ROOT / "README.md"
BEGIN, END = "<!-- generated: terminal -->", "<!-- end -->"
COLUMNS = "100"
MOST_BYTES = 150_000
_VARYING = (
    (re.compile(r"run \d{8}-\d{6}-[0-9a-f]{6}"), "run 20261120-020411-9f3c1e"),
    (re.compile(r" · (?:\d+ min )?[\d.]+ m?s$", re.MULTILINE), ""),
)
_INCIDENT = re.compile(r"inc-\d{8}-[0-9a-f]{6}")
_SGR = re.compile(r"\x1b\[([\d;]*)m")
_VIEWS = (
    # page, name, width, height, dark, fragment, what to click first
    ("demo", "report-light", 1280, 860, False, "", ""),
    ("demo", "report-rules", 1100, 700, False, "#rules", ""),
    ("demo", "report-dark", 1100, 700, True, "#worst", ""),
    ("demo", "report-incidents", 1100, 700, False, "#incidents", ".incident summary"),
    ("demo", "report-calls", 1100, 700, False, "#calls?rule=quality.pass_rate", ""),
    ("demo", "report-narrow", 390, 844, False, "", ""),
    ("story", "report-changes", 1100, 860, False, "#changes", ""),
    ("story", "report-latency", 1100, 480, False, "#latency", ""),
    ("story", "report-trace", 1100, 700, False, "#traces", ".waterfall .call a"),
    ("terminal", "terminal", 860, 100, True, "", ""),
)
_TERMINAL = (
    "<!doctype html><meta charset=utf-8><style>body{margin:0;background:#16191d;color:#d8dbd6;width:max-content}"
    "pre{margin:0;padding:16px 20px;font:12px/1.35 'DejaVu Sans Mono',monospace}.s1{font-weight:700}"
    ".s2{color:#8b939c}.s35{color:#cba8f0}.s31{color:#ff8a65}.s32{color:#5fcdaa}.s33{color:#e9b950}.s36{color:#7fc4e8}</style><pre>"
)


def run_demo(folder: Path) -> str:
    """Replay the demo's worse prompts, its report into ``folder``; return what pytest printed.

    Raises:
        SystemExit: The demo did not go red, as it is meant to.
    """
    command = [
        *(sys.executable, "-m", "pytest", "golden_sets", "-p", "no:cacheprovider", "-q", "--tb=no", "--color=yes"),
        *("--llm-variant=careless", "--llm-budget=budget.toml", "--llm-record=none", f"--llm-report={folder}"),
    ]
    env = {**os.environ, "COLUMNS": COLUMNS, "LLMWATCH_GITHUB": "off", "PYTHONUTF8": "1", "TERM": "xterm"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 1:
        raise SystemExit(f"the demo ended with {done.returncode}, not 1:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def section(printed: str) -> list[str]:
    """Return the lines of the gate's section of what pytest printed."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if "llm quality gate:" in line)
    end = next(i for i, line in enumerate(lines) if "short test summary info" in line)
    return lines[start:end]


def terminal_page(printed: str) -> str:
    """Return a page that shows the gate's section in the colours that it was printed in."""
    pieces = _SGR.split("\n".join(section(printed)).rstrip())
    out, on = [_TERMINAL], set[str]()
    for i, piece in enumerate(pieces):
        if i % 2:
            codes = {c for c in piece.split(";") if c not in ("", "0")}
            on = on | codes if codes else set()
        elif piece:
            names = " ".join(sorted(f"s{code}" for code in on))
            out.append(f'<span class="{names}">{html.escape(piece)}</span>')
    return "".join(out)


def story_page() -> str:
    """Return the report of the tests that has all parts: a baseline with answers, a history, traces."""
    from pytest_llmwatch.report import html as report

    modules = []
    for name in ("factory", "story"):
        spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "tests" / "report" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        modules.append(module)
    factory, story = modules
    return report.render(story.story(factory))


def _usual(text: str, folder: Path) -> str:
    """Return what would be printed if the report went where it goes by default."""
    text = text.replace(folder.as_posix(), "llmwatch-report")
    return text.replace("show ID --report llmwatch-report)", "show ID)")


def capture(printed: str, folder: Path) -> str:
    """Return the gate's section of what pytest printed, without colours and what differs between two runs."""
    lines = section(_SGR.sub("", printed))
    text = "\n".join(line.rstrip() for line in lines)
    # the paths of outputs are wrapped by their length: the temporary folder's must not show
    named = re.compile(r"^html report: .*?(?=^\S+: |^$|\Z)", re.MULTILINE | re.DOTALL)
    outputs = "html report: llmwatch-report/report.html · run: llmwatch-report/run.json\n"
    text = named.sub(outputs, _usual(text, folder))
    for pattern, fixed in _VARYING:
        text = pattern.sub(fixed, text)
    number = itertools.count(1)
    text = _INCIDENT.sub(lambda _: f"inc-20261120-{next(number):06x}", text)
    return text.rstrip() + "\n"


def with_capture(page: str, text: str) -> str:
    """Return the page with ``text`` between its marks.

    Raises:
        ValueError: The page has no marks.
    """
    before, mark, rest = page.partition(BEGIN)
    _, close, after = rest.partition(END)
    if not mark or not close:
        raise ValueError(f"README.md has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n```text\n{text}```\n{END}{after}"


def photograph(pages: dict[str, Path], folder: Path) -> None:
    """Write the pictures of the ``pages`` by name into ``folder``.

    Raises:
        SystemExit: A picture is larger than 150 kB: they are kept in the repository.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for page, name, width, height, dark, fragment, click in _VIEWS:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",
            )
            tab = context.new_page()
            tab.goto(pages[page].as_uri() + fragment)
            if page != "terminal":
                tab.wait_for_selector("html[data-ready]")
            tab.wait_for_timeout(500)
            if click:
                tab.click(click)
                tab.wait_for_timeout(500)
            path = folder / f"{name}.png"
            tab.screenshot(path=path, full_page=page == "terminal")
            context.close()
            size = path.stat().st_size
            print(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}: {size:,} bytes")
            if size > MOST_BYTES:
                raise SystemExit(f"{name}.png is larger than {MOST_BYTES:,} bytes; show less of the page")
        browser.close()


def main(arguments: list[str] | None = None) -> int:
    """Write the capture and the pictures, or compare the capture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the text only; 1 if it differs")
    parser.add_argument("--text", action="store_true", help="write the text only")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "llmwatch-report"
        printed = run_demo(folder)
        text = capture(printed, folder)
        page = README.read_text(encoding="utf-8")
        new = with_capture(page, text)
        if args.check:
            if new != page:
                print(f"README.md's capture is out of date; `python docs/screenshots.py` writes it:\n\n{text}")
            return int(new != page)
        README.write_text(new, encoding="utf-8")
        if not args.text:
            pages = {"demo": folder / "report.html"}
            for name, made in (
                ("story", story_page()),
                ("terminal", terminal_page(_usual(printed, folder))),
            ):
                pages[name] = folder / f"{name}.html"
                pages[name].write_text(made, encoding="utf-8")
            photograph(pages, IMAGES)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
