"""``llm_watch``: what the application called in a test, and what the test knows of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pytest_llmwatch.capture.reply import Reply
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Call, Case, Output, Score, Span, UserOutcome
from pytest_llmwatch.plugin.golden_run import GoldenCase, as_output
from pytest_llmwatch.tracing import Tracing

if TYPE_CHECKING:
    from pytest_llmwatch.plugin.testrun import TestRun

_OUTCOME = tuple(f.name for f in dataclasses.fields(UserOutcome))
_CASE = tuple(f.name for f in dataclasses.fields(Case))


class WatchFixture(Tracing):
    """Everything that the application called in one test, with no change in the application.

    ``span``, ``tool``, ``agent``, ``retrieval`` and ``tag`` are those of `pytest_llmwatch.tracing`, bound to it.
    """

    def __init__(self, test: TestRun) -> None:
        super().__init__(lambda: test.watch.trace)
        self._test = test

    @property
    def calls(self) -> tuple[Call, ...]:
        """Finished calls, in the order in which they were started."""
        return tuple(self._test.calls())

    @property
    def spans(self) -> tuple[Span, ...]:
        """Finished spans, in the order in which they were started."""
        return tuple(self._test.spans())

    @property
    def errors(self) -> tuple[Call, ...]:
        """Calls that did not succeed, retries included: ``status`` says how, ``error_type`` why."""
        return tuple(c for c in self.calls if c.failed)

    @property
    def cost_usd(self) -> float | None:
        """US dollars of all calls, those of the recording on replay; None where one has no known price."""
        from pytest_llmwatch.measure_calls import is_unpriced

        calls = self.calls
        if any(is_unpriced(c) for c in calls):
            return None
        return math.fsum(c.cost.usd or 0.0 for c in calls)

    def metric(self, name: str, value: Any) -> None:
        """Keep a figure of the test's own, for ``[metric.NAME]`` in the budget; each value counts.

        Raises:
            UsageError: It has no name, or is not a finite number.
        """
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"a metric needs a name (got {name!r})", slug="metric-value")
        try:
            number = math.nan if isinstance(value, str | bytes) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"metric {name}: must be a finite number (got {value!r})", slug="metric-value")
        self._test.metrics.setdefault(name, []).append(number)

    def outcome(self, **known: Any) -> None:
        """Tell what became of the answer, as far as the test knows; what is told again replaces what was.

        Args:
            **known: ``success``, ``reask``, ``corrected``, ``escalated``, ``abandoned``: true, false, or None;
                ``feedback``: a word, as ``"thumbs_up"`` or ``"thumbs_down"``.

        Raises:
            UsageError: There is no such key, or the value does not fit it.
        """
        for key, value in known.items():
            if key not in _OUTCOME:
                raise UsageError(f"outcome has no {key!r}{_near(key, _OUTCOME)}", slug="outcome-value")
            wanted: type = str if key == "feedback" else bool
            if value is not None and not isinstance(value, wanted):
                rule = "a word such as 'thumbs_down'" if wanted is str else "True or False"
                raise UsageError(f"outcome {key} must be {rule} (got {value!r})", slug="outcome-value")
        self._test.user_outcome = dataclasses.replace(self._test.user_outcome, **known)

    def score(self, output: Any, case: Any = None, scorers: Sequence[Any] | None = None) -> Scored:
        """Score an answer of the application, and keep the scores as the test's.

        Args:
            output: Text, a ``Reply``, a mapping with ``output``, or an object with ``text``.
            case: What to judge it by: a golden case, or a mapping with ``input``, ``reference``, ``context``,
                ``must_mention`` and the like. By default the test's golden case; else what the test retrieved.
            scorers: Names of scorers, or ``{name: {options}}``; all that apply by default.

        Raises:
            UsageError: The case has an unknown key, or there is no such scorer.
        """
        test = self._test
        given = self._case(case)
        read = as_output(output)
        if not read.retrieved:
            read = dataclasses.replace(read, retrieved=self._retrieved("ids"))
        scores = test.score(read, given, scorers)
        calls = self.calls
        return Scored(read, scores, test, given or test.case, calls[-1] if calls else Call(id=""))

    def _case(self, case: Any) -> Case | None:
        if isinstance(case, GoldenCase):
            return case.case
        if case is None:
            if self._test.case is not None:
                return None
            queries = [s.retrieval.query for s in self.spans if s.retrieval is not None and s.retrieval.query]
            return Case(
                self._test.item.name, input=queries[0] if queries else None, context=self._retrieved("documents")
            )
        if isinstance(case, Case):
            return case
        if not isinstance(case, Mapping):
            raise UsageError(
                f"case must be a golden case or a mapping with input, reference, context ... (got {case!r})",
                slug="watch-case",
            )
        for key in case:
            if key not in _CASE:
                raise UsageError(f"a case has no {key!r}{_near(str(key), _CASE)}", slug="watch-case")
        lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in case.items()}
        lists.setdefault("id", self._test.item.name)
        lists.setdefault("context", self._retrieved("documents"))
        return Case(**lists)

    def _retrieved(self, what: str) -> tuple[str, ...]:
        found = (s.retrieval for s in self.spans if s.retrieval is not None)
        return tuple(dict.fromkeys(text for r in found for text in getattr(r, what) if text))


class Scored(Reply):
    """An answer with its scores: ``.scores``, ``.score(name)``, ``.assert_quality(min=)``."""

    def __init__(
        self, output: Output, scores: tuple[Score, ...], test: TestRun, case: Case | None, call: Call
    ) -> None:
        super().__init__(call, text=output.text, score=test.score, case=case)
        self._output = output
        self._scores = scores

    @property
    def output(self) -> Output:
        """What was scored."""
        return self._output


def _near(key: str, known: Sequence[str]) -> str:
    found = get_close_matches(key, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; it has {', '.join(known)}"
