"""Judges by the names that the field gives them. What they ask stands in `judge_templates`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pytest_llmwatch.model import Case, Evidence, Output, Score
from pytest_llmwatch.scorers import judge_prompt as prompt
from pytest_llmwatch.scorers.judge import Graded, Judging
from pytest_llmwatch.scorers.options import option


@dataclass(frozen=True, slots=True)
class GroundednessJudge(Graded):
    """Whether a model finds everything that the answer states in the context."""

    name = "groundedness_judge"


@dataclass(frozen=True, slots=True)
class Factuality(Graded):
    """The facts of the answer against the reference's: disagree 0, subset .4, superset .6, the same 1."""

    name = "factuality"


@dataclass(frozen=True, slots=True)
class ClosedQa(Graded):
    """Whether the answer meets a criterion in words: yes or no."""

    name = "closedqa"

    criterion: str | None = option("text")

    def made_of(self) -> list[Any]:
        """Return what else makes this judge, as JSON."""
        return [*Graded.made_of(self), self.criterion]

    def given(self, output: Output, case: Case) -> dict[str, str]:
        """Return the parts by name, with the criterion."""
        parts = Graded.given(self, output, case)
        return {**parts, "criterion": self.criterion} if self.criterion else parts


@dataclass(frozen=True, slots=True)
class AnswerRelevance(Graded):
    """How well the answer addresses the input, by a model; `relevance` needs none."""

    name = "answer_relevance"


@dataclass(frozen=True, slots=True)
class ContextRelevance(Graded):
    """How much of the context is useful for the input."""

    name = "context_relevance"


@dataclass(frozen=True, slots=True)
class ContextRecallJudge(Graded):
    """How much of the reference stands in the context, by a model; `context_recall` goes by document ids."""

    name = "context_recall_judge"


@dataclass(frozen=True, slots=True)
class ConversationRelevance(Graded):
    """Whether the answer fits the conversation so far (``input`` as a list of messages)."""

    name = "conversation_relevance"


@dataclass(frozen=True, slots=True)
class GoalSuccess(Graded):
    """Whether the user got what they wanted from the conversation: yes or no."""

    name = "goal_success"


@dataclass(frozen=True, slots=True)
class Possible(Graded):
    """Whether the answer tries to do what was asked, instead of calling it impossible."""

    name = "possible"


@dataclass(frozen=True, slots=True)
class SecurityJudge(Graded):
    """Whether the answer is free of malicious code and of instructions to attack."""

    name = "security_judge"


@dataclass(frozen=True, slots=True)
class ModerationJudge(Graded):
    """Whether the answer is free of hate, harassment and threats."""

    name = "moderation_judge"


@dataclass(frozen=True, slots=True)
class SqlJudge(Graded):
    """Whether the answer's SQL means the same as the reference's; `sql` parses it without a model."""

    name = "sql_judge"


@dataclass(frozen=True, slots=True)
class SummaryJudge(Graded):
    """How good a summary of the context the answer is."""

    name = "summary_judge"


@dataclass(frozen=True, slots=True)
class TranslationJudge(Graded):
    """Whether the answer says the same as the reference translation."""

    name = "translation_judge"


POSITION_BIAS = "position_bias"
"""Label of a comparison that came out otherwise when the two answers changed places."""


@dataclass(frozen=True, slots=True)
class JudgePairwise(Judging):
    """Which is better, the answer or another one: 1 the answer, 0 the other, 0.5 neither.

    Both orders are asked. Where they disagree, the judge went by the place and not by the answer: 0.5, with the
    label ``position_bias``.
    """

    name = "judge_pairwise"

    against: str = option(("reference", "baseline"), "reference")
    """The other answer: the case's reference, or ``metadata.baseline``, an answer that you keep there."""
    criterion: str | None = option("text")
    """What better means, in place of correct, complete and useful."""

    def made_of(self) -> list[Any]:
        """Return what else makes this judge, as JSON."""
        return [*Judging.made_of(self), self.against]

    def template(self) -> prompt.Template:
        """Return what is asked."""
        base = Judging.template(self)
        if not self.criterion:
            return base
        task = (
            f"Which of the two answers is better by this criterion: {self.criterion.strip()} Ignore their order."
        )
        return replace(base, task=task)

    def score(self, output: Output, case: Case) -> Score:
        """Ask twice, with the answers in both orders."""
        other = case.reference if self.against == "reference" else case.metadata.get("baseline")
        if not isinstance(other, str) or not other.strip():
            return self.not_assessable(f"The case has no {self.against} to compare with.")
        refused = self.refused(output, case)
        if refused is None and len(other) > self.max_chars:
            refused = self.not_assessable(
                f"Not judged: {self.against} is longer than {self.max_chars:,} characters."
            )
        if refused is not None:
            return refused
        template, parts = self.template(), self.given(output, case)
        try:
            first = self.ask(template, {**parts, "answer A": output.text, "answer B": other})
            second = self.ask(template, {**parts, "answer A": other, "answer B": output.text})
        except prompt.InvalidAnswer as error:
            return self.invalid(error)
        seen = [template.grades[first.grade], 1 - template.grades[second.grade]]
        evidence = [
            Evidence("order", f"answer first: {first.grade}", where="item", note=first.reason[:200]),
            Evidence("order", f"answer second: {second.grade}", where="item", note=second.reason[:200]),
        ]
        quotes = prompt.checked([*first.quotes, *second.quotes], output.text, [*case.context, other])
        if seen[0] != seen[1]:
            said = "The verdict changed with the order of the answers: taken as a tie."
            return self.result(0.5, said, [*evidence, *quotes], label=POSITION_BIAS)
        word = {1.0: "win", 0.5: "tie", 0.0: "loss"}[seen[0]]
        grade = Evidence("grade", word, where="item")
        said = f"{word.capitalize()} against the {self.against} in both orders: {first.reason}"
        return self.result(seen[0], said, [grade, *evidence, *quotes])
