"""What the adapters share: finding a metric, making it, waiting for it, reading what it returned."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import importlib
import importlib.metadata
import inspect
import json
import math
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import JSON, Case, Output, Score, ToolCall
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.options import nearest

T = TypeVar("T")

ROUNDING = 1e-9
"""How far beside [0, 1] a value may lie for want of precision: a BLEU of identical texts is 1.0000000000000004."""


@dataclass(frozen=True, slots=True)
class Adapter(Base):
    """A metric of another tool; each tool has a subclass that says how its metrics are fed and read.

    Raises:
        UsageError: The tool is not installed or cannot be imported, has no such metric, or refuses the options.
    """

    PACKAGE: ClassVar[str]
    """Name of the distribution, as pip takes it."""
    HOME: ClassVar[str]
    """Module that a metric without a module is looked for in."""

    metric: Any = field(default=None, metadata={"kind": "any"})
    options: Mapping[str, Any] = field(default_factory=dict, metadata={"kind": "any"})
    made: Any = field(default=None, init=False, repr=False, compare=False)
    version: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping):
            raise ValueError(f"options must be a mapping (got {self.options!r})")
        if self.metric is None:
            return
        self.quiet()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # their own deprecations would end a run that takes warnings for errors
            made = self._make()
            self.imported()
        object.__setattr__(self, "made", made)
        version = importlib.metadata.version(self.PACKAGE)
        object.__setattr__(self, "version", f"{self.PACKAGE} {version} {type(made).__name__}")

    def quiet(self) -> None:
        """Turn off what the tool sends or writes on its own; called before it is imported."""

    def imported(self) -> None:
        """Turn off what can only be turned off once the tool is imported."""

    def applies(self, output: Output, case: Case) -> bool:
        """Return whether a metric was given."""
        return self.made is not None

    def score(self, output: Output, case: Case) -> Score:
        """Run the metric on the case as its tool would see it."""
        if self.made is None:
            return self.not_assessable("No metric was given.")
        return self.run(output, case)

    def run(self, output: Output, case: Case) -> Score:
        """Run the metric that was made; each tool says how."""
        raise self.refused("has no way to run a metric")

    def valued(self, value: Any, reason: Any = None) -> Score:
        """Return the score for what the metric returned: NaN and None are no values.

        Raises:
            TypeError: It is no number.
            ValueError: It is outside [0, 1].
        """
        told = " ".join(str(reason).split()) if reason else ""
        if value is None:
            why = told or "The metric returned no value."
            return Score(self.name, None, label="unscored", explanation=why, version=self.version)
        if not isinstance(value, int | float) and not hasattr(value, "__float__"):
            raise TypeError(f"the metric returned a {type(value).__name__}, not a number")
        number = float(value)
        if math.isnan(number):
            return self.not_assessable(told or "The metric returned NaN.")
        if not -ROUNDING <= number <= 1 + ROUNDING:
            raise ValueError(f"the metric returned {number:g}; a score must be in [0, 1], 1 is best")
        return self.result(number, told or f"{type(self.made).__name__} = {number:.3g}")

    def refused(self, message: str) -> UsageError:
        """Return the error of a metric that cannot be had."""
        return UsageError(f"scorer {self.name}: {message}", slug="scorer-adapter")

    def _make(self) -> Any:
        if not isinstance(self.metric, str):
            self._import(self.HOME)
            return self._construct(self.metric) if inspect.isclass(self.metric) else self.metric
        module, _, name = self.metric.rpartition(":")
        home = self._import(module or self.HOME)
        found = getattr(home, name, None)
        if not inspect.isclass(found):
            known = [n for n in dir(home) if n[:1].isupper()]
            raise self.refused(f"{module or self.HOME} has no metric {name!r}{nearest(name, known)}")
        return self._construct(found)

    def _import(self, module: str) -> Any:
        root = self.HOME.partition(".")[0]
        try:
            importlib.import_module(root)
        except ModuleNotFoundError as error:
            if error.name == root:
                raise UsageError(
                    f"scorer {self.name} needs {self.PACKAGE}, which is not installed; "
                    f"run: pip install {self.PACKAGE}",
                    slug="scorer-adapter",
                ) from error
            raise self._broken(root, error) from error
        except Exception as error:  # a tool may fail in any way while it is imported
            raise self._broken(root, error) from error
        try:
            return importlib.import_module(module)
        except Exception as error:
            raise self._broken(module, error) from error

    def _broken(self, module: str, error: Exception) -> UsageError:
        return self.refused(f"cannot import {module} ({type(error).__name__}: {_line(error)})")

    def _construct(self, cls: type[Any]) -> Any:
        try:
            return cls(**_words_as_members(cls, self.options))
        except Exception as error:
            raise self.refused(
                f"{cls.__name__} cannot be made with options {dict(self.options)!r} "
                f"({type(error).__name__}: {_line(error)})"
            ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _words_as_members(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with words of a set.yaml turned into members of the enum that a default belongs to."""
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return dict(options)
    out = dict(options)
    for key, given in options.items():
        default = parameters[key].default if key in parameters else None
        if isinstance(default, enum.Enum) and isinstance(given, str):
            out[key] = type(default)(given)
    return out


def wait_for(start: Callable[[], Awaitable[T]]) -> T:
    """Return what ``await start()`` gives: in a loop of its own, in another thread where a loop runs here."""

    async def whole() -> T:
        return await start()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(whole())
    results: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            results.append(context.run(asyncio.run, whole()))
        except BaseException as error:  # it is raised again where it belongs
            errors.append(error)

    thread = threading.Thread(target=work, name="llmwatch-adapter")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def read(text: str | None, how: str) -> Any:
    """Return an answer or a reference as the metric wants it: text, or what its JSON says where it is JSON."""
    if text is None or how != "json":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def arguments(call: ToolCall) -> dict[str, Any]:
    """Return the arguments of a tool call; those that are no JSON object under ``raw``."""
    if not call.arguments:
        return {}
    try:
        found = json.loads(call.arguments)
    except (ValueError, RecursionError):
        found = call.arguments
    return found if isinstance(found, dict) else {"raw": found}


def expected_calls(case: Case) -> Sequence[tuple[str, dict[str, Any]]]:
    """Return name and arguments of the tool calls that the case expects, empty where it expects none."""
    return list(_expected(case.expected_tool_calls or ()))


def _expected(items: Sequence[JSON]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in items:
        inner = item.get("function", item) if isinstance(item, Mapping) else item
        if isinstance(inner, str):
            yield inner, {}
        elif isinstance(inner, Mapping):
            name = inner.get("name") or inner.get("tool")
            given = inner.get("arguments") or {}
            if isinstance(given, str):
                given = arguments(ToolCall("", given))
            if isinstance(name, str):
                yield name, dict(given) if isinstance(given, Mapping) else {"raw": given}
