"""Derived metrics: a formula over other scores, evaluated without ``eval``."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score, ScorerSpec
from pytest_llmwatch.scorers.asking import made_of
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import option

_MAX_CHARS = 1_000

_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _mean(*values: float) -> float:
    return sum(values) / len(values)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))


_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": lambda *v: min(v),
    "max": lambda *v: max(v),
    "mean": _mean,
    "abs": abs,
    "sqrt": math.sqrt,
    "clip": _clip,
}
_OF_ONE = frozenset(["abs", "sqrt", "clip"])


class Formula:
    """A checked expression of names, numbers, + - * /, comparisons, and/or/not, ``a if c else b``, functions.

    Args:
        text: The expression.

    Raises:
        ValueError: Something else stands in it.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_CHARS:
            raise ValueError(f"a formula may have {_MAX_CHARS:,} characters (got {len(text):,})")
        try:
            self._body = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"not a formula: {getattr(error, 'msg', error)} (got {text!r:.100})") from error
        self.names: tuple[str, ...] = ()
        found: dict[str, None] = {}
        try:
            self._check(self._body, found)
        except RecursionError as error:
            raise ValueError("a formula is nested too deeply") from error
        self.names = tuple(found)

    def _check(self, node: ast.AST, found: dict[str, None]) -> None:
        if isinstance(node, ast.Name):
            if node.id in _FUNCTIONS:
                raise ValueError(f"{node.id} is a function, write {node.id}(...)")
            found.setdefault(node.id)
        elif not (isinstance(node, ast.Constant) and isinstance(node.value, int | float)):
            for part in _parts(node):
                self._check(part, found)

    def value(self, names: Mapping[str, float]) -> float:
        """Return the formula's value.

        Raises:
            ArithmeticError: A division by zero.
            ValueError: The root of a negative number.
        """
        return float(self._value(self._body, names))

    def _value(self, node: Any, names: Mapping[str, float]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, ast.Call):
            return _FUNCTIONS[node.func.id](*[self._value(a, names) for a in node.args])  # type: ignore[attr-defined]
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](self._value(node.left, names), self._value(node.right, names))
        if isinstance(node, ast.UnaryOp):
            inner = self._value(node.operand, names)
            return (
                not inner if isinstance(node.op, ast.Not) else -inner if isinstance(node.op, ast.USub) else inner
            )
        if isinstance(node, ast.BoolOp):
            values = [self._value(v, names) for v in node.values]
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node, ast.IfExp):
            return self._value(node.body if self._value(node.test, names) else node.orelse, names)
        left = self._value(node.left, names)
        for op, right in zip(node.ops, (self._value(c, names) for c in node.comparators), strict=True):
            if not _OPERATORS[type(op)](left, right):
                return False
            left = right
        return True


def _parts(node: ast.AST) -> Sequence[ast.AST]:
    """Return what an operation works on.

    Raises:
        ValueError: It is no operation that a formula may hold.
    """
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
            known = ", ".join(_FUNCTIONS)
            raise ValueError(f"a formula knows the functions {known} (got {ast.unparse(node)!r:.60})")
        if node.keywords or not node.args or any(isinstance(a, ast.Starred) for a in node.args):
            raise ValueError(f"{node.func.id} takes values only (got {ast.unparse(node)!r:.60})")
        if node.func.id in _OF_ONE and len(node.args) != 1:
            raise ValueError(f"{node.func.id} takes one value (got {ast.unparse(node)!r:.60})")
        return node.args
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return node.left, node.right
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not):
        return (node.operand,)
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.Compare) and all(type(op) in _OPERATORS for op in node.ops):
        return (node.left, *node.comparators)
    if isinstance(node, ast.IfExp):
        return node.test, node.body, node.orelse
    raise ValueError(f"a formula cannot hold {ast.unparse(node)!r:.60}")


@dataclass(frozen=True, slots=True)
class Derived(Base):
    """A formula over other scores, by their names or labels: ``0.5 * relevance + 0.5 * min(json, word_f1)``.

    Numbers, + - * /, comparisons, and/or/not, ``a if c else b``, and min max mean abs sqrt clip. A score that the
    set does not list is made with its default options. Where one of them has no value, so has the formula. The
    value must be in [0, 1]: ``clip(...)`` cuts it.

    Raises:
        ValueError: Not a formula.
    """

    name = "derived"

    formula: str | None = option("text")

    def __post_init__(self) -> None:
        if self.formula is not None:
            Formula(self.formula)

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether there is a formula."""
        return self.formula is not None

    def score(self, output: Output, case: Case) -> Score:
        """Score what the formula names by default options, then evaluate it."""
        return self.combine((), output, case)

    def combine(self, parts: Sequence[tuple[ScorerSpec, Score]], output: Output, case: Case) -> Score:
        """Evaluate over ``parts`` (what was asked for, and its score).

        Raises:
            ValueError: A name that is no score, or a value outside of [0, 1].
        """
        from pytest_llmwatch.scorers import registry
        from pytest_llmwatch.scorers.run import score_one

        if self.formula is None:
            return self.not_assessable("No formula was given.")
        formula = Formula(self.formula)
        known = {spec.name: score for spec, score in parts} | {spec.label or spec.name: s for spec, s in parts}
        for name in formula.names:
            if name not in known:
                if name not in registry.names() or name in ("composite", "derived"):
                    raise ValueError(f"the formula names {name!r}, which is no score here")
                known[name] = score_one(output, case, ScorerSpec(name))
        values = {name: known[name].value for name in formula.names}
        evidence = [
            Evidence("part", f"{name} {'-' if value is None else format(value, '.3g')}", where="item")
            for name, value in values.items()
        ]
        lacking = [name for name, value in values.items() if value is None]
        if lacking:
            return self.not_assessable(f"{lacking[0]} has no value: {known[lacking[0]].explanation}")
        found = formula.value({name: value for name, value in values.items() if value is not None})
        if not -1e-9 <= found <= 1 + 1e-9:
            raise ValueError(f"the formula gives {found:g}, not a value in [0, 1]; use clip(...)")
        made = self.result(found, f"{self.formula} = {found:.3g}.", evidence)
        return replace(made, version=made_of(made.version, (known[name].version for name in formula.names)))
