"""Running one golden case: the request it becomes, the answer's scores, the message when it fails."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmwatch import golden
from pytest_llmwatch.errors import GoldenError
from pytest_llmwatch.model import Case, Output, Score, ToolCall

if TYPE_CHECKING:
    from pytest_llmwatch.golden import GoldenSet
    from pytest_llmwatch.plugin.session import LlmSession
    from pytest_llmwatch.plugin.testrun import TestRun


def labels_of(golden_set: GoldenSet) -> dict[str, str]:
    """Return the labels of each call that asks a set's prompt."""
    out = dict(golden_set.labels)
    if golden_set.prompt_version:
        out["prompt_version"] = golden_set.prompt_version
    if golden_set.prompt_name:
        out["prompt_name"] = golden_set.prompt_name
    return out


class GoldenCase:
    """The case of a test marked ``llm_golden``: its fields, the messages it becomes, and ``check``.

    Attributes of the case (``id``, ``input``, ``reference``, ``context``, ``tags``, ...) read through.
    """

    def __init__(self, golden_set: GoldenSet, case: Case, repeat: int, session: LlmSession) -> None:
        self.set = golden_set
        self.case = case
        self.repeat = repeat
        self._session = session
        self.test: TestRun | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.case, name)

    def __repr__(self) -> str:
        return f"<golden case {self.set.name}/{self.case.id} repeat {self.repeat}>"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat messages that the set's prompt template makes of this case."""
        return golden.messages(self.set, self.case)

    @property
    def parameters(self) -> dict[str, Any]:
        """The set's parameters for this case and repeat, as the OpenAI client takes them."""
        return golden.parameters(self.set, self.case, self.repeat)

    def score(self, answer: Any) -> tuple[Score, ...]:
        """Score ``answer`` (a Reply, text, or what ``target`` returned) by the set's scorers.

        Tool calls and retrieved documents that the answer does not bring are those of all the test's calls.
        """
        output = as_output(answer)
        if self.test is not None and not (isinstance(answer, Mapping) and "tool_calls" in answer):
            output = self.test.filled(output)
        asker = self.test.asker() if self.test is not None else None
        specs, weights = self.set.scorers or None, dict(self.set.weights) or None
        scores = self._session.score(output, self.case, specs, weights, asker)
        if self.test is not None:
            self.test.take_scores(output, scores)
        return scores

    def check(self, answer: Any) -> tuple[Score, ...]:
        """Score ``answer`` and fail the test if a required scorer is below its threshold.

        Raises:
            AssertionError: A required score is missing its threshold; the text shows case, output, scores.
        """
        scores = self.score(answer)
        broken = [s for s in scores if s.required and s.passed is False]
        if broken:
            redact = self._session.redacted
            raise AssertionError(explain(redact(self.case), redact(as_output(answer)), scores, broken))
        return scores


def as_output(answer: Any) -> Output:
    """Return what is scored of a Reply, text, a mapping with ``output``, or an object with ``text``."""
    if isinstance(answer, Output):
        return answer
    if isinstance(answer, str):
        return Output(answer)
    if isinstance(answer, Mapping):
        text = next((answer[k] for k in ("output", "text", "answer", "content") if k in answer), None)
        calls = tuple(
            ToolCall(str(t.get("name")), str(t.get("arguments", ""))) for t in answer.get("tool_calls") or ()
        )
        retrieved = tuple(str(r) for r in answer.get("retrieved") or ())
        return Output("" if text is None else str(text), tool_calls=calls, retrieved=retrieved)
    call = getattr(answer, "call", None)
    text = getattr(answer, "text", answer)
    return Output(
        "" if text is None else str(text),
        tool_calls=tuple(getattr(answer, "tool_calls", ()) or ()),
        finish_reason=getattr(answer, "finish_reason", None),
        call_id=getattr(call, "id", None),
    )


def explain(
    case: Case | None, output: Output, scores: tuple[Score, ...], broken: list[Score] | None = None
) -> str:
    """Return the text of a failure: what broke, the case, the output, each score with its evidence."""
    lines = []
    for score in broken or ():
        lines.append(f"{score.name} is {score.value:.3f}, required: at least {score.threshold:g}")
    if case is not None:
        where = f" ({case.set})" if case.set else ""
        lines.append(f"case:      {case.id}{where}")
        question = case.input_text()
        if question:
            lines.append(f"input:     {clip(question)}")
        if case.reference:
            lines.append(f"reference: {clip(case.reference)}")
    lines.append(f"output:    {clip(output.text)}")
    for score in scores:
        value = score.label or "unscored" if score.value is None else f"{score.value:.3f}"
        lines.append(f"{score.name + ':':<22} {value:<8} {score.explanation}")
        lines.extend(
            f"    {e.kind}: {clip(e.text, 120)}" + (f"  ({e.note})" if e.note else "") for e in score.evidence[:6]
        )
    return "\n".join(lines)


def clip(text: str, limit: int = 400) -> str:
    """Return ``text`` on one line, control characters shown, cut to ``limit`` characters."""
    flat = " ".join(text.split())
    flat = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in flat)
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def load_target(golden_set: GoldenSet, root: Path) -> Any:
    """Return the application function that a set's ``target: "module:function"`` names.

    Raises:
        GoldenError: It cannot be imported, or is not callable.
    """
    import sys

    name = golden_set.target or ""
    module, _, attribute = name.partition(":")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise GoldenError(
            f"target {name!r} cannot be imported ({error}); it must read package.module:function",
            slug="golden-target",
            file=golden_set.file,
        ) from error
    if not callable(found):
        raise GoldenError(f"target {name!r} is not a function", slug="golden-target", file=golden_set.file)
    return found


def call_target(target: Any, case: Case) -> Any:
    """Call the application with the case's input: an object as keyword arguments, anything else as it is."""
    if isinstance(case.input, Mapping):
        result = target(**case.input)
    else:
        result = target(list(case.input) if isinstance(case.input, tuple) else case.input)
    if inspect.isawaitable(result):
        import asyncio

        return asyncio.run(_await(result))
    return result


async def _await(value: Any) -> Any:
    return await value
