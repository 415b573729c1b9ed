"""What the recordings of a cassette say of the calls they hold, without replaying them: tokens and seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pytest_llmwatch.capture.answer import read_response
from pytest_llmwatch.capture.asked import read_request
from pytest_llmwatch.capture.cassette_file import CassetteFile
from pytest_llmwatch.capture.cassette_item import Interaction
from pytest_llmwatch.model import Usage
from pytest_llmwatch.redact import Redactor


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded logical call: its model, its tokens, and the seconds it took; None = not known."""

    place: tuple[int, int]
    """Repeat and attempt."""
    model: str | None
    usage: Usage
    seconds: float | None


def recorded_calls(path: Path, redactor: Redactor) -> Iterator[Recorded]:
    """Yield the answered calls of a cassette; attempts that failed before are no calls of their own.

    Raises:
        CassetteError: The file cannot be used.
    """
    for item in CassetteFile(path, path.name, redactor).interactions:
        status = item.response["status"]["code"]
        if item.request.method != "POST" or not isinstance(status, int) or status >= 400:
            continue
        asked = read_request(item.request_body, urlsplit(item.request.uri).path)
        answer = read_response(status, _content_type(item), item.body, {})
        yield Recorded(item.place, asked.model, answer.usage, item.timing.get("call_total"))


def _content_type(item: Interaction) -> str:
    for name, values in item.response["headers"].items():
        if str(name).lower() == "content-type":
            return str(values[0] if isinstance(values, list) and values else values)
    return ""
