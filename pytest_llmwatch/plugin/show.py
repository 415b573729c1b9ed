"""The gate's section in the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import pipeline_incidents
from pytest_llmwatch.plugin.settings import DEFAULT_REPORT
from pytest_llmwatch.report import terminal

if TYPE_CHECKING:
    from pytest_llmwatch.plugin.session import LlmSession


def show(reporter: Any, state: LlmSession) -> None:
    """Print the verdict through pytest's own reporter; a run without a budget gets one line."""
    writer = reporter._tw
    repeats = state.rounds.sentence(state.report.run) if state.rounds is not None else None
    if repeats is not None:
        writer.line(f"llm: {repeats}")
    if state.report.verdict == "none" and not state.asked:
        run = state.report.run
        if run.calls:
            cost = state.report.aggregates.get("cost_usd")
            money = f", ${cost:.4f}" if isinstance(cost, int | float) else ""
            writer.line(f"llm: {len(run.calls)} calls{money} (gate them: --llm-budget=budget.toml)")
        return
    style = terminal.TerminalStyle(
        width=writer.fullwidth,
        color=writer.hasmarkup,
        ascii=not _unicode(),
        verbosity=reporter.config.get_verbosity() if hasattr(reporter.config, "get_verbosity") else 0,
    )
    settings = state.settings
    at = pipeline_incidents.place_options(state.store.url, settings.rootdir, settings.report, DEFAULT_REPORT)
    for line in terminal.render(state.report, style, _named(state.outputs), at):
        for text, markup in line:
            writer.write(text, **markup)
        writer.line()


def _named(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return what a reader opens next; the other files lie beside it."""
    shown = {"html report": "report", "run": "run", "summary": "summary"}
    return {label: outputs[name] for label, name in shown.items() if name in outputs}


def _unicode() -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "✗✓≤–".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return os.environ.get("TERM") != "linux"
