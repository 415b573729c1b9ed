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
        package, extra = module.partition(".")[0], EXTRAS[module]
        raise UsageError(
            f"scorer {scorer} needs {package}, which is not installed ({error}); "
            f"run: pip install 'pytest-llmwatch[{extra}]'",
            slug="scorer-extra",
        ) from error
