"""JSON against JSON: how much of a value is as expected, and which fields are there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.format import find_json
from pytest_llmwatch.scorers.options import option

MAX_DEPTH = 200
_MAX_NODES = 200_000
_ABSENT: Any = object()


@dataclass(slots=True)
class _Walk:
    """One comparison: leaves seen, leaves equal, and what differs."""

    tolerance: float
    relative: float
    ignore: frozenset[str]
    any_order: bool
    extra: bool
    total: float = 0.0
    right: float = 0.0
    nodes: int = 0
    differences: list[tuple[str, Any, Any]] = field(default_factory=list)

    def compare(self, asked: Any, made: Any, path: str = "$", depth: int = 0) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > _MAX_NODES:
            raise OverflowError("nested too deeply" if depth > MAX_DEPTH else "too many values")
        if path in self.ignore:
            return
        if isinstance(asked, Mapping) and isinstance(made, Mapping) and (asked or made):
            for key in asked:
                self.compare(asked[key], made.get(key, _ABSENT), f"{path}.{key}", depth + 1)
            for key in made:
                if key not in asked and not self.extra:
                    self.compare(_ABSENT, made[key], f"{path}.{key}", depth + 1)
        elif isinstance(asked, list) and isinstance(made, list) and (asked or made):
            self._lists(asked, made, path, depth)
        else:
            self._leaf(asked, made, path)

    def _lists(self, asked: list[Any], made: list[Any], path: str, depth: int) -> None:
        if self.any_order:
            asked, made = sorted(asked, key=_key), sorted(made, key=_key)
        for i in range(max(len(asked), len(made))):
            if i >= len(asked) and self.extra:
                return
            a = asked[i] if i < len(asked) else _ABSENT
            b = made[i] if i < len(made) else _ABSENT
            self.compare(a, b, f"{path}[{i}]", depth + 1)

    def _leaf(self, asked: Any, made: Any, path: str) -> None:
        # a whole branch that lacks weighs as many leaves as it has
        weight = max(_leaves(asked), _leaves(made))
        self.total += weight
        if self._equal(asked, made):
            self.right += weight
        else:
            self.differences.append((path, asked, made))

    def _equal(self, a: Any, b: Any) -> bool:
        if isinstance(a, bool) or isinstance(b, bool) or a is _ABSENT or b is _ABSENT:
            return a is b
        if isinstance(a, int | float) and isinstance(b, int | float):
            return a == b or _near(a, b, self.tolerance, self.relative)
        return type(a) is type(b) and bool(a == b)


def _near(a: float, b: float, tolerance: float, relative: float) -> bool:
    try:
        return math.isclose(a, b, rel_tol=relative, abs_tol=tolerance)
    except OverflowError:  # integers beyond any float
        return False


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _leaves(value: Any, depth: int = 0) -> int:
    if depth > MAX_DEPTH:
        raise OverflowError("nested too deeply")
    if isinstance(value, Mapping):
        return sum(_leaves(v, depth + 1) for v in value.values()) or 1
    if isinstance(value, list):
        return sum(_leaves(v, depth + 1) for v in value) or 1
    return 0 if value is _ABSENT else 1


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else json.dumps(value, ensure_ascii=False, default=str)[:120]


@dataclass(frozen=True, slots=True)
class JsonDiff(Base):
    """Share of the leaves (numbers, texts, ...) of a JSON value that are as expected; 1 = equal.

    2 equals 2.0; true does not equal 1. JSON in a code fence or in prose is taken out of it: `json` tells that.
    """

    name = "json_diff"

    value: Any = option("any")  # noqa: RUF009
    """Expected JSON value; None = the JSON in the case's reference."""
    tolerance: float = option("number", 0.0)
    """Absolute difference that numbers may have."""
    relative: float = option("share", 0.0)
    ignore: Sequence[str] | str = option("texts", ())
    """Paths that do not count, as ``$.created`` or ``$.items[0].id``."""
    any_order: bool = option("flag", False)
    """Compare lists whatever their order."""
    allow_extra: bool = option("flag", False)
    """Let pass keys and items that are not expected."""
    exact: bool = option("flag", False)
    """1 where all is equal, else 0, in place of the share."""

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise ValueError(f"tolerance must be >= 0 (got {self.tolerance!r})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a value was given."""
        return self.value is not None

    def score(self, output: Output, case: Case) -> Score:
        """Compare leaf by leaf; each difference is evidence, with its path."""
        asked = self.value
        if asked is None:
            known = find_json(case.reference or "")
            if isinstance(known, str):
                return self.not_assessable("No JSON to compare with: neither an option nor one in the reference.")
            asked = known.value
        found = find_json(output.text)
        if isinstance(found, str):
            return self.result(0.0, f"Not JSON: {found}.")
        ignore = frozenset([self.ignore] if isinstance(self.ignore, str) else self.ignore)
        walk = _Walk(self.tolerance, self.relative, ignore, self.any_order, self.allow_extra)
        try:
            walk.compare(asked, found.value)
        except (OverflowError, RecursionError) as error:
            return self.not_assessable(f"Not compared: {error}.")
        evidence = [
            Evidence("differs", f"{path}: {_shown(made)}", where="item", note=f"expected {_shown(a)}")
            for path, a, made in walk.differences[:50]
        ]
        if not walk.differences:
            return self.result(1.0, "Equal to the expected JSON.")
        value = walk.right / walk.total
        n = len(walk.differences)
        return self.result(
            0.0 if self.exact else value, f"{n:,} difference(s), first {evidence[0].text}.", evidence
        )


def at_path(value: Any, path: str) -> Any:
    """Return what stands at a path of names and list positions (``order.items.0.price``), or `ABSENT`."""
    for part in path.removeprefix("$").strip(".").replace("[", ".").replace("]", "").split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part[:6]) < len(value):
            value = value[int(part[:6])]
        elif part:
            return ABSENT
    return value


ABSENT = _ABSENT
"""What `at_path` returns where there is nothing."""


@dataclass(frozen=True, slots=True)
class JsonFields(Base):
    """Share of the required fields that the answer's JSON has, not empty.

    A field is a path: ``name``, ``order.items.0.price``. An empty text, list or object and null count as lacking.
    """

    name = "json_fields"

    fields: Sequence[str] | str | None = option("texts")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether fields were given."""
        return bool(self.fields)

    def score(self, output: Output, case: Case) -> Score:
        """Look for each field; the missing ones are evidence."""
        fields = [self.fields] if isinstance(self.fields, str) else list(self.fields or ())
        if not fields:
            return self.not_assessable("No field was given.")
        found = find_json(output.text)
        if isinstance(found, str):
            return self.result(0.0, f"Not JSON: {found}.")
        missing = [f for f in fields if (v := at_path(found.value, f)) is ABSENT or v in (None, "", [], {})]
        evidence = [Evidence("missing", field[:200], where="item") for field in missing]
        said = f"{len(fields) - len(missing)} of {len(fields)} fields are there"
        said += f"; missing: {', '.join(missing[:5])}." if missing else "."
        return self.result(1 - len(missing) / len(fields), said, evidence)
