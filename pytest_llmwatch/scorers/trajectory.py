"""The path of an agent: which tools, in which order, how many calls, with arguments that fit the tool's schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch import schema as json_schema
from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option
from pytest_llmwatch.scorers.tools import Wanted, expected_call, parse_arguments, same

_MAX_CALLS = 500


def _list(given: Sequence[str] | str | None) -> list[str]:
    return [] if given is None else [given] if isinstance(given, str) else list(given)


@dataclass(frozen=True, slots=True)
class ToolUsed(Base):
    """Whether the tools were used that must be, and none that must not: the share of these demands that is met.

    ``forbidden`` tools, and with ``allowed`` all others (an unauthorised call), make the score 0.
    """

    name = "tool_used"

    tools: Sequence[str] | str | None = option("texts")
    """Tools that must be used; None = those that the case expects."""
    forbidden: Sequence[str] | str | None = option("texts")
    allowed: Sequence[str] | str | None = option("texts")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a tool was named."""
        return any(x is not None for x in (self.tools, self.forbidden, self.allowed))

    def score(self, output: Output, case: Case) -> Score:
        """Compare names; missing and unauthorised tools are evidence."""
        asked = _list(self.tools) if self.tools is not None else list(case.expected_tools() or ())
        if not asked and self.forbidden is None and self.allowed is None:
            return self.not_assessable("No tool was named, neither by an option nor by the case.")
        used = list(dict.fromkeys(call.name for call in output.tool_calls))[:_MAX_CALLS]
        barred = set(_list(self.forbidden))
        bad = [n for n in used if n in barred or (self.allowed is not None and n not in _list(self.allowed))]
        missing = [name for name in asked if name not in used]
        evidence = [Evidence("unauthorised", name, where="item") for name in bad]
        evidence += [Evidence("missing", name, where="item") for name in missing]
        shown = ", ".join(used[:8]) or "none"
        if bad:
            return self.result(0.0, f"Used {bad[0]!r}, which is not allowed (used: {shown}).", evidence)
        value = 1 - len(missing) / len(asked) if asked else 1.0
        said = (
            f"{len(asked) - len(missing)} of {len(asked)} tools used" if asked else "No tool that is not allowed"
        )
        return self.result(value, f"{said} (used: {shown}).", evidence)


@dataclass(frozen=True, slots=True)
class ToolSequence(Base):
    """Share of the expected calls that were made in the expected order (longest common subsequence).

    ``exact``: 1 only where the calls are these and no others, else 0. ``arguments``: ``ignore`` compares names;
    ``partial`` (each call counts as the share of expected arguments that are right, as in ragas' tool-call
    accuracy) and ``exact`` compare arguments too.
    """

    name = "tool_sequence"

    tools: Any = option("any")  # noqa: RUF009
    """Expected calls in order, names or objects; None = the case's."""
    exact: bool = option("flag", False)
    arguments: str = option(("ignore", "partial", "exact"), "ignore")

    def __post_init__(self) -> None:
        if self.tools is not None and not isinstance(self.tools, list | tuple):
            raise ValueError(f"tools must be a list of calls (got {self.tools!r:.100})")
        for item in self.tools or ():
            expected_call(item)

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether calls were given."""
        return self.tools is not None

    def score(self, output: Output, case: Case) -> Score:
        """Align the calls; expected ones that are out of place are evidence.

        Raises:
            ValueError: An expected call has no name.
        """
        given = self.tools if self.tools is not None else case.expected_tool_calls
        if given is None:
            return self.not_assessable("The case does not say which tool calls are expected.")
        asked = [expected_call(item) for item in given][:_MAX_CALLS]
        made = [Wanted(c.name, parse_arguments(c.arguments)) for c in output.tool_calls][:_MAX_CALLS]
        shown = " > ".join(c.name for c in made[:8]) or "none"
        if not asked:
            return self.result(float(not made), f"No tool call expected, made: {shown}.")
        credits = self._aligned(asked, made)
        value = sum(credits) / len(asked)
        if self.exact:
            value = float(len(made) == len(asked) and value == 1)
        evidence = [
            Evidence("out_of_place", str(call), where="item")
            for call, credit in zip(asked, credits, strict=True)
            if credit < 1
        ]
        right = sum(credit == 1 for credit in credits)
        return self.result(value, f"{right} of {len(asked)} calls in the expected order; made: {shown}.", evidence)

    def _aligned(self, asked: list[Wanted], made: list[Wanted]) -> list[float]:
        """Return the credit of each expected call in the best alignment that keeps the order."""
        n, m = len(asked), len(made)
        pairs = [[self._credit(a, b) for b in made] for a in asked]
        best = [[0.0] * (m + 1) for _ in range(n + 1)]
        for i in range(n - 1, -1, -1):
            for j in range(m - 1, -1, -1):
                best[i][j] = max(best[i + 1][j], best[i][j + 1], pairs[i][j] + best[i + 1][j + 1])
        credits, i, j = [0.0] * n, 0, 0
        while i < n and j < m:
            if pairs[i][j] and best[i][j] == pairs[i][j] + best[i + 1][j + 1]:
                credits[i] = pairs[i][j]
                i, j = i + 1, j + 1
            elif best[i][j] == best[i + 1][j]:
                i += 1
            else:
                j += 1
        return credits

    def _credit(self, asked: Wanted, made: Wanted) -> float:
        if asked.name != made.name:
            return 0.0
        if self.arguments == "ignore" or asked.arguments is None:
            return 1.0
        if made.arguments is None:
            return 0.0
        if self.arguments == "exact":
            return float(same(asked.arguments, made.arguments))
        if not asked.arguments:
            return 1.0
        right = sum(k in made.arguments and same(v, made.arguments[k]) for k, v in asked.arguments.items())
        return right / len(asked.arguments)


@dataclass(frozen=True, slots=True)
class StepCount(Base):
    """Whether the number of tool calls is within the limits: 1, else the ratio to the limit that is missed."""

    name = "step_count"

    min: int | None = option("count")
    max: int | None = option("count")
    tools: Sequence[str] | str | None = option("texts")
    """Tools whose calls count; None = all."""

    def __post_init__(self) -> None:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min must be at most max (got {self.min} > {self.max})")

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a limit."""
        return self.min is not None or self.max is not None

    def score(self, output: Output, case: Case) -> Score:
        """Count the calls."""
        if not self.applies(output, case):
            return self.not_assessable("No limit was given.")
        counted = None if self.tools is None else set(_list(self.tools))
        n = sum(counted is None or call.name in counted for call in output.tool_calls)
        evidence = [Evidence("steps", str(n), where="item")]
        if self.min is not None and n < self.min:
            return self.result(n / self.min, f"{n:,} tool calls, at least {self.min:,} wanted.", evidence)
        if self.max is not None and n > self.max:
            return self.result(self.max / n, f"{n:,} tool calls, at most {self.max:,} wanted.", evidence)
        return self.result(1.0, f"{n:,} tool calls.", evidence)


@dataclass(frozen=True, slots=True)
class ToolSchema(Base):
    """Share of the tool calls that are valid: a known tool, arguments that are JSON and fit the tool's schema.

    ``tools`` are definitions as OpenAI's APIs take them. Without them only what capture has noted of each call
    (``valid``), or whether the arguments are a JSON object, can be told.

    Raises:
        ValueError: ``tools`` is no list of definitions, or a schema is none.
    """

    name = "tool_schema"
    version = "2"

    tools: Any = option("any")  # noqa: RUF009

    def __post_init__(self) -> None:
        for name, parameters in self._schemas().items():
            try:
                json_schema.issues({}, parameters)
            except json_schema.InvalidSchema as error:
                raise ValueError(f"tools: the parameters of {name!r} are no JSON Schema ({error})") from error

    def _schemas(self) -> dict[str, Any]:
        if self.tools is None:
            return {}
        if not isinstance(self.tools, list | tuple):
            raise ValueError(f"tools must be a list of definitions (got {self.tools!r:.100})")
        out = {}
        for item in self.tools:
            inner = item.get("function", item) if isinstance(item, Mapping) else None
            if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
                raise ValueError(f"a tool must be an object with `name` and `parameters` (got {item!r:.100})")
            out[str(inner["name"])] = inner.get("parameters") or inner.get("input_schema") or {}
        return out

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there are definitions."""
        return self.tools is not None

    def score(self, output: Output, case: Case) -> Score:
        """Check each call; what is wrong is evidence."""
        calls = output.tool_calls[:_MAX_CALLS]
        if not calls:
            return self.not_assessable("No tool was called.")
        schemas = self._schemas()
        evidence = []
        for call in calls:
            why = self._problem(call, schemas)
            if why:
                evidence.append(Evidence("invalid_call", f"{call.name}: {why}"[:300], where="item"))
        good = len(calls) - len(evidence)
        said = f"{good} of {len(calls)} tool calls are valid" + (f"; {evidence[0].text}." if evidence else ".")
        return self.result(good / len(calls), said, evidence)

    def _problem(self, call: Any, schemas: Mapping[str, Any]) -> str | None:
        arguments = parse_arguments(call.arguments)
        if arguments is None:
            return "the arguments are no JSON object"
        if self.tools is None:
            return "the arguments do not fit the tool's schema" if call.valid is False else None
        if call.name not in schemas:
            return "no such tool"
        try:
            issues = json_schema.issues(arguments, schemas[call.name])
        except RecursionError:
            return "the arguments are nested too deeply"
        return f"{issues[0].json_path}: {issues[0].message[:200]}" if issues else None
