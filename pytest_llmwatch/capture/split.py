"""Secrets that are cut into pieces: over the deltas of a stream, the tokens of log probabilities, spoken words.

No vendor's format is known here. In a stream, the strings that stand at the same place of successive events are
pieces of one text, whatever the place is called; so a new vendor's stream is covered before its format is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_llmwatch.redact import Finding, Redactor

Slot = tuple[Any, Any]
"""The object or array that holds a piece of a text, and the key or index of the piece in it."""

# what tells apart texts that grow side by side, where there is no "index"
_MARKS = ("type", "item_id", "output_index", "content_index", "summary_index")
_NOISE = frozenset({"obfuscation"})  # random letters that a server adds to hide the length of a text
_DEEPEST = 40


def hide(events: Sequence[Any], redactor: Redactor, *, stream: bool) -> None:
    """Replace, in place, what is to be hidden and runs over several strings.

    The placeholder stands in the first piece, what the others hold of the secret is cut.

    Args:
        events: Parsed JSON values, in order.
        redactor: Finds.
        stream: Whether strings at the same place of several events are pieces of one text. Otherwise only pieces
            inside one event are joined: tokens of log probabilities, words of a transcript.
    """
    for path, slots in _grouped(events, stream).items():
        between = _between(path)
        whole, found = _findings(slots, between, redactor)
        for finding in reversed(found):
            mark = redactor.placeholder(finding.kind, whole[finding.start : finding.end])
            _cut(slots, finding.start, finding.end, mark, len(between))


def finds(events: Sequence[Any], redactor: Redactor) -> bool:
    """Whether `hide` would replace anything in a stream."""
    grouped = _grouped(events, stream=True)
    return any(_findings(slots, _between(path), redactor)[1] for path, slots in grouped.items())


def joined(events: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the texts that a stream's pieces make."""
    for path, slots in _grouped(events, stream=True).items():
        yield ".".join(str(step) for step in path), "".join(holder[key] for holder, key in slots)


def _grouped(events: Sequence[Any], stream: bool) -> dict[tuple[Any, ...], list[Slot]]:
    texts: dict[tuple[Any, ...], list[Slot]] = {}
    for event in events:
        _collect(texts, event, (), stream, 0)
    return texts


def _between(path: tuple[Any, ...]) -> str:
    return " " if path[-1] == "word" else ""


def _findings(slots: list[Slot], between: str, redactor: Redactor) -> tuple[str, list[Finding]]:
    pieces = [holder[key] for holder, key in slots]
    if pieces.count(pieces[0]) == len(pieces):
        return "", []  # an id that every event repeats, or a text that is whole
    whole = between.join(pieces)
    return whole, redactor.find(whole)


def _cut(slots: list[Slot], start: int, end: int, mark: str, gap: int) -> None:
    # findings are handled from the last to the first, so offsets before this one are still true
    place = 0
    for holder, key in slots:
        piece = holder[key]
        a, b = max(start - place, 0), min(end - place, len(piece))
        if a < b and place < end:
            holder[key] = piece[:a] + (mark if place + a == start else "") + piece[b:]
            _follow(holder, key)
        place += len(piece) + gap


def _follow(holder: Any, key: Any) -> None:
    """Bring what repeats a token beside it into line: its bytes, and the other tokens that were likely there."""
    if isinstance(holder, dict) and key == "token":
        if isinstance(holder.get("bytes"), list):
            holder["bytes"] = list(str(holder["token"]).encode("utf-8", "replace"))
        if isinstance(holder.get("top_logprobs"), list):
            holder["top_logprobs"] = []


def _collect(
    texts: dict[tuple[Any, ...], list[Slot]], value: Any, path: tuple[Any, ...], stream: bool, depth: int
) -> None:
    """Add to ``texts``, by place, the strings that are pieces of longer texts."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        # names may hold anything that a server writes, so they are compared as text
        if "index" in value:
            path = (*path, str(value["index"]))
        else:
            path = (*path, *[str(value[n]) for n in _MARKS if n in value])
        for key, member in value.items():
            if isinstance(member, str):
                if (stream or key in ("token", "word")) and key not in _NOISE:
                    texts.setdefault((*path, key), []).append((value, key))
            elif isinstance(member, dict | list) and key != "top_logprobs":
                _collect(texts, member, (*path, key), stream, depth + 1)
    elif isinstance(value, list):
        _collect_listed(texts, value, path, stream, depth)


def _collect_listed(
    texts: dict[tuple[Any, ...], list[Slot]], value: list[Any], path: tuple[Any, ...], stream: bool, depth: int
) -> None:
    tokens = path[-1:] == ("tokens",)
    for place, member in enumerate(value):
        if isinstance(member, str):
            if stream or tokens:
                texts.setdefault(path if tokens else (*path, place), []).append((value, place))
        elif isinstance(member, dict | list):
            # tokens and words follow each other in one array; any other array holds texts side by side
            joined = isinstance(member, dict) and ("token" in member or "word" in member)
            _collect(texts, member, path if joined else (*path, place), stream, depth + 1)
