"""LLM as a judge: a rubric, one of a few grades, a reason, and quotes that are checked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers import asking
from pytest_llmwatch.scorers import judge_prompt as prompt
from pytest_llmwatch.scorers.base import Base
from pytest_llmwatch.scorers.judge_templates import TEMPLATES, scale
from pytest_llmwatch.scorers.options import option

MAX_SAMPLES, MAX_SCALE = 20, 10
_PARTS = ("input", "conversation", "context", "reference", "answer")
_NOBODY = (
    "Nobody can be asked here: a judge needs a model, in a pytest run or with `llmwatch judge calibrate` "
    "([judge] model in the budget)."
)


@dataclass(frozen=True, slots=True)
class Judging(Base):
    """What all judges share."""

    model: str | None = option("text")
    """Model that judges; by default that of ``[judge]`` in the budget."""
    share: float | None = option("share")
    """Share of the cases that are judged, the same ones in every run; by default that of ``[judge]``."""
    explain: bool = option("flag", True)
    """Whether the judge gives a reason and quotes before its grade; without it is cheaper and less able."""
    temperature: float = option("number", 0.0)
    max_tokens: int = option("count", 400)
    parameters: Mapping[str, Any] | None = option("any")
    """What is sent in place of ``temperature`` and ``max_tokens``, for models that take neither."""
    max_chars: int = option("count", 20_000)
    """Characters of each part that the judge is shown; a longer part is not judged."""

    def __post_init__(self) -> None:
        if self.parameters is not None and not isinstance(self.parameters, Mapping):
            raise ValueError(f"parameters must be a mapping (got {self.parameters!r:.60})")

    @property
    def version(self) -> str:  # type: ignore[override]
        """``judge-`` and a hash of all that makes the judge: model, task, grades, parameters."""
        who = asking.asker()
        model = self.model or (who.model if who is not None else None)
        made = json.dumps([1, model, *self.made_of(), self.explain, self.request(0), self.max_chars])
        return f"judge-{hashlib.sha256(made.encode()).hexdigest()[:12]}"

    def made_of(self) -> list[Any]:
        """Return what else makes this judge, as JSON."""
        template = self.template()
        meanings = sorted(template.meanings.items())
        return [self.name, template.task, list(template.grades.items()), meanings, template.shows]

    def template(self) -> prompt.Template:
        """Return what is asked."""
        return TEMPLATES[self.name]

    def request(self, seed: int) -> dict[str, Any]:
        """Return the parameters of a request; a seed tells apart what is asked more than once."""
        if self.parameters is not None:
            given = dict(self.parameters)
        else:
            given = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {**given, "seed": seed} if seed else given

    def applies(self, output: Output, case: Case) -> bool:
        """Return False: a judge costs money, so it is asked only where somebody names it."""
        return False

    def given(self, output: Output, case: Case) -> dict[str, str]:
        """Return the parts by name, empty ones left out."""
        parts = {
            "input": case.input_text() or "",
            "conversation": _conversation(case.input),
            "context": "\n\n".join(case.context),
            "reference": case.reference or "",
            "answer": output.text,
        }
        return {name: text for name, text in parts.items() if text.strip() or name == "answer"}

    def refused(self, output: Output, case: Case) -> Score | None:
        """Return the score without a value of an answer that is not judged, None where it is."""
        who = asking.asker()
        template, parts = self.template(), self.given(output, case)
        for name in template.needs:
            if name not in parts:
                return self.not_assessable(f"The case has no {name}.")
        long = [name for name in template.shows if len(parts.get(name, "")) > self.max_chars]
        if long:
            return self.not_assessable(f"Not judged: {long[0]} is longer than {self.max_chars:,} characters.")
        if who is None:
            return replace(self.not_assessable(_NOBODY), label="unscored")
        if not sampled(case, who.share if self.share is None else self.share):
            return replace(self.not_assessable("Not in the share of cases that are judged."), label="not_sampled")
        return None

    def ask(self, template: prompt.Template, parts: Mapping[str, str], seed: int = 0) -> prompt.Opinion:
        """Ask once.

        Raises:
            InvalidAnswer: The answer is not what was asked for.
        """
        who = asking.asker()
        assert who is not None
        shown = {name: parts[name] for name in template.shows if name in parts}
        grades = tuple(template.grades)
        question = asking.Question(
            prompt.messages(template, shown, explain=self.explain),
            prompt.answer_schema(grades, explain=self.explain),
            self.name,
            self.version,
            self.model,
            self.request(seed),
        )
        return prompt.opinion(who.ask(question), grades, explain=self.explain)

    def invalid(self, error: prompt.InvalidAnswer) -> Score:
        """Return the score of an answer of the judge that cannot be used: an error, never a number."""
        return replace(self.not_assessable(f"The judge's answer is invalid: {error}."), label="error")


@dataclass(frozen=True, slots=True)
class Graded(Judging):
    """A judge that gives one grade; with ``samples`` the mean of several."""

    samples: int = option("count", 1)
    """How often it is asked; more than once needs a ``temperature`` above 0."""

    def __post_init__(self) -> None:
        Judging.__post_init__(self)
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"samples must be from 1 to {MAX_SAMPLES} (got {self.samples})")

    def made_of(self) -> list[Any]:
        """Return what else makes this judge, as JSON."""
        return [*Judging.made_of(self), self.samples]

    def score(self, output: Output, case: Case) -> Score:
        """Ask for a grade; the quotes that the judge gives are looked up in the texts."""
        refused = self.refused(output, case)
        if refused is not None:
            return refused
        template, parts = self.template(), self.given(output, case)
        try:
            found = [self.ask(template, parts, seed) for seed in range(self.samples)]
        except prompt.InvalidAnswer as error:
            return self.invalid(error)
        values = [template.grades[o.grade] for o in found]
        counts = Counter(o.grade for o in found)
        grade = max(counts, key=lambda g: counts[g])
        evidence = [Evidence("grade", g, where="item", note=f"{n} of {len(found)}") for g, n in counts.items()]
        quotes = prompt.checked(
            [q for o in found for q in o.quotes], output.text, [*case.context, parts.get("input", "")]
        )
        lost = sum(e.kind == "quote_not_found" for e in quotes)
        reason = next(o.reason for o in found if o.grade == grade)
        said = f"Grade {grade}: {reason}" if reason else f"Grade {grade}."
        if lost:
            said += f" ({lost} of {len(quotes)} quotes stand in no text.)"
        return self.result(sum(values) / len(values), said, [*evidence, *quotes])


@dataclass(frozen=True, slots=True)
class Judge(Graded):
    """A rubric of your own, graded by a model: 1 to ``scale``, evenly from 0 to 1, or ``grades`` of your own.

    ``steps`` are what the judge is to do one after the other (as in G-Eval). The judged texts stand in the prompt
    as data between marked lines; a model can still be misled by them.

    Raises:
        ValueError: A scale that cannot be, or grades outside of [0, 1].
    """

    name = "judge"

    rubric: str | None = option("text")
    steps: Sequence[str] | str = option("texts", ())
    scale: int = option("count", 5)
    grades: Mapping[str, float] | None = option("weights")
    """Grade -> its value, worst first, in place of the scale."""
    show: Sequence[str] | str = option("texts", ("input", "context", "reference", "answer"))
    """What the judge sees: input, conversation, context, reference, answer."""

    def __post_init__(self) -> None:
        Graded.__post_init__(self)
        if not 2 <= self.scale <= MAX_SCALE:
            raise ValueError(f"scale must be from 2 to {MAX_SCALE} (got {self.scale})")
        if self.grades is not None and (len(self.grades) < 2 or max(self.grades.values()) > 1):
            raise ValueError(f"grades must be two or more, each worth 0 to 1 (got {dict(self.grades)!r})")
        unknown = [name for name in _texts(self.show) if name not in _PARTS]
        if unknown:
            raise ValueError(f"show may name {', '.join(_PARTS)} (got {unknown[0]!r})")

    def template(self) -> prompt.Template:
        """Return the rubric and its grades as a template."""
        steps = _texts(self.steps)
        task = (self.rubric or "").strip()
        if steps:
            task += "\nGo through these steps, then grade:\n" + "\n".join(
                f"{i}. {s}" for i, s in enumerate(steps, 1)
            )
        given = sorted(self.grades.items(), key=lambda g: (g[1], g[0])) if self.grades is not None else None
        grades = dict(given) if given is not None else scale(self.scale)
        meanings = {} if self.grades is not None else {"1": "worst", str(self.scale): "best"}
        return prompt.Template(task, grades, meanings, _texts(self.show))

    def score(self, output: Output, case: Case) -> Score:
        """Ask for a grade by the rubric."""
        if not (self.rubric or "").strip():
            return self.not_assessable("No rubric was given.")
        return Graded.score(self, output, case)


def sampled(case: Case, share: float) -> bool:
    """Whether a case is in the share that is judged: decided by a hash of set and id, so alike in every run."""
    if share >= 1:
        return True
    digest = hashlib.sha256(f"llmwatch-judge\0{case.set or ''}\0{case.id}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def grade_of(score: Score) -> str | None:
    """Return the grade that a judge gave, the most frequent one of several; None of another score."""
    given = [e.text for e in score.evidence if e.kind == "grade"]
    return given[0] if given and asking.VERSION.fullmatch(score.version) else None


def _texts(given: Sequence[str] | str) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _conversation(given: Any) -> str:
    if not isinstance(given, list | tuple):
        return given if isinstance(given, str) else ""
    lines = [f"{m.get('role', '?')}: {m.get('content', '')}" for m in given if isinstance(m, Mapping)]
    return "\n".join(lines)
