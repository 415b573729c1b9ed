"""What the scorers that compare with a given text share: which text, which words, how long at most."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_llmwatch.model import Case
from pytest_llmwatch.scorers.words import WORD, canonical, stem, tokens

MAX_CHARS = 100_000
"""Characters that a comparison of quadratic cost reads of each text."""
MAX_WORDS = 50_000

NO_REFERENCE = "No text to compare with: neither an option nor a reference."

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def wanted(value: str | Sequence[str] | None, case: Case) -> list[str]:
    """Return the texts to compare with: the option's, else the case's reference, else none."""
    if value is None:
        return [] if case.reference is None else [case.reference]
    return [value] if isinstance(value, str) else list(value)


def words(text: str, *, stemmed: bool = False) -> list[str]:
    """Return the words of ``text`` in lower case, at most `MAX_WORDS`; scripts without spaces by character."""
    found = []
    for match in tokens(text):
        word = match[0].lower()
        found.append(stem(word) if stemmed else word)
        if len(found) == MAX_WORDS:
            break
    return found


def answer_words(text: str) -> list[str]:
    """Return words as question answering compares them: lower case, no punctuation, no English articles.

    The normalisation of SQuAD's evaluation script (Rajpurkar et al., 2016); numbers without separators.
    """
    kept = [canonical(w) if w[:1].isdigit() else w for w in words(text)]
    return [word for word in kept if not _ARTICLES.fullmatch(word)]


def too_long(*texts: str) -> str | None:
    """Return why texts cannot be compared: one is longer than `MAX_CHARS`; None where they can."""
    longest = max((len(text) for text in texts), default=0)
    if longest <= MAX_CHARS:
        return None
    return f"Not compared: a text of {longest:,} characters, at most {MAX_CHARS:,} are."


def count_words(text: str) -> int:
    """Return the number of words; a character of a script without spaces is one."""
    return sum(1 for _ in tokens(text)) if not text.isascii() else len(WORD.findall(text))


def clean(text: str) -> str:
    """Return ``text`` with lone surrogates replaced: C libraries and encoders refuse them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8", "replace")
