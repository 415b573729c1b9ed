"""Monitored OpenAI clients: the only importer of openai's public names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pytest_llmwatch.capture.session import NO_KEY, CaptureSession

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

DEFAULT_BASE_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where and how monitored clients call. None = from ``OPENAI_BASE_URL``, ``OPENAI_API_KEY``, or the default.

    ``timeout`` is in seconds, per attempt; ``api`` is what `LlmCall` uses unless told otherwise.
    """

    model: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    api: Literal["responses", "chat"] = "responses"
    prompt_version: str | None = None
    timeout: float | None = None
    max_retries: int = 2

    def resolved(self) -> ClientSettings:
        """Return the settings with base URL and key filled in from the environment."""
        return replace(
            self,
            base_url=self.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL,
            # the transport refuses this key where a real one is needed, so a replay needs none
            api_key=self.api_key or os.environ.get("OPENAI_API_KEY") or NO_KEY,
        )


def open_client(session: CaptureSession, settings: ClientSettings) -> OpenAI:
    """Return an OpenAI client whose calls are captured; the caller closes it."""
    import openai

    return openai.OpenAI(**_arguments(session, settings))


def shared_client(session: CaptureSession, settings: ClientSettings) -> OpenAI:
    """Return the session's client for these settings, closed when the session stops.

    Making a client costs tens of milliseconds, so all monitored calls of a run share one.
    """
    resolved = settings.resolved()
    key = ("openai", resolved.base_url, resolved.api_key, resolved.timeout, resolved.max_retries)
    known: OpenAI | None = session.shared.get(key)
    if known is not None:
        return known
    client = open_client(session, resolved)
    session.shared[key] = client
    session.at_stop(client.close)
    return client


def open_async_client(session: CaptureSession, settings: ClientSettings) -> AsyncOpenAI:
    """Return an asynchronous OpenAI client whose calls are captured.

    It belongs to the event loop that uses it: the caller closes it (``async with``).
    """
    import openai

    return openai.AsyncOpenAI(**_arguments(session, settings))


def open_tied_async_client(session: CaptureSession, settings: ClientSettings) -> AsyncOpenAI:
    """Return an asynchronous OpenAI client that nobody closes: each event loop closes its connections at its end.

    A fixture can't close what belongs to a loop that is over when the test is, and a connection that is left open
    warns whenever the garbage collector finds it.
    """
    import asyncio

    import openai

    http_client = openai.DefaultAsyncHttpxClient()
    ends: dict[int, Any] = {}

    async def at_the_end() -> AsyncIterator[None]:
        try:
            yield
        finally:
            # the pool alone, so that the client serves another loop as well
            pool = getattr(http_client, "_transport", None)
            await (http_client if pool is None else pool).aclose()

    async def tie(_: object) -> None:
        try:
            loop = id(asyncio.get_running_loop())
        except RuntimeError:  # another library's loop
            return
        if loop not in ends:
            # asyncio.run and its kind finish the asynchronous generators that their loop has begun
            ends[loop] = at_the_end()
            await anext(ends[loop])

    http_client.event_hooks = {"request": [tie]}
    return openai.AsyncOpenAI(**_arguments(session, settings), http_client=http_client)


def _arguments(session: CaptureSession, settings: ClientSettings) -> dict[str, Any]:
    """Return the arguments of either client, and capture what it will send."""
    resolved = settings.resolved()
    assert resolved.base_url is not None
    session.add_base_url(resolved.base_url)
    arguments = {
        "base_url": resolved.base_url,
        "api_key": resolved.api_key,
        "max_retries": resolved.max_retries,
    }
    # left out, the SDK's own stands
    return arguments if resolved.timeout is None else {**arguments, "timeout": resolved.timeout}
