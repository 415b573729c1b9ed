"""Size, build time and readiness of report.html at 1,000 and 50,000 calls.

Run: python bench/report/run.py [--calls N ...] [--browser PATH]. Prints a table; nothing is asserted. Aims: 1,000
calls at most 150 KB without bodies; 50,000 calls at most 2 MB, built in under 10 s, ready in 0.5 s and at
least 30 times sooner than as static rows, search and sort under 100 ms.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
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
    """Return what ``make(*args)`` returns, and the seconds of processor time it took."""
    start = time.process_time()
    text = make(*args)  # type: ignore[operator]
    return text, time.process_time() - start


_SEARCH = """() => {
  const box = document.querySelector('input[type=search]'), spent = [];
  for (const word of ['refund-07', 'timeout', 'shipping v6', 'smollm2 growth', '']) {
    const start = performance.now();
    box.value = word;
    box.dispatchEvent(new Event('input'));
    document.querySelector('.pane').getBoundingClientRect();
    spent.push(performance.now() - start);
  }
  return spent;
}"""
_SORT = """() => {
  const spent = [];
  for (const name of ['latency', 'cost', 'test', 'tokens', 'model']) {
    const start = performance.now();
    document.querySelector('[data-key=' + name + '] button').click();
    document.querySelector('.pane').getBoundingClientRect();
    spent.push(performance.now() - start);
  }
  return spent;
}"""


def static(report: object) -> str:
    """Return a page that holds every call as a row of a plain table: what a report without an island would be."""
    rows = "".join(
        f"<tr id='c-{c.id}'><td>{c.status}</td><td>{c.nodeid}</td><td>{c.response_model}</td>"
        f"<td>{c.latency:.3f} s</td>"
        f"<td>{c.ttft}</td><td>{c.usage.input_tokens}</td><td>{c.usage.output_tokens}</td><td>{c.cost.usd}</td></tr>"
        for c in report.run.calls  # type: ignore[attr-defined]
    )
    style = "<style>td{padding:4px 8px;white-space:nowrap}</style>"
    head = f"<!doctype html><meta charset=utf-8><title>static</title>{style}"
    mark = "document.documentElement.dataset.ready = performance.now()"
    end = f"requestAnimationFrame(() => setTimeout(() => {{ {mark} }}))"
    return f"{head}<table>{rows}</table><script>{end}</script>"


def handling(text: str, browser: str) -> tuple[float, float, float]:
    """Return the medians of milliseconds of a search and of a sort, and the slowest of all."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        chromium = play.chromium.launch(executable_path=browser, args=FLAGS)
        page = chromium.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        page.wait_for_timeout(3000)  # as long as a person takes to see what there is
        search, sort = page.evaluate(_SEARCH), page.evaluate(_SORT)
        chromium.close()
    return statistics.median(search), statistics.median(sort), max(*search, *sort)


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
            page.goto(path.as_uri(), timeout=300_000)
            page.wait_for_selector("html[data-ready]", timeout=300_000)
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
    print(tabulate(rows, headers=["output", "calls", "KB", "cpu s", "ready ms"], floatfmt=",.2f"))
    if options.browser:
        most = max(options.calls)
        report = factory.make_report(most, hostile=False)
        text, plain = html.render(report, HtmlOptions(bodies="none")), static(report)
        own, other = ready(text, options.browser, 3), ready(plain, options.browser, 1)
        if own and other:
            static_size = len(plain) / 1e6
            print(
                f"{most:,} calls: ready in {own:.0f} ms, as static rows ({static_size:.1f} MB) in {other:.0f} ms: "
                f"{other / own:.0f} times"
            )
        search, sort, slowest = handling(text, options.browser)
        print(f"{most:,} calls: search {search:.0f} ms, sort {sort:.0f} ms (medians), slowest {slowest:.0f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process, all reports of all sizes and their runs included: {peak:.0f} MB")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
