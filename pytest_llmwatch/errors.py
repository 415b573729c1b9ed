"""The exception tree.

LlmwatchError
├── UsageError               the user's input is wrong (exit 4)
│   ├── BudgetError          budget.toml
│   ├── GoldenError          set.yaml, cases.jsonl
│   └── RecordsError         RECORDS files, stored runs
├── CassetteError            a recording is missing, stale or unreadable
│   └── MissingRecording     replay found no recording for a request
├── InfrastructureError      endpoint down, key refused, model unknown (exit 7)
├── SpendLimitReached        --llm-max-cost was reached, the call was not made
└── SecretFound              a secret would have reached disk

Every error has a slug; ``docs/reference/messages.md`` has an anchor for each.
"""

from __future__ import annotations


class LlmwatchError(Exception):
    """Base of all errors that a user can meet.

    Args:
        message: One line: what is wrong, what was given, how to mend it.
        slug: Stable identifier, documented in ``docs/reference/messages.md``.
        file: The file at fault, as the user would name it.
        line: 1-based line in ``file``.
    """

    def __init__(self, message: str, *, slug: str, file: str | None = None, line: int | None = None) -> None:
        self.message = message
        self.slug = slug
        self.file = file
        self.line = line
        super().__init__(self.one_line())

    def one_line(self) -> str:
        """Return ``file:line: message [llmwatch:slug]`` on a single line."""
        where = ""
        if self.file is not None:
            where = f"{self.file}:{self.line}: " if self.line is not None else f"{self.file}: "
        text = " ".join(self.message.split())
        return f"{where}{text} [llmwatch:{self.slug}]"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.slug, self.file, self.line))


def _rebuild(
    cls: type[LlmwatchError], message: str, slug: str, file: str | None, line: int | None
) -> LlmwatchError:
    return cls(message, slug=slug, file=file, line=line)


class UsageError(LlmwatchError):
    """The user's input is wrong; nothing was run (exit 4)."""


class BudgetError(UsageError):
    """budget.toml cannot be used."""


class GoldenError(UsageError):
    """A golden set cannot be used."""


class RecordsError(UsageError):
    """A RECORDS file or a stored run cannot be read."""


class BaselineError(UsageError):
    """A baseline cannot be used."""


class CassetteError(LlmwatchError):
    """A recording is stale, corrupt or unreadable."""


class MissingRecording(CassetteError):
    """Replay found no recording for a request."""


class InfrastructureError(LlmwatchError):
    """The endpoint is down, the key is refused, or the model is unknown (exit 7)."""


class SpendLimitReached(LlmwatchError):
    """The spending limit of this run is reached; the call was not made."""


class SecretFound(LlmwatchError):
    """A secret would have reached disk; the file was not written."""
