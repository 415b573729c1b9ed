"""Secrets that are cut into pieces: over the deltas of a stream, the tokens of log probabilities, spoken words.

No vendor's format is known here. In a stream, the strings that stand at the same place of successive events are
pieces of one text, whatever the place is called; so a new vendor's stream is covered before its format is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_llmwatch.redact import Redactor

Slot = tuple[Any, Any]
"""The object or array that holds a piece of a text, and the key or index of the piece in it."""

# what tells apart texts that grow side by side; the first that is there decides
_MARKS = (("index",), ("type", "item_id", "output_index", "content_index", "summary_index"))
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
        _hide(slots, " " if path[-1] == "word" else "", redactor)


def joined(events: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the texts that a stream's pieces make."""
    for path, slots in _grouped(events, stream=True).items():
        yield ".".join(str(step) for step in path), "".join(holder[key] for holder, key in slots)


def _grouped(events: Sequence[Any], stream: bool) -> dict[tuple[Any, ...], list[Slot]]:
    texts: dict[tuple[Any, ...], list[Slot]] = {}
    for event in events:
        for path, holder, key in _strings(event, (), stream, 0):
            texts.setdefault(path, []).append((holder, key))
    return texts


def _hide(slots: list[Slot], between: str, redactor: Redactor) -> None:
    pieces = [holder[key] for holder, key in slots]
    first = pieces[0]
    if all(piece == first for piece in pieces):
        return  # an id that every event repeats, or a text that is whole
    whole = between.join(pieces)
    for finding in reversed(redactor.find(whole)):
        mark = redactor.placeholder(finding.kind, whole[finding.start : finding.end])
        _cut(slots, finding.start, finding.end, mark, len(between))


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


def _strings(
    value: Any, path: tuple[Any, ...], stream: bool, depth: int
) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield (place, holder, key) of the strings that are pieces of longer texts."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        # names may hold anything that a server writes, so they are compared as text
        mark = next((m for names in _MARKS if (m := [str(value.get(n)) for n in names if n in value])), [])
        here = (*path, *mark)
        for key, member in value.items():
            if isinstance(member, str):
                if (stream or key in ("token", "word")) and key not in _NOISE:
                    yield (*here, key), value, key
            elif key != "top_logprobs":
                yield from _strings(member, (*here, key), stream, depth + 1)
    elif isinstance(value, list):
        tokens = path[-1:] == ("tokens",)
        for place, member in enumerate(value):
            if isinstance(member, str):
                if stream or tokens:
                    yield path if tokens else (*path, place), value, place
            else:
                # tokens and words follow each other in one array; any other array holds texts side by side
                joined = isinstance(member, dict) and ("token" in member or "word" in member)
                yield from _strings(member, path if joined else (*path, place), stream, depth + 1)
