"""Single values of budget.toml: checked, converted, refused in one clean line."""

from __future__ import annotations

import datetime
import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pytest_llmwatch.budget_grammar import Field
from pytest_llmwatch.budget_positions import Path
from pytest_llmwatch.errors import BudgetError

Bound = TypeVar("Bound", int, float)

_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\s*", re.IGNORECASE)
_SECONDS = {
    "ms": 0.001, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0,
    "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A budget file being read: its name for messages and the line of each key."""

    display: str
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """Return the line of ``path``, else of its nearest parent that has one."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None

    def error(self, path: Path, message: str, slug: str) -> BudgetError:
        """Return the error that names file and line; ``message`` starts with the key."""
        return BudgetError(message, slug=slug, file=self.display, line=self.line(path))

    def bad(self, path: Path, rule: str, value: Any, *, slug: str = "budget-range", mend: str = "") -> BudgetError:
        """Return ``key must be RULE (got VALUE)``, with a mend where there is one."""
        tail = f"; {mend}" if mend else ""
        return self.error(path, f"{name_of(path)} must be {rule} (got {shown(value)}){tail}", slug)

    def unknown(self, path: Path, what: str, known: Iterable[str], *, slug: str = "budget-key") -> BudgetError:
        """Return ``key is not WHAT; did you mean ...?``."""
        return self.error(path, f"{name_of(path)} is not {what}{hint(str(path[-1]), known)}", slug)


def name_of(path: Path) -> str:
    """Return a path as the user would write it: ``latency.p95.fail``; indices are left to the line."""
    return ".".join(_quoted(str(p)) for p in path if not isinstance(p, int))


def _header(path: Path) -> str:
    return f"[[{path[0]}]]" if isinstance(path[-1], int) else f"[{name_of(path)}]"


def _quoted(part: str) -> str:
    # rule ids hold scopes such as feature:support without quotes
    return part if part and re.fullmatch(r"[\w:/@+ .-]+", part) else json.dumps(part, ensure_ascii=False)


def shown(value: Any) -> str:
    """Return a given value as it stands in TOML, on one line and short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` most likely meant, or None.

    difflib's ratio, with a bonus for the same letters in another order (the commonest slip of a hand)
    and for a common beginning; the first of equals wins.
    """
    best, best_ratio = None, 0.6
    lowered = name.lower()
    for option in known:
        other = option.lower()
        ratio = difflib.SequenceMatcher(None, lowered, other).ratio()
        if sorted(lowered) == sorted(other):
            ratio += 0.3
        elif len(lowered) > 2 and (other.startswith(lowered) or lowered.startswith(other)):
            ratio = max(ratio, 0.6) + 0.1
        if ratio > best_ratio + 1e-9:
            best, best_ratio = option, ratio
    return best


def hint(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?``, or the whole list where nothing is near and the list is short."""
    options = list(known)
    guess = nearest(name, options)
    if guess is not None:
        return f"; did you mean {guess}?"
    if options and len(options) <= 12:
        return f"; known are {', '.join(options)}"
    return ""


def number(source: Source, path: Path, value: Any, rule: str = "a number") -> float:
    """Return a finite number.

    Raises:
        BudgetError: Anything else, booleans included.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise source.bad(path, rule, value, slug="budget-type")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise source.bad(path, rule, value)
    return result


def share(source: Source, path: Path, value: Any) -> float:
    """Return a number in [0, 1].

    Raises:
        BudgetError: Not a number, or outside.
    """
    result = number(source, path, value, "a share between 0 and 1")
    if not 0 <= result <= 1:
        mend = f"write {result / 100:g} for {result:g} %" if 1 < result <= 100 else ""
        raise source.bad(path, "a share between 0 and 1", value, mend=mend)
    return result


def duration(source: Source, path: Path, value: Any) -> float:
    """Return seconds > 0 from a number of seconds or ``"800 ms"``, ``"2 s"``, ``"1 min"``.

    Raises:
        BudgetError: Not a duration, or not positive.
    """
    rule = "a duration > 0"
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise source.bad(
                path, rule, value, slug="budget-type", mend='write seconds, or "800 ms", "2 s", "1 min"'
            )
        unit = match[2].lower()
        if unit not in _SECONDS:
            raise source.bad(
                path, rule, value, slug="budget-type", mend=f"units are ms, s, min, h, d{_near_unit(unit)}"
            )
        result = float(match[1]) * _SECONDS[unit]
    else:
        result = number(source, path, value, rule)
    if result <= 0 or not math.isfinite(result):
        raise source.bad(path, rule, value)
    return result


def _near_unit(unit: str) -> str:
    guess = nearest(unit, ("seconds", "minutes", "hours", "days"))
    return f" (did you mean {guess}?)" if guess else ""


def date(source: Source, path: Path, value: Any) -> str:
    """Return an ISO date from a TOML date or a string ``YYYY-MM-DD``.

    Raises:
        BudgetError: Not a date.
    """
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str):
        try:
            return datetime.date.fromisoformat(value.strip()).isoformat()
        except ValueError:
            pass
    raise source.bad(path, "a date such as 2026-12-31", value, slug="budget-type")


def strings(source: Source, path: Path, value: Any) -> tuple[str, ...]:
    """Return a tuple of non-empty strings; one string stands for a list of one.

    Raises:
        BudgetError: Anything else.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(i, str) and i.strip() for i in items):
        raise source.bad(path, "a list of strings", value, slug="budget-type")
    return tuple(items)


def string(source: Source, path: Path, value: Any) -> str:
    """Return a non-empty string.

    Raises:
        BudgetError: Anything else.
    """
    if not isinstance(value, str) or not value.strip():
        raise source.bad(path, "a non-empty string", value, slug="budget-type")
    return value


def table(source: Source, path: Path, value: Any) -> dict[str, Any]:
    """Return a table.

    Raises:
        BudgetError: Anything else.
    """
    if not isinstance(value, dict):
        raise source.bad(path, "a table", value, slug="budget-type", mend=f"write [{name_of(path)}]")
    return value


def read_fields(source: Source, path: Path, value: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the settings of one table, checked against ``fields``; absent ones are left out.

    Raises:
        BudgetError: An unknown key, a wrong type or value, or a required key that is missing.
    """
    given = table(source, path, value)
    for key in given:
        if key not in fields:
            raise source.unknown((*path, key), f"a known setting of {_header(path)}", fields)
    out = {key: _read(source, (*path, key), item, fields[key]) for key, item in given.items()}
    for key, spec in fields.items():
        if spec.required and key not in out:
            raise source.error(path, f"{_header(path)} needs {key}", "budget-missing-key")
    return out


def _read(source: Source, path: Path, value: Any, spec: Field) -> Any:
    simple = _SIMPLE.get(spec.type)
    if simple is not None:
        return simple(source, path, value)
    if spec.type == "strings":
        return _listed(source, path, strings(source, path, value), spec)
    if spec.type == "choice":
        if value not in spec.choices:
            raise source.bad(path, "one of " + ", ".join(spec.choices), value, mend=_guess(value, spec.choices))
        return value
    if spec.type == "integer":
        if isinstance(value, bool) or not isinstance(value, int):
            raise source.bad(path, "a whole number", value, slug="budget-type")
        return _bounded(source, path, value, spec)
    if spec.type == "number":
        return _bounded(source, path, number(source, path, value), spec)
    return value


def _boolean(source: Source, path: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        raise source.bad(path, "true or false", value, slug="budget-type")
    return value


_SIMPLE: dict[str, Callable[[Source, Path, Any], Any]] = {
    "string": string,
    "share": share,
    "duration": duration,
    "date": date,
    "boolean": _boolean,
}


def _listed(source: Source, path: Path, values: tuple[str, ...], spec: Field) -> tuple[str, ...]:
    for value in values:
        if spec.choices and value not in spec.choices:
            rule = "a list out of " + ", ".join(spec.choices)
            raise source.bad(path, rule, value, mend=_guess(value, spec.choices))
    return values


def _guess(value: Any, choices: tuple[str, ...]) -> str:
    guess = nearest(value, choices) if isinstance(value, str) else None
    return f"did you mean {guess}?" if guess else ""


def _bounded(source: Source, path: Path, value: Bound, spec: Field) -> Bound:
    if spec.low is not None and value < spec.low:
        raise source.bad(path, f"at least {spec.low:g}", value)
    if spec.high is not None and value > spec.high:
        raise source.bad(path, f"at most {spec.high:g}", value)
    return value
