"""Which kind of answer is this: what it says as a category, and in which format, each apart from the other.

A classifier's answers flip from yes to no, an assistant begins to refuse, code comes in a fence that was bare
before: scores may stay what they were, the distribution of categories does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from pytest_llmwatch.model import CaseResult, Output

ANSWERS, FORMATS = "answer_distribution", "format_distribution"
OTHER = "other"
_SHORT_WORDS, _SHORT_CHARS = 4, 32
_FENCE = re.compile(r"\A\s*```[\w+-]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_BRACKETED = re.compile(r"\[\s*([A-Za-z][\w -]{0,24}?)\s*\]")
_LEADING = re.compile(r"\A\W*(yes|no|true|false|unknown|unsure|maybe)\b(?=\W|\Z)", re.IGNORECASE)
_LAST = re.compile(
    r"(?:answer|verdict|result|label|class)\s*(?:is)?\s*:?\s*\W*([A-Za-z]\w{0,24})\W*\Z", re.IGNORECASE
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+\S", re.MULTILINE)
_TABLE = re.compile(r"^\s*\|.*\|\s*\n\s*\|?[\s:|-]*-{2,}[\s:|-]*$", re.MULTILINE)
_MARKS = re.compile(r"^#{1,6} \S|\*\*\S[^*\n]*\*\*|^```", re.MULTILINE)


def answer_of(text: str) -> str:
    """Return what an answer says as a category, whatever its format.

    A label in brackets that the answer opens or ends with, a leading yes or no, the value of a JSON object of one
    key, "... answer: x" at the end, a short answer itself, ``refusal``, ``empty``; anything longer is ``other``.
    """
    found = _FENCE.match(text)
    body = (found[1] if found else text).strip()
    if not body:
        return "empty"
    data = _json(body)
    if isinstance(data, dict) and len(data) == 1:
        data = next(iter(data.values()))
    if isinstance(data, bool | int | float | str):
        body = str(data).strip()
    labels = list(_BRACKETED.finditer(body))
    if labels and (labels[-1].end() >= len(body) - 1 or labels[0].start() == 0):
        return _plain((labels[-1] if labels[-1].end() >= len(body) - 1 else labels[0])[1])
    leading = _LEADING.match(body)
    if leading:
        return leading[1].casefold()
    if _refuses(body):
        return "refusal"
    if len(body) <= _SHORT_CHARS and len(body.split()) <= _SHORT_WORDS:
        return _plain(body) or OTHER
    last = _LAST.search(body[-80:])
    return _plain(last[1]) if last else OTHER


def format_of(text: str) -> str:
    """Return an answer's format: ``empty``, ``json``, ``fenced``, ``table``, ``list``, ``markdown``, ``text``."""
    body = text.strip()
    if not body:
        return "empty"
    if body[0] in "{[" and isinstance(_json(body), dict | list):
        return "json"
    if _FENCE.match(body):
        return "fenced"
    if _TABLE.search(body):
        return "table"
    if len(_BULLET.findall(body)) >= 2:
        return "list"
    return "markdown" if _MARKS.search(body) else "text"


CATEGORIES: Mapping[str, Callable[[str], str]] = {ANSWERS: answer_of, FORMATS: format_of}
"""How each categorical metric reads an answer."""


def categories(result: CaseResult) -> dict[str, str]:
    """Return the categories of an execution's answer, none where it has no answer."""
    if result.output is None:
        return {}
    return {name: read(result.output) for name, read in CATEGORIES.items()}


def _json(text: str) -> object:
    if text[0] not in '{["':
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _refuses(text: str) -> bool:
    from pytest_llmwatch.model import Case
    from pytest_llmwatch.scorers.refusal import Refusal

    return Refusal().score(Output(text), Case(id="")).value == 0.0


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()
