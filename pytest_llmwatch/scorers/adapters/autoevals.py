"""Scorers of autoevals."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_llmwatch.model import Case, Output, Score
from pytest_llmwatch.scorers.adapters.common import Adapter, read
from pytest_llmwatch.scorers.options import option


@dataclass(frozen=True, slots=True)
class AutoEvals(Adapter):
    """A scorer of autoevals, as it is: `metric` names its class (`Levenshtein`, or `my_scorers:Own`).

    `options` are passed to the class. It sees the answer, the reference as expected, and input and context where
    it takes them. `read: json` parses answer and reference where they are JSON: numbers, lists and objects.
    """

    name = "autoevals"
    PACKAGE: ClassVar[str] = "autoevals"
    HOME: ClassVar[str] = "autoevals"

    read: str = option(("text", "json"), "text")

    def run(self, output: Output, case: Case) -> Score:
        """Call the scorer; a score of None was skipped."""
        known: dict[str, Any] = {"input": case.input_text(), "context": list(case.context) or None}
        taken, any_named = _takes(self.made)
        given = {k: v for k, v in known.items() if v is not None and (any_named or k in taken)}
        expected = read(case.reference, self.read)
        if "expected" not in taken:
            # ValidJSON takes what comes second for a schema, and forgets the one that it was made with
            own = getattr(self.made, "schema", None) if case.schema is None else case.schema
            expected = own if "schema" in taken else None
        found = self.made.eval(read(output.text, self.read), expected, **given)
        if getattr(found, "error", None) is not None:
            raise RuntimeError(str(found.error))
        said = getattr(found, "metadata", None) or {}
        return self.valued(getattr(found, "score", found), said.get("rationale"))


def _takes(scorer: Any) -> tuple[frozenset[str], bool]:
    run = getattr(scorer, "_run_eval_sync", scorer.eval)
    parameters = inspect.signature(run).parameters.values()
    return frozenset(p.name for p in parameters), any(p.kind is p.VAR_KEYWORD for p in parameters)
