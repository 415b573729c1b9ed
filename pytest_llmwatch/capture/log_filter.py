"""While calls are captured, what their SDKs and HTTP clients log is redacted before any handler sees it.

At DEBUG these loggers write whole requests, headers included, and pytest keeps them: in ``--log-file``, in the
report of a failing test, in JUnit XML. A filter on a logger would not see what its children log, so records are
redacted where they are made. Only records that somebody listens to are made at all: silent loggers cost nothing.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable
from typing import Any

from pytest_llmwatch.redact import Redactor

LOGGERS = frozenset(
    {
        "openai", "anthropic", "google", "google_genai", "mistralai", "cohere", "groq", "litellm", "langchain",
        "langchain_core", "langchain_openai", "pydantic_ai", "llama_index", "huggingface_hub", "instructor",
        "httpx", "httpx2", "httpcore", "httpcore2", "h11", "h2", "hpack", "aiohttp", "urllib3", "requests",
        "botocore", "boto3", "vcr", "pytest_llmwatch",
    }
)  # fmt: skip
"""First parts (lower case) of the names of loggers that write requests and responses."""

_Factory = Callable[..., logging.LogRecord]


class LogFilter:
    """Redact the log records of `LOGGERS`; the application's own are the application's.

    Args:
        redactor: Redacts arguments, the finished message, and the text of a traceback.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._before: _Factory | None = None
        self._off = False

    def install(self) -> None:
        """Redact from now on. Once only: another filter may stand over this one by the time it is removed."""
        self._before = logging.getLogRecordFactory()
        logging.setLogRecordFactory(self._make)

    def remove(self) -> None:
        """Redact no more; a factory that somebody set over ours stays, and finds ours passing records on."""
        if self._before is None:
            return
        if logging.getLogRecordFactory() == self._make:
            logging.setLogRecordFactory(self._before)
        self._off = True

    def _make(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        assert self._before is not None
        record = self._before(*args, **kwargs)
        if not self._off and str(record.name).partition(".")[0].lower() in LOGGERS:
            self.clean(record)
        return record

    def clean(self, record: logging.LogRecord) -> None:
        """Redact ``record`` in place. One that cannot be formatted is left to `logging`, which says so."""
        if record.exc_info and record.exc_info[1] is not None:
            # formatters use this text where it is there, and make it where it is not
            record.exc_text = self._redactor.text("".join(traceback.format_exception(record.exc_info[1])).rstrip())
        try:
            message = record.getMessage()
        except Exception:  # whatever the arguments' own methods raise
            if isinstance(record.args, tuple):  # logging will show them
                record.args = tuple(self._redactor.value(a) if isinstance(a, str) else a for a in record.args)
            return
        shown = message
        args = self._args(record.args)
        if args is not record.args:
            record.args = args
            with contextlib.suppress(Exception):
                shown = record.getMessage()
        # a secret may stand across the message and an argument: what is shown is the finished text
        shown = self._redactor.text(shown)
        if shown != message:
            record.msg, record.args = shown, None

    def _args(self, args: Any) -> Any:
        """Return the arguments, texts in containers redacted by their keys; ``args`` itself if none is."""
        if isinstance(args, dict):
            cleaned: Any = self._redactor.value(args)
            return args if cleaned == args else cleaned
        if isinstance(args, tuple):
            items = tuple(self._redactor.value(a) if isinstance(a, dict | list) else a for a in args)
            return args if items == args else items
        return args
