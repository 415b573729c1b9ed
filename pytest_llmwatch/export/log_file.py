"""Where events go: files that are rotated by size, and the standard library's logging."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_llmwatch import atomic
from pytest_llmwatch.model import JSON

LOGGER = "llmwatch.events"
"""Logger that `emit` sends events to."""
_FLAT = (str, int, float, bool)
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_ALWAYS = ("run_started", "run_completed", "llm_gate", "problem", "incident_resolved")


def write(path: Path, lines: Iterable[str], *, max_bytes: int, files: int) -> int:
    """Write ``lines`` to ``path``, in parts of at most ``max_bytes``; return how many lines had no room.

    The last part is ``path`` itself, the one before it ``path.1`` and so on, as the standard library's rotating
    handler names them. Where they would be more than ``files``, lines of level ``info`` are left out, last first;
    warnings, errors and the run's own lines never are, even if that takes more files. What an earlier run left is
    removed.
    """
    kept, lost = _fitting(list(lines), max_bytes * files)
    parts: list[list[str]] = [[]]
    size = 0
    for line in kept:
        length = len(line.encode("utf-8", "replace")) + 1
        if size + length > max_bytes and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += length
    for number, part in enumerate(reversed(parts)):
        target = path if number == 0 else path.with_name(f"{path.name}.{number}")
        atomic.write_text(target, "".join(f"{line}\n" for line in part))
    _remove(path, len(parts))
    return lost


def _remove(path: Path, first: int) -> None:
    number = max(1, first)
    while (old := path.with_name(f"{path.name}.{number}")).exists():
        with contextlib.suppress(OSError):
            old.unlink()
        number += 1


def _fitting(lines: list[str], room: int) -> tuple[list[str], int]:
    sizes = [len(line.encode("utf-8", "replace")) + 1 for line in lines]
    if sum(sizes) <= room:
        return lines, 0
    parsed = [json.loads(line) for line in lines]
    needed = [e.get("level") != "info" or e.get("event") in _ALWAYS for e in parsed]
    room -= sum(size for size, need in zip(sizes, needed, strict=True) if need)
    kept: list[str] = []
    for line, size, need in zip(lines, sizes, needed, strict=True):
        if not need:
            room -= size
        if need or room >= 0:
            kept.append(line)
    return kept, len(lines) - len(kept)


def emit(events: Iterable[dict[str, JSON]], logger: logging.Logger | None = None) -> int:
    """Send events to a logger, by default `LOGGER`, as records whose ``llmwatch`` holds the fields.

    Nothing happens where no handler listens on the logger itself: a root handler of the application, or pytest's
    own, is not flooded unasked.

    Returns:
        How many were sent.
    """
    target = logger or logging.getLogger(LOGGER)
    if not target.handlers:
        return 0
    sent = 0
    for event in events:
        level = _LEVELS.get(str(event.get("level")), logging.INFO)
        # the level of the root logger, a warning by default, is about diagnostics; these events were asked for
        if target.level == logging.NOTSET or target.isEnabledFor(level):
            record = target.makeRecord(target.name, level, "", 0, str(event.get("event")), (), None)
            record.llmwatch = event
            for handler in target.handlers:
                if level >= handler.level:
                    handler.handle(record)
            sent += 1
    return sent


class JsonLines(logging.Formatter):
    """Formats a log record as one flat JSON line; an event of ours as it stands in events.jsonl.

    Of others are written ``time``, ``level``, ``event`` (the message, cut) and flat values given as ``extra``.

    Args:
        clean: Applied to every text of a record that is not ours, such as a redactor; None = as it is.
    """

    def __init__(self, clean: Any = None) -> None:
        super().__init__()
        self._text = clean or (lambda text: text)
        self._known = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "llmwatch", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        event = getattr(record, "llmwatch", None)
        if isinstance(event, dict):
            return json.dumps(event, ensure_ascii=True, default=str)
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        out: dict[str, JSON] = {
            "time": moment.replace("+00:00", "Z"), "level": record.levelname.lower(), "logger": record.name,
            "event": self._text(record.getMessage())[:500],
        }  # fmt: skip
        if record.exc_info and record.exc_info[0] is not None:
            out["error_type"] = record.exc_info[0].__name__
        for key, value in vars(record).items():
            if key not in self._known and isinstance(value, _FLAT):
                out[key] = self._text(value)[:500] if isinstance(value, str) else value
        return json.dumps(out, ensure_ascii=True)


class JsonLinesHandler(logging.handlers.RotatingFileHandler):
    """A logging handler that writes JSON lines into a file rotated by size.

    Args:
        path: The file; its folder is made.
        max_bytes: Size at which it is rotated.
        files: How many files are kept, the one being written included.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 50_000_000, files: int = 10) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=max_bytes, backupCount=max(0, files - 1), encoding="utf-8", delay=True)
        self.setFormatter(JsonLines(_redacted()))


def _redacted() -> Any:
    from pytest_llmwatch.redact import Redactor

    redactor = Redactor()
    redactor.learn_environment(os.environ)
    return redactor.text
