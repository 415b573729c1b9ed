"""From a finished exchange to a recording, and back: redaction on the way in, times on the way out."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_llmwatch.capture import fingerprint as fp
from pytest_llmwatch.capture import json_style
from pytest_llmwatch.capture.answer import is_stream
from pytest_llmwatch.capture.cassette_file import Interaction
from pytest_llmwatch.capture.exchange import Exchange, Sent, Times
from pytest_llmwatch.capture.scrub import Scrubber, clean_url
from pytest_llmwatch.model import SCHEMA_VERSION
from pytest_llmwatch.redact import Redactor

_REQUEST_HEADERS = ("accept", "content-type")
_RESPONSE_HEADERS = (
    "content-type", "retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id",
    "openai-processing-ms", "openai-version", "openai-model",
)  # fmt: skip
_RESPONSE_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
_NO_RESPONSE = 599
"""Status code that stands in a cassette where no response came; stock vcrpy replays it as a server error."""


def decode(exchange: Exchange, module: Any) -> tuple[bytes, Times]:
    """Return the body with its content encoding undone, and chunk sizes that fit it.

    ``module`` is httpx or httpx2, whose own decoders are used. A body that cannot be decoded is returned as it is.
    """
    raw = exchange.raw_chunks()
    times = exchange.times
    encoding = exchange.head("content-encoding") or ""
    if encoding.lower() in ("", "identity"):
        return b"".join(raw), times
    place = 0

    class Source(module.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Any:
            nonlocal place
            for place, data in enumerate(raw):  # noqa: B007 (the loop below reads it)
                yield data

    response = module.Response(200, headers=[("content-encoding", encoding)], stream=Source())
    sizes = [0] * len(raw)
    parts: list[bytes] = []
    with contextlib.suppress(module.HTTPError):  # cut off, or not what it says: keep what could be decoded
        for part in response.iter_bytes():
            parts.append(part)
            sizes[min(place, len(raw) - 1)] += len(part)
    chunks = tuple((at, size) for (at, _), size in zip(times.chunks, sizes, strict=True) if size)
    return b"".join(parts), Times(times.headers, times.first_byte, times.total, chunks)


def keep(exchange: Exchange, redactor: Redactor, body: bytes, times: Times) -> Interaction:
    """Return the recording of a finished live exchange: redacted, slim, readable."""
    scrubber = Scrubber(redactor)
    sent = exchange.sent
    content_type = exchange.head("content-type") or ""
    sizes = [size for _, size in times.chunks]
    style = None
    if is_stream(content_type, body):
        kept, sizes = scrubber.stream(body, sizes)
    else:
        kept = _whole(body, scrubber)
        style = json_style.style_of(body)
        if json_style.written(kept, style) != body:
            sizes = [len(json_style.written(kept, style))]
            times = Times(times.headers, times.first_byte, times.total, ((times.chunks or ((0.0, 0),))[-1],))
    times = Times(
        times.headers,
        times.first_byte,
        times.total,
        tuple((at, size) for (at, _), size in zip(times.chunks, sizes, strict=True)),
    )
    status = (_NO_RESPONSE, exchange.error_type or "no response")
    if exchange.status_code is not None:
        status = (exchange.status_code, scrubber.text(exchange.reason))
    return Interaction.make(
        method=sent.method,
        url=clean_url(sent.url, redactor),
        **_request(exchange, scrubber),
        status=status,
        headers=_slim(exchange.headers, scrubber, redactor),
        body=kept,
        timing=_timing(exchange, times, scrubber) | ({} if style is None else {"json": style}),
    )


def adopt(item: Interaction, redactor: Redactor) -> Interaction:
    """Return a recording that another program made as we would keep it: redacted, slim, without times."""
    scrubber = Scrubber(redactor)
    headers = [(k, str(v)) for k, vs in item.response["headers"].items() for v in vs]
    content_type = next((v for k, v in headers if k.lower() == "content-type"), "")
    body = item.body
    status = item.response["status"]
    asked = {k.lower(): v[0] if isinstance(v, list) else v for k, v in item.request.headers.items() if v}
    return Interaction.make(
        method=item.request.method,
        url=clean_url(item.request.uri, redactor),
        request_body=_whole(item.request_body, scrubber),
        request_headers={k: scrubber.text(str(v)) for k, v in asked.items() if k in _REQUEST_HEADERS},
        status=(status["code"], scrubber.text(str(status.get("message") or ""))),
        headers=_slim(headers, scrubber, redactor),
        body=scrubber.stream(body, [len(body)])[0] if is_stream(content_type, body) else _whole(body, scrubber),
        timing={},
    )


def _request(exchange: Exchange, scrubber: Scrubber) -> dict[str, Any]:
    """Return body and headers of a request as they are kept: of a form, its parts without the boundary."""
    sent = exchange.sent
    headers = {k: scrubber.text(v) for k, v in sent.headers.items() if k in _REQUEST_HEADERS}
    if not sent.content_type.startswith("multipart/"):
        return {"request_body": _whole(sent.body, scrubber), "request_headers": headers}
    headers["content-type"] = sent.content_type.partition(";")[0]
    body = json.dumps(exchange.form["body"], ensure_ascii=False, indent=2)
    return {"request_body": body, "request_headers": headers}


def _whole(body: bytes, scrubber: Scrubber) -> bytes:
    text = scrubber.json_text(body) if body else ""
    if text is not None:
        return text.encode("utf-8", "surrogatepass")
    try:
        plain = body.decode("utf-8")
    except UnicodeDecodeError:
        return scrubber.binary(body)
    lines = scrubber.lines(plain)
    return (scrubber.text(plain) if lines is None else lines).encode()


_CREDENTIAL = re.compile(r"auth|key|token|secret|passw|signature|credential|session|\Acookie\Z", re.I)


@functools.lru_cache(maxsize=512)
def _is_credential(header: str) -> bool:
    return _CREDENTIAL.search(header) is not None


def learn(sent: Sent, redactor: Redactor) -> None:
    """Tell ``redactor`` what a request proves to be a credential: headers, password and keys in the URL.

    A server may repeat it in an error, whatever its form; no pattern knows the keys of every vendor.
    """
    for name in filter(_is_credential, sent.headers):
        value = sent.headers[name]
        if name == "cookie":
            for pair in value.split(";"):
                redactor.learn(pair.partition("=")[2])
        else:
            scheme, _, rest = value.partition(" ")
            redactor.learn(rest or scheme)
            if scheme.lower() == "basic":
                redactor.learn(_password(rest))
    if "@" not in sent.url and "?" not in sent.url:
        return
    parts = urlsplit(sent.url)
    if parts.password:
        redactor.learn(unquote(parts.password))
    for key, value in parse_qsl(parts.query):
        if key.lower() in fp.SECRET_QUERY:
            redactor.learn(value)


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode("utf-8").partition(":")[2]
    except ValueError:
        return ""


def _slim(headers: list[tuple[str, str]], scrubber: Scrubber, redactor: Redactor) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for name, value in headers:
        key = name.lower()
        if key == "location":  # a replay has to follow it
            out[key] = [clean_url(value, redactor)]
        elif key in _RESPONSE_HEADERS or key.startswith(_RESPONSE_PREFIXES):
            out.setdefault(key, []).append(scrubber.text(value))
    return dict(sorted(out.items()))


def _timing(exchange: Exchange, times: Times, scrubber: Scrubber) -> dict[str, Any]:
    handle = exchange.cassette
    timing: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": exchange.key,
        "repeat": handle.repeat if handle else 0,
        "attempt": handle.attempt if handle else 0,
        "time": exchange.time,
        "retry": exchange.retry,
        "queue_wait": exchange.queue_wait,
        "connect": exchange.connect,
        "offset": exchange.offset,
        "headers": times.headers,
        "first_byte": times.first_byte,
        "total": times.total,
        # the logical call up to here, earlier attempts and back-off included
        "call_total": round(exchange.offset + (times.total or 0.0), 6),
        "state": exchange.state,
        "chunks": [[at, size] for at, size in times.chunks],
        "error": None,
    }
    if exchange.error is not None:
        timing["error"] = {**exchange.error, "message": scrubber.text(exchange.error["message"])}
        timing["error"]["type"] = exchange.error_type
    return timing


def restore(exchange: Exchange, recorded: Interaction) -> tuple[bytes, Times]:
    """Fill a replayed exchange from its recording; return the body and the recorded times.

    A recording without timings (written by stock vcrpy) has none: its latency is not measured.
    """
    timing = recorded.timing
    response = recorded.response
    exchange.state = timing.get("state", "complete")
    error = timing.get("error")
    if isinstance(error, dict):
        exchange.error = {k: str(v) for k, v in error.items() if k in ("class", "message")}
        exchange.error_type = str(error.get("type") or error.get("class"))
    if exchange.state != "failed":
        exchange.status_code = response["status"]["code"]
        exchange.reason = response["status"].get("message") or ""
        exchange.headers = [
            (str(name), str(value))
            for name, values in response["headers"].items()
            for value in (values if isinstance(values, list) else [values])
        ]
    exchange.time = str(timing.get("time") or "")
    exchange.offset = timing.get("offset") or 0.0
    exchange.queue_wait, exchange.connect = timing.get("queue_wait"), timing.get("connect")
    chunks = tuple((float(at), int(size)) for at, size in timing.get("chunks") or ())
    body = json_style.written(recorded.body, timing.get("json"))
    if sum(size for _, size in chunks) != len(body):
        # edited by hand: the last chunk's time still tells when the body was there
        chunks = ((chunks[-1][0], len(body)),) if chunks else ()
    return body, Times(timing.get("headers"), timing.get("first_byte"), timing.get("total"), chunks)
