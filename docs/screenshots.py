"""Make the README's terminal capture and the pictures in docs/images from the demo.

The demo with its worse prompts (``make demo-regression``) is replayed into a temporary folder. Its terminal part
goes between the marks in README.md; its report is photographed by Chromium: light, dark, narrow. ``--check``
compares the text alone, as pictures differ between fonts and versions of a browser.
"""

from __future__ import annotations

import argparse
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
_VIEWS = (
    # name, width, height, dark, fragment
    ("report-light", 1280, 860, False, ""),
    ("report-dark", 1100, 700, True, "#worst"),
    ("report-calls", 1100, 700, False, "#calls"),
    ("report-narrow", 390, 844, False, ""),
)


def run_demo(folder: Path) -> str:
    """Replay the demo's worse prompts, its report into ``folder``; return what pytest printed.

    Raises:
        SystemExit: The demo did not go red, as it is meant to.
    """
    command = [
        *(sys.executable, "-m", "pytest", "golden_sets", "-p", "no:cacheprovider", "-q", "--tb=no", "--color=no"),
        *("--llm-variant=careless", "--llm-budget=budget.toml", "--llm-record=none", f"--llm-report={folder}"),
    ]
    env = {**os.environ, "COLUMNS": COLUMNS, "LLMWATCH_GITHUB": "off", "PYTHONUTF8": "1", "TERM": "xterm"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 1:
        raise SystemExit(f"the demo ended with {done.returncode}, not 1:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def capture(printed: str, folder: Path) -> str:
    """Return the gate's section of what pytest printed, without what differs between two runs."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if "llm quality gate:" in line)
    end = next(i for i, line in enumerate(lines) if "short test summary info" in line)
    text = "\n".join(line.rstrip() for line in lines[start:end])
    # the paths of outputs are wrapped by their length: the temporary folder's must not show
    named = re.compile(r"^html report: .*?(?=^\S+: |^$|\Z)", re.MULTILINE | re.DOTALL)
    outputs = "html report: llmwatch-report/report.html · run: llmwatch-report/run.json\n"
    text = named.sub(outputs, text.replace(folder.as_posix(), "llmwatch-report"))
    for pattern, fixed in _VARYING:
        text = pattern.sub(fixed, text)
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


def photograph(page: Path, folder: Path) -> None:
    """Write the pictures of the report ``page`` into ``folder``.

    Raises:
        SystemExit: A picture is larger than 150 kB: they are kept in the repository.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, width, height, dark, fragment in _VIEWS:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",
            )
            tab = context.new_page()
            tab.goto(page.as_uri() + fragment)
            tab.wait_for_timeout(1500)
            path = folder / f"{name}.png"
            tab.screenshot(path=path)
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
        text = capture(run_demo(folder), folder)
        page = README.read_text(encoding="utf-8")
        new = with_capture(page, text)
        if args.check:
            if new != page:
                print(f"README.md's capture is out of date; `python docs/screenshots.py` writes it:\n\n{text}")
            return int(new != page)
        README.write_text(new, encoding="utf-8")
        if not args.text:
            photograph(folder / "report.html", IMAGES)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
