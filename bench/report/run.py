"""Size, build time and readiness of report.html at 1,000 and 50,000 calls.

Run: python bench/report/run.py [--calls N ...] [--browser PATH]. Prints a table; nothing is asserted. Aims: 1,000
calls at most 150 KB without bodies; 50,000 calls at most 2 MB, built in under 10 s, ready in Chromium in 0.5 s.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from tabulate import tabulate

from pytest_llmwatch.report import html, markdown, run_json
from pytest_llmwatch.report.html import HtmlOptions

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def load_factory() -> ModuleType:
    """Import the synthetic reports of the tests by path."""
    spec = importlib.util.spec_from_file_location("report_factory", ROOT / "tests" / "report" / "factory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["report_factory"] = module
    spec.loader.exec_module(module)
    return module


def timed(make: object, *args: object) -> tuple[str, float]:
    """Return what ``make(*args)`` returns, and the seconds it took."""
    start = time.perf_counter()
    text = make(*args)  # type: ignore[operator]
    return text, time.perf_counter() - start


def ready(text: str, browser: str, times: int = 5) -> float | None:
    """Return the median of milliseconds until the table of calls is usable, None without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        chromium = play.chromium.launch(executable_path=browser, args=FLAGS)
        found = []
        for _ in range(times):
            page = chromium.new_page()
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            found.append(float(page.evaluate("document.documentElement.dataset.ready")))
            page.close()
        chromium.close()
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[412, 1000, 50_000])
    parser.add_argument("--browser", default=shutil.which("chromium"))
    options = parser.parse_args()
    factory = load_factory()
    html.render(factory.make_report(20))  # templates are compiled once
    rows = []
    for calls in options.calls:
        report = factory.make_report(calls, hostile=False)
        for bodies in ("none", "some"):
            text, seconds = timed(html.render, report, HtmlOptions(bodies=bodies))  # type: ignore[arg-type]
            wait = ready(text, options.browser) if options.browser else None
            rows.append([f"report.html, bodies={bodies}", calls, len(text.encode()) / 1000, seconds, wait])
        text, seconds = timed(markdown.render, report)
        rows.append(["summary.md", calls, len(text.encode()) / 1000, seconds, None])
        _, seconds = timed(run_json.render, report)
        rows.append(["run.json (values only)", calls, None, seconds, None])
    print(tabulate(rows, headers=["output", "calls", "KB", "build s", "ready ms"], floatfmt=",.2f"))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
