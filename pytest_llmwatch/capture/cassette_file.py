"""One cassette file in memory: vcrpy's cassette, our fingerprint index, atomic and redacted saving."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vcr.cassette import Cassette
from vcr.patch import PATCHER_NAMES
from vcr.persisters.filesystem import CassetteNotFoundError
from vcr.record_mode import RecordMode
from vcr.request import Request
from vcr.serialize import deserialize, serialize

from pytest_llmwatch import atomic
from pytest_llmwatch.capture.cassette_yaml import FlowList, Serializer, corrupt
from pytest_llmwatch.capture.faults import DEAD
from pytest_llmwatch.errors import CassetteError, SecretFound
from pytest_llmwatch.model import SCHEMA_VERSION
from pytest_llmwatch.redact import Redactor

TIMING = "x-llmwatch"
"""The additive key of a recorded response; stock vcrpy ignores it."""

Key = tuple[int, int, str]
"""Repeat, attempt, fingerprint."""


class Interaction:
    """One recorded HTTP exchange: vcrpy's request and response, and what we add under `TIMING`."""

    __slots__ = ("request", "response")

    def __init__(self, request: Request, response: dict[str, Any]) -> None:
        self.request = request
        self.response = response

    @classmethod
    def make(
        cls,
        *,
        method: str,
        url: str,
        request_body: str | bytes,
        request_headers: dict[str, str],
        status: tuple[int, str],
        headers: dict[str, list[str]],
        body: str | bytes,
        timing: dict[str, Any],
    ) -> Interaction:
        """Build an interaction from redacted parts."""
        response = {
            "status": {"code": status[0], "message": status[1]},
            "headers": headers,
            "body": {"string": body if isinstance(body, bytes) else body.encode()},
            TIMING: timing,
        }
        return cls(Request(method, url, request_body, request_headers), response)

    @property
    def timing(self) -> dict[str, Any]:
        """What we recorded beside the response; empty for a cassette that stock vcrpy wrote."""
        value: dict[str, Any] = self.response.get(TIMING) or {}
        return value

    @property
    def body(self) -> bytes:
        """The response's body."""
        value = self.response["body"].get("string") or b""
        return value if isinstance(value, bytes) else str(value).encode()

    @property
    def request_body(self) -> bytes:
        """The request's body."""
        value = self.request.body or b""
        return value if isinstance(value, bytes) else str(value).encode()

    @property
    def content_type(self) -> str:
        """The request's content type, empty if it was not kept."""
        return str(self.request.headers.get("content-type", ""))

    @property
    def is_dead(self) -> bool:
        """Whether it records that nobody answered, or that key or model were refused: nothing worth keeping."""
        error = self.timing.get("error")
        if self.timing.get("state") == "failed" and isinstance(error, dict):
            return error.get("type") in DEAD
        return self.response["status"]["code"] in (401, 403, 404)

    @property
    def place(self) -> tuple[int, int]:
        """Repeat and attempt under which it was recorded."""
        return int(self.timing.get("repeat", 0)), int(self.timing.get("attempt", 0))


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
        self.existed = path.is_file() and path.stat().st_size > 0
        self.size = 0
        self._serializer = Serializer(display)
        self._persister = _Persister(display, redactor)
        self._cassette = _load(path, self._serializer, self._persister)
        self.interactions = [Interaction(request, response) for request, response in self._cassette.data]
        for item in self.interactions:
            version = item.timing.get("schema_version", SCHEMA_VERSION)
            if not isinstance(version, int) or version > SCHEMA_VERSION:
                raise CassetteError(
                    f"the cassette was written by a newer pytest-llmwatch (schema {version}, this one knows "
                    f"{SCHEMA_VERSION}); upgrade pytest-llmwatch, or record again with --llm-record=all",
                    slug="cassette-version",
                    file=display,
                )

    def save(
        self, interactions: Sequence[Interaction], *, path: Path | None = None, replaces: bool = False
    ) -> None:
        """Write ``interactions``, which become the file's content.

        Args:
            interactions: All that the file is to hold, in order.
            path: Another file to write to (a worker's part).
            replaces: Note in the file that its recordings replace older ones when parts are merged.

        Raises:
            SecretFound: The text holds a secret; nothing was written.
        """
        self.interactions = list(interactions)
        self._cassette.data = [(i.request, i.response) for i in self.interactions]
        self._cassette._metadata = {"llmwatch-replaces": True} if replaces else {}
        self._cassette._path = str(path or self.path)
        self._cassette._save(force=True)
        self.size = self._persister.size

    @property
    def replaces(self) -> bool:
        """Whether a part file's recordings replace older ones; see `save`."""
        return bool(self._cassette._metadata.get("llmwatch-replaces"))


def merged(
    old: Iterable[tuple[Key, Interaction]], new: Iterable[tuple[Key, Interaction]], *, replace: bool
) -> list[Interaction]:
    """Return old and new recordings in stable order: by repeat and attempt, old before new.

    With ``replace``, an old recording goes where a new one has its key; without, only one that records a dead
    endpoint goes. What was not recorded again is kept.
    """
    new = list(new)
    keys = {key for key, _ in new}
    items = [(key, item) for key, item in old if key not in keys or not (replace or item.is_dead)] + new
    return [item for _, item in sorted(items, key=lambda pair: pair[0][:2])]


def _load(path: Path, serializer: Serializer, persister: _Persister) -> Cassette:
    # every patcher is skipped: vcrpy only keeps the file, our own transport wrapper talks to the network
    return Cassette.load(
        path=str(path),
        serializer=serializer,
        persister=persister,
        record_mode=RecordMode.NEW_EPISODES,
        skip_patchers=PATCHER_NAMES,
    )


class _Persister:
    """vcrpy's storage hook: clean errors on reading; redaction scan and atomic replacement on writing."""

    def __init__(self, display: str, redactor: Redactor) -> None:
        self._display = display
        self._redactor = redactor
        self.size = 0

    def load_cassette(self, cassette_path: str, serializer: Serializer) -> Any:
        path = Path(cassette_path)
        if not path.is_file():
            raise CassetteNotFoundError
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise corrupt(self._display, "is not UTF-8 text") from error
        except OSError as error:
            raise corrupt(self._display, f"cannot be read ({error.strerror})") from error
        if not text.strip():
            raise CassetteNotFoundError
        self.size = len(text)
        return deserialize(text, serializer)

    def save_cassette(self, cassette_path: str, cassette_dict: dict[str, Any], serializer: Serializer) -> None:
        copies = {
            **cassette_dict,
            # vcrpy decodes bodies in place; ours stay bytes
            "responses": [_ordered(response) for response in cassette_dict["responses"]],
        }
        text = serialize(copies, serializer)
        for finding in self._redactor.find(text):
            if not finding.personal and not finding.custom:
                line = text.count("\n", 0, finding.start) + 1
                raise SecretFound(
                    f"line {line} of the cassette would hold a secret ({finding.kind}), so it was not saved; keep "
                    "the secret out of the call, or add a pattern to [redact] that covers all of it",
                    slug="secret-found",
                    file=self._display,
                )
        self.size = len(text)
        atomic.write_text(Path(cassette_path), text)


def _ordered(response: dict[str, Any]) -> dict[str, Any]:
    out = {**response, "body": dict(response["body"])}
    timing = response.get(TIMING)
    if isinstance(timing, dict):
        timing = dict(timing)
        if isinstance(timing.get("chunks"), list):
            timing["chunks"] = FlowList(timing["chunks"])
        out[TIMING] = timing
    return out
