"""Categories, runbooks, severities and routing as the package ships them: data files, read once.

A budget's ``[[runbook]]`` replaces whatever it gives of the runbook of a category, or of one rule.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

from pytest_llmwatch.budget_types import Runbook as Override
from pytest_llmwatch.errors import UsageError

FOLDER = "incidents_data"


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of incident. ``rules`` are globs over ``table.key``, ``explains`` ids of categories."""

    id: str
    title: str
    words: str
    layer: str
    symptoms: tuple[str, ...]
    causes: tuple[str, ...]
    response: tuple[str, ...]
    rules: tuple[str, ...]
    explains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of diagnosis: for people, and the question that the data may answer (None: nobody but people)."""

    text: str
    ask: str | None = None


@dataclass(frozen=True, slots=True)
class Runbook:
    """What to do about a category. ``minutes`` is how long mending is expected to take, None unknown."""

    category: str
    title: str
    trigger: str = ""
    diagnosis: tuple[Step, ...] = ()
    mitigation: tuple[str, ...] = ()
    escalation: tuple[str, ...] = ()
    minutes: float | None = None
    url: str | None = None


def read_text(name: str) -> str:
    """Return a data file of the package."""
    return (resources.files("pytest_llmwatch") / FOLDER / name).read_text(encoding="utf-8")


def _read(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(name))
    except (OSError, ValueError) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> UsageError:
    said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return UsageError(
        f"{FOLDER}/{name} of the package cannot be used ({said}); install pytest-llmwatch anew",
        slug="incident-data",
    )


@functools.cache
def categories() -> tuple[Category, ...]:
    """Return all categories, in order of precedence."""
    return tuple(Category(**_frozen(row)) for row in _read("categories.toml")["category"])


def _frozen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}


@functools.cache
def policy() -> Mapping[str, Any]:
    """Return severities, routing, bounds and review questions."""
    return _read("policy.toml")


@functools.cache
def runbooks() -> Mapping[str, Runbook]:
    """Return the runbooks that the package ships, by category.

    Raises:
        UsageError: Their file is damaged.
    """
    out = {}
    data = _read("runbooks.toml")
    try:
        for row in data["runbook"]:
            steps = tuple(Step(s["step"], s["ask"]) for s in row.pop("diagnosis"))
            out[row["category"]] = Runbook(diagnosis=steps, **_frozen(row))
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken("runbooks.toml", error) from error
    return out


def shipped_problem() -> str | None:
    """Return why the runbooks of the package cannot be used, None where they can."""
    try:
        runbooks()
    except UsageError as error:
        return str(error)
    return None


def category(name: str) -> Category:
    """Return the category ``name``: its id, its title or its words, in any case."""
    wanted = name.lower().replace("-", "_").replace(" ", "_")
    for found in categories():
        names = {found.id, found.title.lower().replace(" ", "_"), found.words.replace(" ", "_")}
        if wanted in names:
            return found
    raise KeyError(name)


def category_of(rule: str) -> Category:
    """Return the category that a rule speaks of: a scope in front of it says nothing of the kind."""
    name = plain_rule(rule)
    fits = (c for c in categories() if any(fnmatchcase(name, glob) for glob in c.rules))
    return next(fits, category("quality"))


def plain_rule(rule: str) -> str:
    """Return ``table.key`` of a rule id without its scope (``scope.feature:a.b.cost.run_usd``)."""
    if not rule.startswith("scope."):
        return rule
    parts = rule.split(".")
    known = {glob.split(".")[0] for c in categories() for glob in c.rules}
    for place in range(len(parts) - 2, 0, -1):
        if parts[place] in known:
            return ".".join(parts[place:])
    return rule


def runbook(
    name: str, rules: Iterable[str] = (), overrides: Iterable[Override] = (), minutes: float | None = None
) -> Runbook:
    """Return the runbook of a category, with what a budget gives for it or for one of its broken rules.

    A runbook for a rule wins over one for a category. Where those of the package are damaged there is
    still one. ``minutes`` stand in for those that the package ships.
    """
    shipped = {} if shipped_problem() else runbooks()
    base = shipped.get(name) or Runbook(name, category(name).title)
    if minutes is not None:
        base = replace(base, minutes=minutes)
    wanted = set(rules)
    fits = [o for o in overrides if o.rule is None and o.category and _same(o.category, name)]
    fits += [o for o in overrides if o.rule is not None and o.rule in wanted]
    for given in fits:
        base = Runbook(
            name,
            given.title or base.title,
            given.trigger or base.trigger,
            tuple(Step(text) for text in given.diagnosis) or base.diagnosis,
            given.mitigation or base.mitigation,
            given.escalation or base.escalation,
            base.minutes if given.minutes is None else given.minutes,
            given.url or base.url,
        )
    return base


def _same(given: str, name: str) -> bool:
    try:
        return category(given).id == name
    except KeyError:
        return False
