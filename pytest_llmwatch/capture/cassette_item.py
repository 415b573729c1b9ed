"""One recorded HTTP exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vcr.request import Request
from vcr.serialize import deserialize, serialize

from pytest_llmwatch.capture.cassette_text import Glance
from pytest_llmwatch.capture.cassette_yaml import FlowList, Serializer
from pytest_llmwatch.capture.faults import DEAD

TIMING = "x-llmwatch"
"""The additive key of a recorded response; stock vcrpy ignores it."""

Key = tuple[int, int, str]
"""Repeat, attempt, fingerprint."""

Parts = tuple[Request, dict[str, Any]]


class Interaction:
    """One recorded HTTP exchange: vcrpy's request and response, and what we add under `TIMING`.

    One that was read from a file that we wrote is parsed where it is first looked at.
    """

    __slots__ = ("_glance", "_parse", "_request", "_response", "_text", "content_key", "key", "scanned")

    def __init__(self, request: Request | None, response: dict[str, Any] | None) -> None:
        self._request = request
        self._response = response
        self._glance: Glance | None = None
        self._parse: Callable[[], Parts] | None = None
        self._text: str | None = None
        self.key: str | None = None
        """Fingerprint as recorded; None = not known yet."""
        self.content_key: str | None = None
        """Fingerprint of what its request says now; None = not known yet."""
        self.scanned = False
        """Whether its text was searched for secrets."""

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
        response: dict[str, Any] = {
            "status": {"code": status[0], "message": status[1]},
            "headers": headers,
            "body": {"string": body if isinstance(body, bytes) else body.encode()},
        }
        if timing:
            response[TIMING] = timing
        return cls(Request(method, url, request_body, request_headers), response)

    @classmethod
    def unread(cls, text: str, known: Glance, parse: Callable[[], Parts]) -> Interaction:
        """Return a recording whose text is parsed by ``parse`` where it is looked at."""
        item = cls(None, None)
        item._text, item._glance, item._parse = text, known, parse
        item.key = known.fingerprint
        return item

    def _read(self) -> Parts:
        if self._request is None or self._response is None:
            assert self._parse is not None
            self._request, self._response = self._parse()
            self._parse = None
        return self._request, self._response

    @property
    def request(self) -> Request:
        """The request.

        Raises:
            CassetteError: Its text in the file is corrupt.
        """
        return self._read()[0]

    @property
    def response(self) -> dict[str, Any]:
        """The response.

        Raises:
            CassetteError: Its text in the file is corrupt.
        """
        return self._read()[1]

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
        value = self.request.headers.get("content-type", "")
        return str(value[0] if isinstance(value, list) and value else value)

    @property
    def is_dead(self) -> bool:
        """Whether it records that nobody answered, or that key or model were refused: nothing worth keeping."""
        known = self._glance
        if known is not None:
            return known.error in DEAD if known.state == "failed" else known.status in (401, 403, 404)
        error = self.timing.get("error")
        if self.timing.get("state") == "failed" and isinstance(error, dict):
            return error.get("type") in DEAD
        return self.response["status"]["code"] in (401, 403, 404)

    @property
    def place(self) -> tuple[int, int]:
        """Repeat and attempt under which it was recorded."""
        if self._glance is not None:
            return self._glance.repeat, self._glance.attempt
        return int(self.timing.get("repeat", 0)), int(self.timing.get("attempt", 0))

    @property
    def schema_version(self) -> Any:
        """Version of what stands under `TIMING`, as the file says; None in a cassette that stock vcrpy wrote."""
        if self._glance is not None:
            return self._glance.schema_version
        return self.timing.get("schema_version")

    @property
    def is_foreign(self) -> bool:
        """Whether another program recorded it: neither times nor redaction."""
        return self._glance is None and not self.timing

    def text(self, serializer: Serializer) -> str:
        """Return it as it stands in a file."""
        if self._text is None:
            whole = serialize({"requests": [self.request], "responses": [_ordered(self.response)]}, serializer)
            self._text = whole.partition("\ninteractions:\n")[2]
        return self._text

    def same(self, other: Interaction) -> bool:
        """Whether both are one recording, read or written twice."""
        if self is other:
            return True
        if self.place != other.place or self.key != other.key:
            return False
        return self.timing == other.timing and self.body == other.body


def parse_piece(text: str, serializer: Serializer, line: int) -> Parts:
    """Parse the text of one recording, which starts at ``line`` of its file.

    Raises:
        CassetteError: It is corrupt.
    """
    requests, responses = deserialize("interactions:\n" + text, serializer.at(line - 2))
    return requests[0], responses[0]


def _ordered(response: dict[str, Any]) -> dict[str, Any]:
    # vcrpy decodes bodies in place; ours stay bytes
    out = {**response, "body": dict(response["body"])}
    timing = response.get(TIMING)
    if isinstance(timing, dict):
        timing = dict(timing)
        if isinstance(timing.get("chunks"), list):
            timing["chunks"] = FlowList(timing["chunks"])
        out[TIMING] = timing
    return out
