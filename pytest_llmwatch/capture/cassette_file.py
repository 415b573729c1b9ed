"""One cassette file in memory: read lazily, indexed, written atomically and never with a secret."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vcr.serialize import deserialize

from pytest_llmwatch import atomic
from pytest_llmwatch.capture import cassette_text as pieces
from pytest_llmwatch.capture.cassette_item import TIMING, Interaction, Key, parse_piece
from pytest_llmwatch.capture.cassette_yaml import HEADER, Serializer, corrupt
from pytest_llmwatch.capture.scan import leftover
from pytest_llmwatch.errors import CassetteError, SecretFound
from pytest_llmwatch.model import SCHEMA_VERSION
from pytest_llmwatch.redact import Redactor

__all__ = ["TIMING", "CassetteFile", "Interaction", "Key", "merged"]

_REPLACES = "llmwatch-replaces"
_WHOLE = "llmwatch-whole"


class CassetteFile:
    """A cassette file, shared by all executions that use it.

    Args:
        path: The file.
        display: Its name in messages.
        redactor: Scans the text before it is saved.

    Raises:
        CassetteError: The file exists and cannot be used.
    """

    def __init__(self, path: Path, display: str, redactor: Redactor) -> None:
        self.path = path
        self.display = display
        self.lock = threading.RLock()
        self.size = 0
        """Bytes of the file as it was last read or written."""
        self.interactions: list[Interaction] = []
        self.index: Any = None
        """What `Shelf` knows of the recordings; made anew when they change."""
        self.replaces = False
        """Whether a part file's recordings replace older ones; see `save`."""
        self.whole: frozenset[tuple[int, int]] = frozenset()
        """Places of which a part file holds all that is to stay; see `save`."""
        self._redactor = redactor
        self._serializer = Serializer(display)
        text = _read(path, display)
        self.existed = bool(text)
        if text:
            self._load(text)

    def _load(self, text: str) -> None:
        self.size = len(text.encode("utf-8", "replace"))
        found = pieces.split(text, HEADER)
        lazy = self._lazy(found) if found is not None and len(found.recordings) >= pieces.LAZY_FROM else None
        if lazy is not None and found is not None:
            self.interactions = lazy
            metadata = _metadata(found.tail)
        else:
            loaded = self._whole(text)
            self.interactions = [Interaction(q, r) for q, r in zip(loaded[0], loaded[1], strict=True)]
            metadata = loaded[2] if len(loaded) > 2 else {}
        for item in self.interactions:
            version = item.schema_version
            if version is not None and (not isinstance(version, int) or version > SCHEMA_VERSION):
                raise CassetteError(
                    f"the cassette was written by a newer pytest-llmwatch (schema {version}, this one knows "
                    f"{SCHEMA_VERSION}); upgrade pytest-llmwatch, or record again with --llm-record=all",
                    slug="cassette-version",
                    file=self.display,
                )
            if item.key is None and isinstance(item.timing.get("fingerprint"), str):
                item.key = item.timing["fingerprint"]
        self.replaces = bool(metadata.get(_REPLACES))
        self.whole = frozenset((int(r), int(a)) for r, a in metadata.get(_WHOLE) or ())

    def _whole(self, text: str) -> tuple[Any, ...]:
        try:
            loaded: tuple[Any, ...] = deserialize(text, self._serializer)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise corrupt(self.display, "is not in vcrpy's format") from error
        return loaded

    def _lazy(self, found: pieces.Pieces) -> list[Interaction] | None:
        out = []
        for text, line in zip(found.recordings, found.lines, strict=True):
            known = pieces.glance(text)
            if known is None:
                return None
            parse = functools.partial(parse_piece, text, self._serializer, line)
            out.append(Interaction.unread(text, known, parse))
        return out

    def save(
        self,
        interactions: Sequence[Interaction],
        *,
        replaces: bool = False,
        whole: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Write ``interactions``, which become the file's content; without any and without ``whole``, remove it.

        Args:
            interactions: All that the file is to hold, in order.
            replaces: Note in the file that its recordings replace older ones when parts are merged.
            whole: Places of which the file holds all that is to stay when parts are merged.

        Raises:
            SecretFound: The text holds a secret; nothing was written.
            OSError: The file cannot be written.
        """
        places = sorted(set(whole))
        texts = [item.text(self._serializer) for item in interactions]
        self._scan(interactions, texts)
        if not texts and not places:
            self.path.unlink(missing_ok=True)
            self.size = 0
        else:
            text = pieces.join(HEADER, texts, _tail(replaces, places))
            atomic.write_text(self.path, text)
            self.size = len(text.encode("utf-8", "replace"))
        self.interactions = list(interactions)
        self.index = None

    def _scan(self, interactions: Sequence[Interaction], texts: Sequence[str]) -> None:
        """Search each recording once for secrets.

        Raises:
            SecretFound: One is there.
        """
        line = HEADER.count("\n") + 2
        for item, text in zip(interactions, texts, strict=True):
            found = None if item.scanned else leftover(item, text, self._redactor)
            if found is not None:
                at = found.place if found.line is None else f"line {line + found.line + 1}"
                raise SecretFound(
                    f"{item.request.method} {urlsplit(item.request.uri).path}: the cassette would hold a secret "
                    f"({found.kind}, {at}), so nothing was saved; keep the secret out of the call, or add a "
                    "pattern to [redact] that covers all of it",
                    slug="secret-found",
                    file=self.display,
                )
            item.scanned = True
            line += text.count("\n")


def merged(
    old: Iterable[tuple[Key, Interaction]],
    new: Iterable[tuple[Key, Interaction]],
    *,
    replace: bool,
    whole: Iterable[tuple[int, int]] = (),
) -> list[Interaction]:
    """Return old and new recordings in stable order: by repeat and attempt, old before new.

    With ``replace``, an old recording goes where a new one has its key; without, only one that records a dead
    endpoint goes, or that is the new one, saved before. All old recordings of the places in ``whole`` go. The
    rest, which was not recorded again, is kept.
    """
    new = list(new)
    fresh: dict[Key, list[Interaction]] = {}
    for key, item in new:
        fresh.setdefault(key, []).append(item)
    places = set(whole)
    items = []
    for key, item in old:
        twins = fresh.get(key, ())
        gone = key[:2] in places or (bool(twins) and (replace or item.is_dead or any(item.same(t) for t in twins)))
        if not gone:
            items.append((key, item))
    items += new
    return [item for _, item in sorted(items, key=lambda pair: pair[0][:2])]


def _read(path: Path, display: str) -> str:
    if not path.is_file():
        return ""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise corrupt(display, "is not UTF-8 text") from error
    except OSError as error:
        raise corrupt(display, f"cannot be read ({error.strerror})") from error
    return text if text.strip() else ""


def _tail(replaces: bool, places: Sequence[tuple[int, int]]) -> str:
    if not replaces and not places:
        return ""
    lines = ["metadata:", f"  {_REPLACES}: {str(replaces).lower()}"]
    lines += [f"  {_WHOLE}:"] + [f"  - [{repeat}, {attempt}]" for repeat, attempt in places] if places else []
    return "\n".join(lines) + "\n"


def _metadata(tail: str) -> dict[str, Any]:
    data = Serializer("").mapping(tail).get("metadata") if tail else None
    return data if isinstance(data, dict) else {}
