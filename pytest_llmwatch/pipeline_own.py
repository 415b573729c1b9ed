"""What extensions bring beside scorers, patterns and prices: channels of alerts, and sections of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_llmwatch.model import Report

MOST_SECTIONS, MOST_ROWS, MOST_TEXT = 20, 1_000, 100_000

Content = str | tuple[tuple[str, ...], ...]
_makers: dict[str, Callable[..., Any]] = {}


def take(manager: Any) -> None:
    """Keep the channels and the makers of sections of extensions; those of an earlier run go.

    Args:
        manager: What `hookspecs.load_extensions` returned, None where there are no extensions.
    """
    _makers.clear()
    if manager is None:
        return
    found = manager.hook.llmwatch_alert_channels()
    if found:
        from pytest_llmwatch.alerts import own

        own.use({name: send for channels in found for name, send in (channels or {}).items()})
    for made in manager.hook.llmwatch_report_sections.get_hookimpls():
        _makers[made.plugin_name] = made.function


def with_sections(report: Report) -> Report:
    """Return ``report`` with the sections of extensions; what one of them gets wrong becomes a note."""
    if not _makers:
        return report
    from pytest_llmwatch.report import run_json

    document = run_json.render(report)
    sections: list[tuple[str, Content]] = []
    notes = list(report.notes)
    for name, make in _makers.items():
        try:
            sections += [(_text(title, 200), _content(content)) for title, content in make(report=document) or ()]
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            notes.append(f"the report has no sections of {name}: {said} [llmwatch:plugin-section]")
    shown = dataclasses.replace(report.presentation, sections=tuple(sections[:MOST_SECTIONS]))
    return dataclasses.replace(report, presentation=shown, notes=tuple(notes))


def _content(content: Any) -> Content:
    if isinstance(content, str):
        return _text(content, MOST_TEXT)
    if not isinstance(content, Iterable) or isinstance(content, bytes | Mapping):
        raise TypeError(f"content of a section must be text or rows (got {type(content).__name__})")
    rows = [tuple(_text(cell, 2_000) for cell in row) for row in content]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("the rows of a section must have the same number of cells")
    return tuple(rows[: MOST_ROWS + 1])


def _text(value: Any, most: int) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
