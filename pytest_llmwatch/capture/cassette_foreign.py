"""Cassettes that other programs wrote: vcrpy of any age, as YAML or JSON, and where pytest plugins put them."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_TAGS = re.compile(r"!!python/object(?:/apply)?:(?:vcr\.request\.Request|(?:__builtin__|builtins)\.frozenset)")
_BAD = str.maketrans(dict.fromkeys("<>?%*:|\"'/\\", "-"))


def candidates(folder: Path, stem: str, names: Sequence[str]) -> list[Path]:
    """Return where pytest-recording and pytest-vcr keep the cassette of a test, the likeliest first.

    Args:
        folder: The ``cassettes`` folder beside the test's module.
        stem: Name of the module without its ending.
        names: Of the test, with all its classes, with fewer, with none.
    """
    safe = [name.translate(_BAD) for name in names]
    places = [folder / stem / n for n in safe] + [folder / n for n in safe]
    return [place.with_name(place.name + end) for place in places for end in (".yaml", ".yml", ".json")]


def untagged(text: str) -> str:
    """Return the text without the Python tags that vcrpy before 1.0 wrote."""
    return _TAGS.sub("", text) if "!!python/object" in text else text


def from_json(text: str) -> Any:
    """Return a cassette of vcrpy's JSON serializer, None if it is no JSON object or array."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None  # YAML may begin like this too


def normalised(data: Any) -> Any:
    """Return a parsed cassette in today's form, whatever version of vcrpy wrote it.

    Bodies are decoded: what a server compressed is text again, and the headers that said so are gone.
    """
    if isinstance(data, list) and data and all(isinstance(i, dict) and "request" in i for i in data):
        data = {"interactions": data}  # before vcrpy 1.0
    interactions = data.get("interactions") if isinstance(data, dict) else None
    if not isinstance(interactions, list):
        return data
    return {**data, "interactions": [_interaction(i) if isinstance(i, dict) else i for i in interactions]}


def _interaction(item: dict[str, Any]) -> dict[str, Any]:
    request, response = item.get("request"), item.get("response")
    if not isinstance(request, dict) or not isinstance(response, dict) or "x-llmwatch" in response:
        return item
    return {**item, "request": _request(request), "response": _response(response)}


def _request(request: dict[str, Any]) -> dict[str, Any]:
    out = dict(request)
    if "uri" not in out and {"protocol", "host", "path"} <= set(out):
        port = out.get("port")
        default = {"https": 443, "http": 80}.get(str(out["protocol"]))
        where = f"{out['host']}" if port in (None, default) else f"{out['host']}:{port}"
        out["uri"] = f"{out['protocol']}://{where}{out['path']}"
    if "body" in out:
        out["body"] = _bytes(out["body"])
    out["headers"] = {str(k): _values(v) for k, v in _pairs(out.get("headers"))}
    return {k: out[k] for k in ("method", "uri", "body", "headers") if k in out}


def _response(response: dict[str, Any]) -> dict[str, Any]:
    out = dict(response)
    if "status_code" in out and "status" not in out:  # vcrpy 4 to 5 with httpx
        out["status"] = {"code": out.pop("status_code"), "message": out.pop("reason_phrase", "") or ""}
        out["body"] = {"string": out.pop("content", "")}
        out.pop("http_version", None)
    if "headers" in out:
        out["headers"] = {str(k): _values(v) for k, v in _pairs(out["headers"])}
    if "body" in out:
        body = _bytes(out["body"]) or b""
        headers = out.get("headers") or {}
        out["body"] = {"string": _decoded(body, headers)}
        out["headers"] = {
            k: v
            for k, v in headers.items()
            if k.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        }
    return out


def _pairs(headers: Any) -> list[tuple[Any, Any]]:
    if isinstance(headers, Mapping):
        return list(headers.items())
    if isinstance(headers, list):
        return [(p[0], p[1]) for p in headers if isinstance(p, list | tuple) and len(p) == 2]
    return []


def _values(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


def _bytes(body: Any) -> bytes | None:
    if isinstance(body, dict):
        if "base64_string" in body:
            try:
                return base64.b64decode(str(body["base64_string"]))
            except ValueError:
                return b""
        body = body.get("string")
    if body is None or isinstance(body, bytes):
        return body
    return str(body).encode("utf-8", "surrogatepass")


def _decoded(body: bytes, headers: Mapping[str, list[str]]) -> bytes:
    """Undo the content encoding; a body that is none such (vcrpy may have decoded it already) stays as it is."""
    names = [v for k, vs in headers.items() if k.lower() == "content-encoding" for v in vs]
    for name in reversed([part.strip().lower() for value in names for part in value.split(",")]):
        try:
            if name in ("gzip", "x-gzip"):
                body = gzip.decompress(body)
            elif name == "deflate":
                body = _inflate(body)
            elif name in ("br", "zstd"):
                body = _by_library(name, body)
        except (OSError, EOFError, zlib.error, ValueError):
            return body
    return body


def _inflate(body: bytes) -> bytes:
    try:
        return zlib.decompress(body)
    except zlib.error:
        return zlib.decompress(body, -zlib.MAX_WBITS)


def _by_library(name: str, body: bytes) -> bytes:
    """Decode Brotli or Zstandard where httpx could too: with the library that it would use."""
    import importlib

    for module in ("brotli", "brotlicffi") if name == "br" else ("zstandard",):
        try:
            library = importlib.import_module(module)
        except ImportError:
            continue
        try:
            raw: bytes = library.decompress(body) if name == "br" else library.ZstdDecompressor().decompress(body)
        except Exception as error:  # each library has a class of its own
            raise ValueError(str(error)) from error
        return raw
    return body
