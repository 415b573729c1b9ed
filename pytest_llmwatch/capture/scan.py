"""The last look at a recording before it is written: is there a secret that redaction left?

It looks at what a reader of the file could put together: the text of the file, and behind it the decoded bodies
and the texts that a stream's pieces make. Only what is surely a secret counts: a number never costs a recording.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_llmwatch.capture import split
from pytest_llmwatch.capture.cassette_item import Interaction
from pytest_llmwatch.capture.sse import events
from pytest_llmwatch.redact import Redactor


@dataclass(frozen=True, slots=True)
class Leftover:
    """A secret in a recording: its kind, its place in words, and its line in the recording's text, if any."""

    kind: str
    place: str
    line: int | None = None


def leftover(item: Interaction, text: str, redactor: Redactor) -> Leftover | None:
    """Return the first secret in a recording, None if there is none.

    Args:
        item: The recording.
        text: As the file will hold it.
        redactor: Finds.
    """
    for finding in redactor.find(text, sure=True):
        return Leftover(finding.kind, "text", text.count("\n", 0, finding.start))
    for place, said in _texts(item):
        # what was redacted is in the redactor's memory, and costs a look-up
        if redactor.text(said) != said:
            for finding in redactor.find(said):
                if not finding.personal and not finding.custom:
                    return Leftover(finding.kind, place)
    return None


def _texts(item: Interaction) -> Iterator[tuple[str, str]]:
    yield "request URL", item.request.uri
    yield from _body("request body", item.request_body)
    yield from _body("response body", item.body)


def _body(name: str, body: bytes) -> Iterator[tuple[str, str]]:
    if not body:
        return
    try:
        whole = list(_strings(name, json.loads(body), "$"))
    except (ValueError, RecursionError):
        found = events(body)
    else:
        yield from whole
        return
    values = []
    for event in found:
        try:
            values.append(event.json())
        except (ValueError, RecursionError):
            values.append({"data": event.data})
    for path, said in split.joined(values):
        yield f"{name}, in the pieces of {path} put together", said
    if not found:
        yield name, body.decode("utf-8", "replace")


def _strings(name: str, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield f"{name} at {path}", value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _strings(name, member, f"{path}.{key}")
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from _strings(name, member, f"{path}[{place}]")
