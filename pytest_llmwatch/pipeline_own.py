"""What extensions bring beside scorers, patterns and prices: channels of alerts, and sections of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pytest_llmwatch.model import Report
from pytest_llmwatch.redact import Redactor

MOST_SECTIONS, MOST_ROWS, MOST_TEXT = 20, 1_000, 100_000

Content = str | tuple[tuple[str, ...], ...]


@dataclasses.dataclass(slots=True)
class _Own:
    channels: dict[str, Callable[[Mapping[str, Any]], None]] = dataclasses.field(default_factory=dict)
    sections: Sequence[Any] = ()
    redactor: Redactor | None = None


_own = _Own()


def take(manager: Any, redactor: Redactor) -> None:
    """Keep the channels and the makers of sections of extensions; those of an earlier run go.

    Args:
        manager: What `hookspecs.load_extensions` returned, None where there are no extensions.
        redactor: Goes over what the sections say.
    """
    _own.channels, _own.sections, _own.redactor = {}, (), redactor
    if manager is not None:
        for channels in manager.hook.llmwatch_alert_channels():
            _own.channels.update(channels or {})
        _own.sections = manager.hook.llmwatch_report_sections.get_hookimpls()


def channels() -> Mapping[str, Callable[[Mapping[str, Any]], None]]:
    """Return the channels of alerts that extensions brought, by name."""
    return _own.channels


def with_sections(report: Report) -> Report:
    """Return ``report`` with the sections of extensions; what one of them gets wrong becomes a note."""
    if not _own.sections:
        return report
    from pytest_llmwatch.report import run_json

    given = {"report": run_json.render(report)}
    sections: list[tuple[str, Content]] = []
    notes = list(report.notes)
    for hook in _own.sections:
        try:
            made = hook.function(*(given[name] for name in hook.argnames))
            sections += [(_text(title, 200), _content(content)) for title, content in made or ()]
        except Exception as error:
            said = _text(" ".join(f"{type(error).__name__}: {error}".split()), 300)
            notes.append(f"the report has no sections of {hook.plugin_name}: {said} [llmwatch:plugin-section]")
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
    if _own.redactor is not None:
        text = _own.redactor.text(text)
    return text if len(text) <= most else text[: most - 1] + "…"
