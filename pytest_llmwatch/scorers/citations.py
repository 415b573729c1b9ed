"""Quotes, links and numbered sources of an answer that the context does not have."""

from __future__ import annotations

import functools
import re

from pytest_llmwatch.scorers.judged import Flaw
from pytest_llmwatch.scorers.matching import normalise
from pytest_llmwatch.scorers.source import Source

# no quote is longer, so that an opening mark which nothing closes costs no more than this
QUOTE = re.compile(r'"([^"\n]{1,1000})"|“([^”\n]{1,1000})”|«([^»\n]{1,1000})»|„([^“”\n]{1,1000})[“”]')
_SPACE = re.compile(r"\s+")
_LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]{1,500}|[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}")
NUMBERED = re.compile(r"\[(\d{1,3})(?:\s?[,;–-]\s?(\d{1,3}))?\]")
_GAP = re.compile(r"\.{3}|…")
_MOST = 200
_MIN_WORDS = 3


@functools.lru_cache(maxsize=32)
def plain(text: str) -> str:
    """Return ``text`` as quotes are compared: normal form, single blanks, no punctuation at the ends."""
    return _SPACE.sub(" ", normalise(text).text).strip(" .,;:!?")


def find(text: str, source: Source, asked: str = "") -> list[Flaw]:
    """Return the quotes of three words or more, the links and the numbered sources that are not in ``source``.

    What repeats ``asked``, the question, is no quote of the context.
    """
    out: list[Flaw] = []
    if any(mark in text for mark in '"“«„'):
        out += _quotes(text, source, asked)
    if "@" in text or "://" in text or "www." in text:
        out += _links(text, source)
    if "[" in text:
        out += _citations(text, source)
    return out[:_MOST]


def _quotes(text: str, source: Source, asked: str) -> list[Flaw]:
    out = []
    known: list[str] | None = None
    for found in QUOTE.finditer(text):
        group = found.lastindex or 1
        before = text[found.start() - 1 : found.start()]
        if found[group].count(" ") < _MIN_WORDS - 1 or before.isdigit():
            continue  # (after a digit it means inches)
        known = known or [plain(document) for document in (*source.documents, asked)]
        said = [plain(part) for part in _GAP.split(found[group])]
        if not all(any(part in document for document in known) for part in said):
            out.append(Flaw("absent_quote", *found.span(group), "this quote is not in the context word for word"))
        if len(out) == _MOST:
            break
    return out


def _links(text: str, source: Source) -> list[Flaw]:
    out = []
    for found in _LINK.finditer(text):
        link = found[0].rstrip(".,;:!?").lower()
        bare = link.partition("://")[2].rstrip("/") or link
        if not any(bare in document.lower() for document in source.documents):
            start = found.start()
            out.append(Flaw("absent_url", start, start + len(link), "this link or address is not in the context"))
        if len(out) == _MOST:
            break
    return out


def _citations(text: str, source: Source) -> list[Flaw]:
    out = []
    n = sum(1 for document in source.documents if document.strip())
    for found in NUMBERED.finditer(text):
        wanted = [int(number) for number in found.groups() if number]
        if all(1 <= k <= n for k in wanted) or any(found[0] in document for document in source.documents):
            continue
        out.append(Flaw("absent_citation", *found.span(), f"the context has no such source ({n} given)"))
        if len(out) == _MOST:
            break
    return out
