"""Questions of judges: calls recorded and replayed with those of the test, and told apart by their role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pytest_llmwatch.call import JUDGE
from pytest_llmwatch.capture.client import ClientSettings
from pytest_llmwatch.capture.llm_call import LlmCall
from pytest_llmwatch.capture.session import CaptureSession
from pytest_llmwatch.capture.watch import Watch
from pytest_llmwatch.errors import UsageError
from pytest_llmwatch.model import Case, Output, Score


class Asked(Protocol):
    """What is asked; the scorers' questions are of this shape."""

    @property
    def messages(self) -> Sequence[Mapping[str, str]]: ...
    @property
    def schema(self) -> Mapping[str, Any]: ...
    @property
    def judge(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def model(self) -> str | None: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


class JudgeClient:
    """Ask a judge in the name of one execution of a test.

    Args:
        session: The run's capture.
        settings: Where judges are, and which model is asked where a scorer names none.
        watch: Collects the calls.
        share: Share of the cases that are judged where a scorer names none.
    """

    def __init__(
        self, session: CaptureSession, settings: ClientSettings, watch: Watch, *, share: float = 1
    ) -> None:
        self.model = settings.model
        self.share = share
        self._call = LlmCall(session, settings, watch, score=_unscored, role=JUDGE)

    def ask(self, question: Asked) -> str:
        """Return the text of the answer.

        Raises:
            UsageError: No model is named.
            LlmwatchError: There is no recording, nobody answers, or the money is spent.
            openai.OpenAIError: Any other failure, as the SDK raises it.
        """
        model = question.model or self.model
        if model is None:
            raise UsageError(
                f"{question.judge} needs a model: set [judge] model in budget.toml, or its option model",
                slug="judge-model",
            )
        form = {"type": "json_schema", "json_schema": {"name": "grade", "strict": True, "schema": question.schema}}
        reply = self._call(
            [dict(m) for m in question.messages],
            model=model,
            prompt_name=question.judge,
            prompt_version=question.version,
            response_format=form,
            **question.parameters,
        )
        return reply.text


def _unscored(_output: Output, _case: Case | None, _names: Sequence[str] | None) -> tuple[Score, ...]:
    return ()
