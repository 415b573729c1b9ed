"""Which HTTP requests are LLM calls. Everything else passes through untouched."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from pytest_llmwatch.capture.values import loads
from pytest_llmwatch.model import Operation

_VENDORS = re.compile(
    r"api\.openai\.com|(?:[a-z]{2}\.)?api\.openai\.com|.+\.openai\.azure\.com|.+\.(?:services\.ai|cognitiveservices)"
    r"\.azure\.com|api\.anthropic\.com|generativelanguage\.googleapis\.com|(?:.+-)?aiplatform\.googleapis\.com"
    r"|api\.mistral\.ai|api\.cohere\.(?:com|ai)|api\.groq\.com|api\.together\.(?:xyz|ai)|api\.perplexity\.ai"
    r"|api\.deepseek\.com|api\.x\.ai|openrouter\.ai|api\.fireworks\.ai|api\.cerebras\.ai|api\.ai21\.com"
    r"|router\.huggingface\.co|bedrock-runtime\..+\.amazonaws\.com"
)

_OPERATIONS: tuple[tuple[str, Operation], ...] = (
    ("/chat/completions", "chat"),
    ("/responses", "responses"),
    ("/embeddings", "embeddings"),
    ("/agents/completions", "chat"),  # Mistral
    ("/messages", "chat"),  # Anthropic
    ("awPredict", "chat"),  # the same on Vertex AI
    ("enerateContent", "chat"),  # Gemini, whole and streamed
    ("/v1/chat", "chat"),  # Cohere
    ("/v2/chat", "chat"),
    ("mbedContent", "embeddings"),
    ("mbedContents", "embeddings"),
    ("/v1/embed", "embeddings"),
    ("/v2/embed", "embeddings"),
)

_KNOWN = re.compile(
    # a model runs
    r"/(?:chat/completions|completions|responses|embeddings|messages|moderations|rerank|ocr|v[12]/(?:chat|embed)"
    r"|audio/(?:speech|transcriptions|translations)|images/(?:generations|edits|variations)|videos)"
    # or something is kept for it: files, batches, conversations
    r"(?:/[^:]*)?$|/(?:files|uploads|batches|models|assistants|threads|vector_stores|fine_tuning|conversations"
    r"|containers|evals|cachedContents)(?:/[^:]*)?$"
    r"|:(?:streamG|g)enerateContent$|:(?:batchE|e)mbedContents?$|:(?:streamR|r)awPredict$|:countTokens$"
)
"""Paths of LLM APIs. On a host that is not known to be one, the body must ask a model as well."""

_NO_MODEL = re.compile(
    r"/(?:files|uploads|vector_stores|conversations|containers|threads)(?:/[^:]*)?$"
    r"|/models(?:/[^/:]+)?$|/messages/count_tokens$|:countTokens$"
)

VENDOR_NAMES: tuple[tuple[str, str], ...] = (
    (r"(?:[a-z]{2}\.)?api\.openai\.com", "openai"),
    (r"api\.anthropic\.com", "anthropic"),
    (r"generativelanguage\.googleapis\.com", "gcp.gemini"),
    (r"(?:.+-)?aiplatform\.googleapis\.com", "gcp.vertex_ai"),
    (r".+\.services\.ai\.azure\.com", "azure.ai.inference"),
    (r".+\.azure\.com", "azure.ai.openai"),
    (r"bedrock-runtime\..+\.amazonaws\.com", "aws.bedrock"),
    (r"api\.mistral\.ai", "mistral_ai"),
    (r"api\.cohere\.(?:com|ai)", "cohere"),
    (r"api\.deepseek\.com", "deepseek"),
    (r"api\.groq\.com", "groq"),
    (r"api\.perplexity\.ai", "perplexity"),
    (r"api\.x\.ai", "x_ai"),
)
"""Hosts, and the provider's name as OpenTelemetry's GenAI conventions give it (attribute ``provider.name``)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes. ``port`` is the scheme's own where the URL names none; ``endpoint`` names no user."""

    host: str | None
    port: int | None
    path: str
    endpoint: str
    free: bool
    operation: Operation


@functools.lru_cache(maxsize=256)  # an application calls few URLs, each many times
def place(url: str) -> Place:
    """Return what a URL says."""
    parts = urlsplit(url)
    port = {"https": 443, "http": 80}.get(parts.scheme)
    with contextlib.suppress(ValueError):  # not a number, or none that a port can have
        port = parts.port or port
    return Place(
        host=parts.hostname,
        port=port,
        path=parts.path,
        endpoint=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        free=is_free(parts.path),
        operation=operation(parts.path),
    )


def is_free(path: str) -> bool:
    """Whether a request to ``path`` runs no model: it uses no tokens, and its cost is zero."""
    return _NO_MODEL.search(path) is not None and not path.endswith("/runs")


def operation(path: str) -> Operation:
    """Return what a request to ``path`` asks for."""
    return next((name for suffix, name in _OPERATIONS if path.endswith(suffix)), "other")


@functools.lru_cache(maxsize=256)
def provider(host: str) -> str:
    """Return the provider's name of `VENDOR_NAMES`, the host where it has none there."""
    return next((name for pattern, name in VENDOR_NAMES if re.fullmatch(pattern, host)), host)


class Targets:
    """Decide for each request whether it is captured.

    Args:
        base_urls: URL prefixes of LLM endpoints.
        include: Globs over ``host/path`` (with and without the port) to capture.
        exclude: Globs never to capture.
    """

    def __init__(
        self, base_urls: tuple[str, ...] = (), include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()
    ) -> None:
        self._prefixes: set[tuple[str, int | None, str]] = set()
        self._include = include
        self._exclude = exclude
        for url in base_urls:
            self.add(url)

    def add(self, base_url: str) -> None:
        """Capture LLM requests below ``base_url`` from now on."""
        self._prefixes.add(_prefix(base_url))

    def matches(
        self,
        method: str,
        host: str,
        port: int | None,
        path: str,
        *,
        from_sdk: bool,
        body: Callable[[], bytes] = bytes,
    ) -> bool:
        """Whether a request is an LLM call that is to be captured.

        Args:
            method: HTTP method, upper case.
            host: Host without port.
            port: None = the scheme's default.
            path: Path without query.
            from_sdk: Whether a monitored client sent it, which makes every host an LLM host.
            body: Returns the request's body; asked only where a host is not known to be an LLM's.
        """
        known = _is_known(path)
        if not known and not self._include:
            return False
        if self._exclude and _any_glob(self._exclude, host, port, path):
            return False
        if self._include and _any_glob(self._include, host, port, path):
            return True
        if not known:
            return False
        if from_sdk or self._is_llm_host(host, port, path):
            return True
        return method == "POST" and _asks_a_model(body())

    def _is_llm_host(self, host: str, port: int | None, path: str) -> bool:
        if _VENDORS.fullmatch(host):
            return True
        if any(h == host and p == port and path.startswith(start) for h, p, start in self._prefixes):
            return True
        # an application reads these when it makes its client, which may be long after this run began
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "AZURE_OPENAI_ENDPOINT"):
            url = os.environ.get(name)
            if url:
                h, p, start = _prefix(url)
                if h == host and p == port and path.startswith(start):
                    return True
        return False


@functools.lru_cache(maxsize=256)
def _is_known(path: str) -> bool:
    return _KNOWN.search(path) is not None


def _asks_a_model(body: bytes) -> bool:
    """Whether a body asks a model something, so that ``/v1/messages`` is no guest book's."""
    if b'"model"' not in body and b'"contents"' not in body:
        return False
    try:
        data = loads(body)
    except ValueError:
        return False
    if not isinstance(data, dict):
        return False
    named = isinstance(data.get("model"), str) and any(key in data for key in ("messages", "input", "prompt"))
    return named or isinstance(data.get("contents"), list)


def _prefix(url: str) -> tuple[str, int | None, str]:
    parts = urlsplit(url if "//" in url else f"//{url}")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname or "", None if port == default else port, parts.path.rstrip("/")


def _any_glob(globs: tuple[str, ...], host: str, port: int | None, path: str) -> bool:
    names = (host + path, f"{host}:{port}{path}") if port else (host + path,)
    return any(fnmatchcase(name, glob) for glob in globs for name in names)
