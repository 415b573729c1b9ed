"""Tool calls: which tools were called with which arguments, against the expected calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option

_MAX_CALLS = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tool call as compared: name and arguments, None where the arguments are no JSON object (or not given)."""

    name: str
    arguments: Mapping[str, Any] | None
    allowed: bool = False
    """Whether each argument is a list of the values that are right, ``""`` for: may be left out."""

    def __str__(self) -> str:
        if self.arguments is None:
            return f"{self.name}(...)"
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.arguments.items())})"[:300]


@dataclass(frozen=True, slots=True)
class ToolCalls(Base):
    """F1 of the tool calls made against the calls expected, in any order.

    A call made is paired with the expected call of the same name that it fits best. With ``arguments``
    ``partial`` (default) a pair counts as the share of the expected arguments that are right; ``exact`` 1 where
    all arguments are equal and none is added, else 0; ``defaults`` the same after ``defaults`` filled in what
    either side left out; ``ignore`` 1. No call expected and none made is 1. An expected call with ``allowed``
    takes any of the values it lists for each argument.
    """

    name = "tool_calls"

    arguments: str = option(("partial", "exact", "defaults", "ignore"), "partial")
    expected: Any = option("any")  # noqa: RUF009
    """Expected calls; None = the case's."""
    defaults: Any = option("any")  # noqa: RUF009
    """Values that arguments have where they are left out: tool -> argument -> value."""

    def __post_init__(self) -> None:
        if self.expected is not None and not isinstance(self.expected, list | tuple):
            raise ValueError(f"expected must be a list of calls (got {self.expected!r})")
        for item in self.expected or ():
            expected_call(item)
        given = {} if self.defaults is None else self.defaults
        if not isinstance(given, Mapping) or not all(isinstance(v, Mapping) for v in given.values()):
            raise ValueError(f"defaults must map tools to their arguments' defaults (got {given!r:.100})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether calls are expected (an empty list expects none)."""
        return self.expected is not None or case.expected_tool_calls is not None

    def score(self, output: Output, case: Case) -> Score:
        """Pair the calls, best pairs first; missing, wrong and unexpected calls are evidence.

        Raises:
            ValueError: An expected call has no name.
        """
        given = self.expected if self.expected is not None else case.expected_tool_calls
        if given is None:
            return self.not_assessable("The case does not say which tool calls are expected.")
        wanted = [expected_call(item) for item in given][:_MAX_CALLS]
        made = [Wanted(call.name, parse_arguments(call.arguments)) for call in output.tool_calls][:_MAX_CALLS]
        if not wanted and not made:
            return self.result(1.0, "No tool call expected, none made.")
        pairs = self._pairs(wanted, made)
        total = sum(credit for credit, _i, _j in pairs)
        # F1 of precision total / made and recall total / wanted
        value = 2 * total / (len(wanted) + len(made))
        evidence = _evidence(wanted, made, pairs)
        right = sum(1 for credit, _i, _j in pairs if credit == 1)
        return self.result(
            value, f"{right} of {len(wanted)} expected tool calls made as expected; {len(made)} made.", evidence
        )

    def _pairs(self, wanted: Sequence[Wanted], made: Sequence[Wanted]) -> list[tuple[float, int, int]]:
        candidates = [
            (self._credit(w, m), i, j)
            for i, w in enumerate(wanted)
            for j, m in enumerate(made)
            if w.name == m.name
        ]
        candidates.sort(key=lambda c: (-c[0], c[1], c[2]))
        out, used_wanted, used_made = [], set(), set()
        for credit, i, j in candidates:
            if i not in used_wanted and j not in used_made:
                used_wanted.add(i)
                used_made.add(j)
                out.append((credit, i, j))
        return out

    def _credit(self, wanted: Wanted, made: Wanted) -> float:
        if self.arguments == "ignore" or wanted.arguments is None:
            return 1.0
        if made.arguments is None:
            return 0.0
        if wanted.allowed:
            right = _allowed(wanted.arguments, made.arguments)
            if self.arguments != "partial":
                return float(right == len(wanted.arguments) and made.arguments.keys() <= wanted.arguments.keys())
            return right / len(wanted.arguments) if wanted.arguments else 1.0
        if self.arguments == "exact":
            return float(same(wanted.arguments, made.arguments))
        if self.arguments == "defaults":
            usual = (self.defaults or {}).get(wanted.name) or {}
            return float(same({**usual, **wanted.arguments}, {**usual, **made.arguments}))
        if not wanted.arguments:
            return 1.0
        right = sum(k in made.arguments and same(v, made.arguments[k]) for k, v in wanted.arguments.items())
        return right / len(wanted.arguments)


def _allowed(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> int:
    """Count the arguments that have one of the values allowed, or are left out where ``""`` is among them."""
    right = 0
    for key, values in wanted.items():
        options = values if isinstance(values, list | tuple) else [values]
        if key in made:
            right += any(same(option, made[key]) for option in options)
        else:
            right += any(option == "" for option in options)
    return right


def _evidence(
    wanted: Sequence[Wanted], made: Sequence[Wanted], pairs: Sequence[tuple[float, int, int]]
) -> list[Evidence]:
    paired_wanted = {i for _credit, i, _j in pairs}
    paired_made = {j for _credit, _i, j in pairs}
    out = [Evidence("missing", str(w), where="item") for i, w in enumerate(wanted) if i not in paired_wanted]
    for credit, i, j in pairs:
        if credit < 1:
            out.append(Evidence("wrong_arguments", str(made[j]), where="item", note=f"expected {wanted[i]}"))
    out += [Evidence("unexpected", str(m), where="item") for j, m in enumerate(made) if j not in paired_made]
    return out


def expected_call(item: Any) -> Wanted:
    """Read an expected call: a name, or an object with ``name`` and ``arguments`` (``args``, ``kwargs``).

    OpenAI's own nesting ``{"function": {"name", "arguments"}}`` is understood. Without arguments any will do.
    ``allowed`` in their place lists for each argument the values that are right (``""``: it may be left out).

    Raises:
        ValueError: There is no name.
    """
    if isinstance(item, str):
        return Wanted(item, None)
    if isinstance(item, Mapping):
        inner = item.get("function")
        source: Mapping[str, Any] = inner if isinstance(inner, Mapping) else item
        name = source.get("name") or source.get("tool") or (inner if isinstance(inner, str) else None)
        if isinstance(name, str):
            if isinstance(source.get("allowed"), Mapping):
                return Wanted(name, source["allowed"], allowed=True)
            found = next((source[k] for k in ("arguments", "args", "kwargs", "parameters") if k in source), None)
            return Wanted(name, parse_arguments(found) if found is not None else None)
    raise ValueError(f"an expected tool call must be a name or an object with `name` (got {item!r:.100})")


def parse_arguments(value: Any) -> Mapping[str, Any] | None:
    """Return arguments as a mapping, None where they are no JSON object. Empty text means no arguments."""
    if isinstance(value, str):
        if not value.strip():
            return {}
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, Mapping) else None


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; 2 equals 2.0, true does not equal 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
