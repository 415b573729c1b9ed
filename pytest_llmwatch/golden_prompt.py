"""Prompt templates: ``{{ name }}`` and nothing else, so that a prompt file is only text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_llmwatch.model import Case

_VARIABLE = re.compile(r"\{\{([^{}]*)\}\}")
_NAME = re.compile(r"[A-Za-z_][\w-]*")
BUILT_IN = ("input", "context", "schema")


def names(template: str) -> list[str]:
    """Return the variables of ``template`` in order of appearance, each once, whatever stands between braces."""
    return list(dict.fromkeys(match.strip() for match in _VARIABLE.findall(template)))


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a variable."""
    return _NAME.fullmatch(text) is not None


def values(case: Case) -> dict[str, Any]:
    """Return what a template may use for ``case``: metadata, then keys of an object input, then the built-ins."""
    out: dict[str, Any] = dict(case.metadata)
    if isinstance(case.input, Mapping):
        out.update(case.input)
        if "input" not in case.input:
            out["input"] = case.input_text() or ""
    else:
        out["input"] = case.input
    out["context"] = number_documents(case.context)
    if case.schema is not None:
        out["schema"] = case.schema
    return out


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Fill in ``template``; text as it is, other values as JSON. Filled-in text is never a template again.

    Raises:
        KeyError: A variable has no value.
    """
    return _VARIABLE.sub(lambda m: _text(variables[m.group(1).strip()]), template)


def number_documents(documents: Sequence[str]) -> str:
    """Join documents, numbered ``[1] ...`` where there is more than one."""
    if len(documents) == 1:
        return documents[0].strip()
    return "\n\n".join(f"[{i}] {text.strip()}" for i, text in enumerate(documents, start=1))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
