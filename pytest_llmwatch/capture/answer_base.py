"""What every vendor's reader gives back, and what all streams have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pytest_llmwatch.capture.values import as_dict, as_json, as_text
from pytest_llmwatch.model import CallStatus, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's body, read. ``first_content`` is the byte offset behind the first event with content.

    ``finish_reason`` is ``stop``, ``length``, ``tool_calls`` or ``content_filter`` where the vendor means one of
    these, else the vendor's own word. ``retry_after`` are the seconds that an error's body asks to wait.
    """

    status: CallStatus = "success"
    error_type: str | None = None
    error: str | None = None
    output: str | None = None
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    model: str | None = None
    id: str | None = None
    system_fingerprint: str | None = None
    first_content: int | None = None
    complete: bool = True
    retry_after: float | None = None


@dataclass(slots=True)
class Piece:
    """A tool call that a stream builds up."""

    name: str = ""
    arguments: str = ""
    id: str | None = None


class StreamReader:
    """Put a stream's events together: a vendor's reader fills the fields, `answer` judges how it ended."""

    END = "a finish reason"
    """What ends a whole stream, for the message about one that was cut."""

    def __init__(self) -> None:
        self.corrupt: str | None = None
        self.failed: str | None = None
        self.ended = False
        self.text: list[str] = []
        self.tools: dict[int, Piece] = {}
        self.finish: str | None = None
        self.usage = Usage()
        self.model: str | None = None
        self.id: str | None = None
        self.print: str | None = None
        self.first: int | None = None

    def read(self, data: dict[str, Any], end: int) -> None:
        """Take one event; ``end`` is the byte offset behind it."""

    def content(self, end: int) -> None:
        """Note that an event carried something that the model wrote, reasoning included."""
        if self.first is None:
            self.first = end

    def fail(self, error: Any) -> None:
        """Note an error that the server tells inside the stream."""
        self.failed = as_json(as_dict(error).get("message") or error)[:500]

    def tool(self, index: int) -> Piece:
        """Return the tool call with this number, made where it is new."""
        return self.tools.setdefault(index, Piece())

    def whole(self) -> Answer:
        """Return what the events told so far."""
        return Answer(
            output="".join(self.text),
            usage=self.usage,
            tool_calls=tuple(ToolCall(t.name, t.arguments, t.id) for _, t in sorted(self.tools.items())),
            finish_reason=self.finish,
            model=self.model,
            id=self.id,
            system_fingerprint=self.print,
        )

    def answer(self) -> Answer:
        """Return the answer, with what is wrong with it."""
        answer = replace(self.whole(), first_content=self.first)
        if self.corrupt is not None:
            return replace(answer, status="error", error_type="corrupt_chunk", error=self.corrupt, complete=False)
        if self.failed is not None:
            return replace(answer, status="error", error_type="stream_error", error=self.failed)
        if not self.ended and answer.status == "success":
            message = f"the stream ended without {self.END}"
            return replace(
                answer, status="incomplete", error_type="truncated_stream", error=message, complete=False
            )
        return answer


def mapped(reason: Any, words: dict[str, str]) -> str | None:
    """Return a vendor's finish reason in our words, or the vendor's own where it says something else."""
    text = as_text(reason)
    return None if text is None else words.get(text, text)
