"""Documents of a retrieval, in whatever form an application has them: texts, mappings, objects of frameworks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pytest_llmwatch.model import Retrieval

MAX_TEXT = 10_000
"""Characters of one document that are kept."""

_TEXT = ("text", "page_content", "content", "document", "body")
_ID = ("id", "id_", "node_id", "doc_id", "document_id", "_id")
_SCORE = ("score", "relevance_score", "similarity")


def retrieval(
    query: str | None,
    documents: Iterable[Any],
    *,
    scores: Sequence[float] | None,
    source: str | None,
    top_k: int | None,
    text: Callable[[str], str],
) -> tuple[Retrieval, dict[str, int]]:
    """Return the record of a retrieval, and how many documents came from which source.

    ``ids`` and ``documents`` keep their places: one that lacks is an empty text, and where all lack the tuple is
    empty. Scores are kept where each document has one.

    Args:
        query: What was searched for.
        documents: Best first.
        scores: One per document; else what the documents carry.
        source: Index or service that was asked.
        top_k: How many were asked for.
        text: Redacts.
    """
    found = [_read(d) for d in documents]
    given = [s for _, _, s, _ in found] if scores is None else [_number(s) for s in scores]
    kept = [s for s in given if s is not None]
    names = [i for i, _, _, _ in found]
    texts = [t for _, t, _, _ in found]
    record = Retrieval(
        query=None if query is None else text(str(query)),
        ids=tuple(text(i or "") for i in names) if any(names) else (),
        documents=tuple(text(t or "")[:MAX_TEXT] for t in texts) if any(texts) else (),
        scores=tuple(kept) if len(kept) == len(found) else (),
        source=None if source is None else text(str(source)),
        top_k=top_k,
    )
    return record, dict(Counter(text(s) for _, _, _, s in found if s))


def _read(document: Any) -> tuple[str | None, str | None, float | None, str | None]:
    """Return id, text, score and source of one document."""
    if isinstance(document, str):
        return None, document, None, None
    if isinstance(document, tuple | list) and len(document) == 2 and _number(document[1]) is not None:
        name, text, _, source = _read(document[0])
        return name, text, _number(document[1]), source
    score = _number(_first(document, _SCORE))
    node = _get(document, "node")
    if node is not None:  # LlamaIndex puts the document inside
        document = node
    metadata = _get(document, "metadata")
    name = _first(document, _ID)
    if name is None:
        name = _first(metadata, _ID)
    text = _first(document, _TEXT)
    source = _get(document, "source")
    if source is None:
        source = _get(metadata, "source")
    if score is None:
        score = _number(_first(metadata, _SCORE))
    if text is None and name is None:
        text = str(document)
    return _text(name), _text(text), score, _text(source)


def _get(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _first(holder: Any, names: Iterable[str]) -> Any:
    for name in names:
        value = _get(holder, name)
        if value is not None and not callable(value):
            return value
    return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool | str) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
