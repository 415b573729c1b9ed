"""budget.toml: read, checked to the greatest extent, and frozen.

Every mistake is refused here, before any call is paid for, in one line with file, line, the given value,
the rule, and the nearest right name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path as FilePath

from pytest_llmwatch import budget_calibration as calibration
from pytest_llmwatch import budget_values as values
from pytest_llmwatch.budget_grammar import COMPARE_METRICS, KNOWN_SCORERS, QUALITY_KEYS
from pytest_llmwatch.budget_positions import Path, key_lines
from pytest_llmwatch.budget_schema import budget_schema
from pytest_llmwatch.budget_sections import read_document
from pytest_llmwatch.budget_types import (
    Budget,
    Calibration,
    CostPolicy,
    Drift,
    GateOptions,
    Limit,
    ModelDefaults,
    Scope,
)
from pytest_llmwatch.budget_values import Source
from pytest_llmwatch.errors import BudgetError

__all__ = [
    "Budget",
    "CostPolicy",
    "Drift",
    "GateOptions",
    "Limit",
    "ModelDefaults",
    "Scope",
    "budget_schema",
    "check_scorers",
    "empty_budget",
    "load_budget",
    "parse_budget",
]

_BARE_POINT = re.compile(r"[=\[,]\s*[+-]?\.[0-9]")
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def load_budget(
    path: str | FilePath,
    *,
    display: str | None = None,
    scorers: Iterable[str] | None = None,
    extra_scorers: Iterable[str] | None = None,
    defer_scorers: bool = False,
) -> Budget:
    """Read and check a budget file.

    Args:
        path: The file.
        display: Its name in messages, as the user gave it; ``path`` without one.
        scorers: Names that ``[quality]`` may gate; None = the built-in scorers.
        extra_scorers: More such names (custom scorers, labels in golden sets). None = not known yet: where
            ``[plugins]`` names modules, unknown names are then left for ``check_scorers``.
        defer_scorers: Leave all names for ``check_scorers`` (extensions by entry point, labels of sets).

    Raises:
        BudgetError: One line: what is wrong, where, and how to mend it.
    """
    file = FilePath(path)
    name = display if display is not None else str(path)
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise BudgetError(
            f"no such budget file; `llmwatch init` writes one{_similar(file)}", slug="budget-missing", file=name
        ) from None
    except OSError as error:
        raise BudgetError(
            f"cannot read the budget file ({error.strerror})", slug="budget-missing", file=name
        ) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BudgetError(
            f"the file must be UTF-8 (byte 0x{raw[error.start]:02x} is not); save it again as UTF-8",
            slug="budget-encoding",
            file=name,
            line=line,
        ) from None
    budget = parse_budget(text, name, scorers=scorers, extra_scorers=extra_scorers, defer_scorers=defer_scorers)
    return with_calibrations(budget, file.parent)


def with_calibrations(budget: Budget, folder: FilePath) -> Budget:
    """Return the budget with what is known of its judges: from the files that it names, or ``judge.json``.

    Raises:
        BudgetError: A file that it names is not there, or one cannot be used.
    """
    names = budget.judge.calibration
    files = [folder / n for n in names] if names else [f for f in [folder / calibration.FILE] if f.is_file()]
    known: dict[str, Calibration] = {}
    for file, name in zip(files, names or [calibration.FILE], strict=False):
        known |= calibration.read(file, name)
    return replace(budget, judge=replace(budget.judge, known=known)) if known else budget


def parse_budget(
    text: str,
    display: str = "budget.toml",
    *,
    scorers: Iterable[str] | None = None,
    extra_scorers: Iterable[str] | None = None,
    defer_scorers: bool = False,
) -> Budget:
    """Check a budget given as text; arguments as for ``load_budget``.

    Raises:
        BudgetError: One line: what is wrong, where, and how to mend it.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(error, text, display) from None
    except RecursionError:
        raise BudgetError("nested too deeply to be a budget", slug="budget-syntax", file=display) from None
    source = Source(display, key_lines(text))
    budget = read_document(source, document)
    if not defer_scorers and (extra_scorers is not None or not budget.plugins.modules):
        base = KNOWN_SCORERS if scorers is None else tuple(scorers)
        _check_names(source, budget, {*base, *(extra_scorers or ())})
    return budget


def empty_budget() -> Budget:
    """Return the budget of a run without one: no rules, all defaults."""
    return Budget()


def check_scorers(budget: Budget, names: Iterable[str]) -> None:
    """Refuse ``[quality]``, weights and drift metrics that name no scorer, before any call is paid for.

    Args:
        budget: The budget.
        names: Every scorer that this run can have: the registry's, the extensions', the sets' labels.

    Raises:
        BudgetError: The first unknown name, with the nearest right one.
    """
    lines: dict[Path, int] = {}
    for limit in budget.limits:
        if limit.table == "quality" and limit.line is not None:
            where: Path = ("scope", limit.scope.text) if limit.scope else ()
            lines[(*where, "quality", limit.key)] = limit.line
    source = Source(budget.path or "budget.toml", lines)
    _check_names(source, budget, {*KNOWN_SCORERS, *names})


def expired_waivers(budget: Budget, today: date) -> tuple[str, ...]:
    """Return the rules whose waiver has run out by ``today`` (the expiry day itself still counts)."""
    return tuple(w.rule for w in budget.waivers if w.expires < today.isoformat())


def _check_names(source: Source, budget: Budget, names: set[str]) -> None:
    known = sorted({*names, *QUALITY_KEYS})
    for limit in budget.limits:
        if limit.table == "quality" and limit.key not in known:
            path: Path = ("quality", limit.key)
            if limit.scope is not None:
                path = ("scope", limit.scope.text, *path)
            raise source.unknown(path, "a known scorer", known, slug="budget-scorer")
    for name in budget.weights:
        if name not in known:
            raise source.unknown(("quality", "weights", name), "a known scorer", known, slug="budget-scorer")
    for drift in budget.drifts:
        options = [*COMPARE_METRICS, *known]
        for name in drift.metrics:
            if name not in options:
                at = (
                    ("drift", "metrics")
                    if drift.scope is None
                    else ("scope", drift.scope.text, "drift", "metrics")
                )
                message = f"{values.name_of(at)}: {name} is not a known metric{values.hint(name, options)}"
                raise source.error(at, message, "budget-scorer")


def _syntax(error: tomllib.TOMLDecodeError, text: str, display: str) -> BudgetError:
    message = str(error)
    match = _AT.search(message)
    line = text.count("\n") + 1
    column = ""
    if match is not None:
        message = message[: match.start()]
        if match[1]:
            line = int(match[1])
            column = f" (column {match[2]})"
        elif text.endswith("\n"):
            line = max(1, line - 1)
    first = message[:1].lower() + message[1:]
    lines = text.splitlines()
    if _BARE_POINT.search(lines[line - 1] if 0 < line <= len(lines) else ""):
        column += "; a number needs a digit before its point: 0.5, not .5"
    return BudgetError(f"not valid TOML: {first}{column}", slug="budget-syntax", file=display, line=line)


def _similar(file: FilePath) -> str:
    try:
        names = [p.name for p in file.parent.iterdir() if p.suffix == ".toml" and p.name != "pyproject.toml"]
    except OSError:
        return ""
    guess = values.nearest(file.name, sorted(names))
    return f"; did you mean {guess}?" if guess else ""
